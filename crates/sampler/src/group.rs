//! What the kernel tells of a cgroup (v2): exact, whatever became of its processes.

use std::fs::File;
use std::path::Path;

use crate::host::{Pressure, contents, pressure};
use crate::read::text::{field, number};

/// A cgroup's figures. Counters go on since the folder was made: who leases one from a pool takes the difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Group {
    /// Microseconds of processor time of all processes that ever were in it.
    pub cpu_us: Option<u64>,
    /// Microseconds that it was held back by `cpu.max`.
    pub throttled_us: Option<u64>,
    /// Bytes of memory it holds now.
    pub memory: Option<u64>,
    /// The most it held.
    pub memory_peak: Option<u64>,
    /// What happened at its bounds.
    pub events: Option<MemoryEvents>,
    /// Processes and threads in it.
    pub pids: Option<u64>,
    /// Pressure for processors, memory and disks.
    pub pressure: [Option<Pressure>; 3],
}

/// `memory.events` (the kernel's cgroup-v2.rst): how often, since the folder was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MemoryEvents {
    /// Reclaimed although under its protection.
    pub low: u64,
    /// Held back at `memory.high`.
    pub high: u64,
    /// About to go over `memory.max`.
    pub max: u64,
    /// Ran out: something had to be done.
    pub oom: u64,
    /// Processes that the kernel killed for it.
    pub oom_kill: u64,
}

/// Longest of them: `cpu.stat` has a dozen short lines.
const ROOM: usize = 2 << 10;

impl Group {
    /// Reads the folder's files, opened each time: it is asked for each ten seconds and when a process of the tree has ended. A
    /// controller that is not enabled has no files: what they would tell is `None`.
    ///
    /// `None`: the folder is gone.
    #[must_use]
    pub fn read(folder: &Path) -> Option<Self> {
        let mut buffer = [0; ROOM];
        let mut any = false;
        let mut group = Self::default();
        let mut file = |name: &str, parse: &mut dyn FnMut(&[u8])| {
            let Ok(file) = File::open(folder.join(name)) else { return };
            if let Ok(text) = contents(&file, &mut buffer) {
                any = true;
                parse(text);
            }
        };
        file("cpu.stat", &mut |text| {
            group.cpu_us = field(text, b"usage_usec");
            group.throttled_us = field(text, b"throttled_usec");
        });
        file("memory.current", &mut |text| group.memory = value(text));
        file("memory.peak", &mut |text| group.memory_peak = value(text));
        file("memory.events", &mut |text| group.events = Some(events(text)));
        file("pids.current", &mut |text| group.pids = value(text));
        for (told, name) in
            group.pressure.iter_mut().zip(["cpu.pressure", "memory.pressure", "io.pressure"])
        {
            file(name, &mut |text| *told = Some(pressure(text)));
        }
        any.then_some(group)
    }
}

fn value(text: &[u8]) -> Option<u64> {
    Some(number(text)?.0)
}

fn events(text: &[u8]) -> MemoryEvents {
    let count = |key: &[u8]| field(text, key).unwrap_or(0);
    MemoryEvents {
        low: count(b"low "),
        high: count(b"high "),
        max: count(b"max "),
        oom: count(b"oom "),
        oom_kill: count(b"oom_kill "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_folder_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let write =
            |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write(
            "cpu.stat",
            "usage_usec 1234\nuser_usec 1000\nsystem_usec 234\nnr_periods 9\nnr_throttled 2\nthrottled_usec 55\n",
        );
        write("memory.current", "4096\n");
        write("memory.peak", "8192\n");
        write("pids.current", "3\n");
        write("memory.events", "low 1\nhigh 2\nmax 3\noom 4\noom_kill 5\noom_group_kill 6\n");
        write("cpu.pressure", "some avg10=2.00 avg60=0.00 avg300=0.00 total=9\n");
        let group = Group::read(folder.path()).unwrap();
        assert_eq!((group.cpu_us, group.throttled_us), (Some(1234), Some(55)));
        let figures = (group.memory, group.memory_peak, group.pids);
        assert_eq!(figures, (Some(4096), Some(8192), Some(3)));
        let events = MemoryEvents { low: 1, high: 2, max: 3, oom: 4, oom_kill: 5 };
        assert_eq!(group.events, Some(events));
        let cpu = Pressure { some_us: 9, some_avg10: 200, ..Pressure::default() };
        assert_eq!(group.pressure, [Some(cpu), None, None]);
    }

    #[test]
    fn what_is_not_there_is_not_told() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Group::read(folder.path()), None);
        std::fs::write(folder.path().join("cpu.stat"), "usage_usec 7\n").unwrap();
        let group = Group::read(folder.path()).unwrap();
        assert_eq!(group, Group { cpu_us: Some(7), ..Group::default() });
    }
}
