//! One child: clone3 with a pidfd, everything prepared before, errors told as step and errno.
//!
//! ```text
//! parent: prepare (all allocation) ── clone3 ──▶ pidfd, wait for the error pipe's end (deadline)
//! child:  dispositions → cgroups → session → descriptors → limits → identity → umask → cwd → nnp → mask → execve
//! ```
//!
//! With many descriptors open, [`Spec::spawn_low`] spares the child the copy of all of them: see [`LowNumbers`].
//!
//! A child with [`Walls`] has more to do between cgroups and execve, and may be two processes: see [`walls`].
//!
//! The child's routine allocates nothing, takes no lock and makes raw system calls only: it runs in a copy of a process
//! (or, on the fast path, in the very memory of one) that may have had threads. `pre_exec` closures have no place here.

mod child;
mod gates;
mod low;
mod network;
mod parent;
mod pending;
mod prepared;
mod probe;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod vfork;
pub mod walls;

pub use low::LowNumbers;
pub use network::Network;
pub use pending::Pending;
pub use walls::Walls;

use std::ffi::CString;
use std::fmt;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Duration;

/// Until when a child has to reach execve. Local filesystems take under a millisecond; a hung network mount must not hold
/// the parent of all children for long.
pub const EXEC_DEADLINE: Duration = Duration::from_secs(3);

/// Everything about one child. Borrowed descriptors stay the caller's.
#[derive(Debug)]
pub struct Spec<'fd> {
    /// Path of the program; no PATH is searched.
    pub program: CString,
    /// Arguments, the zeroth included.
    pub argv: Vec<CString>,
    /// `NAME=value`, the whole environment.
    pub env: Vec<CString>,
    /// Adds `LISTEN_PID=<the child's pid>` to the environment (sd_listen_fds(3)).
    pub listen_pid: bool,
    /// Adds `WATCHDOG_PID=<the child's pid>` to the environment (sd_watchdog_enabled(3)).
    pub watchdog_pid: bool,
    /// Working directory; the parent's when absent.
    pub cwd: Option<CString>,
    /// Descriptor and the number the child gets it under. Sources and targets may overlap in any way.
    pub fds: Vec<(BorrowedFd<'fd>, u32)>,
    /// Descriptors the child gets under the number they have now; none of them may be a target above.
    pub keep: Vec<BorrowedFd<'fd>>,
    /// Session and terminal.
    pub session: Session<'fd>,
    /// File mode mask.
    pub umask: u32,
    /// Limits for setrlimit(2).
    pub rlimits: Vec<Rlimit>,
    /// User and groups; the parent's when absent.
    pub identity: Option<Ids>,
    /// PR_SET_NO_NEW_PRIVS.
    pub no_new_privs: bool,
    /// A cgroup2 folder in which the child is born.
    pub cgroup: Option<BorrowedFd<'fd>>,
    /// `cgroup.procs` files of v1 hierarchies, open for writing: the child writes itself into each.
    pub join: Vec<BorrowedFd<'fd>>,
    /// Share the parent's memory until exec (VM|VFORK). Only for the parent's own user, without a deadline need: a child
    /// that changed its user could be stopped by that user, and the parent with it. Ignored with `identity`.
    pub fast: bool,
    /// What stands around it; nothing of it costs a child that has none.
    pub walls: Option<&'fd Walls>,
}

impl Spec<'_> {
    /// A plain child of the same user: nothing but program and arguments, in a session of its own.
    #[must_use]
    pub fn new(program: CString, argv: Vec<CString>) -> Self {
        Self {
            program,
            argv,
            env: Vec::new(),
            listen_pid: false,
            watchdog_pid: false,
            cwd: None,
            fds: Vec::new(),
            keep: Vec::new(),
            session: Session::New,
            umask: 0o022,
            rlimits: Vec::new(),
            identity: None,
            no_new_privs: false,
            cgroup: None,
            join: Vec::new(),
            fast: false,
            walls: None,
        }
    }

    /// Starts the child and returns when its program runs.
    ///
    /// Descriptors 0-2 that are no target stay the parent's; every other descriptor is closed at exec. All signals are at
    /// their default and none is blocked.
    ///
    /// # Errors
    /// The step that failed and its errno; nothing is left of the child then, except one that hangs in the kernel past the
    /// deadline: it has been killed and shows up as an unknown ended child.
    pub fn spawn(&self) -> Result<Started, SpawnError> {
        parent::spawn(self, None)
    }

    /// The same in a time that does not grow with the number of descriptors open here. A child with [`keep`](Self::keep)
    /// or with more than [`LowNumbers::MOST`] descriptors is started as by [`spawn`](Self::spawn).
    ///
    /// No other thread may open or close descriptors meanwhile whose numbers the spec borrows: the table is shared until
    /// the child has taken its part.
    ///
    /// # Errors
    /// As [`spawn`](Self::spawn).
    pub fn spawn_low(&self, low: &mut LowNumbers) -> Result<Started, SpawnError> {
        parent::spawn(self, Some(low))
    }

    /// Starts the child and returns at once, so that several can be on their way to their programs. It has a copy of all
    /// that it needs: nothing of the spec has to live on, except what the spec says of files by number (their walls).
    /// [`fast`](Self::fast) is ignored.
    ///
    /// # Errors
    /// There is no child; what fails on its way is told by [`Pending::wait`].
    pub fn begin(&self) -> Result<Pending, SpawnError> {
        parent::begin(self)
    }
}

/// A child whose program runs.
#[derive(Debug)]
pub struct Started {
    /// Its process id, good until it is reaped.
    pub pid: u32,
    /// Its pidfd, close-on-exec.
    pub pidfd: OwnedFd,
    /// With a pid namespace the process above is the namespace's first, and this is where it says how the program ended: see
    /// [`walls::outcome`].
    pub outcome: Option<OwnedFd>,
}

/// Session and terminal of a child.
#[derive(Debug)]
pub enum Session<'fd> {
    /// setsid(2).
    New,
    /// The parent's.
    Keep,
    /// A process group of its own, made the foreground group of this terminal.
    Foreground(BorrowedFd<'fd>),
}

/// One limit of setrlimit(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rlimit {
    /// Which.
    pub resource: Resource,
    /// Soft limit; `u64::MAX` is none.
    pub soft: u64,
    /// Hard limit; `u64::MAX` is none.
    pub hard: u64,
}

/// What [`Rlimit`] limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
    /// RLIMIT_NOFILE: open descriptors.
    Files,
    /// RLIMIT_CORE: bytes.
    Core,
    /// RLIMIT_CPU: seconds.
    CpuTime,
    /// RLIMIT_FSIZE: bytes.
    FileSize,
    /// RLIMIT_AS: bytes.
    AddressSpace,
    /// RLIMIT_NPROC: processes and threads of its user, in a user namespace of its own those in there (Linux 5.14).
    Processes,
}

/// User and groups of a child.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ids {
    /// Real, effective and saved user id.
    pub uid: u32,
    /// Real, effective and saved group id.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
}

/// Which step of starting a child failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
#[expect(missing_docs, reason = "each is the name of its system call or of what it sets up")]
pub enum Step {
    Pipe = 1,
    Clone3,
    Setsid,
    Foreground,
    JoinCgroup,
    Descriptors,
    Setrlimit,
    Setgroups,
    Setgid,
    Setuid,
    Chdir,
    NoNewPrivs,
    Execve,
    Deadline,
    IdMap,
    CgroupNamespace,
    Hostname,
    NoNesting,
    Private,
    Root,
    Mount,
    Memory,
    Hide,
    Pivot,
    LandlockRule,
    Landlock,
    Capabilities,
    Seccomp,
    Program,
    Init,
    Loopback,
}

impl Step {
    const ALL: [Self; 31] = [
        Self::Pipe,
        Self::Clone3,
        Self::Setsid,
        Self::Foreground,
        Self::JoinCgroup,
        Self::Descriptors,
        Self::Setrlimit,
        Self::Setgroups,
        Self::Setgid,
        Self::Setuid,
        Self::Chdir,
        Self::NoNewPrivs,
        Self::Execve,
        Self::Deadline,
        Self::IdMap,
        Self::CgroupNamespace,
        Self::Hostname,
        Self::NoNesting,
        Self::Private,
        Self::Root,
        Self::Mount,
        Self::Memory,
        Self::Hide,
        Self::Pivot,
        Self::LandlockRule,
        Self::Landlock,
        Self::Capabilities,
        Self::Seccomp,
        Self::Program,
        Self::Init,
        Self::Loopback,
    ];

    /// The word that reports and errors use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pipe => "pipe",
            Self::Clone3 => "clone3",
            Self::Setsid => "setsid",
            Self::Foreground => "tcsetpgrp",
            Self::JoinCgroup => "cgroup",
            Self::Descriptors => "dup",
            Self::Setrlimit => "setrlimit",
            Self::Setgroups => "setgroups",
            Self::Setgid => "setgid",
            Self::Setuid => "setuid",
            Self::Chdir => "chdir",
            Self::NoNewPrivs => "no_new_privs",
            Self::Execve => "execve",
            Self::Deadline => "deadline",
            Self::IdMap => "uid_map",
            Self::CgroupNamespace => "unshare",
            Self::Hostname => "sethostname",
            Self::NoNesting => "max_user_namespaces",
            Self::Private => "propagation",
            Self::Root => "root",
            Self::Mount => "mount",
            Self::Memory => "tmpfs",
            Self::Hide => "hide",
            Self::Pivot => "pivot_root",
            Self::LandlockRule => "landlock_rule",
            Self::Landlock => "landlock",
            Self::Capabilities => "capabilities",
            Self::Seccomp => "seccomp",
            Self::Program => "program",
            Self::Init => "vfork",
            Self::Loopback => "loopback",
        }
    }

    fn from_number(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|step| *step as u32 == number)
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The program was not started.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("could not start: {step}: {}", ganger_core::end::errno_text(*errno))]
pub struct SpawnError {
    /// Where it failed.
    pub step: Step,
    /// Why.
    pub errno: i32,
    /// Which of several, where the step goes through a list: entries of a root, places, rules.
    pub index: usize,
}

impl SpawnError {
    const fn of(step: Step, errno: i32) -> Self {
        Self { step, errno, index: 0 }
    }
}
