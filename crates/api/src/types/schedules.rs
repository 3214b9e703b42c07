//! `GET /schedules`, `GET /schedules/{name}`, `GET /schedules/{name}/next`, `POST /schedules/{name}/run`.

use ganger_core::{Priority, TaskId};
use serde::{Deserialize, Serialize};

use super::{Seconds, Timestamp, V1};

/// All schedules.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Schedules {
    /// Version of the shape.
    pub v: V1,
    /// Ordered by name.
    pub schedules: Vec<Schedule>,
}

/// One schedule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    /// Version of the shape.
    pub v: V1,
    /// Its name.
    pub name: String,
    /// Its cron expression, or its one moment.
    pub when: String,
    /// The zone of that.
    pub timezone: String,
    /// Each fire is late by up to this.
    pub jitter_s: Seconds,
    /// Where its tasks go.
    pub queue: String,
    /// What kind of work they are; empty: none.
    pub kind: String,
    /// Their priority.
    pub priority: Priority,
    /// `allow`, `skip`, `queue` or `replace`.
    pub overlap: String,
    /// `skip`, `latest` or `all`.
    pub missed: String,
    /// How many missed fires `all` makes up for.
    pub missed_max: u32,
    /// Fires nothing.
    pub paused: bool,
    /// The next fire; absent: none comes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_fire: Option<FireTime>,
    /// The last fire that got a task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_fire: Option<Timestamp>,
    /// Its task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_task: Option<TaskId>,
    /// Fires that wait for the task before.
    pub waiting: u64,
    /// Fires that got a task, ever.
    pub fired: u64,
    /// Fires that were left out, ever; many missed at once count once.
    pub skipped: u64,
    /// The newest fires, newest first. Only of a single schedule.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fires: Vec<Fire>,
}

/// A fire to come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FireTime {
    /// Its moment.
    pub at: Timestamp,
    /// The same as the schedule's zone shows it.
    pub local: String,
}

/// A fire that was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fire {
    /// Its moment.
    pub at: Timestamp,
    /// When it was made.
    pub made_at: Timestamp,
    /// `fired`, `waits` or `skipped`.
    pub outcome: String,
    /// Its task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<TaskId>,
    /// Why it was left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Fires to come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextFires {
    /// Version of the shape.
    pub v: V1,
    /// The cron expression, or the one moment.
    pub when: String,
    /// The zone of that.
    pub timezone: String,
    /// In order; fewer than asked for when no more come.
    pub next: Vec<FireTime>,
}

/// What a fire by hand made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunAnswer {
    /// Version of the shape.
    pub v: V1,
    /// The fire's moment.
    pub at: Timestamp,
    /// Its task; absent: it waits for the task before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<TaskId>,
}

/// How many fires to come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NextQuery {
    /// At most so many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub n: Option<u32>,
}
