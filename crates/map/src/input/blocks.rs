//! Standard input, or a file, cut into blocks of whole records for `--pipe` and `--pipepart`.
//!
//! A block ends after the last record end of at least `size` bytes of input; what follows begins the next. A record longer than that grows its
//! block by `size` until its end is there. The rule is GNU parallel's, so that the same blocks come out.

use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;

use super::Step;
use super::intake::Intake;

/// What a record ends with and begins with; a boundary is where the one is followed by the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Boundary {
    /// `--recend`.
    pub end: Vec<u8>,
    /// `--recstart`.
    pub start: Vec<u8>,
}

impl Default for Boundary {
    fn default() -> Self {
        Self { end: b"\n".to_vec(), start: Vec::new() }
    }
}

/// Where blocks are cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// Bytes of a block.
    pub size: usize,
    /// Records of a block, instead of its size.
    pub records: Option<usize>,
    /// Between records.
    pub boundary: Boundary,
    /// Lines at the beginning that each block gets again.
    pub header: usize,
}

impl Cut {
    /// Of no input.
    #[must_use]
    pub fn nothing() -> Self {
        Self { size: 1, records: None, boundary: Boundary::default(), header: 0 }
    }
}

/// The most bytes of one record: a block is held in memory.
const MAX_RECORD: usize = 1 << 30;
/// What one read asks for.
const READ: usize = 256 * 1024;

/// Blocks to come.
#[derive(Debug)]
pub struct Blocks {
    intake: Intake,
    cut: Cut,
    buffer: Vec<u8>,
    header: Option<Vec<u8>>,
    ended: bool,
    /// The next block may be cut only when the buffer has so many bytes.
    goal: usize,
    given: bool,
}

impl Blocks {
    /// Of standard input.
    ///
    /// # Errors
    /// It can't be looked at.
    pub fn stdin(cut: Cut) -> io::Result<Self> {
        Ok(Self::of(Intake::stdin()?, cut))
    }

    /// Of a file.
    ///
    /// # Errors
    /// It can't be opened.
    pub fn open(path: &Path, cut: Cut) -> io::Result<Self> {
        Ok(Self::of(Intake::open(path)?, cut))
    }

    fn of(intake: Intake, cut: Cut) -> Self {
        let header = if cut.header > 0 { None } else { Some(Vec::new()) };
        let goal = cut.size;
        Self { intake, cut, buffer: Vec::new(), header, ended: false, goal, given: false }
    }

    /// The descriptor that has to become readable before there is more.
    #[must_use]
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        (!self.ended).then(|| self.intake.fd())
    }

    /// The next block, with its header.
    ///
    /// # Errors
    /// It can't be read, or a record is longer than 1 GiB.
    pub fn take(&mut self) -> io::Result<Step<Vec<u8>>> {
        loop {
            if self.header.is_none() {
                self.take_header();
            }
            if self.header.is_some()
                && let Some(end) = self.end()
            {
                let rest = self.buffer.split_off(end);
                let block = std::mem::replace(&mut self.buffer, rest);
                self.goal = self.cut.size;
                self.given = true;
                let header = self.header.as_deref().unwrap_or_default();
                return Ok(Step::Item(if header.is_empty() {
                    block
                } else {
                    [header, &block].concat()
                }));
            }
            if self.ended {
                return Ok(Step::End);
            }
            if self.buffer.len() > MAX_RECORD {
                let why = format!("no record ends within {MAX_RECORD} bytes; is --recend right?");
                return Err(io::Error::new(io::ErrorKind::InvalidData, why));
            }
            let missing = self.goal.saturating_sub(self.buffer.len()).max(1);
            let want = if self.cut.records.is_some() { READ } else { missing };
            match self.intake.read(&mut self.buffer, want.min(4 * READ))? {
                Step::Item(_) => {}
                Step::Pending => return Ok(Step::Pending),
                Step::End => self.ended = true,
            }
        }
    }

    fn take_header(&mut self) {
        let ends = memchr::memchr_iter(b'\n', &self.buffer);
        let end = ends.take(self.cut.header).collect::<Vec<_>>();
        let whole = end.len() == self.cut.header;
        if whole || self.ended {
            let end = if whole { end[end.len() - 1] + 1 } else { self.buffer.len() };
            let rest = self.buffer.split_off(end);
            self.header = Some(std::mem::replace(&mut self.buffer, rest));
        }
    }

    /// Where the first block of the buffer ends; `None` when that can't be told yet, or nothing is left.
    fn end(&mut self) -> Option<usize> {
        if self.buffer.is_empty() {
            return None;
        }
        if let Some(records) = self.cut.records {
            let end = nth_boundary(&self.buffer, &self.cut.boundary, records, self.ended);
            return end.or(self.ended.then_some(self.buffer.len()));
        }
        if self.buffer.len() < self.goal {
            return self.ended.then_some(self.buffer.len());
        }
        let end = last_boundary(&self.buffer, &self.cut.boundary);
        if end.is_none() {
            if self.ended {
                return Some(self.buffer.len());
            }
            self.goal = self.buffer.len() + self.cut.size;
        }
        end
    }
}

/// The position after the `n`th record. A boundary at the very end counts when it needs nothing after it.
fn nth_boundary(bytes: &[u8], boundary: &Boundary, n: usize, ended: bool) -> Option<usize> {
    let needle = [boundary.end.as_slice(), &boundary.start].concat();
    if needle.is_empty() {
        return None;
    }
    let mut ends = memchr::memmem::find_iter(bytes, &needle).map(|at| at + boundary.end.len());
    let found = ends.by_ref().filter(|end| *end > 0).nth(n - 1)?;
    (found < bytes.len() || ended || boundary.start.is_empty()).then_some(found)
}

/// The position after the last record.
fn last_boundary(bytes: &[u8], boundary: &Boundary) -> Option<usize> {
    let needle = [boundary.end.as_slice(), &boundary.start].concat();
    if needle.is_empty() {
        return Some(bytes.len());
    }
    let at = memchr::memmem::rfind(bytes, &needle)?;
    Some(at + boundary.end.len()).filter(|end| *end > 0)
}

#[cfg(test)]
mod tests {
    use std::io::{Seek, Write};

    use proptest::prelude::*;

    use super::*;

    fn blocks(bytes: &[u8], cut: Cut) -> Vec<Vec<u8>> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file.rewind().unwrap();
        let mut blocks = Blocks::of(Intake::of(file).unwrap(), cut);
        let mut all = Vec::new();
        while let Step::Item(block) = blocks.take().unwrap() {
            all.push(block);
        }
        all
    }

    fn cut(size: usize) -> Cut {
        Cut { size, records: None, boundary: Boundary::default(), header: 0 }
    }

    #[test]
    fn blocks_are_whole_records() {
        assert_eq!(blocks(b"a\nbb\nccc\nd", cut(5)), [&b"a\nbb\n"[..], b"ccc\n", b"d"]);
        assert_eq!(blocks(b"aaaaaaaaaa\nb\n", cut(3)), [&b"aaaaaaaaaa\n"[..], b"b\n"]);
        let three = Cut { records: Some(3), ..cut(1) };
        assert_eq!(blocks(b"1\n2\n3\n4\n", three), [&b"1\n2\n3\n"[..], b"4\n"]);
        let header = Cut { header: 1, ..cut(4) };
        assert_eq!(blocks(b"h\n1\n2\n3\n", header), [&b"h\n1\n2\n"[..], b"h\n3\n"]);
        let boundary = Boundary { end: Vec::new(), start: b">".to_vec() };
        let fasta = Cut { boundary, ..cut(6) };
        assert_eq!(blocks(b">a\nx\n>b\n>c\ny\n", fasta), [&b">a\nx\n"[..], b">b\n", b">c\ny\n"]);
        assert!(blocks(b"", cut(4)).is_empty());
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_every_block_ends_a_record(
            bytes in prop::collection::vec(prop_oneof![Just(b'\n'), Just(b'a'), Just(b'>')], 0..200),
            size in 1..40usize,
            records in prop::option::of(1..4usize),
        ) {
            let made = blocks(&bytes, Cut { records, ..cut(size) });
            prop_assert_eq!(made.concat(), bytes);
            for block in made.iter().rev().skip(1) {
                prop_assert!(block.ends_with(b"\n"));
                if let Some(records) = records {
                    prop_assert_eq!(block.iter().filter(|byte| **byte == b'\n').count(), records);
                }
            }
        }
    }
}
