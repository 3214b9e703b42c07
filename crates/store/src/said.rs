//! What an attempt's own code said of itself while it ran: how far it is, and its log lines.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// What an attempt has said so far. How it is gathered and bounded is a rule of `queue`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// The newest progress.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub progress: Option<Progress>,
    /// Its newest lines, oldest first; those before them were dropped.
    #[serde(skip_serializing_if = "VecDeque::is_empty", default)]
    pub lines: VecDeque<SaidLine>,
    /// Lines said in all: the last of `lines` has this number, from 1.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub total: u64,
    /// Progress that was too large to be kept.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub refused: u64,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde's skip_serializing_if passes a reference"
)]
const fn is_zero(n: &u64) -> bool {
    *n == 0
}

impl Said {
    /// True when there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Its lines with their numbers.
    pub fn numbered(
        &self,
    ) -> impl DoubleEndedIterator<Item = (u64, &SaidLine)> + ExactSizeIterator {
        let before = self.dropped();
        self.lines.iter().enumerate().map(move |(at, line)| (before + at as u64 + 1, line))
    }

    /// Lines that were said and are not kept.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.total.saturating_sub(self.lines.len() as u64)
    }
}

/// How far an attempt is, in its own words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// JSON text.
    pub value: Box<str>,
    /// What it is at.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub message: Option<Box<str>>,
    /// Wall clock, milliseconds since 1970.
    pub at_ms: u64,
}

impl Progress {
    /// The value as percent, when it is a number from 0 to 100.
    #[must_use]
    pub fn percent(&self) -> Option<f64> {
        self.value.parse().ok().filter(|n| (0.0..=100.0).contains(n))
    }
}

/// One log line of an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(u64, Box<str>)", into = "(u64, Box<str>)")]
pub struct SaidLine {
    /// Wall clock, milliseconds since 1970.
    pub at_ms: u64,
    /// Without its line end.
    pub text: Box<str>,
}

impl From<(u64, Box<str>)> for SaidLine {
    fn from((at_ms, text): (u64, Box<str>)) -> Self {
        Self { at_ms, text }
    }
}

impl From<SaidLine> for (u64, Box<str>) {
    fn from(line: SaidLine) -> Self {
        (line.at_ms, line.text)
    }
}
