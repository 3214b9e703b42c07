//! Sources put together: every combination of their values, or one of each where they are linked.

use std::ffi::OsString;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;

use super::Step;
use super::columns::Columns;
use super::intake::Intake;
use super::records::Records;
use crate::MapError;

/// Where a source's values come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// These (`:::`).
    Words(Vec<Vec<u8>>),
    /// Records of a file (`-a`, `::::`).
    File(PathBuf),
    /// Records of standard input.
    Stdin,
}

/// How sources are read and put together.
#[derive(Debug, Clone)]
pub struct Shape {
    /// What ends a record.
    pub delimiter: u8,
    /// How a value becomes columns.
    pub columns: Columns,
    /// The first value of each source names its columns.
    pub header: bool,
    /// All sources are gone through in step, shorter ones again from their beginning (`--link`).
    pub link: bool,
    /// Empty records are no records (`--no-run-if-empty`).
    pub skip_empty: bool,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            delimiter: b'\n',
            columns: Columns::default(),
            header: false,
            link: false,
            skip_empty: false,
        }
    }
}

/// Values that several sources may hold in memory together; a single source is streamed.
const MAX_HELD: usize = 1 << 30;

/// A row's values.
type Row = Vec<Vec<u8>>;

/// Rows to come.
#[derive(Debug)]
pub struct Rows {
    shape: Shape,
    sources: Vec<Open>,
    names: Option<Vec<Vec<u8>>>,
    /// Several sources: their combinations, once all are read.
    combined: Option<Combined>,
    held: usize,
}

#[derive(Debug)]
struct Open {
    name: String,
    records: Records,
    /// In step with the source before it (`:::+`).
    linked: bool,
    headed: bool,
    ended: bool,
    rows: Vec<Row>,
}

impl Rows {
    /// Opens sources; with each, whether it is linked to the one before.
    ///
    /// # Errors
    /// A file can't be opened.
    pub fn open(sources: Vec<(Source, bool)>, shape: Shape) -> Result<Self, MapError> {
        let delimiter = shape.delimiter;
        let open = |(source, linked): (Source, bool)| {
            let (name, records) = match source {
                Source::Words(words) => (":::".to_owned(), Ok(Records::Words(words.into_iter()))),
                Source::File(path) => {
                    let name = path.display().to_string();
                    (name, Intake::open(&path).map(|intake| Records::bytes(intake, delimiter)))
                }
                Source::Stdin => {
                    let records = Intake::stdin().map(|intake| Records::bytes(intake, delimiter));
                    ("standard input".to_owned(), records)
                }
            };
            let records = records.map_err(|source| read_error(&name, source))?;
            Ok(Open { name, records, linked, headed: false, ended: false, rows: Vec::new() })
        };
        let sources: Result<Vec<Open>, MapError> = sources.into_iter().map(open).collect();
        Ok(Self { shape, sources: sources?, names: None, combined: None, held: 0 })
    }

    /// What the values are called, once the header of each source is read; empty without headers.
    ///
    /// # Errors
    /// A source can't be read.
    pub fn names(&mut self) -> Result<Step<Vec<Vec<u8>>>, MapError> {
        if !self.shape.header {
            return Ok(Step::Item(Vec::new()));
        }
        let mut names = self.names.take().unwrap_or_default();
        for open in &mut self.sources {
            if open.headed {
                continue;
            }
            match open.records.next().map_err(|source| read_error(&open.name, source))? {
                Step::Item(line) => names.extend(self.shape.columns.of(line)),
                Step::End => open.ended = true,
                Step::Pending => {
                    self.names = Some(names);
                    return Ok(Step::Pending);
                }
            }
            open.headed = true;
        }
        self.names = Some(names.clone());
        Ok(Step::Item(names))
    }

    /// The next row.
    ///
    /// # Errors
    /// A source can't be read, or several together are too large.
    pub fn take(&mut self) -> Result<Step<Row>, MapError> {
        if self.shape.header && self.names()? == Step::Pending {
            return Ok(Step::Pending);
        }
        if let [only] = &mut self.sources[..] {
            return only.next(&self.shape);
        }
        if self.combined.is_none() {
            for open in &mut self.sources {
                while !open.ended {
                    match open.next(&self.shape)? {
                        Step::Item(row) => {
                            self.held += row.iter().map(|value| value.len() + 48).sum::<usize>();
                            if self.held > MAX_HELD {
                                return Err(MapError::TooMany { most: MAX_HELD });
                            }
                            open.rows.push(row);
                        }
                        Step::Pending => return Ok(Step::Pending),
                        Step::End => {}
                    }
                }
            }
            self.combined = Some(Combined::new(&mut self.sources, self.shape.link));
        }
        let row = self.combined.as_mut().and_then(Combined::next);
        Ok(row.map_or(Step::End, Step::Item))
    }

    /// The descriptor that has to become readable before there is more.
    #[must_use]
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.sources.iter().find(|open| !open.ended).and_then(|open| open.records.fd())
    }
}

impl Open {
    fn next(&mut self, shape: &Shape) -> Result<Step<Row>, MapError> {
        loop {
            let step = self.records.next().map_err(|source| read_error(&self.name, source))?;
            return Ok(match step {
                Step::Item(value) if shape.skip_empty && value.trim_ascii().is_empty() => continue,
                Step::Item(value) => Step::Item(shape.columns.of(value)),
                Step::Pending => Step::Pending,
                Step::End => {
                    self.ended = true;
                    Step::End
                }
            });
        }
    }
}

fn read_error(name: &str, source: io::Error) -> MapError {
    MapError::Read { what: name.to_owned(), source }
}

/// All combinations, the last group fastest.
#[derive(Debug)]
struct Combined {
    groups: Vec<Vec<Row>>,
    at: Vec<usize>,
    over: bool,
}

impl Combined {
    fn new(sources: &mut [Open], link: bool) -> Self {
        let mut groups: Vec<Vec<Row>> = Vec::new();
        let longest = sources.iter().map(|open| open.rows.len()).max().unwrap_or(0);
        let whole = sources.iter().all(|open| !open.rows.is_empty());
        for (index, open) in sources.iter_mut().enumerate() {
            let rows = std::mem::take(&mut open.rows);
            let last = groups.last_mut().filter(|_| index > 0 && (link || open.linked));
            let Some(group) = last else {
                groups.push(rows);
                continue;
            };
            if link && whole {
                let had = std::mem::take(group);
                let pairs = had.iter().cycle().zip(rows.iter().cycle()).take(longest);
                *group = pairs.map(|(a, b)| a.iter().chain(b).cloned().collect()).collect();
            } else {
                // The shorter one ends both.
                group.truncate(rows.len());
                for (row, more) in group.iter_mut().zip(rows) {
                    row.extend(more);
                }
            }
        }
        let over = groups.is_empty() || groups.iter().any(Vec::is_empty);
        let at = vec![0; groups.len()];
        Self { groups, at, over }
    }

    fn next(&mut self) -> Option<Row> {
        if self.over {
            return None;
        }
        let rows = self.groups.iter().zip(&self.at).flat_map(|(group, at)| group[*at].iter());
        let row = rows.cloned().collect();
        self.over = true;
        for (group, at) in self.groups.iter().zip(&mut self.at).rev() {
            *at += 1;
            if *at < group.len() {
                self.over = false;
                break;
            }
            *at = 0;
        }
        Some(row)
    }
}

/// Files that a glob finds, in byte order.
///
/// # Errors
/// The pattern is wrong, or nothing fits it.
pub fn glob(pattern: &str) -> Result<Source, MapError> {
    let wrong = |why: String| MapError::Glob { pattern: pattern.to_owned(), why };
    let paths = ::glob::glob(pattern).map_err(|error| wrong(error.to_string()))?;
    let mut words = Vec::new();
    for path in paths {
        let path = path.map_err(|error| wrong(error.to_string()))?;
        words.push(std::os::unix::ffi::OsStringExt::into_vec(OsString::from(path)));
    }
    if words.is_empty() {
        return Err(wrong("no file fits it".into()));
    }
    Ok(Source::Words(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Source {
        Source::Words(text.split(' ').map(|word| word.as_bytes().to_vec()).collect())
    }

    fn rows(sources: Vec<(Source, bool)>, shape: Shape) -> Vec<String> {
        let mut rows = Rows::open(sources, shape).unwrap();
        let mut all = Vec::new();
        while let Step::Item(row) = rows.take().unwrap() {
            all.push(String::from_utf8(row.join(&b' ')).unwrap());
        }
        all
    }

    #[test]
    fn combined_and_linked_as_gnu_parallel_does() {
        let plain = Shape::default;
        let both = rows(vec![(words("a b"), false), (words("1 2"), false)], plain());
        assert_eq!(both, ["a 1", "a 2", "b 1", "b 2"]);
        let linked = Shape { link: true, ..plain() };
        assert_eq!(
            rows(vec![(words("a b c"), false), (words("1 2"), false)], linked),
            ["a 1", "b 2", "c 1"]
        );
        let three = vec![(words("a b c"), false), (words("1 2"), true), (words("x y"), false)];
        assert_eq!(rows(three, plain()), ["a 1 x", "a 1 y", "b 2 x", "b 2 y"]);
        assert!(
            rows(vec![(words("a"), false), (Source::Words(vec![]), false)], plain()).is_empty()
        );
    }

    #[test]
    fn headers_name_columns() {
        let shape = Shape { header: true, ..Shape::default() };
        let mut rows =
            Rows::open(vec![(words("x 1"), false), (words("y 3 4"), false)], shape).unwrap();
        assert_eq!(rows.names().unwrap(), Step::Item(vec![b"x".to_vec(), b"y".to_vec()]));
        assert_eq!(rows.take().unwrap(), Step::Item(vec![b"1".to_vec(), b"3".to_vec()]));
        assert_eq!(rows.take().unwrap(), Step::Item(vec![b"1".to_vec(), b"4".to_vec()]));
        assert_eq!(rows.take().unwrap(), Step::End);
    }

    #[test]
    fn globs_bring_files_or_say_that_there_are_none() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.x", "a.x", "c.y"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let pattern = format!("{}/*.x", folder.path().display());
        let Ok(Source::Words(found)) = glob(&pattern) else { panic!("{pattern}") };
        assert!(found.len() == 2 && found[0].ends_with(b"a.x"));
        assert!(matches!(glob("/no/such/*"), Err(MapError::Glob { .. })));
    }
}
