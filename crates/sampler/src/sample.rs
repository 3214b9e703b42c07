//! What a tick tells.

use std::time::Duration;

use crate::counters::Counters;
use crate::group::Group;
use crate::host::Host;
use crate::process::Process;
use crate::target::TreeId;

/// Everything as of one tick.
#[derive(Debug, Clone, Default)]
pub struct Sample {
    /// Which tick, from 1 up.
    pub tick: u64,
    /// Since the sampler's start.
    pub at: Duration,
    /// Since the tick before; what deltas are of.
    pub passed: Duration,
    /// The machine.
    pub host: Host,
    /// All processes of all trees, in no order.
    pub processes: Vec<Process>,
    /// All trees; [`TreeId`] is the place.
    pub trees: Vec<Tree>,
    /// What the sampling itself took.
    pub cost: Cost,
}

/// A tree's sums.
#[derive(Debug, Clone, PartialEq)]
pub struct Tree {
    /// Its number.
    pub id: TreeId,
    /// Its name.
    pub name: Box<str>,
    /// Its slot.
    pub slot: u32,
    /// It is still watched; one that is not is an empty place.
    pub watched: bool,
    /// The process that was named last.
    pub root: u32,
    /// That process is there and no zombie.
    pub alive: bool,
    /// What all its processes used, those that are gone and those of earlier roots too. Never falls.
    pub total: Counters,
    /// Nanoseconds of processor time since the tick before.
    pub cpu_delta_ns: u64,
    /// Processes there are, zombies included.
    pub processes: u32,
    /// Their threads.
    pub threads: u64,
    /// Resident memory in bytes, shared pages counted in each.
    pub resident: u64,
    /// Proportional memory in bytes of those of whom it is known, and how old the oldest figure is.
    pub proportional: Option<(u64, Duration)>,
    /// Processes whose proportional memory is not known.
    pub proportional_unknown: u32,
    /// Swap in bytes.
    pub swap: u64,
    /// Open descriptors.
    pub descriptors: u64,
    /// The largest part of its descriptor limit that a process uses.
    pub descriptor_ratio: f64,
    /// Context switches of the threads there are, voluntary and not.
    pub switches: (u64, u64),
    /// What its cgroup tells, at most 10 s old.
    pub group: Option<Group>,
}

/// What sampling takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cost {
    /// Nanoseconds of processor time of the last tick.
    pub cpu_ns: u64,
    /// Processes whose files were read in it; of the others the clock was enough.
    pub read: u32,
    /// `/proc` was listed in it.
    pub listed: bool,
    /// Descriptors that are kept open.
    pub descriptors: usize,
    /// Processes not watched because there were too many, since the start.
    pub dropped: u64,
    /// Processes whose bytes read and written the kernel doesn't tell us.
    pub io_refused: u32,
    /// The kernel doesn't count descriptors (before Linux 6.2): they are listed, which costs more.
    pub descriptors_listed: bool,
}

impl Tree {
    pub(crate) fn new(id: TreeId, name: &str, slot: u32) -> Self {
        Self {
            id,
            name: name.into(),
            slot,
            watched: true,
            root: 0,
            alive: false,
            total: Counters::default(),
            cpu_delta_ns: 0,
            processes: 0,
            threads: 0,
            resident: 0,
            proportional: None,
            proportional_unknown: 0,
            swap: 0,
            descriptors: 0,
            descriptor_ratio: 0.0,
            switches: (0, 0),
            group: None,
        }
    }

    /// Before a tick's sums: what is added up anew.
    pub(crate) fn clear(&mut self) {
        *self = Self {
            total: self.total,
            root: self.root,
            group: self.group,
            watched: self.watched,
            ..Self::new(self.id, "", self.slot)
        }
        .named(std::mem::take(&mut self.name));
    }

    fn named(mut self, name: Box<str>) -> Self {
        self.name = name;
        self
    }

    pub(crate) fn add(&mut self, process: &Process, now: Duration) {
        self.processes += 1;
        self.threads += u64::from(process.threads);
        self.resident += process.resident;
        self.swap += process.swap.unwrap_or(0);
        self.descriptors += u64::from(process.descriptors.unwrap_or(0));
        self.descriptor_ratio =
            self.descriptor_ratio.max(process.descriptor_ratio().unwrap_or(0.0));
        let (voluntary, involuntary) = process.switches.unwrap_or_default();
        self.switches = (self.switches.0 + voluntary, self.switches.1 + involuntary);
        match process.proportional {
            Some(one) => {
                let (sum, oldest) = self.proportional.unwrap_or_default();
                let age = now.saturating_sub(one.at).max(oldest);
                self.proportional = Some((sum + one.bytes, age));
            }
            None => self.proportional_unknown += u32::from(process.resident > 0),
        }
    }
}
