//! What a task may ask for beyond being run: uniqueness, a last moment, a cached result.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ganger_core::TaskId;
use serde::{Deserialize, Serialize};

use crate::attempt::AttemptError;

/// Followers of one task under way; identical pushes beyond them are tasks of their own. Bounds what one commit does.
pub const FOLLOWERS_MAX: u32 = 1_000;

/// What a task asks for beyond being run. Kept with its options, so queues without these features pay nothing.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Control {
    /// No second task like it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub dedupe: Option<Dedupe>,
    /// Does not run on from then; milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub deadline_ms: Option<u64>,
    /// Does not begin its first attempt from then; milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub expires_ms: Option<u64>,
    /// How long its result is kept.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub result_ttl: Option<Duration>,
    /// Its result serves identical tasks.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cache: Option<Caching>,
    /// Its result is another task's: it never ran.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub cached: bool,
}

impl Control {
    /// Why a waiting task must not run any more, if that is so. `base`: attempts before it was brought back by hand.
    #[must_use]
    pub fn over(&self, attempt: u32, base: u32, now_ms: u64) -> Option<AttemptError> {
        if self.deadline_ms.is_some_and(|at| at <= now_ms) {
            return Some(AttemptError::of("deadline", "its deadline passed before it was done"));
        }
        let unused = attempt == 0 && base == 0;
        if unused && self.expires_ms.is_some_and(|at| at <= now_ms) {
            return Some(AttemptError::of("expired", "it did not start in time"));
        }
        None
    }

    /// True when something must be let go of once the task has ended.
    #[must_use]
    pub const fn ends(&self) -> bool {
        self.dedupe.is_some() || self.cache.is_some() || self.result_ttl.is_some()
    }

    /// True when a key is let go of once the task is given to a worker.
    #[must_use]
    pub fn starts(&self) -> bool {
        self.dedupe.as_ref().is_some_and(|dedupe| dedupe.until == Until::Start)
    }
}

/// No second task with the same key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dedupe {
    /// The key, unique in its queue.
    pub key: Box<str>,
    /// How long it is held.
    pub until: Until,
    /// What a push does that finds it held.
    pub on_conflict: OnConflict,
}

/// How long a key is held. A task that ends for good lets go of it in any case but the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Until {
    /// Until the task is given to a worker.
    Start,
    /// Until it is completed, cancelled or discarded.
    Success,
    /// So long from its push, whatever becomes of it.
    For(Duration),
}

/// What a push does that finds its key held.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnConflict {
    /// The whole request is refused.
    Reject,
    /// The task that holds it is the answer.
    #[default]
    Existing,
    /// A holder that waits is cancelled and this one takes its place; one that runs or has ended refuses the request.
    Replace,
}

/// How a result serves identical tasks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Caching {
    /// Stands for queue, kind and payload.
    pub key: Box<str>,
    /// How long a result serves.
    pub ttl: Duration,
    /// Entries of the queue's cache; the one used longest ago goes first.
    pub max_entries: u64,
    /// Bytes of all its results.
    pub max_bytes: u64,
}

/// A task of a push that did not become a waiting task.
#[derive(Debug, Clone, PartialEq)]
pub struct Special {
    /// Index of the push in [`crate::Batch::ops`].
    pub op: usize,
    /// Index of the task in the push.
    pub task: usize,
    /// What became of it.
    pub what: What,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq)]
pub enum What {
    /// Another task holds its key: that one is the answer.
    Existing(TaskId),
    /// Another task holds its key: nothing of the push was taken.
    Rejected(TaskId),
    /// `completed` at once with a cached result.
    Hit(Bytes),
    /// `scheduled` until the identical task under way has ended.
    Follows(TaskId),
}

/// A task that waited for an identical one which has ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Followed {
    /// Index of the operation that ended it in [`crate::Batch::ops`].
    pub op: usize,
    /// The follower.
    pub id: TaskId,
    /// Its queue.
    pub queue: Arc<str>,
    /// Bytes of its payload.
    pub payload_len: u64,
    /// `completed` with this result; `None`: it is due now and runs itself.
    pub result: Option<Bytes>,
}

/// What is known of a queue's result cache, over all times.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CacheStats {
    /// Results kept.
    pub entries: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Pushes that were answered from it, those that waited for an identical task included.
    pub hits: u64,
    /// Pushes that were not.
    pub misses: u64,
    /// Results dropped for want of room.
    pub evicted: u64,
}

/// Tasks whose last moment has come.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits {
    /// The task, and which moment of it; earliest first.
    pub due: Vec<(TaskId, u64)>,
    /// The earliest moment that is not in `due`.
    pub next_ms: Option<u64>,
}
