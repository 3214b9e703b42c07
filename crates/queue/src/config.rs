//! What a queue promises and how a new task looks.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ganger_core::{Durability, Priority};
use ganger_store::{KeepBounds, TaskOptions};
use serde::{Deserialize, Serialize};

use crate::control::{ControlRules, Wants};
use crate::limits::LimitRules;
use crate::retry::RetryRules;
use crate::shares::Lanes;

/// The rules of one queue.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QueueConfig {
    /// What an acknowledgement promises.
    pub durability: Durability,
    /// When a failed task runs again.
    pub retry: RetryRules,
    /// How many dead letters are kept; the store sees to it between commits.
    pub dead: KeepBounds,
    /// How long one attempt may take, from its start.
    pub timeout: Duration,
    /// Longest payload in bytes.
    pub payload_max: usize,
    /// Most unfinished tasks; `None`: as many as the disk holds (a memory queue then holds [`MEMORY_LEN_MAX`]).
    pub max_len: Option<u64>,
    /// What its tasks ask for beyond being run, where they do not say so themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control: Option<Box<ControlRules>>,
    /// Most payload bytes of unfinished tasks.
    pub max_bytes: Option<u64>,
    /// Pushes are refused while a task has been available for longer than this.
    pub max_age: Option<Duration>,
    /// How many run at once and how often one starts.
    pub limits: LimitRules,
    /// How turns are dealt to priorities.
    pub lanes: Lanes,
}

/// Tasks a memory queue holds when its configuration names no bound: at 500 bytes each about 500 MB.
pub const MEMORY_LEN_MAX: u64 = 1_000_000;
/// Longest payload when the configuration names none.
pub const PAYLOAD_MAX: usize = 1024 * 1024;

impl Default for QueueConfig {
    fn default() -> Self {
        Self {
            durability: Durability::Fsync,
            retry: RetryRules::default(),
            dead: KeepBounds::default(),
            timeout: Duration::from_secs(600),
            payload_max: PAYLOAD_MAX,
            max_len: None,
            control: None,
            max_bytes: None,
            max_age: None,
            limits: LimitRules::default(),
            lanes: Lanes::default(),
        }
    }
}

/// A task somebody wants done.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct NewTask {
    /// What kind of work it is, for the worker.
    pub kind: Option<Arc<str>>,
    /// Larger first.
    pub priority: Priority,
    /// Not before this moment, milliseconds since 1970; 0: at once.
    pub run_at_ms: u64,
    /// JSON text.
    pub payload: Bytes,
    /// What differs from the queue's configuration.
    pub options: Option<Box<TaskOptions>>,
    /// What it asks for beyond being run; resolved against the queue's rules when it is pushed.
    pub wants: Option<Box<Wants>>,
}

impl NewTask {
    /// A task of normal priority for now, with this JSON text.
    #[must_use]
    pub fn json(payload: impl Into<Bytes>) -> Self {
        Self { payload: payload.into(), ..Self::default() }
    }
}

/// Why a push was refused. Nothing of the request was taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PushError {
    /// A payload is over the queue's bound.
    #[error(
        "task {index} of the request for queue `{queue}` has a payload of {len} bytes, the bound is {max}: store the data elsewhere and push a reference, or raise `max_payload` of the queue"
    )]
    PayloadTooLarge {
        /// The queue.
        queue: Arc<str>,
        /// Which task of the request, from 0.
        index: usize,
        /// Its payload's length.
        len: usize,
        /// The bound.
        max: usize,
    },
    /// The queue is full.
    #[error(
        "queue `{queue}` is full: {len} unfinished tasks and {more} new ones, the bound is {max}; push later or raise `max_length`"
    )]
    QueueFull {
        /// The queue.
        queue: Arc<str>,
        /// Unfinished tasks.
        len: u64,
        /// Tasks of the request.
        more: u64,
        /// The bound.
        max: u64,
        /// When there may be room.
        retry_after: Duration,
    },
    /// The queue holds too many bytes.
    #[error(
        "queue `{queue}` is full: {len} bytes of unfinished tasks and {more} new ones, the bound is {max}; push later or raise `max_bytes`"
    )]
    BytesFull {
        /// The queue.
        queue: Arc<str>,
        /// Payload bytes of unfinished tasks.
        len: u64,
        /// Payload bytes of the request.
        more: u64,
        /// The bound.
        max: u64,
        /// When there may be room.
        retry_after: Duration,
    },
    /// The queue is too far behind.
    #[error(
        "queue `{queue}` is behind: its oldest task has been available for {}, the bound is {}; push later, add workers or raise `max_age`",
        ganger_core::Dur(*age), ganger_core::Dur(*max)
    )]
    TooOld {
        /// The queue.
        queue: Arc<str>,
        /// How long its oldest task has been available.
        age: Duration,
        /// The bound.
        max: Duration,
        /// When it may have been taken.
        retry_after: Duration,
    },
    /// A commit has just failed for want of room; what was answered goes first.
    #[error("queue `{queue}` takes nothing while the disk is full: {error}")]
    StoreFull {
        /// The queue.
        queue: Arc<str>,
        /// What the store said.
        error: ganger_store::StoreError,
    },
    /// The queue takes nothing new.
    #[error(
        "queue `{queue}` is draining: it takes no new tasks; `ganger queue resume {queue}` opens it"
    )]
    Draining {
        /// The queue.
        queue: Arc<str>,
    },
    /// A task has a key, and nothing is limited per key.
    #[error(
        "task {index} of the request for queue `{queue}` has a concurrency key, but the queue limits nothing per key: set `limits.per_key` of the queue"
    )]
    NoKeyLimit {
        /// The queue.
        queue: Arc<str>,
        /// Which task of the request, from 0.
        index: usize,
    },
    /// What a task asks for needs a queue that outlives the daemon.
    #[error(
        "task {index} of the request for queue `{queue}`: dedupe, cache and result_ttl need a queue of durability \"relaxed\" or \"fsync\", this one is \"memory\""
    )]
    NotInMemory {
        /// The queue.
        queue: Arc<str>,
        /// Which task of the request, from 0.
        index: usize,
    },
    /// A request without tasks.
    #[error("the request for queue `{queue}` has no tasks")]
    Nothing {
        /// The queue.
        queue: Arc<str>,
    },
}

/// A full disk does not empty within milliseconds; the engine tries again after a second.
const STORE_FULL_RETRY: Duration = Duration::from_secs(2);

impl PushError {
    /// When the same push may be taken; `None`: waiting does not help.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::QueueFull { retry_after, .. }
            | Self::BytesFull { retry_after, .. }
            | Self::TooOld { retry_after, .. } => Some(*retry_after),
            Self::StoreFull { .. } => Some(STORE_FULL_RETRY),
            _ => None,
        }
    }
}
