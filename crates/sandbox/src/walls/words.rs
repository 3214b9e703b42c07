//! The words of a sandbox.

use serde::{Deserialize, Serialize};

/// A profile's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProfileName {
    /// No walls; limits, user and mask as in any plan.
    #[default]
    None,
    /// Compilers and test runs: files of the machine read-only without secrets, the working folder writable and its programs
    /// executable, no network, processes of its own.
    Build,
    /// Services: files of the machine read-only without secrets, a private `/tmp`, the machine's network, calls by default-deny.
    Standard,
    /// Everything: a root that holds the program, its loader, its libraries and the declared paths, no network, processes of its own.
    Strict,
}

impl ProfileName {
    /// All of them with their names, the strictest first.
    pub const ALL: [(&'static str, Self); 4] = [
        ("strict", Self::Strict),
        ("standard", Self::Standard),
        ("build", Self::Build),
        ("none", Self::None),
    ];

    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(_, profile)| *profile == self).map_or("none", |(name, _)| name)
    }
}

/// What may be done with a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// Read, not changed and not executed.
    Read,
    /// Read and changed; nothing there is executed, and no device or set-user-id bit counts.
    Write,
    /// Read and executed.
    Execute,
    /// Read, changed and executed: where compilers put their results.
    Work,
}
