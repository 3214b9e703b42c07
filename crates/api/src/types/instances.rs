//! Services, pools and their processes: `GET /instances`, `GET /services/{name}` and the verbs on them.

use ganger_core::{
    BreakerState, FailureCause, GroupState, GroupStrategy, InstanceKind, InstanceState,
};
use serde::{Deserialize, Serialize};

use super::{LogLine, Reload, Seconds, Timestamp, V1};

/// `ps`: every instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Instances {
    /// Version of the shape.
    pub v: V1,
    /// Ordered by name and slot.
    pub instances: Vec<Instance>,
    /// Ordered by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<Group>,
    /// Reloads that are under way or were taken back, ordered by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reloads: Vec<Reload>,
}

/// Services that fail together and are seen together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// What the failure of one member means for the others.
    pub strategy: GroupStrategy,
    /// How it is.
    pub state: GroupState,
    /// Why it is not `running`; empty when there is nothing to say.
    pub reason: String,
    /// Services and groups, in the order in which they start again.
    pub members: Vec<GroupMember>,
}

/// A member of a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupMember {
    /// A service or group.
    pub name: String,
    /// Its failure makes the group `degraded` and touches no other.
    pub optional: bool,
}

/// One process place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Instance {
    /// Service or pool.
    pub name: String,
    /// From 1.
    pub slot: u32,
    /// What it is for.
    pub kind: InstanceKind,
    /// Where it is in its life.
    pub state: InstanceState,
    /// It may be used: running, and ready where readiness is declared.
    pub ready: bool,
    /// Its process, while there is one.
    pub pid: Option<u32>,
    /// Starts after the first, since the last reset by hand.
    pub restarts: u64,
    /// When its process started.
    pub started_at: Option<Timestamp>,
    /// Why it is in this state; empty when there is nothing to say.
    pub reason: String,
    /// Seconds until the next try, in `backoff`.
    pub next_try_s: Option<Seconds>,
    /// Failures in a row; a healthy period forgets them.
    #[serde(default)]
    pub failures: u64,
    /// Why the last of them happened.
    #[serde(default)]
    pub cause: Option<FailureCause>,
    /// Where its circuit breaker is. Open: no start before `next_try_s`; half-open: the one probe start is on trial.
    #[serde(default)]
    pub breaker: BreakerState,
    /// What its probes last found, in the order in which they are asked; none where none is declared or no process lives.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub probes: Vec<Probe>,
    /// What it last said of itself (`STATUS=` of sd_notify).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// What it says it is doing: "reloading" or "stopping".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub doing: Option<String>,
    /// The process it calls its main one (`MAINPID=`). Its end is still that of `pid`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub main_pid: Option<u32>,
    /// Connections that ganger has handed to its process; absent where it does not (`listen_mode = "pass"`, `node_cluster`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connections: Option<Connections>,
}

/// Connections of one process, since this daemon hands them over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connections {
    /// It has them, or had.
    pub taken: u64,
    /// Handed over, and not yet taken.
    pub in_flight: u64,
}

/// One probe of a living process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Probe {
    /// "startup", "ready" or "live".
    pub kind: String,
    /// What is asked: "http :3000/health".
    pub what: String,
    /// Whether the last answer was good; null before the first.
    pub ok: Option<bool>,
    /// What a bad answer said; empty when there is nothing to say.
    pub said: String,
    /// Bad answers in a row.
    pub failures: u64,
    /// Answers so far.
    pub checks: u64,
    /// How long the last one took, where it was asked for.
    pub latency_s: Option<Seconds>,
    /// When it came.
    pub at: Option<Timestamp>,
}

/// `status NAME`: one service or pool with all that helps to understand it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Service {
    /// Version of the shape.
    pub v: V1,
    /// Its name.
    pub name: String,
    /// `service` or `worker` (a pool's).
    pub kind: InstanceKind,
    /// Wanted number of instances.
    pub replicas: u32,
    /// Stopped by hand: it stays so over restarts of the daemon.
    pub stopped: bool,
    /// What it runs.
    pub command: Vec<String>,
    /// What it listens on, by address and, where each has its own, by slot.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub listeners: Vec<Listener>,
    /// Its newest reload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reload: Option<Reload>,
    /// Its instances by slot.
    pub instances: Vec<Instance>,
    /// What it said last, oldest first.
    pub last_lines: Vec<LogLine>,
}

/// A socket that ganger holds for a service, through restarts of both.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listener {
    /// Where it listens, like `tcp://127.0.0.1:3000`: with the port that the kernel chose.
    pub address: String,
    /// Its name in `LISTEN_FDNAMES`.
    pub name: String,
    /// `inherit`: all instances take from it; `reuseport`: one instance alone does.
    pub mode: String,
    /// That instance's slot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<u32>,
    /// False: it could not be opened; the instances that are not up say why.
    pub open: bool,
    /// Connections that wait to be accepted; TCP only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queued: Option<u32>,
    /// How many may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue_max: Option<u32>,
}

/// Body of `scale`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScaleRequest {
    /// The new number of instances.
    pub replicas: u32,
}

/// Answer of `start`, `stop`, `restart`, `scale`, `pause`, `resume`, `retry`, `cancel` and `down`: done, and on what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerbAnswer {
    /// Version of the shape.
    pub v: V1,
    /// The names or ids it was done to.
    pub done: Vec<String>,
    /// What a person should know: processes that could not be proven dead, and the like.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}
