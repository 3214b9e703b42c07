//! Descriptors of `/proc/PID/{stat,io}` that are kept open: a `pread` costs a third of open, read and close.
//!
//! What is kept is bounded. Only who is read gets one, so idle processes need none; where room ends, who was read longest ago gives
//! his away, and where all are busy the file is opened each time. A kept descriptor can't read a stranger that got the same
//! number: it fails with ESRCH (proc(5)).

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::PidPath;

/// A process is "not read lately" after this many ticks.
const IDLE_TICKS: u32 = 5;
/// Places looked at for one to give away: at the bound the search itself must stay cheap.
const PROBES: usize = 8;
/// Longest file that is read: `status` of a process with some hundred groups.
const ROOM: usize = 8 << 10;

/// Which file is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Stat,
    Io,
}

/// What one process has open.
#[derive(Debug, Default)]
pub(crate) struct Held {
    stat: Option<OwnedFd>,
    io: Option<OwnedFd>,
    used: u32,
}

/// Why there is nothing to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gone {
    /// The process is gone.
    Process,
    /// It is there and may not be looked at, or the machine is out of descriptors.
    Refused,
}

/// All that is kept, process by process, in the order of the sampler's table.
#[derive(Debug)]
pub(crate) struct Cache {
    proc: OwnedFd,
    held: Vec<Held>,
    open: usize,
    most: usize,
    hand: usize,
    tick: u32,
    buffer: Box<[u8; ROOM]>,
    /// The kernel counts descriptors for us (Linux 6.2); else they are listed.
    counts: bool,
}

impl Cache {
    /// `proc` is the folder, `most` how many descriptors may be kept.
    pub(crate) fn new(proc: &Path, most: usize) -> io::Result<Self> {
        let proc = OwnedFd::from(File::open(proc)?);
        let own = rustix::fs::statat(&proc, c"self/fd", AtFlags::empty());
        let counts = own.is_ok_and(|own| own.st_size > 0);
        let buffer = Box::new([0; ROOM]);
        Ok(Self { proc, held: Vec::new(), open: 0, most, hand: 0, tick: 0, buffer, counts })
    }

    pub(crate) fn begin_tick(&mut self) {
        self.tick = self.tick.wrapping_add(1);
    }

    pub(crate) fn open(&self) -> usize {
        self.open
    }

    pub(crate) fn counts_descriptors(&self) -> bool {
        self.counts
    }

    /// A new process at the end of the table.
    pub(crate) fn push(&mut self) {
        self.held.push(Held { used: self.tick, ..Held::default() });
    }

    /// As `Vec::swap_remove`.
    pub(crate) fn swap_remove(&mut self, at: usize) {
        let held = self.held.swap_remove(at);
        self.open -= usize::from(held.stat.is_some()) + usize::from(held.io.is_some());
    }

    /// Reads the file of the process at `at`, kept open if there is room.
    pub(crate) fn read_kept(&mut self, at: usize, pid: u32, kind: Kind) -> Result<&[u8], Gone> {
        let tick = self.tick;
        let held = &mut self.held[at];
        held.used = tick;
        let kept = match kind {
            Kind::Stat => &held.stat,
            Kind::Io => &held.io,
        };
        if let Some(fd) = kept {
            let length = rustix::io::pread(fd, &mut self.buffer[..], 0).map_err(gone)?;
            // A file of a process that has just been reaped reads empty or fails.
            return if length == 0 { Err(Gone::Process) } else { Ok(&self.buffer[..length]) };
        }
        let fd = self.open_file(PidPath::new(pid, kind.name()))?;
        let length = rustix::io::read(&fd, &mut self.buffer[..]).map_err(gone)?;
        if self.has_room(kind) {
            let held = &mut self.held[at];
            match kind {
                Kind::Stat => held.stat = Some(fd),
                Kind::Io => held.io = Some(fd),
            }
            self.open += 1;
        }
        if length == 0 { Err(Gone::Process) } else { Ok(&self.buffer[..length]) }
    }

    /// Reads a file that is not kept.
    pub(crate) fn read_once(&mut self, path: PidPath) -> Result<&[u8], Gone> {
        let fd = self.open_file(path)?;
        let length = rustix::io::read(&fd, &mut self.buffer[..]).map_err(gone)?;
        Ok(&self.buffer[..length])
    }

    /// How many descriptors a process has open.
    pub(crate) fn descriptors(&self, pid: u32) -> Option<u32> {
        let path = PidPath::new(pid, "fd");
        if self.counts {
            let stat = rustix::fs::statat(&self.proc, path.as_c_str(), AtFlags::empty()).ok()?;
            return u32::try_from(stat.st_size).ok();
        }
        let folder = self.open_file(path).ok()?;
        let mut entries = rustix::fs::Dir::new(folder).ok()?;
        let names = std::iter::from_fn(|| entries.read()).flatten();
        let count = names.filter(|entry| !entry.file_name().to_bytes().starts_with(b".")).count();
        u32::try_from(count).ok()
    }

    /// The owner of a process's folder: its effective user (proc(5)).
    pub(crate) fn user(&self, pid: u32) -> Option<u32> {
        let path = PidPath::new(pid, "stat");
        Some(rustix::fs::statat(&self.proc, path.as_c_str(), AtFlags::empty()).ok()?.st_uid)
    }

    /// A thread's numbers, at most `most` of them; `None`: there are more, or it is gone.
    pub(crate) fn threads(&self, pid: u32, most: usize) -> Option<Vec<u32>> {
        let folder = self.open_file(PidPath::new(pid, "task")).ok()?;
        let mut entries = rustix::fs::Dir::new(folder).ok()?;
        let mut threads = Vec::new();
        while let Some(Ok(entry)) = entries.read() {
            let Ok(name) = entry.file_name().to_str() else { continue };
            let Ok(thread) = name.parse() else { continue };
            if threads.len() == most {
                return None;
            }
            threads.push(thread);
        }
        Some(threads)
    }

    fn open_file(&self, path: PidPath) -> Result<OwnedFd, Gone> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        rustix::fs::openat(self.proc.as_fd(), path.as_c_str(), flags, Mode::empty()).map_err(gone)
    }

    /// `stat` first: a second descriptor each only where there is room for all.
    fn has_room(&mut self, kind: Kind) -> bool {
        if kind == Kind::Io && self.most < self.held.len().saturating_mul(2) {
            return false;
        }
        self.open < self.most || self.give_away()
    }

    /// Closes what a process has open that was not read lately (the clock algorithm: the hand goes round).
    fn give_away(&mut self) -> bool {
        for _ in 0..PROBES.min(self.held.len()) {
            self.hand = (self.hand + 1) % self.held.len();
            let held = &mut self.held[self.hand];
            if self.tick.wrapping_sub(held.used) < IDLE_TICKS {
                continue;
            }
            let closed =
                usize::from(held.stat.take().is_some()) + usize::from(held.io.take().is_some());
            self.open -= closed;
            if closed > 0 {
                return self.open < self.most;
            }
        }
        false
    }
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Stat => "stat",
            Self::Io => "io",
        }
    }
}

const fn gone(error: Errno) -> Gone {
    match error {
        Errno::NOENT | Errno::SRCH => Gone::Process,
        _ => Gone::Refused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proc_of(pids: u32) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for pid in 0..pids {
            std::fs::create_dir(folder.path().join(pid.to_string())).unwrap();
            for name in ["stat", "io"] {
                let text = format!("{name} of {pid}");
                std::fs::write(folder.path().join(format!("{pid}/{name}")), text).unwrap();
            }
        }
        folder
    }

    fn read_all(cache: &mut Cache, pids: u32) {
        cache.begin_tick();
        for pid in 0..pids {
            for (kind, name) in [(Kind::Stat, "stat"), (Kind::Io, "io")] {
                let text = cache.read_kept(pid as usize, pid, kind).unwrap();
                assert_eq!(text, format!("{name} of {pid}").as_bytes());
            }
        }
    }

    #[test]
    fn with_room_both_files_of_each_are_kept() {
        let folder = proc_of(4);
        let mut cache = Cache::new(folder.path(), 8).unwrap();
        (0..4).for_each(|_| cache.push());
        read_all(&mut cache, 4);
        read_all(&mut cache, 4);
        assert_eq!(cache.open(), 8);
        cache.swap_remove(1);
        assert_eq!(cache.open(), 6);
    }

    #[test]
    fn with_little_room_each_keeps_one_and_the_bound_holds() {
        let folder = proc_of(12);
        let mut cache = Cache::new(folder.path(), 8).unwrap();
        (0..12).for_each(|_| cache.push());
        for _ in 0..3 {
            read_all(&mut cache, 12);
            assert_eq!(cache.open(), 8, "one each as far as it goes, the rest is opened each time");
        }
    }

    #[test]
    fn who_is_idle_gives_his_away() {
        let folder = proc_of(6);
        let mut cache = Cache::new(folder.path(), 3).unwrap();
        (0..6).for_each(|_| cache.push());
        cache.begin_tick();
        for pid in 0..3 {
            assert!(cache.read_kept(pid, pid as u32, Kind::Stat).is_ok());
        }
        (0..IDLE_TICKS).for_each(|_| cache.begin_tick());
        for pid in 3..6 {
            assert!(cache.read_kept(pid, pid as u32, Kind::Stat).is_ok());
        }
        let kept: Vec<bool> = cache.held.iter().map(|held| held.stat.is_some()).collect();
        assert_eq!(kept, [false, false, false, true, true, true]);
        assert_eq!(cache.open(), 3);
    }

    #[test]
    fn a_missing_process_is_gone() {
        let folder = proc_of(1);
        let mut cache = Cache::new(folder.path(), 3).unwrap();
        cache.push();
        assert_eq!(cache.read_kept(0, 77, Kind::Stat), Err(Gone::Process));
        assert_eq!(cache.read_once(PidPath::new(77, "status")), Err(Gone::Process));
        assert_eq!(cache.descriptors(77), None);
    }

    #[test]
    fn own_descriptors_and_threads_are_counted() {
        let mut cache = Cache::new(Path::new("/proc"), 3).unwrap();
        let own = std::process::id();
        let counted = cache.descriptors(own).unwrap();
        assert!(counted >= 4, "three standard ones and the cache's own: {counted}");
        cache.counts = false;
        // Listing opens one more itself; other tests open and close theirs meanwhile.
        assert!(cache.descriptors(own).unwrap() >= 4);
        assert!(cache.threads(own, 4096).unwrap().contains(&own));
        assert_eq!(cache.threads(own, 0), None);
        assert_eq!(cache.user(own), Some(rustix::process::geteuid().as_raw()));
    }
}
