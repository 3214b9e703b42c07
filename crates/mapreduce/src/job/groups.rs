//! Lines: where a command's output is cut, which partition a line goes to, and built-in reducers over lines that come sorted.
//!
//! Lines are sorted by all their bytes, as `LC_ALL=C sort` does: those of a key come together, in the order of their values, so what a
//! reducer sees depends neither on slots nor on splits nor on memory.

use super::error::Failure;
use super::options::{FoldBy, Job, Reduce};
use crate::operators::Decimal;
use crate::sort::Merge;

/// Bytes of the partition before each line.
pub(super) const PLACE: usize = 2;

/// Cuts a command's output into lines.
#[derive(Debug)]
pub(super) struct LineCut<'a> {
    program: &'a str,
    carry: Vec<u8>,
    /// Of the first byte that is carried.
    offset: u64,
    max: usize,
}

impl<'a> LineCut<'a> {
    pub(super) fn new(program: &'a str, max: usize) -> Self {
        Self { program, carry: Vec::new(), offset: 0, max }
    }

    pub(super) fn push(
        &mut self,
        mut bytes: &[u8],
        mut sink: impl FnMut(&[u8]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        while let Some(end) = memchr::memchr(b'\n', bytes) {
            let length = self.carry.len() + end;
            if self.carry.is_empty() {
                sink(&bytes[..end])?;
            } else {
                self.carry.extend_from_slice(&bytes[..end]);
                sink(&self.carry)?;
            }
            self.offset += length as u64 + 1;
            self.carry.clear();
            bytes = &bytes[end + 1..];
        }
        self.carry.extend_from_slice(bytes);
        if self.carry.len() > self.max {
            let program = self.program.to_owned();
            return Err(Failure::LineTooLong { program, offset: self.offset, max: self.max });
        }
        Ok(())
    }

    /// A last line without a newline is a line.
    pub(super) fn end(
        &mut self,
        mut sink: impl FnMut(&[u8]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        if self.carry.is_empty() { Ok(()) } else { sink(&self.carry) }
    }
}

/// The key of a line: its first fields, or all of it.
pub(super) fn key_of(line: &[u8], separator: u8, fields: usize) -> &[u8] {
    let end = memchr::memchr_iter(separator, line).nth(fields.max(1) - 1);
    &line[..end.unwrap_or(line.len())]
}

/// A line with its partition before it. CRC-32, because it is the same in every version and on every machine.
pub(super) fn place(job: &Job, line: &[u8], out: &mut Vec<u8>) {
    let fields = job.partition_fields.unwrap_or(job.key_fields).min(job.key_fields);
    let hash = crc32fast::hash(key_of(line, job.separator, fields));
    // Fewer than 65,536 partitions.
    let partition = (hash % job.reducers.max(1)) as u16;
    out.clear();
    out.extend_from_slice(&partition.to_be_bytes());
    out.extend_from_slice(line);
}

/// A built-in reducer.
pub(super) fn fold(
    job: &Job,
    step: &Reduce,
    mut merge: Merge<'_>,
    sink: &mut dyn FnMut(&[u8]) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let by = match step {
        Reduce::Fold(by) => Some(*by),
        _ => None,
    };
    let distinct = matches!(step, Reduce::Distinct);
    let mut group: Option<(Vec<u8>, Decimal)> = None;
    while let Some(record) = merge.read()? {
        let line = &record.key[PLACE..];
        let Some(by) = by else {
            if !(distinct && record.again) {
                sink(line)?;
            }
            continue;
        };
        let key = key_of(line, job.separator, job.key_fields);
        let value = value_of(by, line, key)?;
        match &mut group {
            Some((had, sum)) if had == key => *sum = by.fold(*sum, value),
            _ => {
                told(job, group.take(), sink)?;
                group = Some((key.to_vec(), value));
            }
        }
    }
    told(job, group, sink)
}

fn value_of(by: FoldBy, line: &[u8], key: &[u8]) -> Result<Decimal, Failure> {
    if by == FoldBy::Count {
        return Ok(Decimal::ONE);
    }
    let value = line.get(key.len() + 1..).unwrap_or_default();
    Decimal::parse(value).ok_or_else(|| {
        let shown =
            |bytes: &[u8]| String::from_utf8_lossy(&bytes[..bytes.len().min(80)]).into_owned();
        Failure::NoNumber { key: shown(key), value: shown(value) }
    })
}

fn told(
    job: &Job,
    group: Option<(Vec<u8>, Decimal)>,
    sink: &mut dyn FnMut(&[u8]) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let Some((mut line, value)) = group else { return Ok(()) };
    line.push(job.separator);
    line.extend_from_slice(value.to_string().as_bytes());
    sink(&line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_the_first_fields() {
        assert_eq!(key_of(b"a\tb\tc", b'\t', 1), b"a");
        assert_eq!(key_of(b"a\tb\tc", b'\t', 2), b"a\tb");
        assert_eq!(key_of(b"a\tb\tc", b'\t', 3), b"a\tb\tc");
        assert_eq!((key_of(b"", b'\t', 1), key_of(b"\tx", b'\t', 1)), (&b""[..], &b""[..]));
    }

    /// However the bytes come, the lines are the same; a line that never ends is told with its place.
    #[test]
    fn lines_are_cut() {
        let text = b"ab\n\nc\ndef";
        for size in 1..=text.len() {
            let (mut lines, mut cut) = (Vec::new(), LineCut::new("p", 10));
            for piece in text.chunks(size) {
                cut.push(piece, |line| {
                    lines.push(line.to_vec());
                    Ok(())
                })
                .unwrap();
            }
            cut.end(|line| {
                lines.push(line.to_vec());
                Ok(())
            })
            .unwrap();
            assert_eq!(lines, [&b"ab"[..], b"", b"c", b"def"], "{size}");
        }
        let mut cut = LineCut::new("p", 3);
        cut.push(b"ab\ncd", |_| Ok(())).unwrap();
        let error = cut.push(b"efgh", |_| Ok(())).unwrap_err().to_string();
        assert_eq!(error, "p wrote a line longer than 3 bytes, at byte 3 of its output");
    }
}
