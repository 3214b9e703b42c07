//! What a policy says about single layers of its sandbox; what each does is the sandbox's.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One layer that a profile puts up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Layer {
    /// A user namespace.
    User,
    /// A mount namespace with a root of its own.
    Mount,
    /// A pid namespace.
    Pid,
    /// A network namespace.
    Net,
    /// System V and POSIX IPC of its own.
    Ipc,
    /// A host name of its own.
    Uts,
    /// A cgroup namespace.
    Cgroup,
    /// Capabilities dropped.
    Capabilities,
    /// no_new_privs.
    NoNewPrivs,
    /// Landlock.
    Landlock,
    /// A filter of system calls.
    Seccomp,
}

/// What is done about a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Without it nothing runs.
    Require,
    /// Without it the program runs, and the result says so.
    Prefer,
    /// It is left out.
    Off,
}

/// Layers that are treated otherwise than the profile does.
pub type Layers = BTreeMap<Layer, Mode>;

impl Layer {
    /// All of them with their names, in the order in which they are put up.
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
        Self::ALL.iter().find(|(_, layer)| *layer == self).map_or("", |(name, _)| name)
    }
}

impl Mode {
    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Require => "require",
            Self::Prefer => "prefer",
            Self::Off => "off",
        }
    }
}
