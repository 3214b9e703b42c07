//! Dead letters: `GET /dead`, `POST /dead/replay`, `POST /dead/purge`, `POST /dead/{id}/edit`.

use ganger_core::{Priority, TaskId};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Timestamp, V1};

/// Which dead letters; `*` in `kind` and `class` stands for any text.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeadQuery {
    /// Only this queue. Those of memory queues are found by it only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<String>,
    /// Only this kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Only those whose last error is of this class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// Only those with this in the last error's message, stack or stderr, upper or lower case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Only those given up for this: `attempts`, `non_retryable`, `max_age`, `quarantined`, `stuck`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Only those that died since: RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Only those that died before: RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// At most this many; the daemon caps it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// The `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// A page of dead letters, by queue, newest pushed first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeadPage {
    /// Version of the shape.
    pub v: V1,
    /// The letters.
    pub letters: Vec<DeadLetter>,
    /// Pass as `after` for the next page; `null` at the end.
    pub next: Option<String>,
}

/// One dead letter; `GET /tasks/{id}` has its payload and attempts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// 13 characters of base32.
    pub id: TaskId,
    /// Where it was pushed.
    pub queue: String,
    /// What was to be done.
    pub kind: String,
    /// Larger first.
    pub priority: Priority,
    /// How many tries were made.
    pub attempts: u32,
    /// How many of them ended by crash or timeout.
    pub crashes: u32,
    /// Why it was given up; `null` for letters of before reasons were kept.
    pub reason: Option<String>,
    /// Class of its last error.
    pub class: Option<String>,
    /// Its last error.
    pub error: Option<String>,
    /// When it was pushed.
    pub created_at: Timestamp,
    /// When it was given up.
    pub died_at: Timestamp,
}

/// Body of `POST /dead/replay` and `POST /dead/purge`: those named, or a page of those found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeadRequest {
    /// These.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<TaskId>,
    /// Without `ids`: these. Each call does one page of them, from `after` on.
    #[serde(default)]
    pub filter: DeadQuery,
    /// Do nothing: count all that would be found, and show the first few.
    #[serde(default)]
    pub dry_run: bool,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeadDone {
    /// Version of the shape.
    pub v: V1,
    /// How many were found: by this call, or in all when it was a dry run.
    pub found: u64,
    /// How many of them were brought back or forgotten.
    pub done: u64,
    /// How many of them were no dead letters any more when it came to it.
    pub skipped: u64,
    /// The first few, of a dry run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sample: Vec<DeadLetter>,
    /// There may be more: pass as `filter.after`.
    pub next: Option<String>,
}

/// Body of `POST /dead/{id}/edit`: brings it back with another payload.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeadEdit {
    /// Any JSON.
    pub payload: Box<RawValue>,
}
