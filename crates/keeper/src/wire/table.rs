//! What a keeper hands to each daemon, and a daemon to a new keeper: every child and every descriptor.

use ganger_core::{End, InstanceId, InstanceKind, SpawnId, StateId};
use ganger_sandbox::{Degraded, Report};
use serde::{Deserialize, Serialize};

use super::{ExitReport, Held, Upgrade};

/// The content of the sealed memfd. Descriptor numbers are those of the process that reads it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Table {
    /// [`super::WIRE_VERSION`] of the writer.
    pub version: u32,
    /// The state folder's id.
    pub state_id: StateId,
    /// The state folder.
    pub state_dir: String,
    /// The keeper that wrote it, or the dead one's.
    pub keeper_pid: u32,
    /// The logger at that moment.
    #[serde(default)]
    pub logger_pid: Option<u32>,
    /// Every child not yet forgotten.
    pub children: Vec<ChildRow>,
    /// Every other descriptor.
    pub held: Vec<HeldRow>,
    /// The descriptor that carries the state folder's flock.
    #[serde(default)]
    pub lock_fd: Option<i32>,
    /// The API's listening socket.
    #[serde(default)]
    pub api_fd: Option<i32>,
    /// Set when daemons before this one died quickly, five in a row or more: serve the API only and say why.
    #[serde(default)]
    pub crash: Option<Crash>,
    /// What this machine or this keeper's history takes away.
    #[serde(default)]
    pub degraded: Vec<Degraded>,
    /// Processes of an earlier run that could not be ended. Some may have ended since: number and birth say which.
    #[serde(default)]
    pub survivors: Vec<Survivor>,
    /// The last replacement of ganger's own program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upgrade: Option<Upgrade>,
}

/// What [`Table::degraded`] calls survivors.
pub const LEFTOVERS: &str = "leftovers of an earlier run";

/// A process of an earlier run that this keeper could not end: what it does may go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Survivor {
    /// Its process id.
    pub pid: u32,
    /// When it was started, in clock ticks since the machine's start: tells it from a later one with the same number.
    pub birth: u64,
    /// The spawn that made it or its ancestor; `None` where its environment can't be read.
    #[serde(default)]
    pub spawn: Option<SpawnId>,
    /// The place that spawn filled; `None` where its environment can't be read.
    #[serde(default)]
    pub instance: Option<InstanceId>,
}

/// One child.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChildRow {
    /// Its spawn.
    pub id: SpawnId,
    /// The place it fills.
    pub instance: InstanceId,
    /// What it is for.
    pub kind: InstanceKind,
    /// Its process id.
    pub pid: u32,
    /// Wall-clock milliseconds since 1970.
    pub started_at_ms: u64,
    /// Its pidfd; absent once it is reaped.
    #[serde(default)]
    pub pidfd: Option<i32>,
    /// Where the first process of its pid namespace says how the program ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<i32>,
    /// The daemon's end of the worker channel.
    #[serde(default)]
    pub channel: Option<i32>,
    /// Write end of its stdin pipe.
    #[serde(default)]
    pub stdin: Option<i32>,
    /// Read end of its stdout pipe, or its memfd.
    #[serde(default)]
    pub stdout: Option<i32>,
    /// Read end of its stderr pipe, or its memfd.
    #[serde(default)]
    pub stderr: Option<i32>,
    /// The cgroup folder of its tree.
    #[serde(default)]
    pub tree: Option<String>,
    /// What holds it.
    #[serde(default)]
    pub report: Report,
    /// The daemon's note.
    #[serde(default)]
    pub blob: String,
    /// How it ended, when that is not yet acknowledged.
    #[serde(default)]
    pub exit: Option<ExitReport>,
    /// It is not this keeper's child: exit codes only where the kernel still tells.
    #[serde(default)]
    pub adopted: bool,
    /// The plan's wish that the rest of the tree lives on after the main process.
    #[serde(default)]
    pub keep_leftovers: bool,
}

/// One held descriptor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldRow {
    /// Its name.
    pub name: String,
    /// Its number.
    pub fd: i32,
    /// What it is.
    pub what: Held,
}

/// Why a daemon is to serve the API only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Crash {
    /// Daemons that ended soon after their start, in a row.
    pub quick_failures: u32,
    /// How the last one ended.
    pub last: End,
    /// True from five on: no service is started.
    pub api_only: bool,
}
