//! Pushing many tasks: what a request may ask for, and what it is told.

use ganger_core::TaskId;
use serde::{Deserialize, Serialize};

use super::V1;

/// Query of `POST /queues/{name}/tasks`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PushQuery {
    /// What one bad task does to the others of the request.
    #[serde(default, skip_serializing_if = "OnError::is_stop")]
    pub on_error: OnError,
}

/// What one bad task does to the others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnError {
    /// Nothing of the request is pushed; the error names the first bad task.
    #[default]
    Stop,
    /// The others are pushed; the answer names the bad ones.
    Skip,
}

impl OnError {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    const fn is_stop(&self) -> bool {
        matches!(self, Self::Stop)
    }
}

/// Answer of a push: the ids in the order of the tasks, after they are as durable as the queue promises.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pushed {
    /// Version of the shape.
    pub v: V1,
    /// One per task that was not refused.
    pub ids: Vec<TaskId>,
    /// The idempotency key was known: nothing was added, the ids are those of the first request.
    #[serde(default, skip_serializing_if = "is_false")]
    pub duplicate: bool,
    /// Of the ids, those of tasks that were there already and hold the key of the one pushed (`dedupe`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub existing: Vec<TaskId>,
    /// Tasks left out, with `on_error=skip` only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<RefusedTask>,
}

/// A task that was left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedTask {
    /// Its line in the body, or its place in the list; from 1.
    pub line: u64,
    /// Why.
    pub error: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_false(b: &bool) -> bool {
    !*b
}
