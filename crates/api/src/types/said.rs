//! What attempts say of themselves: progress and log lines.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Timestamp, V1};

/// How far a try is, in its own words.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// What the worker said: a number from 0 to 100, or any JSON.
    pub value: Value,
    /// The value, where it is a number from 0 to 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<f64>,
    /// What it is at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// When it said so.
    pub at: Timestamp,
}

/// One event of `GET /tasks/{id}/log`, a line of `task logs --json`: a log line or a progress.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskWord {
    /// Version of the shape.
    pub v: V1,
    /// The try that said it.
    pub attempt: u32,
    /// Number of the line in its try, from 1. A step of more than 1 tells of dropped lines. Left out for stderr of commands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n: Option<u64>,
    /// When it came.
    pub ts: Timestamp,
    /// The line, where it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<String>,
    /// The progress, where it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
}

/// Query of `GET /tasks/{id}/log`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TaskLogQuery {
    /// Go on until the task has ended.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub follow: bool,
    /// Only this try.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// Only the last so many lines of what there is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tail: Option<u32>,
}
