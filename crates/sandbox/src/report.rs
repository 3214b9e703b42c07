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

/// The outcome for one child.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// What holds.
    pub enforced: Vec<Layer>,
    /// The layers of its sandbox that stand.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub walls: Vec<Wall>,
    /// What doesn't, though asked for.
    pub degraded: Vec<Degraded>,
}
