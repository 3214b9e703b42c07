//! The loop: starts what there is room for, waits, and ends with nothing running.
//!
//! ```text
//!            input over / halt soon / ^C                  none runs
//! going ────────────────────────────────▶ finishing ─────────────────▶ over
//!    └──halt now / second ^C / TERM / HUP / output gone──▶ ending ──────┘   TERM to all trees, KILL after the grace
//! ```
//!
//! A job: `read ─▶ skipped (done before) | running ─▶ ended ─▶ tried again | over`. Its output is written and its row is in the log when it is over.

mod feed;
mod job;
mod limits;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Instant;

use ganger_core::SpawnId;
use ganger_keeper::{Ended, Gang, News};

use crate::input::Step;
use crate::output::{Buffers, Printer};
use crate::{HaltWhen, Joblog, MapError, Note, Options, Progress, Slots, Tally};
use feed::{Feed, Job};
use job::{Maker, Running};
use limits::{Pace, Times};

/// How a map went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Jobs that succeeded.
    pub ok: u64,
    /// Jobs that failed, in their last try.
    pub failed: u64,
    /// Jobs that the log says were done.
    pub skipped: u64,
    /// A halt rule stopped it; true when that was for successes.
    pub halted: Option<bool>,
    /// The signal that stopped it.
    pub signal: Option<i32>,
}

const SIGINT: i32 = 2;
const SIGQUIT: i32 = 3;
const SIGTERM: i32 = 15;
/// Outputs that wait for their turn: beyond it nothing is started, as each has open files.
const MAX_BACKLOG: usize = 200;
/// Jobs taken from the input between two looks at what happened.
const BURST: usize = 256;

/// Runs a map. Call it before any thread exists: this process becomes its jobs' keeper.
///
/// # Errors
/// What ended it before its end, see [`MapError`]; nothing of it runs any more then. Jobs that fail are no error.
pub fn run(mut options: Options, said: &mut dyn FnMut(Note<'_>)) -> Result<Outcome, MapError> {
    let input = std::mem::replace(
        &mut options.input,
        crate::Input::Parts(Vec::new(), crate::input::Cut::nothing()),
    );
    let feed = Feed::new(input)?;
    let log = options.joblog.as_deref().map(|path| {
        let fail = |source| MapError::File { what: "the job log", path: path.to_owned(), source };
        Joblog::open(path, options.resume).map_err(fail)
    });
    let log = log.transpose()?;
    let gang = Gang::new(options.own.clone())?;
    let clone = |file: &std::fs::File| file.try_clone().map_err(MapError::Output);
    let buffers = Buffers::new(options.tmp.clone());
    let printer =
        Printer::new(clone(&options.out)?, clone(&options.err)?, buffers, options.ordered);
    let slots = options.slots.count(1);
    let mut run = Run {
        gang,
        feed,
        maker: None,
        log,
        printer,
        running: HashMap::new(),
        again: VecDeque::new(),
        free: BTreeSet::new(),
        slots,
        widest: 0,
        pace: Pace::new(&options),
        times: Times::default(),
        tally: Tally::default(),
        mood: Mood::Going,
        outcome: Outcome::default(),
        dry: false,
        burst: 0,
        began: Instant::now(),
        options,
    };
    let done = run.go(said);
    if done.is_err() {
        // Its trees end with the gang.
        run.running.clear();
    }
    done.map(|()| run.outcome)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
enum Mood {
    Going,
    Finishing,
    Ending,
}

struct Run {
    options: Options,
    gang: Gang,
    feed: Feed,
    /// From when the names of values are known.
    maker: Option<Maker>,
    log: Option<Joblog>,
    printer: Printer,
    running: HashMap<SpawnId, Running>,
    /// To be tried again.
    again: VecDeque<Job>,
    /// Slots that are free below `widest`.
    free: BTreeSet<usize>,
    slots: usize,
    widest: usize,
    pace: Pace,
    times: Times,
    tally: Tally,
    mood: Mood,
    outcome: Outcome,
    /// The input has nothing to read now.
    dry: bool,
    /// Jobs that may still be started, or passed over, before signals and ends are looked at again.
    burst: usize,
    began: Instant,
}

impl Run {
    fn go(&mut self, said: &mut dyn FnMut(Note<'_>)) -> Result<(), MapError> {
        loop {
            if self.options.count_first && self.mood == Mood::Going {
                self.feed.look_ahead()?;
            }
            let over = self.start_all(said)?;
            if self.running.is_empty() && (over || self.mood != Mood::Going) {
                break;
            }
            let news = self.wait()?;
            self.dry = false;
            for ended in news.ended {
                self.on_ended(ended, said)?;
            }
            for signal in news.signals {
                self.on_signal(signal, said);
            }
            self.on_time(said);
        }
        said(Note::Output);
        self.printer.finish()
    }

    /// Starts jobs as long as there is room; true when there is none left to start.
    fn start_all(&mut self, said: &mut dyn FnMut(Note<'_>)) -> Result<bool, MapError> {
        self.burst = BURST;
        while self.mood == Mood::Going && self.running.len() < self.slots {
            if self.burst == 0 {
                return Ok(false);
            }
            self.burst -= 1;
            if self.printer.backlog() >= MAX_BACKLOG && !self.running.is_empty() {
                return Ok(false);
            }
            if self.options.dry_run || self.pace.has_room(Instant::now(), self.running.len()) {
                match self.next()? {
                    Step::Item(job) => self.start(job, said)?,
                    Step::Pending => {
                        self.dry = true;
                        return Ok(false);
                    }
                    Step::End => return Ok(true),
                }
            } else {
                return Ok(false);
            }
        }
        Ok(false)
    }

    fn next(&mut self) -> Result<Step<Job>, MapError> {
        if self.maker.is_none() {
            match self.feed.names()? {
                Step::Item(names) => {
                    self.maker = Some(Maker::new(&self.options, names, self.feed.is_blocks())?)
                }
                Step::Pending => return Ok(Step::Pending),
                Step::End => return Ok(Step::End),
            }
        }
        match self.again.pop_front() {
            Some(job) => Ok(Step::Item(job)),
            None => self.feed.next(),
        }
    }

    fn start(&mut self, job: Job, said: &mut dyn FnMut(Note<'_>)) -> Result<(), MapError> {
        let slot = self.take_slot();
        let Some(maker) = &mut self.maker else { return Ok(()) };
        let made = maker.make(&self.options, &job, slot);
        if job.tried == 0
            && let Some(log) = &mut self.log
            && log.skip(&made.logged)
        {
            self.free.insert(slot);
            self.outcome.skipped += 1;
            self.progress(said);
            return self.printer.over(job.seq, None);
        }
        if self.options.dry_run {
            self.free.insert(slot);
            let mut text = made.shown;
            text.push(b'\n');
            said(Note::Output);
            let said = self.printer.text(&text)?;
            return self.printer.over(job.seq, Some(said));
        }
        self.pace.on_start(Instant::now());
        let started =
            maker.start(&self.options, &mut self.gang, &mut self.printer, job, made, slot)?;
        match started {
            Ok((id, running)) => {
                self.running.insert(id, running);
                self.progress(said);
                Ok(())
            }
            Err((running, failed)) => {
                said(Note::Warning(&failed.1));
                self.conclude(running, failed.0, said)
            }
        }
    }

    fn take_slot(&mut self) -> usize {
        self.free.pop_first().unwrap_or_else(|| {
            self.widest += 1;
            self.widest
        })
    }

    fn wait(&mut self) -> Result<News, MapError> {
        let now = Instant::now();
        let waits = self.mood == Mood::Going && self.running.len() < self.slots && !self.dry;
        let pace = waits.then(|| self.pace.again(now)).flatten();
        let jobs = self.running.values().filter_map(|running| running.due(&self.times)).min();
        let watch = self.options.memory_free.filter(|_| !self.running.is_empty());
        let watch = watch.map(|_| now + limits::LOOK);
        let more = (self.burst == 0).then_some(now);
        let due = pace.into_iter().chain(jobs).chain(watch).chain(more).min();
        let mut inputs = Vec::new();
        let mut streams = Vec::new();
        if self.dry
            && let Some(fd) = self.feed.fd()
        {
            inputs.push(fd);
            streams.push(None);
        }
        for (id, running) in &self.running {
            for (index, lines) in running.lines.iter().enumerate().filter(|(_, l)| l.open) {
                inputs.push(std::os::fd::AsFd::as_fd(lines.pipe()));
                streams.push(Some((*id, index)));
            }
        }
        let news = self.gang.wait(due, &inputs)?;
        drop(inputs);
        for (id, index) in news.readable.iter().filter_map(|at| streams[*at]) {
            if let Some(running) = self.running.get_mut(&id) {
                running.read_lines(index, &self.printer)?;
            }
        }
        Ok(news)
    }

    fn on_ended(&mut self, ended: Ended, said: &mut dyn FnMut(Note<'_>)) -> Result<(), MapError> {
        let Some(mut running) = self.running.remove(&ended.id) else { return Ok(()) };
        running.last_lines(&self.printer)?;
        // Somebody who could not be ended may still write.
        running.reusable &= ended.stuck.is_empty();
        for warning in running.warnings(&ended, self.outcome.ok + self.outcome.failed == 0) {
            said(Note::Warning(&warning));
        }
        if matches!(self.options.slots, Slots::File(_)) {
            self.slots = self.options.slots.count(self.slots);
        }
        let end = running.end_of(ended.end);
        if running.evicted && self.mood == Mood::Going {
            // It was ended for somebody else's memory: that is no try of its own.
            self.free.insert(running.slot);
            let (job, said) = running.into_said()?;
            said.into_iter().for_each(|said| self.printer.forget(said));
            self.again.push_back(job);
            return Ok(());
        }
        self.conclude(running, end, said)
    }

    /// A try is over.
    fn conclude(
        &mut self,
        running: Running,
        end: ganger_core::End,
        said: &mut dyn FnMut(Note<'_>),
    ) -> Result<(), MapError> {
        self.free.insert(running.slot);
        let ok = end.is_success();
        if ok {
            self.times.add(running.began.elapsed());
        }
        if !ok && self.mood == Mood::Going && running.job.tried + 1 < self.options.tries {
            let (mut job, said) = running.into_said()?;
            said.into_iter().for_each(|said| self.printer.forget(said));
            job.tried += 1;
            self.again.push_back(job);
            return Ok(());
        }
        let row = running.row(&end);
        let (job, words) = running.into_said()?;
        let received =
            words.as_ref().and_then(|said| said.out.as_ref()).map_or(0, |(_, size)| *size);
        if received > 0 && !self.printer.buffers().has_room() {
            let path = self.printer.buffers().folder();
            let source = std::io::Error::from_raw_os_error(rustix::io::Errno::NOSPC.raw_os_error());
            return Err(MapError::File { what: "buffers in", path, source });
        }
        if words.is_some() {
            said(Note::Output);
        }
        self.printer.over(job.seq, words)?;
        if let Some(log) = &mut self.log {
            let row = crate::Row { received: row.received.max(received), ..row };
            let path = self.options.joblog.clone().unwrap_or_default();
            let fail = |source| MapError::File { what: "the job log", path, source };
            log.write(&row).map_err(fail)?;
        }
        let halt = self.tally.on_end(ok, self.options.halt);
        (self.outcome.ok, self.outcome.failed) = (self.tally.ok, self.tally.failed);
        if let Some(when) = halt.filter(|_| self.mood == Mood::Going) {
            let on = self.options.halt.map(|halt| halt.on);
            self.outcome.halted = Some(on == Some(crate::HaltOn::Success));
            match when {
                HaltWhen::Soon => self.mood = Mood::Finishing,
                HaltWhen::Now => self.end_all(),
            }
        }
        self.progress(said);
        Ok(())
    }

    fn on_signal(&mut self, signal: i32, said: &mut dyn FnMut(Note<'_>)) {
        let first = self.outcome.signal.is_none();
        self.outcome.signal.get_or_insert(signal);
        if first && matches!(signal, SIGINT | SIGQUIT) && self.mood == Mood::Going {
            self.mood = Mood::Finishing;
            if !self.running.is_empty() {
                let count = self.running.len();
                let text = format!(
                    "no more jobs are started; waiting for {count} to end (again: end them)"
                );
                said(Note::Warning(&text));
            }
        } else {
            self.end_all();
        }
    }

    /// TERM to every tree; the grace is each job's own deadline.
    fn end_all(&mut self) {
        self.mood = Mood::Ending;
        let now = Instant::now();
        for (id, running) in &mut self.running {
            if running.kill.is_none() {
                self.gang.signal(*id, SIGTERM);
                running.kill = Some(now + self.options.grace);
            }
        }
    }

    /// What is due: time limits, the end of graces, memory.
    fn on_time(&mut self, said: &mut dyn FnMut(Note<'_>)) {
        let now = Instant::now();
        for (id, running) in &mut self.running {
            if running.kill.is_some_and(|at| at <= now) {
                running.kill = None;
                running.killed = true;
                self.gang.end(*id);
            } else if running.kill.is_none()
                && !running.killed
                && let Some(limit) = running.limit(&self.times)
                && running.began + limit <= now
            {
                running.timed_out = Some(limit);
                running.kill = Some(now + self.options.grace);
                self.gang.signal(*id, SIGTERM);
            }
        }
        if let Some(floor) = self.options.memory_free
            && self.running.len() > 1
            && crate::room::memory_available().is_some_and(|free| free < floor / 2)
        {
            let youngest = self.running.iter_mut().max_by_key(|(_, running)| running.began);
            if let Some((id, running)) = youngest.filter(|(_, running)| !running.killed) {
                running.evicted = true;
                running.killed = true;
                self.gang.end(*id);
                said(Note::Warning(
                    "memory is short: the youngest job is ended, to run again later",
                ));
            }
        }
    }

    fn progress(&self, said: &mut dyn FnMut(Note<'_>)) {
        let ended = self.tally.ok + self.tally.failed;
        let done = ended + self.outcome.skipped;
        let total = self.feed.total();
        let left = total.filter(|_| ended > 0).map(|total| {
            let each = self.began.elapsed() / u32::try_from(ended).unwrap_or(u32::MAX);
            each.saturating_mul(u32::try_from(total.saturating_sub(done)).unwrap_or(u32::MAX))
        });
        let running = self.running.len();
        said(Note::Progress(Progress { running, done, failed: self.tally.failed, total, left }));
    }
}
