//! Reading a log back: search, the last so many, and what [`Follow`] shares with them. Needs no key.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use ganger_core::pattern;

use crate::canonical::shown;
use crate::entry::{Entry, EntryError};
use crate::follow::Follow;
use crate::record::RunId;
use crate::segment::{self, Segment};
use crate::verify::{Lines, Piece, first_line, parts};

/// A log can't be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// There is no log.
    #[error("there is no audit log in {}", .0.display())]
    NoLog(PathBuf),
    /// A file.
    #[error("can't read {}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A line is no record: somebody changed it.
    #[error("{} line {line}: {source}; `ganger audit verify` says more", path.display())]
    Line {
        /// The segment's file.
        path: PathBuf,
        /// Counted from 1.
        line: u64,
        /// What is wrong.
        source: EntryError,
    },
}

/// Which records. All that is given must hold; patterns may have `*`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Name of a principal (a pattern), or a user id.
    pub principal: Option<String>,
    /// Policy (a pattern).
    pub policy: Option<String>,
    /// Path of the program (a pattern), or its last part.
    pub program: Option<String>,
    /// One of [`Entry::VERDICTS`].
    pub verdict: Option<String>,
    /// `event` of the record.
    pub event: Option<String>,
    /// One run.
    pub run: Option<RunId>,
    /// Milliseconds since 1970, inclusive.
    pub since_ms: Option<u64>,
    /// Milliseconds since 1970, exclusive.
    pub until_ms: Option<u64>,
    /// A text that stands anywhere in the record.
    pub text: Option<String>,
}

impl Filter {
    /// Makes it ready to be asked often.
    pub(crate) fn compile(&self) -> Compiled {
        Compiled {
            from: 0,
            since: self.since_ms.and_then(stamp),
            until: self.until_ms.and_then(stamp),
            text: self.text.as_deref().map(|text| shown(text).into_bytes()),
            filter: self.clone(),
        }
    }
}

/// A time as the log writes it: such texts sort as times do.
fn stamp(ms: u64) -> Option<String> {
    let stamp = jiff::Timestamp::from_millisecond(i64::try_from(ms).ok()?).ok()?;
    Some(format!("{stamp:.9}"))
}

#[derive(Debug)]
pub(crate) struct Compiled {
    filter: Filter,
    /// The first record's number.
    from: u64,
    since: Option<String>,
    until: Option<String>,
    text: Option<Vec<u8>>,
}

impl Compiled {
    /// What can be told from the line's bytes: most lines need not be read any further.
    fn may_match(&self, line: &[u8]) -> bool {
        let Ok(parts) = parts(line) else { return true };
        parts.seq.is_none_or(|seq| seq >= self.from)
            && self.since.as_ref().is_none_or(|since| parts.ts >= since.as_bytes())
            && self.until.as_ref().is_none_or(|until| parts.ts < until.as_bytes())
            && self.filter.event.as_ref().is_none_or(|event| parts.event == event.as_bytes())
            && self.text.as_ref().is_none_or(|text| memchr::memmem::find(line, text).is_some())
    }

    fn matches(&self, entry: &Entry) -> bool {
        let f = &self.filter;
        f.run.is_none_or(|run| entry.run == Some(run))
            && f.verdict.as_ref().is_none_or(|verdict| entry.verdict() == Some(verdict))
            && f.policy
                .as_ref()
                .is_none_or(|wanted| entry.policy().is_some_and(|p| pattern::matches(wanted, p)))
            && f.program
                .as_ref()
                .is_none_or(|wanted| entry.program().is_some_and(|p| is_program(wanted, &p)))
            && f.principal.as_ref().is_none_or(|wanted| {
                entry.principal.as_ref().is_some_and(|principal| {
                    pattern::matches(wanted, &principal.name)
                        || *wanted == principal.uid.to_string()
                })
            })
    }

    /// The record of a line, if it is wanted.
    pub(crate) fn take(&self, line: &[u8]) -> Result<Option<Found>, EntryError> {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        if !self.may_match(line) {
            return Ok(None);
        }
        let entry = Entry::read(line)?;
        Ok(self.matches(&entry).then(|| Found { line: line.to_vec(), entry }))
    }
}

fn is_program(wanted: &str, path: &str) -> bool {
    pattern::matches(wanted, path)
        || (!wanted.contains('/')
            && path.rsplit('/').next().is_some_and(|name| pattern::matches(wanted, name)))
}

/// A record that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its line as it stands in the log, without newline: printable ASCII.
    pub line: Vec<u8>,
    /// What it says.
    pub entry: Entry,
}

/// Reads the log of a folder.
#[derive(Debug, Clone)]
pub struct Reader {
    folder: PathBuf,
}

impl Reader {
    /// Of a folder.
    ///
    /// # Errors
    /// There is no log in it.
    pub fn open(folder: &Path) -> Result<Self, ReadError> {
        let reader = Self { folder: folder.to_owned() };
        if reader.segments()?.is_empty() {
            return Err(ReadError::NoLog(folder.to_owned()));
        }
        Ok(reader)
    }

    fn segments(&self) -> Result<Vec<Segment>, ReadError> {
        segment::list(&self.folder)
            .map_err(|source| ReadError::File { path: self.folder.clone(), source })
    }

    /// All records that the filter wants, in order, handed to `take` until it says false. A line that is no record is
    /// handed over as an error, and reading goes on.
    ///
    /// # Errors
    /// A file can't be read.
    pub fn search(
        &self,
        filter: &Filter,
        take: impl FnMut(Result<Found, ReadError>) -> bool,
    ) -> Result<(), ReadError> {
        self.search_from(0, filter, take)
    }

    /// The same, from the record with number `seq` on: segments before it are not read, whatever their clock said.
    ///
    /// # Errors
    /// A file can't be read.
    pub fn search_from(
        &self,
        seq: u64,
        filter: &Filter,
        mut take: impl FnMut(Result<Found, ReadError>) -> bool,
    ) -> Result<(), ReadError> {
        let filter = Compiled { from: seq, ..filter.compile() };
        let segments = self.segments()?;
        for (at, segment) in segments.iter().enumerate() {
            let bounded = seq > 0 || filter.since.is_some();
            let next = segments.get(at + 1).filter(|_| bounded).and_then(first_line);
            let too_old = next.is_some_and(|next| {
                next.seq <= seq || filter.since.as_ref().is_some_and(|since| next.ts < *since)
            });
            if !too_old && !each(segment, &filter, &mut take)? {
                break;
            }
        }
        Ok(())
    }

    /// The last `n` that the filter wants, in order. Lines that are no records are left out.
    ///
    /// # Errors
    /// A file can't be read.
    pub fn last(&self, n: usize, filter: &Filter) -> Result<Vec<Found>, ReadError> {
        let filter = filter.compile();
        let mut found: VecDeque<Found> = VecDeque::new();
        for segment in self.segments()?.iter().rev() {
            let wanted = n - found.len();
            if wanted == 0 {
                break;
            }
            // Never more than what is asked for, however many a segment has.
            let mut here: VecDeque<Found> = VecDeque::new();
            each(segment, &filter, &mut |record| {
                if here.len() == wanted && record.is_ok() {
                    here.pop_front();
                }
                here.extend(record.ok());
                true
            })?;
            here.append(&mut found);
            found = here;
        }
        Ok(found.into())
    }

    /// What comes from now on; `next` of it blocks until `stop` is readable or closed.
    ///
    /// # Errors
    /// The log can't be watched.
    pub fn follow(&self, filter: &Filter, stop: std::os::fd::OwnedFd) -> Result<Follow, ReadError> {
        Follow::open(&self.folder, filter.compile(), stop)
    }
}

/// Hands over what a segment has; false when the taker has enough.
fn each(
    segment: &Segment,
    filter: &Compiled,
    take: &mut dyn FnMut(Result<Found, ReadError>) -> bool,
) -> Result<bool, ReadError> {
    let failed = |source| ReadError::File { path: segment.path.clone(), source };
    let file = match File::open(&segment.path) {
        Ok(file) => file,
        // Retired since it was listed.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        Err(error) => return Err(failed(error)),
    };
    let mut lines = Lines::new(file);
    let mut number = 0;
    while let Some(piece) = lines.next().map_err(failed)? {
        number += 1;
        let line = match piece {
            Piece::Line(line) => line,
            // Being written, or left by a crash.
            Piece::Torn(_) => break,
            Piece::TooLong => {
                let source = EntryError("more bytes than a line has, without an end".into());
                let (path, line) = (segment.path.clone(), number);
                return Ok(take(Err(ReadError::Line { path, line, source })));
            }
        };
        let go_on = match filter.take(line) {
            Ok(None) => true,
            Ok(Some(found)) => take(Ok(found)),
            Err(source) => {
                take(Err(ReadError::Line { path: segment.path.clone(), line: number, source }))
            }
        };
        if !go_on {
            return Ok(false);
        }
    }
    Ok(true)
}
