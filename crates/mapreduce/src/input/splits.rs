//! Cutting the input into splits: equal ranges of all files laid end to end. A split is arithmetic, so a million of them
//! take no memory, and small files share one.
//!
//! ```text
//! files    |── a ──|─ b ─|───────── c ─────────|─ d.gz ─|─ e ─|
//! splits   |   0     |   1     |   2     |   3     |   4     |      b is read by 0 and 1, d.gz whole by 3
//! ```
//!
//! A record belongs to the split in which it starts. Compressed files, and files whose delimiter overlaps itself, can't be
//! entered in the middle: they belong whole to the split in which they start. For CSV the quotes of all plain files are
//! counted once, at the speed of memory, and one bit is kept per split: nothing less tells a newline in quotes for sure.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use super::{Format, InputError, Inputs, Packing};

/// Bytes read at once when a boundary is looked for.
const LOOK: usize = 64 << 10;

/// How large splits are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SplitSize {
    /// Sixteen a slot, so that the last ones end together, of 4 to 64 MiB.
    ForSlots(usize),
    /// So many bytes, at least one.
    Bytes(u64),
}

/// The number of a split and the range of bytes that is its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Split {
    /// From 0.
    pub number: u64,
    start: u64,
    end: u64,
}

/// A part of one file: its bytes from the first record of a split to the first of the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// Number of the file in the [`Inputs`].
    pub file: usize,
    /// First byte.
    pub start: u64,
    /// Behind the last byte.
    pub end: u64,
}

/// All splits of an input.
#[derive(Debug)]
pub struct Splits {
    inputs: Inputs,
    format: Format,
    size: u64,
    /// CSV: whether the byte before each split's first stands within quotes of its file.
    quoted: Vec<u64>,
    record_max: usize,
}

impl Splits {
    /// Plans splits. `record_max`: the longest record in bytes.
    ///
    /// # Errors
    /// For CSV only: a file can't be read.
    pub fn plan(
        inputs: Inputs,
        format: Format,
        size: SplitSize,
        record_max: usize,
    ) -> Result<Self, InputError> {
        let size = match size {
            SplitSize::Bytes(bytes) => bytes.max(1),
            SplitSize::ForSlots(slots) => {
                (inputs.bytes() / (slots.max(1) as u64 * 16)).clamp(4 << 20, 64 << 20)
            }
        };
        let mut splits = Self { inputs, format, size, quoted: Vec::new(), record_max };
        if matches!(splits.format, Format::Csv) {
            splits.quoted = splits.count_quotes()?;
        }
        Ok(splits)
    }

    /// How many splits there are; none for empty input.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.inputs.bytes().div_ceil(self.size)
    }

    /// A split by its number, if there is such a one.
    #[must_use]
    pub fn get(&self, number: u64) -> Option<Split> {
        let start = number.checked_mul(self.size).filter(|start| *start < self.inputs.bytes())?;
        Some(Split { number, start, end: (start + self.size).min(self.inputs.bytes()) })
    }

    /// Bytes of a split, as its files lie on the disk; 0 if there is no such split.
    #[must_use]
    pub fn bytes_of(&self, number: u64) -> u64 {
        self.get(number).map_or(0, |split| split.end - split.start)
    }

    /// The files of a split, each with about the bytes that are its own.
    #[must_use]
    pub fn places(&self, split: Split) -> Vec<(std::path::PathBuf, u64, u64)> {
        let place = |file: usize| {
            let (first, last) = self.inputs.range(file);
            let (start, end) = (split.start.max(first), split.end.min(last));
            (self.inputs.path(file), start - first, end - first)
        };
        self.files_of(split).map(place).collect()
    }

    /// The file of a split that has only one.
    #[must_use]
    pub fn only_file(&self, number: u64) -> Option<std::path::PathBuf> {
        let files = self.files_of(self.get(number)?);
        (files.len() == 1).then(|| self.inputs.path(files.start))
    }

    /// The files.
    #[must_use]
    pub fn inputs(&self) -> &Inputs {
        &self.inputs
    }

    /// The form of records.
    #[must_use]
    pub fn format(&self) -> &Format {
        &self.format
    }

    /// The longest record in bytes.
    #[must_use]
    pub fn record_max(&self) -> usize {
        self.record_max
    }

    /// Bytes of memory that all splits together take, the list of files included.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.inputs.memory() + self.quoted.capacity() * size_of::<u64>()
    }

    /// The files of a split, in order, without their exact bounds.
    pub(crate) fn files_of(&self, split: Split) -> std::ops::Range<usize> {
        let first = self.inputs.file_at(split.start);
        let last = self.inputs.file_at(split.end - 1);
        first..last + 1
    }

    /// What of a file belongs to a split; `None` if no record of it starts there.
    ///
    /// # Errors
    /// The file can't be read, or a record is longer than the limit.
    pub(crate) fn piece(
        &self,
        split: Split,
        file: usize,
        opened: &File,
    ) -> Result<Option<Piece>, InputError> {
        let (first, last) = self.inputs.range(file);
        let whole = self.inputs.packing(file) != Packing::Plain || !self.format.splittable();
        if whole {
            let mine = first >= split.start && first < split.end && last > first;
            return Ok(mine.then_some(Piece { file, start: 0, end: last - first }));
        }
        let start = split.start.max(first) - first;
        let end = split.end.min(last) - first;
        let start = self.aligned(file, opened, start, split.number)?;
        let end = self.aligned(file, opened, end, split.number + 1)?;
        Ok((start < end).then_some(Piece { file, start, end }))
    }

    /// The first start of a record at or behind byte `at` of a file, its end if there is none. `boundary`: the split that
    /// starts there, if `at` is neither the file's start nor its end.
    fn aligned(
        &self,
        file: usize,
        opened: &File,
        at: u64,
        boundary: u64,
    ) -> Result<u64, InputError> {
        let (first, last) = self.inputs.range(file);
        let length = last - first;
        if at == 0 || at >= length {
            return Ok(at.min(length));
        }
        if let Format::Fixed(record) = self.format {
            return Ok(at.next_multiple_of(record.get() as u64).min(length));
        }
        let mut quoted = self.is_quoted(boundary);
        let from = at.saturating_sub(self.format.behind());
        self.look(file, opened, (from, length), &mut quoted)
    }

    fn look(
        &self,
        file: usize,
        opened: &File,
        (from, length): (u64, u64),
        quoted: &mut bool,
    ) -> Result<u64, InputError> {
        let mut buffer = vec![0; LOOK.min(usize::try_from(length - from).unwrap_or(LOOK))];
        // Delimiters may lie across what is read at once: so much is read again.
        let again = if matches!(self.format, Format::Lines | Format::Csv) {
            0
        } else {
            self.format.behind()
        };
        let mut at = from;
        while at < length {
            let want = buffer.len().min(usize::try_from(length - at).unwrap_or(LOOK));
            opened
                .read_exact_at(&mut buffer[..want], at)
                .map_err(|error| self.read_error(file, at, error))?;
            if let Some(found) = self.format.start_in(&buffer[..want], quoted) {
                return Ok(at + found as u64);
            }
            if at - from > self.record_max as u64 {
                let path = self.inputs.path(file);
                return Err(InputError::RecordTooLong { path, offset: from, max: self.record_max });
            }
            let end = at + want as u64;
            if end == length {
                break;
            }
            at = end - again.min(want as u64 - 1);
        }
        Ok(length)
    }

    fn read_error(&self, file: usize, offset: u64, error: std::io::Error) -> InputError {
        let path = self.inputs.path(file);
        if error.kind() == std::io::ErrorKind::UnexpectedEof {
            return InputError::Shrunk { path, offset };
        }
        InputError::io("read", path)(error)
    }

    fn is_quoted(&self, boundary: u64) -> bool {
        let word = usize::try_from(boundary / 64).ok().and_then(|word| self.quoted.get(word));
        word.is_some_and(|word| word >> (boundary % 64) & 1 == 1)
    }

    /// One bit a split: an odd number of quotes stands in its file before the byte before its first.
    fn count_quotes(&self) -> Result<Vec<u64>, InputError> {
        let words = usize::try_from(self.count() / 64).unwrap_or(usize::MAX) + 1;
        let mut bits = vec![0_u64; words];
        let mut buffer = vec![0; 1 << 20];
        for file in 0..self.inputs.len() {
            if self.inputs.packing(file) != Packing::Plain {
                continue;
            }
            let (first, last) = self.inputs.range(file);
            let path = self.inputs.path(file);
            let opened = File::open(&path).map_err(InputError::io("open", &path))?;
            let (mut at, mut odd) = (first, false);
            while at < last {
                let boundary = at / self.size + 1;
                // Up to the byte before the next boundary, or from there over it.
                let stop = (boundary * self.size - 1).min(last);
                let stop =
                    if stop == at { ((boundary + 1) * self.size - 1).min(last) } else { stop };
                if at % self.size == self.size - 1 && odd {
                    bits[usize::try_from(boundary / 64).unwrap_or(0)] |= 1 << (boundary % 64);
                }
                while at < stop {
                    let want = buffer.len().min(usize::try_from(stop - at).unwrap_or(usize::MAX));
                    opened
                        .read_exact_at(&mut buffer[..want], at - first)
                        .map_err(|error| self.read_error(file, at - first, error))?;
                    odd ^= memchr::memchr_iter(b'"', &buffer[..want]).count() % 2 == 1;
                    at += want as u64;
                }
            }
        }
        Ok(bits)
    }
}
