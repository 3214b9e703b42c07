//! Where series are and what is kept of them.

use std::path::PathBuf;
use std::time::Duration;

use crate::key::Tick;

/// Series at once, if nothing else is said: 5,000 processes of 12 metrics. Each takes 480 bytes of memory while its minute is open.
pub const SERIES_MAX: usize = 60_000;

/// Bounds of a tier: whichever is reached first. Whole segments go, the oldest first; the one that is written stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// Bytes of its segments.
    pub max_bytes: u64,
    /// Age of what is in them.
    pub max_age: Duration,
}

impl Keep {
    pub(crate) fn age_s(&self) -> Tick {
        Tick::try_from(self.max_age.as_secs()).unwrap_or(Tick::MAX)
    }
}

/// Where and how much.
#[derive(Debug, Clone)]
pub struct Options {
    /// The folder of segments; made with mode 0700.
    pub folder: PathBuf,
    /// Samples by the second.
    pub fine: Keep,
    /// Summaries by the minute.
    pub minute: Keep,
    /// Summaries by the hour.
    pub hour: Keep,
    /// Marks.
    pub marks: Keep,
    /// Series at once; who comes beyond is refused and counted.
    pub series_max: usize,
}

impl Options {
    /// Six hours of seconds, two weeks of minutes, a year of hours and marks; 256 MiB at most for each tier, 16 for marks.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        let days = |n: u64| Duration::from_secs(n * 86_400);
        let keep = |max_age| Keep { max_bytes: 256 << 20, max_age };
        Self {
            folder: folder.into(),
            fine: keep(Duration::from_secs(6 * 3_600)),
            minute: keep(days(14)),
            hour: keep(days(366)),
            marks: Keep { max_bytes: 16 << 20, max_age: days(366) },
            series_max: SERIES_MAX,
        }
    }
}
