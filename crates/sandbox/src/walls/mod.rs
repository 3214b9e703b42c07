//! What stands around a child: a profile by name, what it may reach, and each layer required, preferred or left out.

mod blame;
mod build;
mod error;
mod modes;
mod networks;
mod paths;
mod root;
mod rules;
mod secrets;
mod skeleton;
#[cfg(test)]
mod tests;
mod unfold;
mod words;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use blame::Blame;
pub use build::{Built, Inmate};
pub use error::SandboxError;
pub use ganger_core::{Mode, Wall};
pub use modes::{Missing, missing_by_wish};
pub use networks::{LentNetwork, Networks};
pub use words::{Access, ProfileName};

/// The sandbox that a plan asks for. Fully resolved: paths are absolute, and the keeper looks nothing up but them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Sandbox {
    /// Whose defaults hold where the rest says nothing.
    pub profile: ProfileName,
    /// What it may reach besides its program, loader and libraries.
    pub paths: Vec<Shown>,
    /// What it may connect to; the profile's when absent.
    pub net: Option<Net>,
    /// Layers that are treated otherwise than the profile does.
    pub layers: BTreeMap<Wall, Mode>,
    /// The file that has to be the program; refused if another one is found there.
    pub program: Option<Identified>,
    /// Bytes that it may keep in its private `/tmp`, home and shared memory together.
    pub disk: Option<u64>,
    /// Calls that only attacks make end it, by SIGSYS, instead of failing: for whoever wants to know of them.
    pub watched: bool,
}

impl Sandbox {
    /// A profile as it is.
    #[must_use]
    pub fn of(profile: ProfileName) -> Self {
        Self { profile, ..Self::default() }
    }
}

/// One file or folder, with all beneath it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// Absolute; the child sees it under this path.
    pub path: String,
    /// For a path that somebody else chose: the folder it has to lie in. It is opened beneath that without following any link, and
    /// what was opened is what the child sees. Without it `path` is the administrator's and links in it are followed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beneath: Option<String>,
    /// What may be done.
    pub access: Access,
}

/// A file told from every other one of this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identified {
    /// `st_dev`.
    pub device: u64,
    /// `st_ino`.
    pub inode: u64,
}

/// What a child may connect to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Net {
    /// Nothing: a network of its own without an interface.
    None,
    /// What the machine does.
    Host,
    /// The machine's network; TCP to and on these ports only. UDP is not limited by it.
    Ports {
        /// Ports that it may connect to.
        connect: Vec<u16>,
        /// Ports that it may listen on.
        bind: Vec<u16>,
    },
}
