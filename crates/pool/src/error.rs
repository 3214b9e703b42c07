//! What can go wrong with a request about tasks or pools.

use ganger_core::TaskId;
use ganger_queue::{Failure, PushError};
use ganger_store::StoreError;

/// A request about tasks or queues failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TaskError {
    /// No such queue.
    #[error("there is no queue `{0}`: add [queue.{0}] to ganger.toml and run `ganger up`")]
    NoQueue(String),
    /// No such task.
    #[error("there is no task {0} (or its history was dropped long ago)")]
    NoTask(TaskId),
    /// The push was refused.
    #[error(transparent)]
    Push(#[from] PushError),
    /// A payload is not JSON, so no worker could be given it.
    #[error("the payload of task {index} of the request is not JSON: {why}")]
    NotJson {
        /// Which task of the request, from 0.
        index: usize,
        /// What is wrong, with line and column.
        why: String,
    },
    /// One batch of a stream is too large.
    #[error("{got} tasks in one batch of a stream, the most is {max}: send smaller batches")]
    TooManyAtOnce {
        /// How many came.
        got: usize,
        /// The bound.
        max: usize,
    },
    /// The task is in no state for it, or nothing could be stored.
    #[error(transparent)]
    Failed(#[from] Failure),
    /// The store can't be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It did not end in time.
    #[error("task {id} has not ended after {after}; it is {state}")]
    WaitTimeout {
        /// The task.
        id: TaskId,
        /// How long was waited.
        after: ganger_core::Dur,
        /// Where it is.
        state: ganger_core::TaskState,
    },
    /// Too many callers wait.
    #[error("{0} callers wait for tasks already; wait for a queue or use a stream instead")]
    TooManyWaiters(usize),
    /// The daemon goes down.
    #[error("the daemon is shutting down: try again when it is back")]
    ShuttingDown,
}

/// A request about pools failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    /// No such pool.
    #[error("there is no pool `{0}`")]
    NoPool(String),
    /// No such worker.
    #[error("pool `{name}` has no worker {slot}; its slots are 1 to {workers}")]
    NoSlot {
        /// The pool.
        name: String,
        /// What was asked for.
        slot: u32,
        /// How many it has.
        workers: u32,
    },
    /// More workers than a pool may have.
    #[error("pool `{name}`: {asked} workers are more than {max}, the most a pool may have")]
    TooMany {
        /// The pool.
        name: String,
        /// What was asked for.
        asked: u32,
        /// The bound.
        max: u32,
    },
    /// Its command can't be run as written.
    #[error("pool `{name}`: {source}")]
    Template {
        /// The pool.
        name: String,
        /// What is wrong.
        source: crate::template::TemplateError,
    },
    /// It takes from queues that are not there.
    #[error("pool `{name}` takes from queue `{queue}`, which is not configured")]
    NoQueue {
        /// The pool.
        name: String,
        /// The queue.
        queue: String,
    },
    /// A worker did not do what it was asked.
    #[error("{0}")]
    NotDone(String),
    /// The daemon goes down.
    #[error("the daemon is shutting down")]
    ShuttingDown,
}
