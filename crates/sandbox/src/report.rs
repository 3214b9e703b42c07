//! What was enforced and what was not.

use serde::{Deserialize, Serialize};

use crate::Wall;

/// One thing that holds the child.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Layer {
    /// The tree has a cgroup: membership can't be escaped, and it ends as a whole.
    Tree,
    /// Memory limit.
    Memory,
    /// CPU limit.
    Cpu,
    /// Limit of processes and threads.
    Pids,
    /// Per-process limits of setrlimit(2).
    Rlimits,
    /// Own user and groups.
    Identity,
    /// no_new_privs.
    NoNewPrivs,
}

/// Something asked for that this machine doesn't give.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Degraded {
    /// What is missing: `memory limit`, `tree by cgroup`, …
    pub what: String,
    /// Why, on which path.
    pub why: String,
    /// What a person can do about it.
    pub fix: String,
}

/// A limit of a whole tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// Memory in bytes.
    Memory,
    /// Processes and threads.
    Pids,
    /// CPU time in milliseconds.
    CpuTime,
}

impl Bound {
    /// As ends and breaches name it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Pids => "pids",
            Self::CpuTime => "cpu_time",
        }
    }
}

/// Who holds a limit of a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Holder {
    /// A cgroup counts, the keeper looks in time.
    Cgroup,
    /// The kernel, by a limit of the child's user namespace: exact.
    Rlimit,
    /// The keeper looks at the tree's processes again and again: a breach is seen late, and what comes and goes in between is not seen.
    Watchdog,
}

impl Holder {
    /// As layers name it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cgroup => "cgroup",
            Self::Rlimit => "rlimit",
            Self::Watchdog => "watchdog",
        }
    }
}

/// A limit of a tree that is held by something else than a controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Which.
    pub limit: Bound,
    /// By whom.
    pub by: Holder,
    /// In the limit's unit.
    pub most: u64,
}

/// The outcome for one child.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// What holds.
    pub enforced: Vec<Layer>,
    /// The layers of its sandbox that stand.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub walls: Vec<Wall>,
    /// Limits of its tree that no controller holds, but somebody else does.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub held: Vec<Held>,
    /// What doesn't, though asked for.
    pub degraded: Vec<Degraded>,
}
