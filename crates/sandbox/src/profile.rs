//! What a plan asks for.

use serde::{Deserialize, Serialize};

use crate::Sandbox;

/// Upper bounds for one instance. `None` leaves what ganger itself was started with.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Memory of the whole tree in bytes (cgroup), page cache included.
    pub memory: Option<u64>,
    /// CPU of the whole tree in cores; 0.5 is half of one (cgroup).
    pub cpu: Option<f64>,
    /// Processes and threads of the whole tree (cgroup).
    pub pids: Option<u64>,
    /// Open descriptors of one process (RLIMIT_NOFILE).
    pub files: Option<u64>,
    /// Largest core file in bytes (RLIMIT_CORE).
    pub core: Option<u64>,
    /// CPU seconds of one process (RLIMIT_CPU): SIGXCPU, a second later SIGKILL.
    pub cpu_time: Option<u64>,
    /// CPU time of the whole tree in milliseconds, those that have ended too: the tree is ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tree_cpu_ms: Option<u64>,
    /// Largest file a process may write, in bytes (RLIMIT_FSIZE).
    pub file_size: Option<u64>,
    /// Address space of one process in bytes (RLIMIT_AS).
    pub address_space: Option<u64>,
}

impl Limits {
    /// True when a cgroup with controllers is needed to enforce these.
    #[must_use]
    pub const fn want_cgroup(&self) -> bool {
        self.memory.is_some() || self.cpu.is_some() || self.pids.is_some()
    }
}

/// Who the child is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// User id, set for real, effective and saved.
    pub uid: u32,
    /// Group id, likewise.
    pub gid: u32,
    /// Supplementary groups; replaces the inherited ones.
    #[serde(default)]
    pub groups: Vec<u32>,
}

/// What to do where the machine lacks something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Need {
    /// Go on without it and say so in the report.
    #[default]
    Prefer,
    /// Refuse the spawn.
    Require,
}

/// Everything a plan says about what the child may do.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Profile {
    /// Upper bounds.
    pub limits: Limits,
    /// Another user than ganger's own.
    pub identity: Option<Identity>,
    /// PR_SET_NO_NEW_PRIVS: set-user-id programs give nothing.
    pub no_new_privs: bool,
    /// File mode mask; 022 when absent.
    pub umask: Option<u32>,
    /// Whether limits that can't be enforced refuse the spawn.
    pub need: Need,
    /// What stands around it; boxed, as few children have any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<Box<Sandbox>>,
}
