//! Operators over lines and records: counting them, and finding those that match.

use regex::bytes::Regex;

use super::is_space;

/// What `wc` counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wc {
    /// Newlines.
    pub lines: u64,
    /// What stands between white space.
    pub words: u64,
    /// Bytes.
    pub bytes: u64,
}

impl Wc {
    /// Counts a block that starts and ends at the bounds of words.
    pub fn feed(&mut self, block: &[u8]) {
        self.bytes += block.len() as u64;
        self.lines += memchr::memchr_iter(b'\n', block).count() as u64;
        // A word begins at what is none behind white space; adding up booleans is done many bytes at a time.
        let first = block.first().is_some_and(|byte| !is_space(*byte));
        let begins = block.iter().zip(block.iter().skip(1));
        let begins = begins.map(|(before, byte)| u64::from(is_space(*before) & !is_space(*byte)));
        self.words += u64::from(first) + begins.sum::<u64>();
    }

    /// Takes another's counts in.
    pub fn merge(&mut self, other: Self) {
        self.lines += other.lines;
        self.words += other.words;
        self.bytes += other.bytes;
    }
}

/// Which records match.
#[derive(Debug, Clone)]
pub struct Grep {
    pattern: Regex,
    invert: bool,
}

impl Grep {
    /// `pattern`: a regular expression without backtracking (the `regex` crate's), over bytes.
    ///
    /// # Errors
    /// The pattern is wrong; says where.
    pub fn new(pattern: &str, invert: bool) -> Result<Self, regex::Error> {
        Ok(Self { pattern: Regex::new(pattern)?, invert })
    }

    /// The bytes of `text` as they stand, and no pattern.
    ///
    /// # Errors
    /// The text is too long for a matcher.
    pub fn fixed(text: &str, invert: bool) -> Result<Self, regex::Error> {
        Self::new(&regex::escape(text), invert)
    }

    /// Whether a record is one that is looked for.
    #[must_use]
    pub fn takes(&self, record: &[u8]) -> bool {
        self.pattern.is_match(record) != self.invert
    }
}
