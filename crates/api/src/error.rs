//! The one error shape of API and CLI: what failed, the chain of causes, and what to do.

use serde::{Deserialize, Serialize};

/// What kind of failure; each has one exit code of the CLI and one HTTP status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// It was tried and did not work.
    Failed,
    /// The request itself makes no sense.
    Usage,
    /// The configuration is invalid.
    Config,
    /// No such thing.
    NotFound,
    /// No daemon answers, or it can't serve this now.
    NoDaemon,
    /// The caller may not.
    Denied,
    /// It took longer than allowed.
    Timeout,
    /// Some of it failed.
    Partial,
    /// Something else is in the way: a state, a name, a second daemon.
    Conflict,
    /// A queue is full or too far behind: the same again later may work.
    Full,
}

impl ErrorKind {
    /// The CLI's exit code.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Config => 3,
            Self::NotFound => 4,
            Self::NoDaemon => 5,
            Self::Denied => 6,
            Self::Timeout => 7,
            Self::Partial => 8,
            Self::Conflict => 9,
            Self::Full => 10,
        }
    }

    /// The HTTP status that carries it.
    #[must_use]
    pub const fn http_status(self) -> u16 {
        match self {
            Self::Failed => 500,
            Self::Usage => 400,
            Self::Config => 422,
            Self::NotFound => 404,
            Self::NoDaemon => 503,
            Self::Denied => 403,
            Self::Timeout => 408,
            Self::Partial => 207,
            Self::Conflict => 409,
            Self::Full => 429,
        }
    }
}

/// A failure as the API writes it: `{"v":1,"error":{"kind","message","chain","hints"}}`.
#[derive(
    Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error, schemars::JsonSchema,
)]
#[error("{message}")]
pub struct ApiError {
    /// Which kind, and with it the exit code.
    pub kind: ErrorKind,
    /// What failed, on what, and why, in one sentence.
    pub message: String,
    /// The causes below it, nearest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chain: Vec<String>,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hints: Vec<String>,
    /// Which line of the request's body (or which task of its list, from 1) it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// When to try again, in whole seconds; also in the header `Retry-After`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_s: Option<u64>,
}

impl ApiError {
    /// A failure with no causes and no hints yet.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            chain: Vec::new(),
            hints: Vec::new(),
            line: None,
            retry_after_s: None,
        }
    }

    /// Adds what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Says which line of the request it is about.
    #[must_use]
    pub const fn at_line(mut self, line: u64) -> Self {
        self.line = Some(line);
        self
    }

    /// Adds a cause.
    #[must_use]
    pub fn cause(mut self, cause: impl Into<String>) -> Self {
        self.chain.push(cause.into());
        self
    }

    /// From an error and its sources: its text is the message, theirs the chain where they say something new.
    pub fn from_error(kind: ErrorKind, error: &dyn std::error::Error) -> Self {
        let mut api = Self::new(kind, error.to_string());
        let mut source = error.source();
        while let Some(cause) = source {
            let text = cause.to_string();
            if !api.message.contains(&text) {
                api.chain.push(text);
            }
            source = cause.source();
        }
        api
    }
}

/// The body of every answer that is not a success.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// Version of the shape.
    pub v: crate::V1,
    /// The failure.
    pub error: ApiError,
}
