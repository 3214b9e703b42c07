//! `GET /status`.

use serde::{Deserialize, Serialize};

use super::{Group, Reload, Seconds, V1};

/// How ganger itself is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Version of the shape.
    pub v: V1,
    /// The answering daemon.
    pub daemon: DaemonStatus,
    /// The parent of every child.
    pub keeper: ProcessStatus,
    /// The mover of what children say; no pid while it is being restarted.
    pub logger: ProcessStatus,
    /// Absolute path of the state folder.
    pub state_dir: String,
    /// The config file the running state was applied from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_file: Option<String>,
    /// That file has changed since it was applied.
    pub config_differs: bool,
    /// Schedules in short, when there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedules: Option<ScheduleSummary>,
    /// Groups, ordered by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<Group>,
    /// Reloads that are under way or were taken back, ordered by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reloads: Vec<Reload>,
    /// What does not work as it should on this machine or in this state, each with the way out.
    pub degraded: Vec<Degraded>,
    /// Set when the daemon serves the API only, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_only: Option<String>,
}

/// All schedules in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScheduleSummary {
    /// How many there are.
    pub total: u64,
    /// How many of them fire nothing.
    pub paused: u64,
    /// Fires that wait for the task before.
    pub waiting: u64,
    /// Fires that got a task, ever.
    pub fired: u64,
    /// Fires that were left out, ever.
    pub skipped: u64,
    /// Which one fires next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// When.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_at: Option<super::Timestamp>,
}

/// The daemon's own figures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DaemonStatus {
    /// Process id.
    pub pid: u32,
    /// Version of the program.
    pub version: String,
    /// Seconds since this daemon started.
    pub uptime_s: Seconds,
}

/// One of ganger's own processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessStatus {
    /// Process id, if it runs.
    pub pid: Option<u32>,
}

/// One thing that works less than it should.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Degraded {
    /// What is missing or reduced.
    pub what: String,
    /// Why.
    pub why: String,
    /// How to get it.
    pub fix: String,
}

/// So [`Degraded::what`] begins where attempts are not run again because a process of an earlier run may still run them.
pub const STUCK_TASKS: &str = "tasks that are not run again";
