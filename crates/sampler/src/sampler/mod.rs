//! The tick: clocks, files of those that moved, who is gone, who is new, sums.

mod discover;
mod leave;
mod look;
mod sums;
mod watch;

use std::time::{Duration, Instant};

use ganger_sys::cputime;

use crate::counters::Counters;
use crate::error::SamplerError;
use crate::found::Found;
use crate::host::HostFiles;
use crate::kin::Parent;
use crate::options::Options;
use crate::proportional::Turn;
use crate::read::Cache;
use crate::sample::Sample;
use crate::target::Pick;
use watch::TreeState;

/// Memory and other slow figures are read again after this even if the clock stands still: reclaim and swap leave no trace in it.
const EVERY: Duration = Duration::from_secs(10);

/// What is remembered of a process besides what is told.
#[derive(Debug)]
struct Memory {
    /// The clock as last read.
    clock: u64,
    /// When its files are read whatever the clock says.
    due: Duration,
    parent: Parent,
    /// What children that vanished in this tick had used.
    lost: Counters,
    /// `waited` could not be read after something vanished: settled another time.
    unsettled: bool,
    vanished: bool,
    /// What `wait4` told of it.
    exact: Option<Counters>,
    /// Proportional memory may not be read.
    refused: bool,
}

/// Takes a [`Sample`] each time it is asked. One owner: it is not shared.
#[derive(Debug)]
pub struct Sampler {
    options: Options,
    began: Instant,
    sample: Sample,
    memories: Vec<Memory>,
    states: Vec<TreeState>,
    picks: Vec<Pick>,
    cache: Cache,
    found: Found,
    host: HostFiles,
    turn: Turn,
    /// Boot time of the tick before, to tell who was born since.
    last_boot: Duration,
    /// `/proc` has to be listed whatever the machine's counter says.
    relist: bool,
    picks_due: Duration,
    spread: u32,
    vanished: Vec<usize>,
    missed: Vec<u32>,
    pending: Vec<discover::Fresh>,
    young: Vec<(u32, u64)>,
}

impl Sampler {
    /// A sampler that watches nothing yet.
    ///
    /// # Errors
    /// [`SamplerError::Proc`].
    pub fn new(options: Options, now: Instant) -> Result<Self, SamplerError> {
        let proc = options.proc.clone();
        let fail = |source| SamplerError::Proc { path: proc.display().to_string(), source };
        Ok(Self {
            began: now,
            sample: Sample::default(),
            memories: Vec::new(),
            states: Vec::new(),
            picks: Vec::new(),
            cache: Cache::new(&options.proc, options.descriptors).map_err(fail)?,
            found: Found::new(&options.proc).map_err(fail)?,
            host: HostFiles::open(&options.proc).map_err(fail)?,
            turn: Turn::new(options.proportional),
            last_boot: boot_time(),
            relist: true,
            picks_due: Duration::ZERO,
            spread: 0,
            vanished: Vec::new(),
            missed: Vec::new(),
            pending: Vec::new(),
            young: Vec::new(),
            options,
        })
    }

    /// Looks at everything once. Call it at an even pace, once a second by default; it takes microseconds per process and
    /// never waits.
    pub fn tick(&mut self, now: Instant) -> &Sample {
        let before = cputime::this_thread();
        let at = now.saturating_duration_since(self.began);
        let boot = boot_time();
        self.sample.tick += 1;
        self.sample.passed = at.saturating_sub(self.sample.at);
        self.sample.at = at;
        self.sample.cost.read = 0;
        self.cache.begin_tick();
        let started = self.sample.host.started;
        match self.host.read() {
            Ok(host) => self.sample.host = host,
            Err(_) => self.relist = true,
        }
        self.read_clocks();
        self.leave();
        let due = !self.picks.is_empty() && at >= self.picks_due;
        let listed =
            self.relist || due || !self.young.is_empty() || started != self.sample.host.started;
        if listed {
            self.discover(due);
        }
        self.sum();
        self.read_proportional();
        self.last_boot = boot;
        let cost = &mut self.sample.cost;
        cost.listed = listed;
        cost.descriptors = self.cache.open();
        cost.descriptors_listed = !self.cache.counts_descriptors();
        cost.cpu_ns = cputime::this_thread().saturating_sub(before);
        &self.sample
    }

    /// The last tick's.
    #[must_use]
    pub const fn sample(&self) -> &Sample {
        &self.sample
    }

    /// The gate: one system call each, and files only of those that did something or are due.
    fn read_clocks(&mut self) {
        for at in 0..self.sample.processes.len() {
            let pid = self.sample.processes[at].pid;
            let Some(clock) = cputime::process(pid) else {
                self.miss(at);
                continue;
            };
            let due = self.sample.at >= self.memories[at].due;
            if clock == self.memories[at].clock && !due {
                self.sample.processes[at].cpu_delta_ns = 0;
            } else if self.look(at, clock, due).is_err() {
                self.miss(at);
            }
        }
    }

    fn miss(&mut self, at: usize) {
        if !std::mem::replace(&mut self.memories[at].vanished, true) {
            self.vanished.push(at);
        }
    }
}

fn boot_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::try_from(time).unwrap_or_default()
}
