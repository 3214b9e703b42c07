//! What the engine is told, in types.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use ganger_core::{TaskId, Token};
use ganger_store::AttemptError;

/// A moment on both clocks. Timeouts use the monotonic one, stored times the wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Wall clock, milliseconds since 1970.
    pub wall_ms: u64,
    /// Monotonic clock.
    pub at: Instant,
}

impl Now {
    /// Reads both clocks.
    #[must_use]
    pub fn real() -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { wall_ms: u64::try_from(wall.as_millis()).unwrap_or(u64::MAX), at: Instant::now() }
    }

    /// The same moment later.
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        let ms = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        Self { wall_ms: self.wall_ms.saturating_add(ms), at: self.at + by }
    }
}

/// How to make an engine.
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// The store's epoch ([`ganger_store::Writer::epoch`]); any number ≥ 1 where only memory queues are used.
    pub epoch: u32,
    /// This machine's number in task ids.
    pub node: u8,
    /// The highest id the store has seen.
    pub id_floor: Option<TaskId>,
    /// Seed of the jitter.
    pub seed: u64,
}

impl EngineOptions {
    /// Node 0, nothing made yet, a random seed.
    #[must_use]
    pub fn new(epoch: u32) -> Self {
        Self { epoch, node: 0, id_floor: None, seed: fastrand::u64(..) }
    }
}

/// A configured queue, as long as this engine lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QueueIx(pub(crate) u32);

/// What is to become of a queue's gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GateSet {
    /// Hands out nothing.
    Pause,
    /// Takes nothing new; what is there goes on.
    Drain,
    /// Takes tasks and hands them out.
    Resume,
}

/// Who takes tasks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Worker {
    /// The owner's own key, handed back in actions.
    pub key: u64,
    /// The instance, e.g. `images#2`.
    pub name: Arc<str>,
    /// Its process; 0 where there is none yet (a command per task).
    pub pid: u32,
}

/// An attempt's end.
#[derive(Debug, Clone, PartialEq)]
pub struct Finish {
    /// The task.
    pub id: TaskId,
    /// The attempt.
    pub token: Token,
    /// The process that ran it, where it differs from the worker's.
    pub pid: Option<u32>,
    /// How it ended.
    pub how: How,
}

impl Finish {
    /// An end without a pid of its own.
    #[must_use]
    pub const fn new(id: TaskId, token: Token, how: How) -> Self {
        Self { id, token, pid: None, how }
    }
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq)]
pub enum How {
    /// With a result (JSON text).
    Completed(Bytes),
    /// With an error of the task's own.
    Error {
        /// Why.
        error: Box<AttemptError>,
        /// False: no further attempt makes sense, `discarded` at once.
        retryable: bool,
        /// The wait before the next attempt, instead of the backoff; then this one is free.
        retry_after: Option<Duration>,
    },
    /// The process ended while the attempt ran.
    Crash(Box<AttemptError>),
    /// Ganger ended the process for another reason: a stop, a restart, a takeover. Charged, but not held against the task.
    Interrupted(Box<AttemptError>),
    /// The process ended, but part of what it started could not be proven dead. No further attempt: it might run beside that.
    Stuck {
        /// Which processes.
        error: Box<AttemptError>,
        /// Its time was over; else it crashed.
        timed_out: bool,
    },
    /// Its time was over and it was ended.
    Timeout(Box<AttemptError>),
    /// Nobody knows how it ended, only that nothing of it runs any more.
    Lost(Box<AttemptError>),
    /// The worker wants it again later; costs no attempt.
    Snooze(Duration),
    /// It never began (a buffered task of a worker that went away); costs no attempt.
    Released,
    /// It was stopped because of a cancel request.
    Cancelled,
}

impl How {
    /// The error of a failure.
    pub fn error_mut(&mut self) -> Option<&mut AttemptError> {
        match self {
            Self::Error { error, .. }
            | Self::Crash(error)
            | Self::Timeout(error)
            | Self::Interrupted(error)
            | Self::Lost(error)
            | Self::Stuck { error, .. } => Some(error),
            Self::Completed(_) | Self::Snooze(_) | Self::Released | Self::Cancelled => None,
        }
    }
}

/// A word about an attempt that is not the task's (any more).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("attempt {token} of task {id} is stale: the task is not running under it")]
pub struct Stale {
    /// The task.
    pub id: TaskId,
    /// The attempt.
    pub token: Token,
}

/// Counts since the engine was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EngineStats {
    /// Tasks pushed.
    pub pushed: u64,
    /// Attempts claimed.
    pub claimed: u64,
    /// Tasks completed.
    pub completed: u64,
    /// Tasks discarded.
    pub discarded: u64,
    /// Of these, tasks that crashed too often.
    pub quarantined: u64,
    /// Dead letters of memory queues that were forgotten for later ones.
    pub letters_pruned: u64,
    /// Attempts that failed and will be tried again.
    pub retried: u64,
    /// Attempts that ended by crash or timeout.
    pub crashed: u64,
    /// Words about stale attempts, refused here or by the store.
    pub stale: u64,
    /// Commits that failed.
    pub failed_commits: u64,
    /// Writes of what running attempts had said so far.
    pub said_writes: u64,
}
