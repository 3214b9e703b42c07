//! From records to counted stacks, in order of time: what is mapped where is known only while the records are read.

use std::collections::HashMap;

use ganger_sys::perf::{Record, Sample};

use crate::names::{Address, Modules, Namer};
use crate::profile::{Frame, FrameKind, Meta, Profile};
use crate::space::{self, Space};
use crate::target::Process;

/// Different stacks kept; samples of further ones are counted by their process alone. 65,536 of 40 frames are some 50 MB.
pub(crate) const MOST_STACKS: usize = 65_536;
/// Processes whose mappings are kept.
const MOST_PROCESSES: usize = 4_096;
/// PERF_CONTEXT_*: markers in a chain are all above this; below it are addresses.
const MARKERS: u64 = -4_095_i64 as u64;
const KERNEL: u64 = -128_i64 as u64;
const USER: u64 = -512_i64 as u64;

#[derive(Debug, Default)]
struct Seen {
    process: Process,
    space: Space,
}

/// Counts while it samples.
#[derive(Debug, Default)]
pub(crate) struct Collector {
    modules: Modules,
    processes: HashMap<u32, Seen>,
    /// By process and frames, innermost first.
    stacks: HashMap<(u32, Vec<Address>), u64>,
    pub(crate) samples: u64,
    pub(crate) lost: u64,
    pub(crate) beyond: u64,
    pub(crate) broken: u64,
}

impl Collector {
    /// Learns of a process that is there.
    pub(crate) fn add(&mut self, pid: u32) {
        if self.processes.len() >= MOST_PROCESSES && !self.processes.contains_key(&pid) {
            return;
        }
        let process = Process::look(pid);
        let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
        let mut space = Space::default();
        for line in maps.lines().filter_map(space::line) {
            let module = self.modules.of(&process, line.path);
            space.insert(line.start, line.length, line.offset, module);
        }
        self.processes.insert(pid, Seen { process, space });
    }

    /// Is it known?
    pub(crate) fn knows(&self, pid: u32) -> bool {
        self.processes.contains_key(&pid)
    }

    /// How many processes were seen.
    pub(crate) fn processes(&self) -> usize {
        self.processes.len()
    }

    /// Takes what stands in the rings by now.
    pub(crate) fn take<'a>(&mut self, records: impl Iterator<Item = Record<'a>>) {
        let mut records: Vec<Record<'a>> = records.collect();
        // Each ring is in order, all together are not.
        records.sort_by_key(Record::time);
        for record in records {
            self.one(record);
        }
    }

    fn one(&mut self, record: Record<'_>) {
        match record {
            Record::Sample(sample) => self.sample(&sample),
            Record::Map { pid, start, length, offset, path, .. } => {
                let Some(seen) = self.processes.get_mut(&pid) else { return };
                let module = self.modules.of(&seen.process, &String::from_utf8_lossy(path));
                seen.space.insert(start, length, offset, module);
            }
            Record::Name { pid, tid, exec, name, .. } => {
                let Some(seen) = self.processes.get_mut(&pid) else { return };
                if exec {
                    seen.space.clear();
                    seen.process = Process::look(pid);
                }
                if pid == tid {
                    seen.process.name = printable(name);
                }
            }
            Record::Fork { pid, parent, .. } if pid != parent => self.fork(pid, parent),
            Record::Lost(count) => self.lost += count,
            Record::Fork { .. } | Record::Exit { .. } | Record::Other => {}
        }
    }

    /// A child has its parent's memory until it runs another program.
    fn fork(&mut self, pid: u32, parent: u32) {
        if self.processes.len() >= MOST_PROCESSES {
            return;
        }
        let Some(seen) = self.processes.get(&parent) else { return };
        let (space, name) = (seen.space.clone(), seen.process.name.clone());
        let mut process = Process::look(pid);
        // It may be gone already: then what its parent was is the best there is.
        if process.uid.is_none() {
            process.name = name;
            process.mounts = seen.process.mounts;
            process.root = seen.process.root.as_ref().and_then(|root| root.try_clone().ok());
        }
        self.processes.insert(pid, Seen { process, space });
    }

    fn sample(&mut self, sample: &Sample<'_>) {
        self.samples += 1;
        let empty = Space::default();
        let space = self.processes.get(&sample.pid).map_or(&empty, |seen| &seen.space);
        let stack = stack(sample, space);
        let users = stack.iter().filter(|at| !matches!(at, Address::Kernel(_))).count();
        self.broken += u64::from(users == 1);
        let full = self.stacks.len() >= MOST_STACKS;
        let key = (sample.pid, stack);
        if let Some(count) = self.stacks.get_mut(&key) {
            *count += 1;
        } else if full {
            self.beyond += 1;
        } else {
            self.stacks.insert(key, 1);
        }
    }

    /// Names everything.
    pub(crate) fn finish(self, mut meta: Meta) -> Profile {
        let mut namer = Namer::new(&self.modules);
        let nobody = Process::default();
        let mut named = Vec::with_capacity(self.stacks.len());
        for ((pid, stack), count) in self.stacks {
            let process = self.processes.get(&pid).map_or(&nobody, |seen| &seen.process);
            let root = if process.name.is_empty() { pid.to_string() } else { process.name.clone() };
            let root = Frame { name: root, module: String::new(), kind: FrameKind::Process };
            let frames = stack.iter().rev().map(|at| namer.frame(pid, process, *at));
            let frames: Vec<Frame> = std::iter::once(root).chain(frames).collect();
            let leaf = frames.last().map_or(FrameKind::Unnamed, |frame| frame.kind);
            if !matches!(leaf, FrameKind::Unnamed | FrameKind::Process) {
                meta.named += count;
            }
            named.push((frames, count));
        }
        let mut profile = Profile::new(meta);
        for (frames, count) in named {
            profile.add(frames, count);
        }
        profile
    }
}

/// The addresses of a sample, innermost first. All but the innermost are return addresses: the call stands before them.
fn stack(sample: &Sample<'_>, space: &Space) -> Vec<Address> {
    let mut kernel = false;
    let mut innermost = true;
    let mut stack = Vec::new();
    for word in sample.chain() {
        if word >= MARKERS {
            kernel = word == KERNEL;
            // What the user's side was at when it went to the kernel is no return address.
            innermost |= word == USER;
            continue;
        }
        let at = if innermost { word } else { word.saturating_sub(1) };
        innermost = false;
        stack.push(if kernel {
            Address::Kernel(at)
        } else {
            space
                .find(at)
                .map_or(Address::Free(at), |(module, offset)| Address::File(module, offset))
        });
    }
    if stack.is_empty() && sample.ip != 0 {
        let at = sample.ip;
        let file = space.find(at).map(|(module, offset)| Address::File(module, offset));
        stack.push(file.unwrap_or(if at > u64::MAX / 2 {
            Address::Kernel(at)
        } else {
            Address::Free(at)
        }));
    }
    // Above main a walk by frame pointers ends in what was in the register before: addresses of nothing.
    while stack.len() > 1 && matches!(stack.last(), Some(Address::Free(at)) if *at < 0x1_0000) {
        stack.pop();
    }
    stack
}

fn printable(name: &[u8]) -> String {
    String::from_utf8_lossy(name).chars().filter(|c| !c.is_control()).collect()
}

#[cfg(test)]
mod tests;
