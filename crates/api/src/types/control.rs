//! What a task may ask for beyond being run.

use std::fmt;
use std::str::FromStr;

use ganger_core::{Dur, Priority, TaskState};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// No second task like it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dedupe {
    /// What must be equal: a text of yours, or `payload` for kind and payload.
    pub key: String,
    /// How long the key is held. Default: `success`.
    #[serde(default)]
    pub until: DedupeUntil,
    /// What a push does that finds it held. Default: `existing`.
    #[serde(default)]
    pub on_conflict: DedupeConflict,
}

/// How long a key is held: `start`, `success`, or a time from the push.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum DedupeUntil {
    /// Until the task is given to a worker.
    Start,
    /// Until it is completed, cancelled or discarded.
    #[default]
    Success,
    /// So long, whatever becomes of it.
    For(Dur),
}

/// Neither a word nor a time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is none of: start, success, a time such as 10m")]
pub struct DedupeUntilError(String);

impl FromStr for DedupeUntil {
    type Err = DedupeUntilError;

    fn from_str(text: &str) -> Result<Self, DedupeUntilError> {
        match text {
            "start" => Ok(Self::Start),
            "success" => Ok(Self::Success),
            time => time.parse().map(Self::For).map_err(|_| DedupeUntilError(text.to_owned())),
        }
    }
}

impl fmt::Display for DedupeUntil {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start => f.write_str("start"),
            Self::Success => f.write_str("success"),
            Self::For(time) => time.fmt(f),
        }
    }
}

impl Serialize for DedupeUntil {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for DedupeUntil {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// What a push does that finds its key held.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DedupeConflict {
    /// The whole request is refused.
    Reject,
    /// The answer is the task that holds it.
    #[default]
    Existing,
    /// A holder that waits is cancelled and the new task takes its place; else the request is refused.
    Replace,
}

/// Body of `POST /tasks/{id}/priority` and `POST /queues/{name}/priority`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PriorityRequest {
    /// The new one.
    pub priority: Priority,
    /// Of a queue: only tasks of this kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Of a queue: only tasks in this state; else all that wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<TaskState>,
}

/// What a queue's result cache has done, over all times.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueCache {
    /// Results kept.
    pub entries: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Pushes answered from it, those that waited for an identical task included.
    pub hits: u64,
    /// Pushes that had to run.
    pub misses: u64,
    /// Results dropped for want of room.
    pub evicted: u64,
}
