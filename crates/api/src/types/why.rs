//! `GET /tasks/{id}/why`: every cause that keeps a task from running.

use ganger_core::{TaskId, TaskState};
use serde::{Deserialize, Serialize};

use super::{Seconds, Timestamp, V1};

/// Why a task does not run, or what it does instead.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Why {
    /// Version of the shape.
    pub v: V1,
    /// The task.
    pub id: TaskId,
    /// Its queue.
    pub queue: String,
    /// Its kind; empty without.
    pub kind: String,
    /// Where it is in its life.
    pub state: TaskState,
    /// All of them, those of the task itself first. Empty: it is next.
    pub causes: Vec<Cause>,
    /// When it may begin at the earliest, as far as that can be told; a cause without an end of its own makes it `null`.
    pub eta_s: Option<Seconds>,
}

/// One cause.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "cause", rename_all = "snake_case")]
pub enum Cause {
    /// It has ended.
    Finished {
        /// How.
        state: TaskState,
        /// When.
        at: Option<Timestamp>,
        /// Why, unless it completed.
        error: Option<String>,
    },
    /// It runs, or waits in its worker's buffer (`since` is `null` then).
    Running {
        /// The worker's instance.
        worker: String,
        /// When it began.
        since: Option<Timestamp>,
        /// How long it may take.
        timeout_s: Seconds,
        /// It was asked to stop.
        stopping: bool,
        /// How far it says that it is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        progress: Option<super::Progress>,
    },
    /// Daemon and keeper died while it ran, and its process may live on: it is not run again before that has ended.
    Stuck {
        /// The worker's instance.
        worker: String,
        /// Processes of the earlier run that may run it.
        pids: Vec<u32>,
    },
    /// It is not time.
    Scheduled {
        /// When it is.
        until: Timestamp,
    },
    /// It failed and waits for its next attempt.
    Retry {
        /// When that is.
        until: Timestamp,
        /// Number of the last attempt.
        attempt: u32,
        /// Attempts in all.
        max: u32,
        /// Why it failed.
        error: Option<String>,
    },
    /// Another task with the same input is under way. If that completes, this one completes with its result; if not, the
    /// oldest of those that wait for it runs.
    Follows {
        /// Which.
        leader: TaskId,
        /// Where that one is in its life.
        state: TaskState,
        /// The worker's instance, where it runs.
        worker: Option<String>,
        /// When it began.
        since: Option<Timestamp>,
        /// When it may have ended.
        eta_s: Option<Seconds>,
    },
    /// Its queue hands out nothing.
    Paused {
        /// Since when.
        since: Option<Timestamp>,
        /// `person` or `config`.
        by: String,
    },
    /// As many as allowed run.
    Limit {
        /// `queue`, `kind` or `key`.
        of: String,
        /// The kind or key.
        name: Option<String>,
        /// The bound.
        max: u32,
        /// Who counts against it; the first ten.
        held_by: Vec<Holder>,
        /// When one of them may have ended.
        eta_s: Option<Seconds>,
    },
    /// As many as allowed have begun.
    Rate {
        /// `queue`, `kind` or `key`.
        of: String,
        /// The kind or key.
        name: Option<String>,
        /// When the next token comes.
        eta_s: Seconds,
    },
    /// A commit failed, so nothing can be claimed.
    StoreHeld {
        /// Why.
        error: String,
        /// When it is tried again.
        eta_s: Seconds,
    },
    /// Others are before it.
    Ahead {
        /// How many.
        tasks: u64,
        /// There are more than were counted.
        at_least: bool,
        /// When they may have been taken.
        eta_s: Option<Seconds>,
    },
    /// No pool takes from its queue.
    NoPool {},
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
        /// Its instance.
        worker: String,
        /// Where it is in its life.
        state: String,
        /// Why.
        reason: String,
        /// When it is started again.
        next_try_s: Option<Seconds>,
    },
    /// A worker's end can't be proven, so what it held is not run again.
    WorkerStuck {
        /// Its instance.
        worker: String,
        /// Why.
        reason: String,
    },
    /// All workers have as much as they may.
    Busy {
        /// How many there are.
        workers: u64,
        /// What they have; the first ten.
        tasks: Vec<Holder>,
        /// When one of them may have ended.
        eta_s: Option<Seconds>,
    },
    /// The daemon hands out nothing any more.
    GoingDown {},
}

/// Who has something.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Holder {
    /// A task.
    pub task: TaskId,
    /// Its worker's instance.
    pub worker: String,
    /// When it began; `null`: it waits in the worker's buffer.
    pub since: Option<Timestamp>,
}
