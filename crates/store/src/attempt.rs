//! How attempts end: the words and the errors.

use ganger_core::Usage;
use serde::{Deserialize, Serialize};

/// How an attempt ended, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttemptWord {
    /// The worker answered with a result.
    Completed,
    /// The worker answered with an error.
    Error,
    /// The worker's process ended while it ran, by itself, a signal or a limit.
    Crash,
    /// Ganger ended its process for a reason that is not this attempt: a stop, a restart, a takeover.
    Interrupted,
    /// Its time was over.
    Timeout,
    /// Cancelled by request.
    Cancelled,
    /// Nobody can say how it ended.
    Lost,
    /// It failed and named the time of the next attempt; recorded, but it does not count against the maximum.
    Snoozed,
    /// Given back without being charged: it leaves no row in the history and its number is used again.
    Released,
}

impl AttemptWord {
    /// The word users see.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Error => "error",
            Self::Crash => "crash",
            Self::Interrupted => "interrupted",
            Self::Timeout => "timeout",
            Self::Cancelled => "cancelled",
            Self::Lost => "lost",
            Self::Snoozed => "snoozed",
            Self::Released => "released",
        }
    }

    /// True for ends that speak against the task although it gave no answer: after a few of them it is quarantined. What
    /// ganger did itself (`interrupted`) and what nobody can say (`lost`) does not.
    #[must_use]
    pub const fn is_crash(self) -> bool {
        matches!(self, Self::Crash | Self::Timeout)
    }
}

impl std::str::FromStr for AttemptWord {
    type Err = UnknownAttemptWord;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        const ALL: [AttemptWord; 9] = [
            AttemptWord::Completed,
            AttemptWord::Error,
            AttemptWord::Crash,
            AttemptWord::Interrupted,
            AttemptWord::Timeout,
            AttemptWord::Cancelled,
            AttemptWord::Lost,
            AttemptWord::Snoozed,
            AttemptWord::Released,
        ];
        ALL.into_iter().find(|w| w.as_str() == s).ok_or_else(|| UnknownAttemptWord(s.to_owned()))
    }
}

/// A stored word this version does not know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not how an attempt ends")]
pub struct UnknownAttemptWord(pub String);

/// Why a task became a dead letter: the reason beside `discarded`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeadReason {
    /// No attempts left.
    Attempts,
    /// Its error says that another attempt would fail as well.
    NonRetryable,
    /// Too old for another attempt.
    MaxAge,
    /// It took its process along (or its time) too often.
    Quarantined,
    /// What it started could not be proven dead, so that a next attempt might run beside it.
    Stuck,
}

impl DeadReason {
    /// Every reason.
    pub const ALL: &'static [Self] =
        &[Self::Attempts, Self::NonRetryable, Self::MaxAge, Self::Quarantined, Self::Stuck];

    /// The word users see.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Attempts => "attempts",
            Self::NonRetryable => "non_retryable",
            Self::MaxAge => "max_age",
            Self::Quarantined => "quarantined",
            Self::Stuck => "stuck",
        }
    }
}

impl std::fmt::Display for DeadReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

impl std::str::FromStr for DeadReason {
    type Err = UnknownDeadReason;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.iter().find(|reason| reason.as_str() == s);
        found.copied().ok_or_else(|| UnknownDeadReason(s.to_owned()))
    }
}

/// A word that is not why a task became a dead letter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not why tasks are discarded; allowed: attempts, non_retryable, max_age, quarantined, stuck"
)]
pub struct UnknownDeadReason(pub String);

/// Why an attempt failed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptError {
    /// What a person reads first.
    pub message: String,
    /// The error's class in the worker's language.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub class: Option<String>,
    /// Where it was thrown.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub stack: Option<String>,
    /// The last lines the process wrote to stderr.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub stderr: Vec<String>,
    /// What its process had used when it ended, for attempts that ended with their process.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub usage: Option<Box<Usage>>,
}

impl AttemptError {
    /// An error that is only a message.
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), ..Self::default() }
    }

    /// An error of a class of ganger's own, e.g. `deadline`.
    #[must_use]
    pub fn of(class: &str, message: impl Into<String>) -> Self {
        Self { class: Some(class.to_owned()), ..Self::new(message) }
    }
}
