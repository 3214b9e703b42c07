//! Records that match a pattern.

use regex::bytes::Regex;

/// Which records match.
#[derive(Debug, Clone)]
pub struct Grep {
    pattern: Regex,
}

impl Grep {
    /// `pattern`: a regular expression without backtracking (the `regex` crate's), over bytes.
    ///
    /// # Errors
    /// The pattern is wrong; says where.
    pub fn new(pattern: &str) -> Result<Self, regex::Error> {
        Ok(Self { pattern: Regex::new(pattern)? })
    }

    /// Whether a record is one that is looked for.
    #[must_use]
    pub fn takes(&self, record: &[u8]) -> bool {
        self.pattern.is_match(record)
    }
}
