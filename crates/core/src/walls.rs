//! The layers of a sandbox and what is asked of each: said by policies, put up by the sandbox.

use serde::{Deserialize, Serialize};

/// One layer that can be asked for, in the order in which they are put up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wall {
    /// A user namespace: its rights hold for nothing outside.
    User,
    /// A mount namespace: which files there are at all.
    Mount,
    /// A pid namespace: no process outside can be seen, signalled or traced, and all end with the first.
    Pid,
    /// A network namespace: no interface, no abstract socket of others.
    Net,
    /// System V and POSIX IPC of its own.
    Ipc,
    /// A host name of its own.
    Uts,
    /// A cgroup namespace: the machine's cgroups have no name here.
    Cgroup,
    /// Capabilities dropped for good.
    Capabilities,
    /// PR_SET_NO_NEW_PRIVS.
    NoNewPrivs,
    /// Landlock: files, TCP ports, abstract sockets, signals.
    Landlock,
    /// seccomp: which system calls.
    Seccomp,
}

impl Wall {
    /// All of them with their names.
    pub const ALL: [(&'static str, Self); 11] = [
        ("user", Self::User),
        ("mount", Self::Mount),
        ("pid", Self::Pid),
        ("net", Self::Net),
        ("ipc", Self::Ipc),
        ("uts", Self::Uts),
        ("cgroup", Self::Cgroup),
        ("capabilities", Self::Capabilities),
        ("no_new_privs", Self::NoNewPrivs),
        ("landlock", Self::Landlock),
        ("seccomp", Self::Seccomp),
    ];

    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(_, wall)| *wall == self).map_or("", |(name, _)| name)
    }
}

/// What to do about a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Without it the child is refused.
    Require,
    /// Without it the child runs and the report says so.
    Prefer,
    /// It is not wanted.
    Off,
}

impl Mode {
    /// All of them with their names.
    pub const ALL: [(&'static str, Self); 3] =
        [("require", Self::Require), ("prefer", Self::Prefer), ("off", Self::Off)];

    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(_, mode)| *mode == self).map_or("", |(name, _)| name)
    }
}
