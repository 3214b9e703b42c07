//! Schedules as the store keeps them: where each one is, and one row per fire.

use std::sync::Arc;

use ganger_core::TaskId;

/// One fire of a schedule, as part of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fire {
    /// The schedule.
    pub schedule: Arc<str>,
    /// The fire's moment, which names it; milliseconds since 1970.
    pub fire_ms: u64,
    /// When it was made; milliseconds since 1970.
    pub made_ms: u64,
    /// The schedule's mark afterwards: fires up to and with this moment are dealt with. `None`: it stays.
    pub after_ms: Option<u64>,
    /// Its task, where that is not part of the commit (it lives in memory). A push fills in its own.
    pub task: Option<TaskId>,
    /// Why it has no task. Without task and reason in an [`crate::Op::Fire`], it waits.
    pub why: Option<Box<str>>,
}

/// What is set about a schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScheduleMark {
    /// The plan as text: another one begins anew.
    pub plan: Box<str>,
    /// Fires up to and with this moment are dealt with; milliseconds since 1970. `None`: as it is.
    pub after_ms: Option<u64>,
    /// It fires nothing.
    pub paused: bool,
    /// What its configuration says about that.
    pub config_paused: bool,
}

/// Where a schedule is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScheduleRow {
    /// Its name.
    pub name: Arc<str>,
    /// Plan, mark and pause.
    pub mark: ScheduleMark,
    /// The task of its last fire.
    pub task: Option<TaskId>,
    /// The last fire that got a task; milliseconds since 1970.
    pub last_fire_ms: Option<u64>,
    /// Fires that got a task.
    pub fired: u64,
    /// Rows of fires left out; one may stand for many that were missed.
    pub skipped: u64,
    /// Fires that wait for the one before, oldest first.
    pub held: Vec<u64>,
}

/// One fire as users see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FireRow {
    /// Its moment; milliseconds since 1970.
    pub fire_ms: u64,
    /// When it was made; milliseconds since 1970.
    pub made_ms: u64,
    /// Its task.
    pub task: Option<TaskId>,
    /// Why it has none. Without task and reason it waits for the one before.
    pub why: Option<String>,
}
