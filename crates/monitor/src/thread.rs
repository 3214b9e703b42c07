//! The thread that looks once a second.
//!
//! ```text
//! opening ──▶ waiting ──half past the second──▶ tick ──▶ waiting …          asks are answered while it waits
//!    └ the series can't be opened: told once, tried again each minute; samples go on without being kept
//! all handles are gone ──▶ the open minute is handed over and written ──▶ end
//! ```

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ganger_core::Usage;
use ganger_sampler::{Cost, Host, Sampler, Tree, TreeId, Watch};
use ganger_series::{Key, Mark, ObjectId, Reader, Series};
use tokio::sync::{oneshot, watch};

use crate::handle::Watched;
use crate::metrics::{HOST, host_schema, tree_schema};
use crate::rows::{host_row, tree_row};

/// In the middle of each second of the wall clock: a tick that comes a little early or late is still of its own second.
const MIDDLE: Duration = Duration::from_millis(500);
/// Closer than this two ticks would tell of nothing.
const SHORTEST: Duration = Duration::from_millis(200);
/// How much it gives way to others, in steps of nice: a look at a thousand trees takes 7 to 19 ms of a processor
/// (`cargo xtask bench monitor`), and nobody's restart shall wait for it. On Linux this is the thread's own value, not the process's (sched(7)).
const NICE: i32 = 10;
/// Between two tries to open the series.
const AGAIN: Duration = Duration::from_secs(60);

/// What the thread is made of.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What is looked at, and how.
    pub sampler: ganger_sampler::Options,
    /// Where samples are kept, and how long.
    pub series: ganger_series::Options,
}

/// What the last look has seen.
#[derive(Debug, Clone, Default)]
pub struct Tick {
    /// When: milliseconds since the Unix epoch. 0 before the first.
    pub at_ms: u64,
    /// Since the look before.
    pub passed: Duration,
    /// The machine.
    pub host: Host,
    /// Trees that have processes, by name and slot.
    pub trees: Vec<Tree>,
    /// What looking cost.
    pub cost: Cost,
    /// Why samples are not kept.
    pub not_kept: Option<Arc<str>>,
    /// What was kept and lost so far.
    pub kept: ganger_series::Counts,
}

/// What handles ask for.
#[derive(Debug)]
pub(crate) enum Ask {
    Reader(oneshot::Sender<Option<Reader>>),
    Mark(Box<Mark>),
    Ended { name: String, slot: u32, pid: u32, usage: Usage },
}

/// An instance that is watched.
#[derive(Debug)]
struct Seen {
    tree: Option<TreeId>,
    object: Option<ObjectId>,
    pid: u32,
    started_ms: u64,
}

pub(crate) struct Thread {
    settings: Settings,
    sampler: Sampler,
    series: Result<Series, Arc<str>>,
    opened: Instant,
    host: Option<ObjectId>,
    /// By name and slot.
    seen: HashMap<(String, u32), Seen>,
    wanted: watch::Receiver<Arc<Vec<Watched>>>,
    newest: watch::Sender<Arc<Tick>>,
}

impl Thread {
    pub(crate) fn new(
        settings: Settings,
        sampler: Sampler,
        wanted: watch::Receiver<Arc<Vec<Watched>>>,
        newest: watch::Sender<Arc<Tick>>,
    ) -> Self {
        let series = open(&settings);
        let (seen, opened) = (HashMap::new(), Instant::now());
        Self { settings, sampler, series, opened, host: None, seen, wanted, newest }
    }

    pub(crate) fn run(mut self, asks: &Receiver<Ask>) {
        if let Err(error) = rustix::process::nice(NICE) {
            tracing::debug!(%error, "the monitor's thread keeps its priority");
        }
        let mut next = Instant::now();
        loop {
            match asks.recv_timeout(next.saturating_duration_since(Instant::now())) {
                Ok(ask) => self.on_ask(ask),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if Instant::now() >= next {
                self.tick();
                next = Instant::now() + until_middle(wall());
            }
        }
        if let Ok(series) = self.series {
            series.close().wait();
        }
    }

    fn on_ask(&mut self, ask: Ask) {
        match ask {
            // Who no longer waits needs no answer.
            Ask::Reader(reply) => drop(reply.send(self.series.as_mut().ok().map(|s| s.snapshot()))),
            Ask::Mark(mark) => {
                if let Ok(series) = &self.series {
                    // It is written whether somebody waits for it or not.
                    drop(series.mark(&mark));
                }
            }
            Ask::Ended { name, slot, pid, usage } => {
                if let Some(id) = self.seen.get(&(name, slot)).and_then(|seen| seen.tree) {
                    self.sampler.ended(id, pid, &usage);
                }
            }
        }
    }

    fn tick(&mut self) {
        if self.series.is_err() && self.opened.elapsed() >= AGAIN {
            (self.series, self.opened) = (open(&self.settings), Instant::now());
            self.host = None;
            self.seen.values_mut().for_each(|seen| seen.object = None);
        }
        self.follow();
        self.sampler.tick(Instant::now());
        let at = wall();
        self.keep(at);
        let sample = self.sampler.sample();
        let there = |tree: &&Tree| tree.watched && tree.processes > 0;
        let mut trees: Vec<Tree> = sample.trees.iter().filter(there).cloned().collect();
        trees.sort_by(|a, b| (&a.name, a.slot).cmp(&(&b.name, b.slot)));
        let tick = Tick {
            at_ms: u64::try_from(at.as_millis()).unwrap_or(u64::MAX),
            passed: sample.passed,
            host: sample.host,
            trees,
            cost: sample.cost,
            not_kept: self.series.as_ref().err().cloned(),
            kept: self.series.as_ref().map_or_else(|_| Default::default(), Series::counts),
        };
        self.newest.send_replace(Arc::new(tick));
    }

    /// Watches who is there now, and no longer who isn't.
    fn follow(&mut self) {
        if !self.wanted.has_changed().unwrap_or(false) {
            return;
        }
        let wanted = self.wanted.borrow_and_update().clone();
        let names: HashMap<(&str, u32), &Watched> =
            wanted.iter().map(|one| ((&*one.name, one.slot), one)).collect();
        let gone = |(name, slot): &(String, u32)| !names.contains_key(&(&**name, *slot));
        for (_, seen) in self.seen.extract_if(|key, _| gone(key)) {
            seen.tree.into_iter().for_each(|id| self.sampler.unwatch(id));
            if let (Ok(series), Some(object)) = (&mut self.series, seen.object) {
                series.forget(object);
            }
        }
        for one in &*wanted {
            let key = (one.name.clone(), one.slot);
            let seen = self.seen.entry(key).or_insert(Seen {
                tree: None,
                object: None,
                pid: 0,
                started_ms: 0,
            });
            let Some(pid) = one.pid else { continue };
            if (seen.pid, seen.started_ms) == (pid, one.started_ms) {
                continue;
            }
            (seen.pid, seen.started_ms) = (pid, one.started_ms);
            let watch = Watch {
                name: one.name.clone(),
                slot: one.slot,
                pid,
                pidfd: None,
                cgroup: one.cgroup.clone(),
                mark: one.mark.clone(),
                descendants: true,
            };
            match self.sampler.watch(watch) {
                Ok(id) => seen.tree = Some(id),
                // It has ended already: its end tells what it cost.
                Err(ganger_sampler::SamplerError::NoProcess { .. }) => {}
                Err(error) => {
                    tracing::warn!(%error, name = one.name, slot = one.slot, "not watched");
                }
            }
        }
    }

    fn keep(&mut self, at: Duration) {
        let Ok(series) = &mut self.series else { return };
        let now = i64::try_from(at.as_secs()).unwrap_or(i64::MAX);
        if series.begin(now).is_err() {
            // The clock was set back: what is refused is counted.
            return;
        }
        let sample = self.sampler.sample();
        if self.host.is_none() {
            self.host = object(series, HOST, 0, host_schema());
        }
        if let Some(host) = self.host {
            // Refused rows are counted by who refuses them.
            let _counted = series.push(host, &host_row(&sample.host));
        }
        for ((name, slot), seen) in &mut self.seen {
            let tree = seen.tree.and_then(|id| sample.trees.get(id.0 as usize));
            let Some(tree) = tree.filter(|tree| tree.watched && tree.processes > 0) else {
                continue;
            };
            if seen.object.is_none() {
                seen.object = object(series, name, *slot, tree_schema());
            }
            if let Some(object) = seen.object {
                let _counted = series.push(object, &tree_row(tree));
            }
        }
    }
}

fn open(settings: &Settings) -> Result<Series, Arc<str>> {
    let now = i64::try_from(wall().as_secs()).unwrap_or(i64::MAX);
    Series::open(settings.series.clone(), now).map_err(|error| {
        tracing::warn!(%error, "samples are not kept");
        error.to_string().into()
    })
}

fn object(
    series: &mut Series,
    name: &str,
    slot: u32,
    schema: Option<&ganger_series::Schema>,
) -> Option<ObjectId> {
    // What is refused is counted, and said with the counts.
    series.object(&Key::new(name, slot).ok()?, schema?).ok()
}

fn wall() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// From a time on the wall clock until the middle of a second, this one's or the next's.
fn until_middle(wall: Duration) -> Duration {
    let into = Duration::from_nanos(u64::from(wall.subsec_nanos()));
    let second = Duration::from_secs(1);
    let wait = if into < MIDDLE { MIDDLE - into } else { second + MIDDLE - into };
    if wait < SHORTEST { wait + second } else { wait }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_come_in_the_middle_of_seconds() {
        let after = |ms| until_middle(Duration::from_millis(ms)).as_millis();
        assert_eq!(after(7_000), 500);
        assert_eq!(after(7_499), 1_001, "one has just been");
        assert_eq!(after(7_500), 1_000);
        assert_eq!(after(7_999), 501);
    }
}
