//! Walls around a child: namespaces, a root of its own, Landlock, capabilities and seccomp, put up between clone and exec.
//!
//! ```text
//!            ┌─ with a pid namespace: the first process, which stays and reaps ─┐
//! clone3 ──▶ │ cgroups → id map → mounts → new root → Landlock's rules ──vfork──┼─▶ session → descriptors → limits →
//!            └──────────────────────────────────────────────────────────────────┘   capabilities → nnp → Landlock → seccomp → exec
//! ```
//!
//! Without a pid namespace it is one process from the first step to the last. As everywhere between clone and exec: raw
//! system calls on what was made before, nothing is allocated, nothing is looked up but paths that the caller has looked at.
//! A mount is of the file that the caller saw (device and inode), whatever its path leads to by now.

#[cfg(target_arch = "x86_64")]
mod alone;
mod finish;
mod init;
mod mounts;
mod raw;
mod stage;

use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::Network;
use crate::seccomp::Instruction;

#[cfg(target_arch = "x86_64")]
pub(super) use alone::image;
pub(super) use finish::{bound, confine, program, settle};
pub(super) use init::lead;
pub(super) use stage::stage;

pub(crate) use init::TO_ALL;
pub use init::outcome;

/// A set of namespaces: flags of clone(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Namespaces(u32);

impl Namespaces {
    /// CLONE_NEWUSER.
    pub const USER: Self = Self(0x1000_0000);
    /// CLONE_NEWNS.
    pub const MOUNT: Self = Self(0x0002_0000);
    /// CLONE_NEWPID.
    pub const PID: Self = Self(0x2000_0000);
    /// CLONE_NEWNET.
    pub const NET: Self = Self(0x4000_0000);
    /// CLONE_NEWIPC.
    pub const IPC: Self = Self(0x0800_0000);
    /// CLONE_NEWUTS.
    pub const UTS: Self = Self(0x0400_0000);
    /// CLONE_NEWCGROUP.
    pub const CGROUP: Self = Self(0x0200_0000);

    /// With those of `other`.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// All of `other` are in it.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    pub(super) const fn flags(self) -> libc::c_int {
        self.0.cast_signed()
    }

    /// The first of these that can't be made here. Takes some milliseconds: for when a child could not be started.
    #[must_use]
    pub fn refused(self) -> Option<Self> {
        super::probe::refused(self)
    }
}

/// Everything about the walls of one child.
#[derive(Debug, Default)]
pub struct Walls {
    /// Namespaces of its own.
    pub namespaces: Namespaces,
    /// Who it is inside of its user namespace.
    pub ids: Option<IdMap>,
    /// Which files there are. Needs a mount namespace.
    pub root: Option<Root>,
    /// Its host name. Needs a UTS namespace.
    pub hostname: Option<CString>,
    /// A network that is there, instead of a namespace of its own; then that is not made.
    pub network: Option<Arc<Network>>,
    /// Its network has an interface to itself. Needs a network namespace.
    pub loopback: bool,
    /// The ruleset and its further rules, as paths inside.
    pub landlock: Option<Landlock>,
    /// Drop every capability for good.
    pub no_capabilities: bool,
    /// The filter of system calls, none when empty.
    pub seccomp: Vec<Instruction>,
    /// The program must be this file (device, inode), and it is executed through the descriptor that was compared.
    pub program: Option<(u64, u64)>,
}

impl Walls {
    /// As clone3 takes them; the cgroup namespace is left for when the child is in its cgroups.
    pub(super) fn at_birth(&self) -> u64 {
        let there = if self.network.is_some() { Namespaces::NET.0 } else { 0 };
        u64::from(self.namespaces.0 & !Namespaces::CGROUP.0 & !there)
    }
}

/// One user and one group of a user namespace.
#[derive(Debug)]
pub struct IdMap {
    /// Inside.
    pub uid: u32,
    /// Inside.
    pub gid: u32,
    /// `INSIDE OUTSIDE 1`, for uid_map.
    pub uids: CString,
    /// The same for gid_map.
    pub gids: CString,
    /// The parent writes the maps and the child leaves every group: needed where outside is another user than the parent, or where
    /// the parent has groups to lose. Only for root.
    pub by_parent: bool,
}

/// The root folder of a mount namespace.
#[derive(Debug)]
pub struct Root {
    /// What it begins with.
    pub base: Base,
    /// Put into it, in this order. Targets are relative to the root.
    pub entries: Vec<Entry>,
}

/// What a root begins with.
#[derive(Debug)]
pub enum Base {
    /// Nothing: a tmpfs with these options, read-only once it is filled.
    Empty(CString),
    /// A folder that holds the places of all that is mounted: as its attributes say, with nothing beneath it.
    Folder(Bind),
    /// All mounts of the machine, read-only, without set-user-id and devices.
    Machine,
}

/// One thing in a root.
#[derive(Debug)]
pub enum Entry {
    /// A folder, mode 755; may be there.
    Folder(CString),
    /// An empty file as the place of a mount.
    Place(CString),
    /// A file with this content, mode 444.
    Text {
        /// Where.
        at: CString,
        /// What it holds.
        text: Vec<u8>,
    },
    /// A symbolic link.
    Link {
        /// Where it leads.
        to: CString,
        /// Where it is.
        at: CString,
    },
    /// Memory that is its own.
    Private(Private),
    /// The mount there is read-only once all else is there.
    Shut(CString),
    /// A file or folder of the machine.
    Bind(Bind),
    /// `/proc` of the pid namespace, read-only.
    Proc(CString),
}

/// A file or folder of the machine, seen inside.
#[derive(Debug)]
pub struct Bind {
    /// Its path on the machine: absolute, without links.
    pub from: CString,
    /// What was found there: device and inode.
    pub file: (u64, u64),
    /// Where it is seen.
    pub to: CString,
    /// With all mounts beneath.
    pub folder: bool,
    /// MOUNT_ATTR_* to be set.
    pub attributes: u64,
}

/// Folders of a tmpfs of the child's own, and what is hidden by nothing at all.
#[derive(Debug)]
pub struct Private {
    /// Options of a tmpfs for it: size, inodes. It is mounted beneath the first of the places. `None`: the root's own is used, see
    /// [`Base::Empty`].
    pub options: Option<CString>,
    /// What can be written to; all of it has one budget. Each is made, so its parent has to be there or one of these.
    pub places: Vec<Place>,
    /// Files (false) and folders (true) of the root that nobody may look into.
    pub hide: Vec<(CString, bool)>,
}

/// A folder of a private tmpfs.
#[derive(Debug)]
pub struct Place {
    /// Where it is seen.
    pub at: CString,
    /// Its path in the tmpfs; the same where that is the root's.
    pub name: CString,
    /// Its mode.
    pub mode: u32,
    /// MOUNT_ATTR_* to be set.
    pub attributes: u64,
}

/// MOUNT_ATTR_RDONLY of linux/mount.h.
pub const READ_ONLY: u64 = 1;
/// MOUNT_ATTR_NOSUID.
pub const NO_SUID: u64 = 2;
/// MOUNT_ATTR_NODEV.
pub const NO_DEV: u64 = 4;
/// MOUNT_ATTR_NOEXEC.
pub const NO_EXEC: u64 = 8;

/// Most places of a [`Private`].
pub const PLACES_MAX: usize = 4;

/// Landlock for a child.
#[derive(Debug)]
pub struct Landlock {
    /// Of landlock_create_ruleset(2).
    pub ruleset: OwnedFd,
    /// Paths inside, and the rights beneath each. A path that is not there is passed over: nothing is there to reach.
    pub rules: Vec<(CString, u64)>,
}
