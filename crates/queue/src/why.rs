//! Why a task does not run: every cause, as facts. Sentences are made elsewhere.

use std::sync::Arc;
use std::time::Duration;

use ganger_core::{TaskId, TaskState};

/// Something that keeps a task from running, or what it does instead.
#[derive(Debug, Clone, PartialEq)]
pub enum Cause {
    /// It has ended.
    Finished {
        /// How.
        state: TaskState,
        /// When; milliseconds since 1970.
        at_ms: Option<u64>,
        /// Why, unless it completed.
        error: Option<String>,
    },
    /// It runs, or waits in its worker's buffer.
    Running {
        /// Where.
        by: Holder,
        /// How long it may take, from its start.
        timeout: Duration,
        /// It was asked to stop: by request, or because its time is over.
        stopping: bool,
        /// How far it says that it is.
        progress: Option<ganger_store::Progress>,
    },
    /// It is not time.
    Scheduled {
        /// When it is; milliseconds since 1970.
        until_ms: u64,
    },
    /// It failed and waits for its next attempt.
    Retry {
        /// When that is; milliseconds since 1970.
        until_ms: u64,
        /// Number of the last attempt.
        attempt: u32,
        /// Attempts in all.
        max: u32,
        /// Why it failed.
        error: Option<String>,
    },
    /// Another task with the same input is under way, whose result it waits for instead of running itself.
    Follows {
        /// Which.
        leader: TaskId,
        /// Where that one is in its life.
        state: TaskState,
        /// Where it runs.
        by: Option<Holder>,
        /// When it may have ended.
        eta: Option<Duration>,
    },
    /// Its queue hands out nothing.
    Paused {
        /// Since when; milliseconds since 1970.
        since_ms: Option<u64>,
        /// The configuration says so, not a person.
        by_config: bool,
    },
    /// As many as allowed run.
    Limit {
        /// Of what.
        of: LimitOf,
        /// The bound.
        max: u32,
        /// Who counts against it; at most [`HOLDERS_MAX`].
        held_by: Vec<Holder>,
        /// When one of them may have ended.
        eta: Option<Duration>,
    },
    /// As many as allowed have begun.
    Rate {
        /// Of what.
        of: LimitOf,
        /// When the next token comes.
        wait: Duration,
    },
    /// A commit failed, so nothing can be claimed.
    StoreHeld {
        /// Why.
        error: String,
        /// When it is tried again.
        wait: Duration,
    },
    /// Others are before it.
    Ahead {
        /// How many.
        tasks: u64,
        /// There are more than could be counted.
        at_least: bool,
        /// When they may have been taken.
        eta: Option<Duration>,
    },
    /// No pool takes from its queue.
    NoPool,
    /// A pool is stopped.
    PoolStopped {
        /// Which.
        pool: String,
    },
    /// A pool has no workers.
    NoWorkers {
        /// Which.
        pool: String,
    },
    /// A worker takes nothing.
    WorkerDown {
        /// Which.
        worker: String,
        /// Where it is in its life.
        state: String,
        /// Why.
        reason: String,
        /// When it is started again; milliseconds since 1970.
        next_try_ms: Option<u64>,
        /// Its end can't be proven.
        stuck: bool,
    },
    /// All workers have as much as they may.
    Busy {
        /// How many workers there are.
        workers: u64,
        /// What they run; at most [`HOLDERS_MAX`].
        tasks: Vec<Holder>,
        /// When one of them may have ended.
        eta: Option<Duration>,
    },
    /// The daemon hands out nothing any more.
    GoingDown,
}

/// What a limit is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LimitOf {
    /// The queue.
    Queue,
    /// A kind.
    Kind(Arc<str>),
    /// A key.
    Key(Arc<str>),
}

/// Who has something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// A task that runs.
    pub task: TaskId,
    /// Its worker's instance.
    pub worker: Arc<str>,
    /// When it began; milliseconds since 1970. `None`: it waits in the worker's buffer.
    pub since_ms: Option<u64>,
}

/// Holders named at most: more than a screen helps nobody.
pub const HOLDERS_MAX: usize = 10;
