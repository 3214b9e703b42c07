//! What a caller wants to be true: ordered operations, committed together or not at all.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ganger_core::{Event, Priority, TaskBackoff, TaskId, TaskState, Token};
use serde::{Deserialize, Serialize};

pub use crate::applied::{Applied, Cancelled, Duplicate, Refused, RefusedWhy, Revived};
pub use crate::attempt::{
    AttemptError, AttemptWord, DeadReason, UnknownAttemptWord, UnknownDeadReason,
};
pub use crate::schedule::{Fire, FireRow, ScheduleMark, ScheduleRow};

/// Operations that become durable in one commit, applied in order.
///
/// A batch comes back to its submitter with the result ([`crate::Settled`]), so nobody keeps a second copy of it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Batch {
    /// The submitter's own number; the store only hands it back.
    pub no: u64,
    /// True: answered only after the bytes were fsynced. False: after a commit that a process crash can't undo, but a
    /// power cut can.
    pub sync: bool,
    /// What shall happen, in this order.
    pub ops: Vec<Op>,
    /// The highest task id or sequence number drawn so far, kept so that none is ever drawn again.
    pub id_floor: Option<TaskId>,
}

impl Batch {
    /// An empty batch that asks for fsync: for callers outside the task path (desired state, events that matter).
    #[must_use]
    pub fn synced(ops: Vec<Op>) -> Self {
        Self { sync: true, ops, ..Self::default() }
    }

    /// True when there is nothing to commit.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// Rows this batch asks for, the unit in which groups are bounded.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.ops.iter().map(|op| if let Op::Push(push) = op { push.tasks.len() } else { 1 }).sum()
    }
}

/// One thing that shall be true.
#[derive(Debug, Clone, PartialEq)]
pub enum Op {
    /// New tasks of one request.
    Push(Push),
    /// An available task goes to a worker. Refused when the task is not `available`.
    Claim(Claim),
    /// An attempt began after its claim (a buffered task, or a command whose pid is only known now). Fenced.
    Started {
        /// The task.
        id: TaskId,
        /// Its claim.
        token: Token,
        /// Wall clock, milliseconds since 1970.
        at_ms: u64,
        /// The process that runs it, where it differs from the claim's.
        pid: Option<u32>,
    },
    /// What an attempt has said so far, in place of what was stored of it. Fenced; a stale one is dropped.
    Said {
        /// The task.
        id: TaskId,
        /// Its claim.
        token: Token,
        /// All of it.
        said: Box<crate::said::Said>,
    },
    /// An attempt ended or was given back. Fenced: refused unless the task is `running` under this very token.
    Outcome(Box<Outcome>),
    /// A `scheduled` or `retryable` task became available, with its place in the lane.
    Promote {
        /// The task.
        id: TaskId,
        /// Its queue.
        queue: Arc<str>,
        /// Its place among those of the same queue and priority.
        seq: i64,
    },
    /// A task lets go of what it no longer holds in the state it is in after the operations before this one: its key, its
    /// followers, its place in the cache. Follows each start and end of a task that has [`crate::control::Control`].
    Settle {
        /// The task.
        id: TaskId,
    },
    /// A last moment of a task has come: it is cancelled, unless it runs or has ended.
    Expire {
        /// The task.
        id: TaskId,
        /// Which moment, as it was stored.
        due_ms: u64,
        /// Wall clock, milliseconds since 1970.
        at_ms: u64,
    },
    /// A task that is not running gets another priority.
    Priority {
        /// The task.
        id: TaskId,
        /// Larger first.
        priority: Priority,
        /// The submitter's tag, handed back.
        req: u64,
    },
    /// A task that is not running shall not run: `scheduled`, `available` and `retryable` become `cancelled`.
    Cancel {
        /// The task.
        id: TaskId,
        /// Wall clock, milliseconds since 1970.
        at_ms: u64,
        /// The submitter's tag, handed back.
        req: u64,
    },
    /// A `discarded` or `cancelled` task gets a fresh budget of attempts and becomes `available`.
    Retry {
        /// The task.
        id: TaskId,
        /// Its place among those of the same queue and priority, drawn now.
        seq: i64,
        /// Only if this is still its last attempt: a task that came back and died again meanwhile is another dead letter.
        attempt: Option<u32>,
        /// In place of its payload.
        payload: Option<Bytes>,
        /// The submitter's tag, handed back.
        req: u64,
    },
    /// A dead letter is forgotten, with its attempts.
    Purge {
        /// The task.
        id: TaskId,
        /// Only if this is still its last attempt.
        attempt: Option<u32>,
        /// The submitter's tag, handed back.
        req: u64,
    },
    /// Whether a queue takes tasks and hands them out.
    Gate {
        /// The queue; made when new.
        queue: Arc<str>,
        /// Its gate from now on.
        gate: crate::Gate,
        /// The submitter's tag, handed back.
        req: u64,
    },
    /// A fire of a schedule without a push in this commit: it waits, is left out, or its task lives in memory. One that has a
    /// task stays as it is.
    Fire(Box<Fire>),
    /// Where a schedule is; `None` forgets it and its fires.
    Schedule {
        /// Its name.
        name: Arc<str>,
        /// Plan, mark and pause.
        mark: Option<Box<ScheduleMark>>,
    },
    /// How much of a queue's finished tasks is kept, beside the bounds of the whole store.
    Keep {
        /// The queue; made when new.
        queue: Arc<str>,
        /// True: its dead letters. False: its completed and cancelled tasks.
        dead: bool,
        /// The bounds; all absent: none of its own any more.
        bounds: KeepBounds,
    },
    /// Whether tasks of a queue that are finished from now on can be found by their words.
    Searchable {
        /// The queue; made when new.
        queue: Arc<str>,
        /// They can.
        on: bool,
    },
    /// Token buckets that this batch's claims took from. A bucket that would be full is as good as none: its row goes by itself.
    Buckets {
        /// The queue; made when new.
        queue: Arc<str>,
        /// What each is of, in the submitter's words, and when it would be full again; wall clock, milliseconds since 1970.
        full_at: Vec<(Arc<str>, u64)>,
    },
    /// Appends to the bounded event history; the store numbers it.
    Event(Box<Event>),
    /// Desired state: sets a key, or removes it.
    Desire {
        /// What it is about, e.g. `config`, `service/web/scale`.
        key: String,
        /// The new value; `None` removes the key.
        value: Option<Vec<u8>>,
    },
}

/// Bounds of a queue's history; the oldest leave first. Rows leave between commits, in bounded steps, so a bound may be
/// overrun by 10,000 rows or 32 MiB while commits wait.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeepBounds {
    /// So many tasks.
    pub rows: Option<u64>,
    /// So long after their end.
    pub age: Option<Duration>,
    /// So many bytes of payloads, results and errors.
    pub bytes: Option<u64>,
}

/// Tasks of one request, with at most one idempotency key for all of them.
#[derive(Debug, Clone, PartialEq)]
pub struct Push {
    /// The submitter's tag, handed back.
    pub req: u64,
    /// The queue; made when new.
    pub queue: Arc<str>,
    /// The same key within 24 h (and as long as one of its tasks is unfinished) adds nothing and answers with the ids
    /// of the first request ([`Duplicate`]).
    pub key: Option<Box<str>>,
    /// The fire of a schedule that this is. A fire that has a task already adds nothing and answers with it
    /// ([`Duplicate`]).
    pub fire: Option<Box<Fire>>,
    /// The tasks, in order.
    pub tasks: Vec<Enqueue>,
}

/// One new task.
#[derive(Debug, Clone, PartialEq)]
pub struct Enqueue {
    /// Its id for ever.
    pub id: TaskId,
    /// What kind of work it is, for the worker.
    pub kind: Option<Arc<str>>,
    /// Larger first.
    pub priority: Priority,
    /// 0: available at once. Else wall clock, milliseconds since 1970: `scheduled` until then.
    pub run_at_ms: u64,
    /// JSON text.
    pub payload: Bytes,
    /// What differs from the queue's configuration.
    pub options: Option<Box<TaskOptions>>,
    /// A claim that rides along: the row is born `running`.
    pub claim: Option<Box<Claim>>,
}

/// What a task sets for itself; absent fields are the queue's.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TaskOptions {
    /// Attempts in all.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub max_attempts: Option<u32>,
    /// How long one attempt may take.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub timeout: Option<Duration>,
    /// Wait between attempts.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub backoff: Option<TaskBackoff>,
    /// No further attempt once it is older than this.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub max_age: Option<Duration>,
    /// Ends by crash or timeout after which it is quarantined.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub crash_limit: Option<u32>,
    /// When it was brought back last, from where its age counts; milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub revived_at_ms: Option<u64>,
    /// Words to find it by.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub tags: Vec<Box<str>>,
    /// What it asks for beyond being run.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub control: Option<Box<crate::control::Control>>,
    /// Under which key it counts against its queue's limits per key.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub concurrency_key: Option<Box<str>>,
}

/// A worker gets a task.
#[derive(Debug, Clone, PartialEq)]
pub struct Claim {
    /// The task.
    pub id: TaskId,
    /// Its queue.
    pub queue: Arc<str>,
    /// Every later write about this attempt carries it.
    pub token: Token,
    /// Number of the attempt, from 1.
    pub attempt: u32,
    /// The worker's instance, e.g. `images#2`.
    pub worker: Arc<str>,
    /// The worker's process; 0 where there is none yet.
    pub pid: u32,
    /// Wall clock, milliseconds since 1970.
    pub at_ms: u64,
    /// True: runs as soon as it is sent. False: waits in the worker's buffer.
    pub started: bool,
}

/// How an attempt ended and what becomes of its task.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The task.
    pub id: TaskId,
    /// Its queue.
    pub queue: Arc<str>,
    /// The claim this is about.
    pub token: Token,
    /// When the attempt began; `None`: as the claim says. Wall clock, milliseconds since 1970.
    pub started_at_ms: Option<u64>,
    /// Wall clock, milliseconds since 1970.
    pub ended_at_ms: u64,
    /// The process that ran it, where it differs from the claim's.
    pub pid: Option<u32>,
    /// How it ended.
    pub word: AttemptWord,
    /// Why, for everything but success.
    pub error: Option<Box<AttemptError>>,
    /// All that it said. Forgotten with an attempt that was [`AttemptWord::Released`].
    pub said: Option<Box<crate::said::Said>>,
    /// What becomes of the task.
    pub next: Next,
}

/// What becomes of a task after an attempt.
#[derive(Debug, Clone, PartialEq)]
pub enum Next {
    /// `completed` with this result (JSON text, or a command's raw output as JSON string).
    Completed {
        /// What the worker answered.
        result: Bytes,
    },
    /// `retryable` until then (`scheduled` when the attempt was [`AttemptWord::Released`]). Wall clock, milliseconds
    /// since 1970.
    RetryAt {
        /// When it may run again.
        at_ms: u64,
    },
    /// `available` again at once, with a new place in its lane.
    Available {
        /// Its place among those of the same queue and priority.
        seq: i64,
    },
    /// `discarded`: a dead letter, and why.
    Discarded(DeadReason),
    /// `cancelled` while it ran.
    Cancelled,
}

impl Outcome {
    /// The state the task is in afterwards.
    #[must_use]
    pub const fn state(&self) -> TaskState {
        match self.next {
            Next::Completed { .. } => TaskState::Completed,
            Next::RetryAt { .. } if matches!(self.word, AttemptWord::Released) => {
                TaskState::Scheduled
            }
            Next::RetryAt { .. } => TaskState::Retryable,
            Next::Available { .. } => TaskState::Available,
            Next::Discarded(_) => TaskState::Discarded,
            Next::Cancelled => TaskState::Cancelled,
        }
    }
}
