//! The thread that writes. It alone touches the folder's files; owner and readers never wait for it.
//!
//! ```text
//! minute ──▶ journal, fdatasync ──▶ recent ──▶ view
//! first minute of a new window ──▶ seal:  recent minutes of an object → one group in fine …, fdatasync ──▶ view, journal removed
//! window ends an hour / a day  ──▶ roll:  samples → minutes, minutes → hours, an object at a time      ──▶ view
//! after each seal              ──▶ retention
//! mark   ──▶ marks, fdatasync ──▶ answered
//! ```
//!
//! Sealing and rolling go an object at a time, and between two objects marks are looked for: a mark waits for one object (0.1 to 1 ms)
//! and its own fdatasync. Killed anywhere, the next one finds the journal and seals again; what is there already is not written twice.
//!
//! A full disk: what can't be journalled is only in memory until its window is sealed, and what can't be sealed then is dropped and
//! counted. A mark that can't be written is told to who wanted it.

mod keep;
mod open;
mod roll;
mod seal;
mod writer;

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};

use tokio::sync::oneshot;

use crate::body::WINDOW;
use crate::counts::Counters;
use crate::key::Tick;
use crate::minute::Minute;
use crate::options::Options;
use crate::reader::{Reader, Tier};
use crate::segment::{self, Stream, Tail};
use crate::view::{Published, View};
use keep::Marks;
pub use open::OpenError;
use seal::Seal;
use writer::Writer;

/// Why a mark is not on disk.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MarkError {
    /// It could not be written.
    #[error(
        "the mark could not be written: {0}; look at space and rights of the series' folder (`df`, `ls -ld`)"
    )]
    Io(String),
    /// More marks at once than the thread's queue holds.
    #[error("the disk does not keep up with marks: {0} jobs wait")]
    Busy(usize),
    /// The writing thread has ended.
    #[error("the series are closed")]
    Closed,
}

/// Says whether a mark is on disk.
pub(crate) type Told = oneshot::Sender<Result<(), MarkError>>;

/// What the thread is asked for.
#[derive(Debug)]
pub(crate) enum Job {
    /// A minute has ended. `number` counts them.
    Minute { number: u64, now: Tick, parts: Vec<Arc<Minute>> },
    /// Something happened.
    Mark { payload: Vec<u8>, told: Told },
    /// Say when all that came before is on disk, and what is due is sealed and rolled up.
    Settle { done: oneshot::Sender<()> },
    /// End when all is on disk.
    Close { done: oneshot::Sender<()> },
}

/// The journal of the window that is not sealed.
#[derive(Debug)]
struct Journal {
    window: Tick,
    tail: Tail,
}

/// What the thread is in the middle of.
#[derive(Debug)]
enum Work {
    Seal(Seal),
    Roll(roll::Roll),
}

/// The thread's state.
#[derive(Debug)]
pub(crate) struct Disk {
    options: Options,
    view: View,
    published: Arc<Published>,
    counters: Arc<Counters>,
    journal: Option<Journal>,
    fine: Writer,
    minute: Writer,
    hour: Writer,
    marks: Marks,
    work: Option<Work>,
    /// Windows that wait to be sealed, in order.
    due: Vec<Tick>,
    /// Rolling up failed: not again before the next window.
    rolls_rest: bool,
    /// The owner's clock.
    now: Tick,
    /// Freed when the thread ends: nobody else may write here.
    _lock: File,
}

pub(crate) fn window_of(at: Tick) -> Tick {
    at.div_euclid(WINDOW)
}

impl Disk {
    /// Works until it is closed, or nobody is left to ask.
    pub(crate) fn run(mut self, jobs: &Receiver<Job>) {
        loop {
            let job = if self.work.is_none() && self.due.is_empty() {
                jobs.recv().map_err(|_| TryRecvError::Disconnected)
            } else {
                jobs.try_recv()
            };
            match job {
                Ok(Job::Minute { number, now, parts }) => self.take(number, now, &parts),
                Ok(Job::Mark { payload, told }) => {
                    if let Some(done) = self.take_marks(payload, told, jobs) {
                        return self.end(done);
                    }
                }
                Ok(Job::Settle { done }) => self.settle_all(done),
                Ok(Job::Close { done }) => return self.end(done),
                Err(TryRecvError::Empty) => self.step(),
                Err(TryRecvError::Disconnected) => return self.finish(),
            }
        }
    }

    /// Says that all is done when the next one may open the folder: the lock goes first.
    fn end(mut self, done: oneshot::Sender<()>) {
        self.finish();
        drop(self);
        // Whoever closed has gone: fine.
        let _ = done.send(());
    }

    fn settle_all(&mut self, done: oneshot::Sender<()>) {
        self.finish();
        // Whoever asked may have gone.
        let _ = done.send(());
    }

    /// Does what is under way to its end.
    fn finish(&mut self) {
        while self.work.is_some() || !self.due.is_empty() {
            self.step();
        }
    }

    /// Writes a mark and those that came with it: one fdatasync for all. Gives back a wish to close that came in between.
    fn take_marks(
        &mut self,
        payload: Vec<u8>,
        told: Told,
        jobs: &Receiver<Job>,
    ) -> Option<oneshot::Sender<()>> {
        let mut payloads = vec![payload];
        let mut waiting = vec![told];
        let mut after = None;
        while after.is_none() && payloads.len() < crate::series::JOBS_MAX {
            match jobs.try_recv() {
                Ok(Job::Mark { payload, told }) => {
                    payloads.push(payload);
                    waiting.push(told);
                }
                Ok(other) => after = Some(other),
                Err(_) => break,
            }
        }
        let written = self.marks.write(&self.options, &payloads, self.now);
        let n = waiting.len() as u64;
        let counter =
            if written.is_ok() { &self.counters.marks } else { &self.counters.marks_failed };
        Counters::add(counter, n);
        for told in waiting {
            let answer = written.as_ref().map_err(|error| MarkError::Io(error.to_string()));
            let _ = told.send(answer.copied());
        }
        match after {
            Some(Job::Minute { number, now, parts }) => self.take(number, now, &parts),
            Some(Job::Settle { done }) => self.settle_all(done),
            Some(Job::Close { done }) => return Some(done),
            Some(Job::Mark { .. }) | None => {}
        }
        None
    }

    /// A minute of the owner's: into the journal, into the view.
    fn take(&mut self, number: u64, now: Tick, parts: &[Arc<Minute>]) {
        self.now = now;
        let window = parts.first().map_or(window_of(now), |part| window_of(part.start));
        self.end_windows_before(window);
        if !parts.is_empty() && self.write_journal(window, parts).is_err() {
            Counters::add(&self.counters.journal_failed, 1);
        }
        self.view.recent.extend(parts.iter().cloned());
        self.view.taken = number;
        self.publish();
    }

    /// Windows of recent minutes that are over are due.
    fn end_windows_before(&mut self, window: Tick) {
        let mut over: Vec<Tick> =
            self.view.recent.iter().map(|minute| window_of(minute.start)).collect();
        over.retain(|other| *other != window && !self.due.contains(other));
        over.sort_unstable();
        over.dedup();
        if let Some(Work::Seal(seal)) = &self.work {
            over.retain(|other| *other != seal.window);
        }
        self.due.extend(over);
    }

    fn write_journal(&mut self, window: Tick, parts: &[Arc<Minute>]) -> std::io::Result<()> {
        let mut frames = Vec::new();
        for part in parts {
            crate::frame::put(&mut frames, &part.payload);
        }
        let journal = match &mut self.journal {
            Some(journal) if journal.window == window => journal,
            _ => {
                let path = journal_path(&self.options.folder, window);
                // Of this window already, if the clock was set back: go on behind what is there.
                let len = std::fs::metadata(&path).map_or(0, |meta| meta.len());
                let tail = Tail::open(&path, len)?;
                self.journal.insert(Journal { window, tail })
            }
        };
        journal.tail.append(&frames)?;
        journal.tail.sync()
    }

    /// One object's worth of work.
    fn step(&mut self) {
        let Some(work) = self.work.take() else {
            if self.due.is_empty() {
                return;
            }
            let window = self.due.remove(0);
            self.work = Some(Work::Seal(Seal::of(window, &self.view)));
            return;
        };
        self.work = match work {
            Work::Seal(seal) => self.seal(seal).map(Work::Seal).or_else(|| self.next_roll()),
            Work::Roll(roll) => self.roll(roll).or_else(|| self.next_roll()),
        };
        if self.work.is_none() && self.due.is_empty() {
            self.retain();
        }
    }

    fn reader(&self) -> Reader {
        Reader::new(Arc::new(self.view.clone()), Vec::new(), Vec::new())
    }

    fn publish(&self) {
        let view = &self.view;
        let tiers = [&view.fine, &view.minute, &view.hour];
        let bytes = tiers.iter().flat_map(|tier| tier.iter()).map(|index| index.bytes).sum();
        Counters::set(&self.counters.bytes, bytes);
        Counters::set(&self.counters.memory, view.weight() as u64);
        self.published.put(Arc::new(view.clone()));
    }

    fn tier(&mut self, tier: Tier) -> &mut Writer {
        match tier {
            Tier::Minute => &mut self.minute,
            Tier::Hour => &mut self.hour,
        }
    }
}

fn journal_path(folder: &Path, window: Tick) -> std::path::PathBuf {
    // Windows before 1970 don't come up; should a clock say so, they share one file.
    folder.join(segment::name(Stream::Journal, u64::try_from(window).unwrap_or(0)))
}
