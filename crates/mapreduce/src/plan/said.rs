//! What a plan is told and what it says.

use std::time::Duration;

use super::{AttemptId, Task, WorkerId};

/// What a plan goes by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// Failures of a task, on at least two workers if there are two, that make it dead. Hadoop's default is 4 too.
    pub task_failures: u8,
    /// Attempts of a task that ended with their worker before it is dead: work that kills whoever does it.
    pub task_losses: u8,
    /// Different tasks that fail in a row on a worker before it is set aside.
    pub worker_failures: usize,
    /// A dead task ends the job; else it is reported and the rest goes on.
    pub fail_on_dead: bool,
    /// Attempts besides the first, of all that run: at most one in so many, but always one.
    pub speculate_one_in: usize,
    /// No second attempt for one that is expected to end sooner than this.
    pub speculate_from: Duration,
    /// Time without a worker before the job is told to be stalled.
    pub grace: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            task_failures: 4,
            task_losses: 16,
            worker_failures: 3,
            fail_on_dead: true,
            speculate_one_in: 10,
            speculate_from: Duration::ZERO,
            grace: Duration::from_secs(15),
        }
    }
}

/// Where a job stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// Splits are mapped.
    Mapping,
    /// Partitions are reduced.
    Reducing,
    /// Everything is committed, but what is dead.
    Finished,
    /// A task is dead.
    Failed {
        /// Which, and what it died of.
        task: Task,
        /// The last failure.
        why: String,
    },
    /// Nobody is left to work.
    Stalled {
        /// Who was there and is not.
        why: String,
    },
}

/// What the caller has to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Write the row that makes this attempt the task's, unless there is one; then tell [`Plan::committed`](super::Plan::committed) or [`Plan::refused`](super::Plan::refused).
    Commit {
        /// Of which task.
        task: Task,
        /// Whose result.
        attempt: AttemptId,
    },
    /// The result of a committed map is lost: take its row away before the task runs again.
    Revoke {
        /// Of which task.
        task: Task,
        /// Whose row.
        attempt: AttemptId,
    },
    /// End this attempt if it runs, and remove its own path, nothing else.
    Drop {
        /// Of which task.
        task: Task,
        /// Whose path.
        attempt: AttemptId,
    },
    /// Give this worker nothing more; others did what it could not.
    SetAside {
        /// Which.
        worker: WorkerId,
    },
    /// A task is given up.
    Dead {
        /// Which.
        task: Task,
        /// Its last failure.
        why: String,
    },
}

/// Work for a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Assignment {
    /// What to do.
    pub task: Task,
    /// As which attempt.
    pub attempt: AttemptId,
    /// Somebody else does it too.
    pub speculative: bool,
}

/// Answers that changed nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Refused {
    /// From attempts that are not running (any more): second answers, lost workers, earlier epochs.
    pub stale: u64,
}
