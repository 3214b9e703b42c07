//! One instance's folder(s): who is in it, what it used, and its end.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ganger_core::End;
use rustix::fs::{Mode, OFlags};

use super::base::pids;
use super::controls::{self, Version};
use super::hierarchy::Controller;
use crate::Limits;

/// A tree's folders. Dropping it removes nothing.
#[derive(Debug)]
pub struct Tree {
    pub(super) name: String,
    /// Membership and kill.
    pub(super) v2: Option<PathBuf>,
    /// (version, controller, folder) of each limit that is set.
    pub(super) limited: Vec<(Version, Controller, PathBuf)>,
    pub(super) limits: Limits,
    pub(super) baseline: Counters,
    /// `cgroup.kill` was used on it, or may have been by somebody before us. Linux 6.18 (seen; the counter it compares came with
    /// 6.14 or so) then kills everybody who is born into it by CLONE_INTO_CGROUP, before exec: such a folder has to go.
    pub(super) killed: AtomicBool,
}

/// Cumulative counters of a folder.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counters {
    pub(super) oom_kills: u64,
    pub(super) pids_refused: u64,
    /// Microseconds; `None` where nobody asked or no folder counts.
    pub(super) cpu_us: Option<u64>,
}

impl Tree {
    /// Its name below ganger's folder, by which a later keeper finds it again.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// True when membership is known and `kill` works: there is a cgroup2 folder.
    #[must_use]
    pub const fn holds(&self) -> bool {
        self.v2.is_some()
    }

    /// The folder to be born in (clone3's CLONE_INTO_CGROUP).
    ///
    /// # Errors
    /// The folder can't be opened.
    pub fn birth(&self) -> io::Result<Option<OwnedFd>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let open = |path| Ok(rustix::fs::open(path, flags, Mode::empty())?);
        self.v2.as_ref().map(open).transpose()
    }

    /// `cgroup.procs` of the v1 folders, for the child to write itself into.
    ///
    /// # Errors
    /// One can't be opened.
    pub fn join(&self) -> io::Result<Vec<OwnedFd>> {
        let v1 = self.limited.iter().filter(|(version, ..)| *version == Version::V1);
        v1.map(|(_, _, folder)| {
            let flags = OFlags::WRONLY | OFlags::CLOEXEC;
            Ok(rustix::fs::open(folder.join("cgroup.procs"), flags, Mode::empty())?)
        })
        .collect()
    }

    /// Everybody in it, cgroups that its processes made below included. Zombies are not listed. A process that forks and
    /// exits all the time may be missed: whether anybody is there, [`Tree::is_populated`] says.
    #[must_use]
    pub fn pids(&self) -> Vec<u32> {
        let Some(folder) = self.v2.as_deref().filter(|folder| populated(folder)) else {
            return Vec::new();
        };
        let mut all = pids(folder);
        let mut below: Vec<PathBuf> = subfolders(folder).collect();
        while let Some(folder) = below.pop() {
            all.extend(pids(&folder));
            below.extend(subfolders(&folder));
        }
        all
    }

    /// Whether anybody alive is in its cgroup2 folder or below.
    #[must_use]
    pub fn is_populated(&self) -> bool {
        self.v2.as_deref().is_some_and(populated)
    }

    /// Ends everybody in it at once, forks in flight included (cgroup.kill, Linux 5.14).
    ///
    /// # Errors
    /// There is no such file or the write was refused.
    pub fn kill(&self) -> io::Result<()> {
        let folder = self.v2.as_ref().ok_or(io::ErrorKind::Unsupported)?;
        self.killed.store(true, Ordering::Relaxed);
        fs::write(folder.join("cgroup.kill"), "1")
    }

    /// How a limit explains the end of the main process, if one does: killed by SIGKILL and the folder counted a kill by
    /// the out-of-memory killer since this process began.
    #[must_use]
    pub fn limit_end(&self) -> Option<LimitEnd> {
        let (version, folder) = self.memory()?;
        if controls::oom_kills(version, folder) <= self.baseline.oom_kills {
            return None;
        }
        Some(LimitEnd { limited: self.limits.memory.is_some(), peak: self.memory_peak() })
    }

    /// Becomes readable when the memory limit makes the kernel kill somebody in it: on v1 one process, maybe not the main one, where v2 ends
    /// all (`memory.oom.group`) and nobody has to hear of it. `None` without such a limit, or where the kernel refuses.
    #[must_use]
    pub fn oom_event(&self) -> Option<OwnedFd> {
        use rustix::event::{EventfdFlags, eventfd};
        self.limits.memory?;
        let (_, folder) = self.memory().filter(|(version, _)| *version == Version::V1)?;
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).ok()?;
        // Only asked for: the kernel keeps the event, not the file.
        let about = fs::File::open(folder.join("memory.oom_control")).ok()?;
        let line = format!("{} {}", event.as_raw_fd(), about.as_raw_fd());
        fs::write(folder.join("cgroup.event_control"), line).ok()?;
        Some(event)
    }

    /// Highest memory use in bytes, as far as its limit goes.
    #[must_use]
    pub fn memory_peak(&self) -> u64 {
        let known = self.memory().and_then(|(version, folder)| controls::peak(version, folder));
        let limit = self.limits.memory;
        // On v2 the folder's peak may be that of an earlier, larger life of the instance.
        known.or(limit).unwrap_or(0).min(limit.unwrap_or(u64::MAX))
    }

    /// Forks that the pids limit refused since this process began.
    #[must_use]
    pub fn forks_refused(&self) -> u64 {
        self.folder(Controller::Pids)
            .map_or(0, |(_, folder)| controls::pids_refused(folder))
            .saturating_sub(self.baseline.pids_refused)
    }

    /// CPU time of everybody who is or was in it since this process began. `None`: no folder counts, or no limit was asked for.
    #[must_use]
    pub fn cpu_used(&self) -> Option<Duration> {
        let since = self.baseline.cpu_us?;
        Some(Duration::from_micros(self.cpu_us()?.saturating_sub(since)))
    }

    fn cpu_us(&self) -> Option<u64> {
        let v2 = self.v2.as_deref().and_then(|folder| controls::cpu_used(Version::V2, folder));
        v2.or_else(|| {
            let (version, folder) = self.folder(Controller::Cpu)?;
            controls::cpu_used(version, folder)
        })
    }

    fn memory(&self) -> Option<(Version, &Path)> {
        self.folder(Controller::Memory)
    }

    fn folder(&self, wanted: Controller) -> Option<(Version, &Path)> {
        self.limited
            .iter()
            .find(|(_, controller, _)| *controller == wanted)
            .map(|(version, _, folder)| (*version, folder.as_path()))
    }

    pub(super) fn take_baseline(&mut self) {
        if let Some((version, folder)) = self.memory() {
            controls::reset_peak(version, folder);
        }
        self.baseline = Counters {
            oom_kills: self
                .memory()
                .map_or(0, |(version, folder)| controls::oom_kills(version, folder)),
            pids_refused: self
                .folder(Controller::Pids)
                .map_or(0, |(_, folder)| controls::pids_refused(folder)),
            cpu_us: self.limits.tree_cpu_ms.and_then(|_| self.cpu_us()),
        };
    }

    /// True when no process is in any of its folders.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let v1 = self.limited.iter().filter(|(version, ..)| *version == Version::V1);
        !self.is_populated()
            && v1.map(|(_, _, folder)| folder).all(|folder| pids(folder).is_empty())
    }

    /// Removes the folders; those with processes in them stay.
    pub fn remove(&self) {
        for folder in self.folders() {
            for below in subfolders(folder) {
                let _ = fs::remove_dir(below);
            }
            // A folder with processes refuses (EBUSY); the next keeper's clearing finds it again.
            let _ = fs::remove_dir(folder);
        }
    }

    fn folders(&self) -> impl Iterator<Item = &Path> {
        let limited = self.limited.iter().map(|(_, _, folder)| folder.as_path());
        let extra = self.v2.as_deref().into_iter();
        extra.chain(limited)
    }
}

/// cgroup.events of the folder, those below counted (cgroup-v2.rst).
fn populated(folder: &Path) -> bool {
    let text = fs::read_to_string(folder.join("cgroup.events")).unwrap_or_default();
    text.lines().any(|line| line == "populated 1")
}

fn subfolders(folder: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let entries = fs::read_dir(folder).ok().into_iter().flatten().flatten();
    entries.filter(|e| e.file_type().is_ok_and(|kind| kind.is_dir())).map(|e| e.path())
}

/// The out-of-memory killer was here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitEnd {
    /// By the instance's own limit, not the machine's shortage.
    pub limited: bool,
    /// Highest use in bytes.
    pub peak: u64,
}

impl LimitEnd {
    /// As an [`End`].
    #[must_use]
    pub fn end(self) -> End {
        if self.limited {
            return End::LimitHit { limit: "memory".into(), peak: self.peak };
        }
        let by = ganger_core::SignalSource::OomKiller;
        End::Signalled { signal: 9, core: false, by }
    }
}
