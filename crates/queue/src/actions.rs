//! What the engine wants done.

use std::sync::Arc;
use std::time::Duration;

use crate::limits::Group;
use bytes::Bytes;
use ganger_core::{Priority, TaskId, TaskState, Token};
use ganger_store::{AttemptError, DeadReason, Due, ReadyRow, RefusedWhy, StoreError};

/// Everything to do since the last look. Order inside one list is the order in which it happened.
#[derive(Debug, Default)]
pub struct Actions {
    /// Attempts to send to their workers; their claims are committed.
    pub send: Vec<Attempt>,
    /// Answers to requests (push, cancel, retry, pause) by their tag.
    pub replies: Vec<Reply>,
    /// Tasks that reached a final state, durably where their queue is durable.
    pub finished: Vec<Finished>,
    /// Running attempts whose time is over: end them, confirm, then [`crate::How::Timeout`].
    pub expired: Vec<Expired>,
    /// Running attempts that shall stop: tell the worker or end it, then [`crate::How::Cancelled`].
    pub cancels: Vec<Cancelling>,
    /// Claims that came to nothing: the worker has this room again.
    pub returned: Vec<Returned>,
    /// Reads to do on a read connection; the answers go to [`crate::Engine::loaded`].
    pub reads: Vec<Read>,
}

impl Actions {
    /// True when there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.send.is_empty()
            && self.replies.is_empty()
            && self.finished.is_empty()
            && self.expired.is_empty()
            && self.cancels.is_empty()
            && self.returned.is_empty()
            && self.reads.is_empty()
    }
}

/// One attempt for a worker.
#[derive(Debug, Clone, PartialEq)]
pub struct Attempt {
    /// The worker's key as given to [`crate::Engine::take`].
    pub worker: u64,
    /// The task.
    pub id: TaskId,
    /// Goes with every word about this attempt.
    pub token: Token,
    /// Its queue.
    pub queue: Arc<str>,
    /// What kind of work it is.
    pub kind: Option<Arc<str>>,
    /// JSON text.
    pub payload: Bytes,
    /// Number of the attempt, from 1.
    pub n: u32,
    /// Larger first.
    pub priority: Priority,
    /// How long it may take once it began.
    pub timeout: Duration,
    /// It begins when it is sent (its clock runs from [`crate::Engine::settled`] on); else it waits in the buffer until
    /// [`crate::Engine::started`].
    pub started: bool,
}

/// An answer to a request.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    /// The request's tag.
    pub req: u64,
    /// What became of it.
    pub result: Result<Done, Failure>,
}

/// What a request did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Done {
    /// The tasks are acknowledged as their queue's durability says.
    Pushed {
        /// Their ids in the order of the request; those of the first request when `duplicate`.
        ids: Vec<TaskId>,
        /// The idempotency key was known: nothing was added.
        duplicate: bool,
        /// Which of the ids (by their place) are tasks that were there already and hold the key of the one pushed.
        known: Vec<usize>,
    },
    /// The task has its new priority.
    Moved,
    /// The task is cancelled.
    Cancelled,
    /// The task runs; its worker is told. [`Actions::finished`] says how it ends.
    Cancelling,
    /// The task is available again.
    Retried,
    /// The dead letter is forgotten.
    Purged,
    /// The queue's gate is as asked for.
    Gated,
}

/// Why a request did nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The task is in no state for this.
    #[error("task {id}: {why}")]
    Refused {
        /// The task.
        id: TaskId,
        /// Why.
        why: RefusedWhy,
    },
    /// Another task holds the key of one of a push; nothing of it was taken.
    #[error("task {index} of the request is not unique: task {holder} holds its key")]
    NotUnique {
        /// Which task of the request, from 0.
        index: usize,
        /// Who holds it.
        holder: TaskId,
    },
    /// Nothing was stored.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A task in its final state.
#[derive(Debug, Clone, PartialEq)]
pub struct Finished {
    /// The task.
    pub id: TaskId,
    /// Its queue.
    pub queue: Arc<str>,
    /// `completed`, `cancelled` or `discarded`.
    pub state: TaskState,
    /// When completed.
    pub result: Option<Bytes>,
    /// When discarded.
    pub error: Option<Box<AttemptError>>,
    /// Why it was discarded.
    pub reason: Option<DeadReason>,
    /// Its last attempt's number; 0 when none was made.
    pub attempt: u32,
}

/// A running attempt whose time is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expired {
    /// The worker's key.
    pub worker: u64,
    /// The task.
    pub id: TaskId,
    /// The attempt.
    pub token: Token,
    /// How long it was allowed to take.
    pub after: Duration,
}

/// A running attempt that shall stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cancelling {
    /// The worker's key.
    pub worker: u64,
    /// The task.
    pub id: TaskId,
    /// The attempt.
    pub token: Token,
}

/// A claim that came to nothing before it was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Returned {
    /// The worker's key.
    pub worker: u64,
    /// The task.
    pub id: TaskId,
    /// The claim.
    pub token: Token,
}

/// A read the engine wants. Do it on a read connection AFTER it was asked for; answer with [`Loaded`], also on failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Read {
    /// `StoreRead::refill`.
    Refill {
        /// The queue.
        queue: Arc<str>,
        /// The lane.
        priority: Priority,
        /// Where the window ends.
        after_seq: i64,
        /// Rows wanted.
        limit: usize,
        /// Payload bytes wanted at most.
        max_bytes: usize,
    },
    /// `StoreRead::limits`.
    Limits {
        /// Wall clock, milliseconds since 1970.
        now_ms: u64,
        /// Rows wanted.
        limit: usize,
    },
    /// Tasks set aside for a limit that only the store has: `StoreRead::refill`.
    Left {
        /// The queue.
        queue: Arc<str>,
        /// The kind or key.
        group: Group,
        /// The lane.
        priority: Priority,
        /// Where they begin.
        after_seq: i64,
        /// Rows wanted.
        limit: usize,
        /// Payload bytes wanted at most.
        max_bytes: usize,
    },
    /// `StoreRead::open_bytes`.
    Bytes {
        /// The queue.
        queue: Arc<str>,
    },
    /// `StoreRead::due`.
    Due {
        /// Wall clock, milliseconds since 1970.
        now_ms: u64,
        /// Rows wanted.
        limit: usize,
    },
}

impl Read {
    /// Does the read.
    pub fn run(self, store: &mut impl ganger_store::StoreRead) -> Loaded {
        match self {
            Self::Refill { queue, priority, after_seq, limit, max_bytes } => {
                let rows = store.refill(&queue, priority, after_seq, limit, max_bytes);
                Loaded::Refill { queue, priority, rows }
            }
            Self::Left { queue, group, priority, after_seq, limit, max_bytes } => {
                let rows = store.refill(&queue, priority, after_seq, limit, max_bytes);
                Loaded::Left { queue, group, priority, after_seq, rows }
            }
            Self::Bytes { queue } => {
                let bytes = store.open_bytes(&queue);
                Loaded::Bytes { queue, bytes }
            }
            Self::Due { now_ms, limit } => Loaded::Due(store.due(now_ms, limit)),
            Self::Limits { now_ms, limit } => Loaded::Limits(store.limits(now_ms, limit)),
        }
    }
}

/// The answer to a [`Read`].
#[derive(Debug)]
pub enum Loaded {
    /// Available tasks of a lane, and whether there may be more.
    Refill {
        /// The queue.
        queue: Arc<str>,
        /// The lane.
        priority: Priority,
        /// The rows, and whether the read stopped before the lane's end.
        rows: Result<(Vec<ReadyRow>, bool), StoreError>,
    },
    /// Tasks whose last moment has come.
    Limits(Result<ganger_store::Limits, StoreError>),
    /// Available tasks of a lane behind a place, for a limit.
    Left {
        /// The queue.
        queue: Arc<str>,
        /// The kind or key.
        group: Group,
        /// The lane.
        priority: Priority,
        /// Where they begin.
        after_seq: i64,
        /// The rows, and whether the read stopped before the lane's end.
        rows: Result<(Vec<ReadyRow>, bool), StoreError>,
    },
    /// Payload bytes of a queue's unfinished tasks.
    Bytes {
        /// The queue.
        queue: Arc<str>,
        /// How many.
        bytes: Result<u64, StoreError>,
    },
    /// Tasks whose time has come.
    Due(Result<Due, StoreError>),
}
