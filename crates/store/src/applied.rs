//! What a committed batch did.

use std::sync::Arc;

use ganger_core::{TaskId, TaskState};

use crate::attempt::AttemptError;
use crate::control::{Followed, Special};

/// What a committed batch did.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Applied {
    /// Operations that found another state than they need, in the order of the batch. The rest was committed.
    pub refused: Vec<Refused>,
    /// Pushes whose key was known, in the order of the batch.
    pub duplicates: Vec<Duplicate>,
    /// Tasks brought back by [`crate::Op::Retry`], in the order of the batch.
    pub revived: Vec<Revived>,
    /// Tasks ended by [`crate::Op::Cancel`], [`crate::Op::Expire`] and by pushes that took their place, in the order of
    /// the batch.
    pub cancelled: Vec<Cancelled>,
    /// Tasks of pushes that did not become waiting tasks, in the order of the batch.
    pub special: Vec<Special>,
    /// Tasks that waited for an identical one which has ended, in the order of the batch.
    pub followed: Vec<Followed>,
    /// Number of the batch's first event; the others follow it.
    pub first_event_seq: Option<u64>,
}

/// One refused operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Its index in [`crate::Batch::ops`].
    pub op: usize,
    /// The task.
    pub id: TaskId,
    /// Why.
    pub why: RefusedWhy,
}

/// Why an operation was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RefusedWhy {
    /// No such task.
    #[error("no such task")]
    NotFound,
    /// The token is not the task's, or it is not running: somebody else has finished it.
    #[error("a stale attempt: the task is {0} or another attempt holds it")]
    Stale(TaskState),
    /// The task is not in a state this can start from.
    #[error("the task is {0}")]
    State(TaskState),
}

/// A push that was there already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Duplicate {
    /// Index of the push in [`crate::Batch::ops`].
    pub op: usize,
    /// Ids of the tasks that the first request with this key made.
    pub ids: Vec<TaskId>,
}

/// A task ended by [`crate::Op::Cancel`].
#[derive(Debug, Clone, PartialEq)]
pub struct Cancelled {
    /// Index of the operation in [`crate::Batch::ops`].
    pub op: usize,
    /// The task.
    pub id: TaskId,
    /// Why, where nobody asked for it.
    pub error: Option<Box<AttemptError>>,
    /// Its queue.
    pub queue: Arc<str>,
    /// The state it was in.
    pub from: TaskState,
    /// Number of its last attempt.
    pub attempt: u32,
    /// Length of its payload.
    pub payload_len: u64,
}

/// A task brought back by [`crate::Op::Retry`], or moved by [`crate::Op::Priority`].
#[derive(Debug, Clone, PartialEq)]
pub struct Revived {
    /// Index of the operation in [`crate::Batch::ops`].
    pub op: usize,
    /// Its queue.
    pub queue: Arc<str>,
    /// The state it was in.
    pub from: TaskState,
    /// The task as the ready window needs it.
    pub row: crate::ReadyRow,
}
