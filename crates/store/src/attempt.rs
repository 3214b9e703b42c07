//! How attempts end: the words and the errors.

use serde::{Deserialize, Serialize};

/// How an attempt ended, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttemptWord {
    /// The worker answered with a result.
    Completed,
    /// The worker answered with an error.
    Error,
    /// The worker's process ended while it ran.
    Crash,
    /// Its time was over.
    Timeout,
    /// Cancelled by request.
    Cancelled,
    /// Nobody can say how it ended.
    Lost,
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
            Self::Timeout => "timeout",
            Self::Cancelled => "cancelled",
            Self::Lost => "lost",
            Self::Released => "released",
        }
    }

    /// True for ends that are the process's, not the task's answer.
    #[must_use]
    pub const fn is_crash(self) -> bool {
        matches!(self, Self::Crash | Self::Lost)
    }
}

impl std::str::FromStr for AttemptWord {
    type Err = UnknownAttemptWord;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        const ALL: [AttemptWord; 7] = [
            AttemptWord::Completed,
            AttemptWord::Error,
            AttemptWord::Crash,
            AttemptWord::Timeout,
            AttemptWord::Cancelled,
            AttemptWord::Lost,
            AttemptWord::Released,
        ];
        ALL.into_iter().find(|w| w.as_str() == s).ok_or_else(|| UnknownAttemptWord(s.to_owned()))
    }
}

/// A stored word this version does not know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not how an attempt ends")]
pub struct UnknownAttemptWord(pub String);

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
}

impl AttemptError {
    /// An error that is only a message.
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), ..Self::default() }
    }
}
