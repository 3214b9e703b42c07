//! Forms of records: where one ends, and where one may start.

use std::num::NonZeroUsize;

use memchr::memmem;

use super::{InputError, csv};

/// How bytes are cut into records. A record's delimiter is no part of it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Format {
    /// Ends at a newline, or at the end of the file.
    Lines,
    /// Ends at these bytes. Made by [`Format::delimited`].
    Delimited(Box<Delimiter>),
    /// Ends at one or more empty lines; newlines before the first are passed over.
    Paragraphs,
    /// So many bytes each.
    Fixed(NonZeroUsize),
    /// A line of CSV (RFC 4180): a newline within double quotes is part of the record, a carriage return before its end is not.
    Csv,
}

/// Bytes that end a record.
#[derive(Debug, Clone)]
pub struct Delimiter {
    finder: memmem::Finder<'static>,
    /// Some end of it is also its start ("aa", "abab"): where a record starts depends on all that stands before.
    overlaps: bool,
}

impl Format {
    /// Records that end at `delimiter`.
    ///
    /// # Errors
    /// It is empty.
    pub fn delimited(delimiter: &[u8]) -> Result<Self, InputError> {
        if delimiter.is_empty() {
            return Err(InputError::BadFormat("a delimiter needs at least one byte".to_owned()));
        }
        let overlaps = (1..delimiter.len()).any(|n| delimiter.starts_with(&delimiter[n..]));
        let finder = memmem::Finder::new(delimiter).into_owned();
        Ok(Self::Delimited(Box::new(Delimiter { finder, overlaps })))
    }

    /// Records of `bytes` bytes.
    ///
    /// # Errors
    /// It is zero.
    pub fn fixed(bytes: usize) -> Result<Self, InputError> {
        let none = || InputError::BadFormat("a record needs at least one byte".to_owned());
        NonZeroUsize::new(bytes).map(Self::Fixed).ok_or_else(none)
    }

    /// Whether a start of a record can be told from the bytes around it. CSV can be split because its quotes are counted first.
    pub(crate) fn splittable(&self) -> bool {
        !matches!(self, Self::Delimited(delimiter) if delimiter.overlaps)
    }

    /// So many bytes before a position decide whether a record starts there.
    pub(crate) fn behind(&self) -> u64 {
        match self {
            Self::Lines | Self::Csv => 1,
            Self::Delimited(delimiter) => delimiter.finder.needle().len() as u64,
            Self::Paragraphs => 2,
            Self::Fixed(_) => 0,
        }
    }

    /// The first start of a record in `bytes` at or behind [`Format::behind`] (where `bytes[behind..]` is what is
    /// asked for), if it is seen. `quoted`: those first bytes stand within quotes; told back for what follows.
    pub(crate) fn start_in(&self, bytes: &[u8], quoted: &mut bool) -> Option<usize> {
        match self {
            Self::Lines => memchr::memchr(b'\n', bytes).map(|at| at + 1),
            Self::Csv => csv::start(bytes, quoted),
            Self::Delimited(delimiter) => {
                delimiter.finder.find(bytes).map(|at| at + delimiter.finder.needle().len())
            }
            Self::Paragraphs => paragraph_start(bytes),
            Self::Fixed(_) => Some(0),
        }
    }

    /// Where the last record that is seen to end in `bytes` ends, its delimiter included; 0 if none does.
    pub(crate) fn cut(&self, bytes: &[u8]) -> usize {
        match self {
            Self::Lines => memchr::memrchr(b'\n', bytes).map_or(0, |at| at + 1),
            Self::Csv => csv::cut(bytes),
            // From the left: of "aaa" the first two are the delimiter "aa".
            Self::Delimited(delimiter) if delimiter.overlaps => {
                let needle = delimiter.finder.needle().len();
                delimiter.finder.find_iter(bytes).last().map_or(0, |at| at + needle)
            }
            Self::Delimited(delimiter) => {
                let needle = delimiter.finder.needle();
                memmem::rfind(bytes, needle).map_or(0, |at| at + needle.len())
            }
            Self::Paragraphs => last_paragraph_start(bytes),
            Self::Fixed(length) => bytes.len() - bytes.len() % length.get(),
        }
    }

    /// What stands before the first record and belongs to none.
    pub(crate) fn preamble(&self, bytes: &[u8]) -> usize {
        match self {
            Self::Paragraphs => bytes.iter().take_while(|byte| **byte == b'\n').count(),
            _ => 0,
        }
    }

    /// The records of a block that starts and ends with a record.
    #[must_use]
    pub fn records<'a>(&'a self, block: &'a [u8]) -> Records<'a> {
        Records { format: self, block, at: self.preamble(block) }
    }
}

/// `bytes[0..2]` stand before what is asked for; a paragraph starts behind two newlines, at what is none.
fn paragraph_start(bytes: &[u8]) -> Option<usize> {
    let mut newlines = 0;
    for (at, byte) in bytes.iter().enumerate() {
        if *byte == b'\n' {
            newlines += 1;
        } else {
            if newlines >= 2 && at >= 2 {
                return Some(at);
            }
            newlines = 0;
        }
    }
    None
}

fn last_paragraph_start(bytes: &[u8]) -> usize {
    let mut end = bytes.len();
    while let Some(at) = memmem::rfind(&bytes[..end], b"\n\n") {
        // Newlines up to the end may go on: the record's end is seen only with the start of the next.
        if let Some(next) = bytes.get(at + 2)
            && *next != b'\n'
        {
            return at + 2;
        }
        end = at + 1;
    }
    0
}

/// Records with the place of each in the block. Made by [`Format::records`].
#[derive(Debug, Clone)]
pub struct Records<'a> {
    format: &'a Format,
    block: &'a [u8],
    at: usize,
}

impl<'a> Iterator for Records<'a> {
    type Item = (usize, &'a [u8]);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.block.get(self.at..).filter(|rest| !rest.is_empty())?;
        let start = self.at;
        let (length, step) = match self.format {
            Format::Lines => {
                let end = memchr::memchr(b'\n', rest);
                end.map_or((rest.len(), rest.len()), |end| (end, end + 1))
            }
            Format::Csv => csv::record(rest),
            Format::Delimited(delimiter) => {
                let end = delimiter.finder.find(rest);
                let needle = delimiter.finder.needle().len();
                end.map_or((rest.len(), rest.len()), |end| (end, end + needle))
            }
            Format::Paragraphs => {
                if let Some(end) = memmem::find(rest, b"\n\n") {
                    let newlines = rest[end..].iter().take_while(|byte| **byte == b'\n').count();
                    (end, end + newlines)
                } else {
                    (rest.strip_suffix(b"\n").unwrap_or(rest).len(), rest.len())
                }
            }
            Format::Fixed(length) => (rest.len().min(length.get()), rest.len().min(length.get())),
        };
        self.at += step;
        Some((start, &rest[..length]))
    }
}
