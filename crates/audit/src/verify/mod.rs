//! Verification: is the log what was written? Streams, needs the public key only, and never writes.
//!
//! What is found, and by what:
//!
//! | tamper | found by |
//! | --- | --- |
//! | a bit, a line, their order, something put in or taken out | the chain |
//! | all of it rewritten with a new chain | checkpoints and heads, signed |
//! | the tail cut | the head; the witness, if the head was cut with it |
//! | an older copy of the whole folder put back | the witness |
//! | another key and all signed anew | the public key, given by `--key` or held by the witness |
//! | old segments deleted | no announced retirement |

mod checker;
mod finding;
mod lines;
mod scan;

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

pub use finding::{Fault, Finding, Place};

pub(crate) use checker::{At, Checker, parts};
pub(crate) use lines::{Lines, Piece};
pub(crate) use scan::{Seals, Seen, Stop, scan};

use crate::hash::{Hash, LogId};
use crate::keys::{PUBLIC_FILE, PublicKey};
use crate::record::SegmentStart;
use crate::seal::Seal;
use crate::segment::{self, Segment};
use crate::text::Text;
use crate::witness::{HEAD_FILE, HeadFound, head_at, head_path, seals_path};

/// What to verify with.
#[derive(Debug, Clone, Default)]
pub struct Check {
    /// The key that must have signed; none: the one that the log names, which must be that of `audit.pub` and of the witness.
    pub key: Option<PublicKey>,
    /// The witness folder; none: the one that the log names.
    pub witness: Option<PathBuf>,
}

/// What verification saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The log.
    pub log: Option<LogId>,
    /// The key that its seals verified with.
    pub key: Option<PublicKey>,
    /// Segment files.
    pub segments: u64,
    /// Records in them, up to the finding.
    pub records: u64,
    /// Number of the first.
    pub first: u64,
    /// Number of the last that is in order.
    pub last: u64,
    /// Hash of its line: note it elsewhere, and nothing before it can be changed unseen.
    pub hash: Option<Hash>,
    /// Bytes of whole lines.
    pub bytes: u64,
    /// Signed checkpoints in the log.
    pub checkpoints: u64,
    /// Checkpoints of the witness that were compared; none without witness.
    pub witnessed: Option<u64>,
    /// Records at the end that no head covers: never acknowledged, or a power cut put the head back.
    pub unsigned: u64,
    /// Bytes of a line without its end: being written, or left by a crash.
    pub torn_bytes: u64,
    /// Segments up to this number were retired.
    pub retired_through: u64,
    /// The log was closed in order.
    pub closed: bool,
    /// The first bad place.
    pub finding: Option<Finding>,
    /// How long it took.
    pub took: Duration,
}

/// Nothing could be verified.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// There is no log.
    #[error("there is no audit log in {}", .0.display())]
    NoLog(PathBuf),
    /// A file can't be read.
    #[error("can't read {}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Looks at a log that is being written: each time something was seen that a writer at work explains.
const LOOKS_MAX: u32 = 5;

/// Verifies a log. A log that is being written verifies too: heads are read before the log, and it only grows. What a writer
/// explains that opens, closes or retires meanwhile is looked at again.
///
/// # Errors
/// There is no log; a file can't be read. What is wrong with a log that is there stands in the report.
pub fn verify(folder: &Path, check: &Check) -> Result<Report, VerifyError> {
    let mut looks = 0;
    loop {
        let before = head_at(&folder.join(HEAD_FILE)).map_err(at(folder))?;
        let report = look(folder, check, &before);
        looks += 1;
        let may_pass = match &report {
            Ok(report) => report.finding.as_ref().is_some_and(|found| found.fault.may_pass()),
            Err(VerifyError::Io { source, .. }) => source.kind() == io::ErrorKind::NotFound,
            Err(VerifyError::NoLog(_)) => false,
        };
        // Nobody writes: what was seen is so.
        if !may_pass
            || looks == LOOKS_MAX
            || head_at(&folder.join(HEAD_FILE)).map_err(at(folder))? == before
        {
            return report;
        }
    }
}

fn look(folder: &Path, check: &Check, head: &HeadFound) -> Result<Report, VerifyError> {
    let begun = Instant::now();
    let segments = segment::list(folder).map_err(at(folder))?;
    if segments.is_empty() && *head == HeadFound::Missing {
        return Err(VerifyError::NoLog(folder.to_owned()));
    }
    let mut checker = Checker::new(check.key);
    let mut seals = Seals::none();
    let witness = witness_of(check, &segments, head_seq(head));
    let mut seen = Seen::default();
    let finding = match whole(folder, &segments, head, witness, &mut checker, &mut seals, &mut seen)
    {
        Ok(()) => None,
        Err(Stop::Found(finding)) => Some(finding),
        Err(Stop::Io { path, source }) => return Err(VerifyError::Io { path, source }),
    };
    let last = checker.at().map_or(0, |at| at.seq);
    let head_seq = head_seq(head);
    Ok(Report {
        log: checker.start.as_ref().map(|start| start.log),
        key: checker.key(),
        segments: segments.len() as u64,
        records: checker.records,
        first: checker.first,
        last,
        hash: checker.at().map(|at| at.hash),
        bytes: seen.bytes,
        checkpoints: checker.checkpoints,
        witnessed: (seals.read > 0).then_some(seals.read),
        unsigned: if finding.is_some() { 0 } else { last.saturating_sub(head_seq) },
        torn_bytes: seen.torn,
        retired_through: checker.retired.map_or(0, |retired| retired.through),
        closed: checker.closed && finding.is_none(),
        finding,
        took: begun.elapsed(),
    })
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> VerifyError {
    let path = path.to_owned();
    move |source| VerifyError::Io { path, source }
}

/// The last record that a head covers.
pub(crate) fn head_seq(head: &HeadFound) -> u64 {
    match head {
        HeadFound::There(seal) => seal.seq,
        HeadFound::Missing | HeadFound::Unreadable => 0,
    }
}

/// A witness folder with the log that it should know.
struct Witness {
    folder: PathBuf,
    log: LogId,
}

/// The witness that is given, or the one that the log names: the newest segment that a head covers decides, for nobody
/// but the writer could have made that.
fn witness_of(check: &Check, segments: &[Segment], head_seq: u64) -> Option<Witness> {
    let headers = segments.iter().rev().filter_map(first_line);
    let header = headers.min_by_key(|header| header.seq > head_seq)?;
    let named = header.start.witness.as_ref().map(path_of);
    let folder = check.witness.clone().or(named)?;
    Some(Witness { folder, log: header.start.log })
}

pub(crate) fn path_of(text: &Text) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(text.as_bytes()))
}

/// A segment's first line.
#[derive(Debug, Clone)]
pub(crate) struct Header {
    pub(crate) seq: u64,
    pub(crate) prev: Hash,
    pub(crate) ts: String,
    pub(crate) start: SegmentStart,
}

/// What a segment's first line says, if it says it well.
pub(crate) fn first_line(segment: &Segment) -> Option<Header> {
    let mut lines = Lines::new(File::open(&segment.path).ok()?);
    let Ok(Some(Piece::Line(line))) = lines.next() else { return None };
    let parts = parts(line.strip_suffix(b"\n")?).ok()?;
    if parts.event != b"segment" {
        return None;
    }
    Some(Header {
        seq: parts.seq?,
        prev: parts.prev?,
        ts: String::from_utf8_lossy(parts.ts).into_owned(),
        start: serde_json::from_slice(parts.body).ok()?,
    })
}

fn whole(
    folder: &Path,
    segments: &[Segment],
    head: &HeadFound,
    witness: Option<Witness>,
    checker: &mut Checker,
    seals: &mut Seals,
    seen: &mut Seen,
) -> Result<(), Stop> {
    let nowhere = |fault| Finding { segment: 0, line: 0, seq: None, fault };
    if segments.is_empty() {
        return Err(Finding { segment: 1, line: 0, seq: None, fault: Fault::SegmentMissing }.into());
    }
    if let HeadFound::There(seal) = head {
        checker.mark(Place::Head, (**seal).clone())?;
    }
    let mut late = None;
    if let Some(witness) = &witness {
        match open_witness(witness, checker) {
            Ok(opened) => *seals = opened,
            // Whatever is wrong within the log is told first.
            Err(stop) => late = Some(stop),
        }
    }
    // Listed after all that was signed was read: it is of records that are there by now, in segments that are too.
    let segments =
        segment::list(folder).map_err(|source| Stop::Io { path: folder.to_owned(), source })?;
    *seen = scan(&segments, checker, seals, head_seq(head))?;
    if checker.at().is_none() {
        return Err(checker.here(Fault::Header("the file has no whole line")).into());
    }
    seals.rest(checker)?;
    checker.end(head_seal(head), true)?;
    keys_agree(folder, witness.as_ref(), checker)?;
    match head {
        HeadFound::Missing => return Err(nowhere(Fault::Head("is missing")).into()),
        HeadFound::Unreadable => return Err(nowhere(Fault::Head("is unreadable")).into()),
        HeadFound::There(_) => {}
    }
    late.map_or(Ok(()), Err)
}

pub(crate) fn head_seal(head: &HeadFound) -> Option<&Seal> {
    match head {
        HeadFound::There(seal) => Some(seal),
        HeadFound::Missing | HeadFound::Unreadable => None,
    }
}

fn open_witness(witness: &Witness, checker: &mut Checker) -> Result<Seals, Stop> {
    let missing = |what: &str| {
        let fault = Fault::Witness(format!("{} {what}", witness.folder.display()));
        Stop::Found(Finding { segment: 0, line: 0, seq: None, fault })
    };
    match head_at(&head_path(&witness.folder, witness.log)) {
        Ok(HeadFound::There(seal)) => checker.mark(Place::WitnessHead, *seal)?,
        Ok(HeadFound::Missing) => return Err(missing("has no head of this log")),
        Ok(HeadFound::Unreadable) => return Err(missing("has an unreadable head of this log")),
        Err(error) => return Err(missing(&format!("can't be read: {error}"))),
    }
    match File::open(seals_path(&witness.folder, witness.log)) {
        Ok(file) => Seals::of(file),
        Err(error) => Err(missing(&format!("has no checkpoints of this log: {error}"))),
    }
}

/// The public keys that lie about must be the one that the log verified with.
fn keys_agree(folder: &Path, witness: Option<&Witness>, checker: &Checker) -> Result<(), Stop> {
    let wrong = |whose| Stop::Found(checker.here(Fault::OtherKey(whose)));
    let pem = checker.key().map(|key| key.pem());
    if std::fs::read_to_string(folder.join(PUBLIC_FILE)).ok() != pem {
        return Err(wrong("its audit.pub"));
    }
    if let Some(witness) = witness {
        let path = witness.folder.join(format!("{}.pub", witness.log));
        if std::fs::read_to_string(path).ok() != pem {
            return Err(wrong("the witness has"));
        }
    }
    Ok(())
}
