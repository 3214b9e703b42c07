//! What one process costs.

use std::fmt;
use std::time::Duration;

use crate::counters::Counters;
use crate::read::StatLine;
use crate::target::TreeId;

/// One process as it was last seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Process {
    /// Its number; with `birth` it is unique until the machine starts anew.
    pub pid: u32,
    /// When it was started: clock ticks since the machine's start.
    pub birth: u64,
    /// Its parent, as last read.
    pub parent: u32,
    /// Whose it is.
    pub tree: TreeId,
    /// The kernel's name for it: at most 15 bytes.
    pub name: Name,
    /// What it does.
    pub state: State,
    /// Its threads.
    pub threads: u32,
    /// What it used itself. Bytes read and written hold those of children it waited for too: so does the kernel count.
    pub own: Counters,
    /// What children that it waited for used, and theirs.
    pub waited: Counters,
    /// Nanoseconds of processor time since the tick before.
    pub cpu_delta_ns: u64,
    /// Resident memory in bytes: shared pages count in full. At most 10 s old.
    pub resident: u64,
    /// Shared pages counted in parts.
    pub proportional: Option<Proportional>,
    /// Memory that was written out to swap, in bytes; read each 10 s.
    pub swap: Option<u64>,
    /// Open descriptors. `None`: it may not be looked at.
    pub descriptors: Option<u32>,
    /// How many it may have open; read each 10 s.
    pub descriptor_limit: Option<u64>,
    /// Context switches of the threads it has; read each 10 s. `None`: over 64 threads.
    pub switches: Option<(u64, u64)>,
    /// Whether the kernel lets us read its bytes.
    pub io_told: bool,
}

impl Process {
    /// As its line tells; the rest is read next.
    pub(crate) fn new(pid: u32, tree: TreeId, line: &StatLine) -> Self {
        let (cpu_ns, minor_faults, major_faults) = (line.cpu_ns, line.minor, line.major);
        let own = Counters { cpu_ns, minor_faults, major_faults, ..Counters::default() };
        let waited = Counters {
            cpu_ns: line.waited_ns,
            minor_faults: line.waited_minor,
            major_faults: line.waited_major,
            ..Counters::default()
        };
        Self {
            pid,
            birth: line.birth,
            parent: line.parent,
            tree,
            name: line.name,
            state: line.state,
            threads: line.threads,
            own,
            waited,
            cpu_delta_ns: 0,
            resident: line.resident.saturating_mul(rustix::param::page_size() as u64),
            proportional: None,
            swap: None,
            descriptors: None,
            descriptor_limit: None,
            switches: None,
            io_told: true,
        }
    }

    /// Open descriptors as a part of what it may open: over 0.9 it will soon fail.
    #[must_use]
    pub fn descriptor_ratio(&self) -> Option<f64> {
        let limit = self.descriptor_limit.filter(|limit| *limit > 0)?;
        Some(f64::from(self.descriptors?) / limit as f64)
    }

    /// Own and waited together: what is lost from sight with it.
    #[must_use]
    pub fn all(&self) -> Counters {
        self.own + self.waited
    }
}

/// Memory in which shared pages count in parts (`Pss` of smaps_rollup): costly to read, so it is read on a budget of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proportional {
    /// Bytes.
    pub bytes: u64,
    /// Since the sampler's start, when it was read.
    pub at: Duration,
    /// Resident memory then: as long as this stays, so does the other.
    pub resident: u64,
}

/// A process's name, as the kernel cuts it.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Name([u8; 16]);

impl Name {
    /// The first 16 bytes.
    #[must_use]
    pub fn new(text: &[u8]) -> Self {
        let mut name = [0; 16];
        let length = text.len().min(name.len());
        name[..length].copy_from_slice(&text[..length]);
        Self(name)
    }

    /// Its bytes: any but zero.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        let end = self.0.iter().position(|c| *c == 0).unwrap_or(self.0.len());
        &self.0[..end]
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(self.bytes()))
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_string())
    }
}

/// What a process does (the third field of its `stat` line).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It runs or could.
    Running,
    /// It waits and can be woken by a signal.
    Sleeping,
    /// It waits for a disk or the like, and nothing wakes it.
    Uninterruptible,
    /// It was stopped, or is traced.
    Stopped,
    /// It has ended and waits to be reaped: its time counts, its memory is free.
    Zombie,
    /// A letter this version doesn't know, or idle (kernel threads).
    Other,
}

impl State {
    pub(crate) const fn of(letter: u8) -> Self {
        match letter {
            b'R' => Self::Running,
            b'S' => Self::Sleeping,
            b'D' => Self::Uninterruptible,
            b'T' | b't' => Self::Stopped,
            b'Z' | b'X' => Self::Zombie,
            _ => Self::Other,
        }
    }
}
