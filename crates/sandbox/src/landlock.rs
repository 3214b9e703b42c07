//! Which files, ports and processes a child may reach, by Landlock (landlock(7)): rules of the kernel about its own objects, which hold
//! whatever mounts, names and descriptors say, and which need no right to set.
//!
//! The ruleset is made by the parent, from paths as it sees them: a rule is tied to a file, not to a path, so it holds for the same
//! file bound elsewhere. The child only puts itself under it ([`ganger_sys::landlock::restrict`]).

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, NetPort, PathBeneath,
    PathFd, PathFdError, Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetError,
    Scope,
};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

/// The newest version whose rights are asked for; an older kernel enforces what it knows.
const NEWEST: ABI = ABI::V7;

/// What may be reached. What isn't listed may not.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Reach {
    /// Files that may be executed and read: programs and loaders. For a folder, all beneath it.
    pub execute: Vec<PathBuf>,
    /// Files and folders that may be read, with all beneath them.
    pub read: Vec<PathBuf>,
    /// Files and folders that may be read and changed, with all beneath them; nothing there may be executed, and no device made.
    pub write: Vec<PathBuf>,
    /// TCP ports that may be connected to; `None`: all.
    pub connect: Option<Vec<u16>>,
    /// TCP ports that may be listened on; `None`: all.
    pub bind: Option<Vec<u16>>,
    /// Abstract Unix sockets of others may be connected to.
    pub abstract_sockets: bool,
    /// Processes outside may be signalled, where users allow it.
    pub signals: bool,
}

/// A ruleset that a child can put itself under.
#[derive(Debug)]
pub struct Walls {
    /// For [`ganger_sys::landlock::restrict`]. Close-on-exec.
    pub ruleset: OwnedFd,
    /// What this kernel's version can't hold, in words.
    pub missing: Vec<&'static str>,
}

/// The rules can't be made.
#[derive(Debug, thiserror::Error)]
pub enum ReachError {
    /// No Landlock at all.
    #[error(
        "this kernel has no Landlock ({why}): it needs Linux 5.13 or newer, and `landlock` in the boot parameter lsm="
    )]
    Unsupported {
        /// Not built in, or not enabled.
        why: &'static str,
    },
    /// A path of the rules can't be opened.
    #[error("rule for {}: {source}", path.display())]
    Path {
        /// Which.
        path: PathBuf,
        /// Why.
        source: PathFdError,
    },
    /// The kernel refuses the rules.
    #[error("Landlock refuses the rules: {0}")]
    Refused(#[from] RulesetError),
}

impl Reach {
    /// Makes the ruleset.
    ///
    /// # Errors
    /// No Landlock here, a path that can't be opened, or rules that the kernel refuses.
    pub fn walls(&self) -> Result<Walls, ReachError> {
        let version = version()?;
        let mut ruleset = Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(NEWEST))?;
        if self.connect.is_some() {
            ruleset = ruleset.handle_access(AccessNet::ConnectTcp)?;
        }
        if self.bind.is_some() {
            ruleset = ruleset.handle_access(AccessNet::BindTcp)?;
        }
        let mut scopes = BitFlags::<Scope>::empty();
        if !self.abstract_sockets {
            scopes |= Scope::AbstractUnixSocket;
        }
        if !self.signals {
            scopes |= Scope::Signal;
        }
        if !scopes.is_empty() {
            ruleset = ruleset.scope(scopes)?;
        }
        let mut created = ruleset.create()?;
        created = beneath(created, &self.execute, AccessFs::from_read(NEWEST))?;
        created = beneath(created, &self.read, AccessFs::from_read(NEWEST) & !AccessFs::Execute)?;
        created = beneath(created, &self.write, writing())?;
        created = ports(created, self.connect.as_deref(), AccessNet::ConnectTcp)?;
        created = ports(created, self.bind.as_deref(), AccessNet::BindTcp)?;
        let ruleset = Option::<OwnedFd>::from(created)
            .ok_or(ReachError::Unsupported { why: "it made no ruleset" })?;
        Ok(Walls { ruleset, missing: self.missing(version) })
    }

    /// What an older version lets pass.
    fn missing(&self, version: u32) -> Vec<&'static str> {
        let ports = self.connect.is_some() || self.bind.is_some();
        let scopes = !self.abstract_sockets || !self.signals;
        let all = [
            (version < 3, "truncation of files that can't be written (Linux 6.2)"),
            (version < 4 && ports, "TCP ports (Linux 6.7)"),
            (version < 5, "commands to devices (Linux 6.10)"),
            (version < 6 && scopes, "signals and abstract sockets (Linux 6.12)"),
        ];
        all.iter().filter(|(lacks, _)| *lacks).map(|(_, what)| *what).collect()
    }
}

/// The kernel's version of Landlock.
fn version() -> Result<u32, ReachError> {
    ganger_sys::landlock::version().map_err(|error| ReachError::Unsupported {
        why: match Errno::from_io_error(&error) {
            Some(Errno::OPNOTSUPP) => "it is built in but not enabled",
            _ => "it is not built in",
        },
    })
}

/// Everything but executing, devices and their commands.
fn writing() -> BitFlags<AccessFs> {
    AccessFs::from_all(NEWEST)
        & !(AccessFs::Execute | AccessFs::MakeChar | AccessFs::MakeBlock | AccessFs::IoctlDev)
}

fn beneath(
    mut created: RulesetCreated,
    paths: &[PathBuf],
    access: BitFlags<AccessFs>,
) -> Result<RulesetCreated, ReachError> {
    for path in paths {
        let fd =
            PathFd::new(path).map_err(|source| ReachError::Path { path: path.clone(), source })?;
        // Rights about what is in a folder are refused for a file.
        let access = if is_folder(path) { access } else { access & AccessFs::from_file(NEWEST) };
        created = created.add_rule(PathBeneath::new(fd, access))?;
    }
    Ok(created)
}

fn is_folder(path: &Path) -> bool {
    path.metadata().is_ok_and(|meta| meta.is_dir())
}

fn ports(
    mut created: RulesetCreated,
    ports: Option<&[u16]>,
    access: AccessNet,
) -> Result<RulesetCreated, ReachError> {
    for port in ports.unwrap_or_default() {
        created = created.add_rule(NetPort::new(*port, access))?;
    }
    Ok(created)
}

#[cfg(test)]
mod tests;
