//! Reading input as blocks of whole records, into one buffer that is used again and again.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::open::From;
use super::{Format, InputError, Split, Splits, csv};

/// Bytes of a block, unless one record is longer: fits the second-level cache together with what an operator holds.
pub const BLOCK: usize = 512 << 10;

/// Whole records, the first of them at the block's start.
#[derive(Debug, Clone, Copy)]
pub struct Block<'a> {
    /// The records with their delimiters.
    pub bytes: &'a [u8],
    /// Where it starts in its file, or in what that unpacks to.
    pub offset: u64,
    /// Its file.
    pub path: &'a Path,
    format: &'a Format,
    record_max: usize,
}

impl<'a> Block<'a> {
    /// Hands each record with its offset in the file to `each`.
    ///
    /// # Errors
    /// A record longer than the limit; what `each` says.
    pub fn each_record<E: std::convert::From<InputError>>(
        &self,
        mut each: impl FnMut(u64, &'a [u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        for (at, record) in self.format.records(self.bytes) {
            let offset = self.offset + at as u64;
            if record.len() > self.record_max {
                let path = self.path.to_path_buf();
                return Err(InputError::RecordTooLong { path, offset, max: self.record_max }.into());
            }
            each(offset, record)?;
        }
        Ok(())
    }
}

/// The blocks of one split, or of a stream.
pub struct Blocks<'a> {
    format: &'a Format,
    record_max: usize,
    /// Files of the split that are still to be read.
    files: Option<(&'a Splits, Split, std::ops::Range<usize>)>,
    from: Option<From>,
    buffer: Vec<u8>,
    filled: usize,
    /// Of the front of the buffer: handed out.
    given: usize,
    /// Of the buffer's first byte.
    offset: u64,
    /// `from` has no more.
    ended: bool,
}

impl std::fmt::Debug for Blocks<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Blocks").field("offset", &self.offset).finish_non_exhaustive()
    }
}

impl<'a> Blocks<'a> {
    /// The blocks of a split. `buffer` is used and can be had back by [`Blocks::into_buffer`].
    #[must_use]
    pub fn of_split(splits: &'a Splits, split: Split, buffer: Vec<u8>) -> Self {
        let mut blocks = Self::new(splits.format(), splits.record_max(), buffer);
        blocks.files = Some((splits, split, splits.files_of(split)));
        blocks
    }

    /// The blocks of a stream, read as it comes. `name`: for errors, such as `<stdin>`.
    #[must_use]
    pub fn of_stream(
        reader: Box<dyn Read + Send>,
        name: &Path,
        format: &'a Format,
        record_max: usize,
    ) -> Self {
        let mut blocks = Self::new(format, record_max, Vec::new());
        blocks.from = Some(From::stream(reader, name));
        blocks
    }

    fn new(format: &'a Format, record_max: usize, mut buffer: Vec<u8>) -> Self {
        buffer.resize(buffer.len().max(BLOCK), 0);
        Self {
            format,
            record_max,
            files: None,
            from: None,
            buffer,
            filled: 0,
            given: 0,
            offset: 0,
            ended: false,
        }
    }

    /// The buffer, for the next split.
    #[must_use]
    pub fn into_buffer(self) -> Vec<u8> {
        self.buffer
    }

    /// The next block; `None` at the end.
    ///
    /// # Errors
    /// What can't be read or is no whole record; nothing more comes then.
    pub fn read(&mut self) -> Result<Option<Block<'_>>, InputError> {
        loop {
            if self.from.is_none() && !self.open()? {
                return Ok(None);
            }
            if self.fill_one()? {
                let path = self.from.as_ref().map_or(Path::new(""), |from| &from.path);
                return Ok(Some(Block {
                    bytes: &self.buffer[..self.given],
                    offset: self.offset,
                    path,
                    format: self.format,
                    record_max: self.record_max,
                }));
            }
            self.from = None;
        }
    }

    /// Opens the next piece that has a record.
    fn open(&mut self) -> Result<bool, InputError> {
        let Some((splits, split, files)) = &mut self.files else { return Ok(false) };
        for file in files.by_ref() {
            let path = splits.inputs().path(file);
            let opened = File::open(&path).map_err(InputError::io("open", &path))?;
            if let Some(piece) = splits.piece(*split, file, &opened)? {
                let from = From::piece(opened, path, splits.inputs().packing(file), piece)?;
                (self.filled, self.given, self.ended) = (0, 0, false);
                self.offset = from.offset;
                self.from = Some(from);
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Brings whole records to the front of the buffer; false when there are none left.
    fn fill_one(&mut self) -> Result<bool, InputError> {
        self.buffer.copy_within(self.given..self.filled, 0);
        self.filled -= self.given;
        self.offset += self.given as u64;
        self.given = 0;
        loop {
            self.read_more()?;
            if self.ended {
                self.check_end()?;
                self.given = self.filled;
                return Ok(self.given > 0);
            }
            self.given = self.format.cut(&self.buffer[..self.filled]);
            if self.given > 0 {
                return Ok(true);
            }
            if self.buffer.len() > self.record_max {
                return Err(InputError::RecordTooLong {
                    path: self.path(),
                    offset: self.offset,
                    max: self.record_max,
                });
            }
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
    }

    fn read_more(&mut self) -> Result<(), InputError> {
        let Some(from) = self.from.as_mut().filter(|_| !self.ended) else { return Ok(()) };
        let free = &mut self.buffer[self.filled..];
        let room = free.len();
        let read = from.fill(free, self.offset + self.filled as u64)?;
        self.filled += read;
        self.ended = read < room;
        Ok(())
    }

    /// What is left at a file's end must be whole.
    fn check_end(&self) -> Result<(), InputError> {
        let rest = &self.buffer[..self.filled];
        match self.format {
            Format::Fixed(length) if !rest.len().is_multiple_of(length.get()) => {
                let left = rest.len() % length.get();
                Err(InputError::Ragged {
                    path: self.path(),
                    offset: self.offset + (rest.len() - left) as u64,
                    left,
                    length: length.get(),
                })
            }
            Format::Csv => match csv::open_record(rest) {
                Some(at) => Err(InputError::OpenQuote {
                    path: self.path(),
                    offset: self.offset + at as u64,
                }),
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }

    fn path(&self) -> std::path::PathBuf {
        self.from.as_ref().map(|from| from.path.clone()).unwrap_or_default()
    }
}
