//! Sampling by perf: an event for each thread on each processor, a ring for each processor, and a reader that empties them.
//!
//! Events are inherited: threads and processes that start while it runs are in it from their first instruction. Those that were
//! there are looked for until no new one is found, because what a thread starts before it has its event is missed.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use ganger_sys::perf::{Clock, Event, Records, Request, Ring};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::collect::Collector;
use crate::profile::{Meta, Method, Profile};
use crate::{MOST_HERTZ, ProfileError, permit, states, target};

/// How often rings are emptied: at 1,000 Hz and 127 frames a ring of 64 pages holds a quarter of a second's.
const EMPTIED_EVERY: Duration = Duration::from_millis(100);
/// Pages of a ring: with its first page less than `perf_event_mlock_kb` lets anybody lock (516 KiB a processor).
const PAGES: usize = 64;
/// The least that is tried where that is refused.
const LEAST_PAGES: usize = 8;
/// Rounds of looking for threads; a program that starts some faster than this has them inherit instead.
const ROUNDS: usize = 8;
/// Events at most: each is a descriptor and some 1 KiB of the kernel's.
const MOST_EVENTS: usize = 16_384;

/// What to profile.
#[derive(Debug, Clone)]
pub struct Wish {
    /// Processes; what is below them is in it too.
    pub pids: Vec<u32>,
    /// How long.
    pub time: Duration,
    /// Samples a second of a running thread, 1 to [`MOST_HERTZ`].
    pub hertz: u32,
}

/// How far it is, told about ten times a second.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// Since the first sample could be taken.
    pub elapsed: Duration,
    /// Samples by now.
    pub samples: u64,
}

/// Samples, until the time is up, the processes are gone or `progress` says break; blocks meanwhile.
///
/// Where perf is refused it looks at states in `/proc` instead; [`Meta::method`] and [`Meta::notes`] tell so.
///
/// # Errors
/// No such process, a rate out of range, or a kernel that fails in a way that is not about permission.
pub fn record(
    wish: &Wish,
    mut progress: impl FnMut(Progress) -> ControlFlow<()>,
) -> Result<Profile, ProfileError> {
    if !(1..=MOST_HERTZ).contains(&wish.hertz) {
        return Err(ProfileError::Wish(format!(
            "{} samples a second can't be: 1 to {MOST_HERTZ}",
            wish.hertz
        )));
    }
    let pids = target::tree(&wish.pids);
    if pids.is_empty() {
        let named: Vec<String> = wish.pids.iter().map(ToString::to_string).collect();
        return Err(ProfileError::Gone(named.join(", ")));
    }
    raise_files();
    match begin(wish, &pids)? {
        Begun::Sampling(sampler) => sampler.run(wish, &mut progress),
        Begun::Refused(why) => states::record(wish, &why, &mut progress),
    }
}

/// As many descriptors as the hard limit lets us have. That it fails leaves fewer, which is told when they don't suffice.
fn raise_files() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let _raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}

enum Begun {
    Sampling(Box<Sampler>),
    Refused(String),
}

/// A processor's ring; the events that write to it are the sampler's.
struct Lane {
    cpu: u32,
    /// The ring, and the event that owns it.
    ring: Option<(Event, Ring)>,
}

struct Sampler {
    request: Request,
    lanes: Vec<Lane>,
    events: Vec<Event>,
    threads: BTreeSet<u32>,
    collector: Collector,
    notes: Vec<String>,
    began: Instant,
}

/// Finds what this machine lets us have, best first, and attaches to all threads.
fn begin(wish: &Wish, pids: &BTreeSet<u32>) -> Result<Begun, ProfileError> {
    let online = fs::read_to_string("/sys/devices/system/cpu/online")
        .map_err(ProfileError::system("can't list the processors"))?;
    let cpus = target::list(&online);
    let first = cpus.first().copied().unwrap_or(0);
    let mut last = None;
    for (kernel, clock) in [
        (true, Clock::Cycles),
        (true, Clock::CpuClock),
        (false, Clock::Cycles),
        (false, Clock::CpuClock),
    ] {
        let request = Request { clock, hertz: wish.hertz, kernel, stack: 0 };
        let mut opened = pids.iter().map(|pid| Event::open(request, *pid, first));
        match opened.find(|tried| !gone(tried)) {
            None => return Err(ProfileError::Gone(format!("{wish:?}"))),
            Some(Err(error)) => last = Some(error),
            Some(Ok(event)) => {
                drop(event);
                let mut sampler = Sampler::new(request, &cpus);
                sampler.attach(&wish.pids)?;
                if !kernel {
                    sampler.notes.push(permit::no_kernel(permit::Facts::look()));
                }
                return Ok(Begun::Sampling(Box::new(sampler)));
            }
        }
    }
    let error = last.unwrap_or_else(|| io::ErrorKind::Unsupported.into());
    if permit::refused(&error) {
        return Ok(Begun::Refused(permit::why(&error, permit::Facts::look())));
    }
    Err(ProfileError::System { what: "can't sample by perf_event_open", error })
}

fn gone(tried: &io::Result<Event>) -> bool {
    tried.as_ref().is_err_and(|error| is(error, Errno::SRCH))
}

fn is(error: &io::Error, errno: Errno) -> bool {
    error.raw_os_error() == Some(errno.raw_os_error())
}

impl Sampler {
    fn new(request: Request, cpus: &[u32]) -> Self {
        Self {
            request,
            lanes: cpus.iter().map(|cpu| Lane { cpu: *cpu, ring: None }).collect(),
            events: Vec::new(),
            threads: BTreeSet::new(),
            collector: Collector::default(),
            notes: Vec::new(),
            began: Instant::now(),
        }
    }

    /// Events first, mappings after: what is mapped in between is told by a record too.
    fn attach(&mut self, roots: &[u32]) -> Result<(), ProfileError> {
        let mut tried = BTreeSet::new();
        let mut refused = 0;
        for _ in 0..ROUNDS {
            let pids = target::tree(roots);
            let new: Vec<u32> = pids
                .iter()
                .flat_map(|pid| target::threads(*pid))
                .filter(|tid| tried.insert(*tid))
                .collect();
            if new.is_empty() {
                break;
            }
            for tid in new {
                match self.attach_thread(tid) {
                    Ok(()) => {
                        self.threads.insert(tid);
                    }
                    Err(error) if is(&error, Errno::SRCH) => {}
                    Err(error) if permit::refused(&error) || is(&error, Errno::MFILE) => {
                        refused += 1;
                    }
                    Err(error) => {
                        return Err(ProfileError::System { what: "can't sample a thread", error });
                    }
                }
            }
            for pid in pids {
                if !self.collector.knows(pid) {
                    self.collector.add(pid);
                }
            }
        }
        if refused > 0 {
            self.notes.push(format!(
                "{refused} threads are not in it: another user's, or more than this user's open files (`ulimit -n`) allow"
            ));
        }
        Ok(())
    }

    fn attach_thread(&mut self, tid: u32) -> io::Result<()> {
        if self.events.len() + self.lanes.len() > MOST_EVENTS {
            return Err(Errno::MFILE.into());
        }
        for lane in &mut self.lanes {
            let event = match Event::open(self.request, tid, lane.cpu) {
                // A processor that went offline meanwhile runs nothing.
                Err(error) if is(&error, Errno::NODEV) => continue,
                other => other?,
            };
            match &lane.ring {
                Some((owner, _)) => {
                    event.join(owner)?;
                    self.events.push(event);
                }
                None => {
                    let ring = mapped(&event)?;
                    lane.ring = Some((event, ring));
                }
            }
        }
        Ok(())
    }

    fn run(
        mut self: Box<Self>,
        wish: &Wish,
        progress: &mut impl FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Profile, ProfileError> {
        let mut watch = Watch::new(&wish.pids);
        let mut bytes = Vec::new();
        loop {
            let elapsed = self.began.elapsed();
            let left = wish.time.saturating_sub(elapsed);
            let told = Progress { elapsed, samples: self.collector.samples };
            if left.is_zero() || progress(told).is_break() {
                break;
            }
            let ended = watch.wait(left.min(EMPTIED_EVERY))?;
            self.empty(&mut bytes);
            if ended {
                self.notes.push("ended early: the processes are gone".to_owned());
                break;
            }
        }
        let seconds = self.began.elapsed().as_secs_f64();
        let owners = self.lanes.iter().filter_map(|lane| Some(&lane.ring.as_ref()?.0));
        for event in owners.chain(&self.events) {
            event.stop().map_err(ProfileError::system("can't stop an event"))?;
        }
        self.empty(&mut bytes);
        Ok(self.finish(seconds))
    }

    fn empty(&mut self, bytes: &mut Vec<u8>) {
        bytes.clear();
        for lane in &mut self.lanes {
            if let Some((_, ring)) = &mut lane.ring {
                ring.drain(bytes);
            }
        }
        self.collector.take(Records::new(bytes, self.request.stack > 0));
    }

    fn finish(self, seconds: f64) -> Profile {
        let collector = self.collector;
        let mut notes = self.notes;
        if collector.lost > 0 {
            notes.push(format!("{} records were lost: the machine was too busy", collector.lost));
        }
        let method = match self.request.clock {
            Clock::Cycles => Method::Cycles,
            Clock::CpuClock => Method::CpuClock,
        };
        let meta = Meta {
            method,
            kernel: self.request.kernel,
            hertz: self.request.hertz,
            seconds,
            samples: collector.samples,
            lost: collector.lost,
            beyond: collector.beyond,
            broken: collector.broken,
            named: 0,
            processes: collector.processes(),
            threads: self.threads.len(),
            notes,
        };
        collector.finish(meta)
    }
}

/// A ring as big as this user may have.
fn mapped(event: &Event) -> io::Result<Ring> {
    let mut pages = PAGES;
    loop {
        match Ring::map(event, pages) {
            Err(error) if is(&error, Errno::PERM) && pages > LEAST_PAGES => pages /= 2,
            other => return other,
        }
    }
}

/// Waits for the end of processes.
pub(crate) struct Watch(Vec<std::os::fd::OwnedFd>);

impl Watch {
    /// One that can't be watched counts as gone.
    pub(crate) fn new(pids: &[u32]) -> Self {
        Self(pids.iter().filter_map(|pid| ganger_sys::pidfd::open(*pid).ok()).collect())
    }

    /// For at most `time`; true: all are gone.
    pub(crate) fn wait(&mut self, time: Duration) -> Result<bool, ProfileError> {
        let until = Instant::now() + time;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let mut fds: Vec<PollFd<'_>> =
                self.0.iter().map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
            let timeout = Timespec::try_from(left).ok();
            match poll(&mut fds, timeout.as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => {
                    return Err(ProfileError::System {
                        what: "can't wait for processes",
                        error: error.into(),
                    });
                }
            }
            let over: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
            let mut over = over.into_iter();
            self.0.retain(|_| !over.next().unwrap_or(false));
            if self.0.is_empty() || Instant::now() >= until {
                return Ok(self.0.is_empty());
            }
        }
    }
}
