//! One process of a worker: its start, its adoption, its end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ganger_core::{Dur, End};
use ganger_ipc::broker::Guest;
use ganger_ipc::envelope::{put_cancel, put_sync};
use ganger_ipc::{SyncAnswer, TaskAnswer};
use ganger_keeper::wire::ExitReport;
use ganger_process::Ends;
use ganger_queue::{Attempt, How, Now};
use ganger_store::{AttemptError, RunningRow};
use ganger_supervise::{InstanceNotice, InstanceView, Live};

use super::end::Stopping;
use super::gone::{Cause, Gone, died_with_it, stuck_text};
use super::link::{Link, error_of};
use super::ping::Pings;
use super::recycle::Used;
use super::task::Worker;
use crate::attempt::Report;
use crate::dispatcher::{Msg, now};
use crate::events;
use crate::spec::Protocol;

/// How long an SDK may take to answer `$sync`. It answers from its event loop between two tasks; one that is blocked in a task
/// for longer can't be told from one that hangs.
pub(super) const SYNC: Duration = Duration::from_secs(2);

/// A living process.
#[derive(Debug)]
pub(super) struct Process {
    pub pid: u32,
    pub link: Option<Link>,
    /// What it is to other processes; absent: its pool has no `channel = true`.
    pub guest: Option<Guest>,
    pub started_at_ms: u64,
    /// It said hello or answered `$sync`.
    pub sdk: bool,
    /// Answers of this session.
    pub answers: u64,
    /// What it says that it runs at once.
    pub lanes: Option<u32>,
    pub doom: Option<Doom>,
    /// The instance was told to end it.
    pub end_asked: bool,
    /// The answer to `$sync` is due.
    pub sync_due: Option<Instant>,
    /// It has been silent with a task sent, behind a launcher: when that is held against it.
    pub silent_due: Option<Instant>,
    /// Its channel closed: when that is held against it.
    pub closed_due: Option<Instant>,
    pub garbage: Garbled,
    /// It was told that it does not end.
    pub told_stuck: bool,
    /// It was told that a word of its was refused.
    pub told_refused: bool,
    pub used: Used,
    /// Absent: nothing asks whether it still answers.
    pub pings: Option<Pings>,
    /// How pings stand, to be told.
    pub pinged: Option<Result<Duration, String>>,
}

/// Unreadable lines of a process.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Garbled {
    pub all: u64,
    pub since_answer: u64,
}

/// It must not go on; nothing more goes to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Doom {
    /// Whatever it runs.
    Now,
    /// As soon as nothing innocent runs in it.
    WhenInnocentAreDone,
}

impl Process {
    fn new(pid: u32, started_at_ms: u64, link: Option<Link>) -> Self {
        Self {
            pid,
            doom: link.is_none().then_some(Doom::Now),
            link,
            guest: None,
            started_at_ms,
            sdk: false,
            answers: 0,
            lanes: None,
            end_asked: false,
            sync_due: None,
            silent_due: None,
            closed_due: None,
            garbage: Garbled::default(),
            told_stuck: false,
            told_refused: false,
            used: Used::default(),
            pings: None,
            pinged: None,
        }
    }

    /// Other rules of pings; what it said of itself holds on.
    pub(super) fn ask_anew(&mut self, rules: Option<&Live>, now: Now) {
        let known = self.pings.as_ref().is_some_and(Pings::knows);
        self.pings = Pings::new(rules, now.at, fastrand::f64());
        if let Some(pings) = self.pings.as_mut().filter(|_| known) {
            pings.is_known();
        }
    }

    pub(super) fn due(&self) -> Option<Instant> {
        let ping = self.pings.as_ref().map(Pings::due);
        [self.sync_due, self.silent_due, self.closed_due, ping].into_iter().flatten().min()
    }

    pub(super) fn accepts(&self) -> bool {
        let open = self.link.as_ref().is_some_and(|l| !l.closed);
        open && self.doom.is_none() && self.sync_due.is_none()
    }
}

impl Worker {
    pub(super) async fn on_notice(&mut self, notice: InstanceNotice, now: Now) {
        match notice {
            InstanceNotice::Started { pid, started_at_ms, adopted, ends, .. } => {
                self.on_started(pid, started_at_ms, ends, adopted);
                if adopted {
                    self.adopt(now).await;
                }
            }
            InstanceNotice::Ended(report) => self.on_ended(&report, now),
            InstanceNotice::State(view) => self.on_view(view),
        }
    }

    fn on_started(&mut self, pid: u32, started_at_ms: u64, ends: Ends, adopted: bool) {
        self.session += 1;
        let link = Link::open(&self.spec, ends);
        if let Err(error) = &link {
            self.tell("worker.unusable", error.to_string());
        }
        let now = now();
        let age = Duration::from_millis(now.wall_ms.saturating_sub(started_at_ms));
        let mut process = Process::new(pid, started_at_ms, link.ok());
        process.pings = Pings::new(self.spec.instance.live.as_ref(), now.at, fastrand::f64());
        process.guest = self.guest(adopted);
        process.used = Used::new(&self.spec.recycle, self.id.slot, age, now);
        self.process = Some(process);
        self.load.set_pid(pid);
        self.set_manner();
    }

    /// A process of a former daemon, with what the store says it holds.
    async fn adopt(&mut self, now: Now) {
        let claimed = std::mem::take(&mut self.claimed);
        let attempts = claimed.iter().map(|row| (row.row.id, row.token)).collect();
        // A closed inbox means shutdown; the next wait sees it too.
        let _ = self.shared.tell.send(Msg::Adopt { key: self.key, attempts }).await;
        let open = !claimed.is_empty();
        for row in claimed {
            self.load.adopt(attempt_of(row, self.key), now);
        }
        let asked = self.spec.protocol == Protocol::Channel && !self.spec.raw;
        let Some(process) = &mut self.process else { return };
        match &mut process.link {
            Some(link) if asked => {
                link.control(|out| put_sync(out, u64::from(self.session)));
                process.sync_due = Some(now.at + SYNC);
            }
            // It can't be asked what it runs, and its answer may have gone with the former daemon.
            _ if open => process.doom = Some(Doom::Now),
            _ => {}
        }
    }

    pub(super) fn on_sync(&mut self, sync: SyncAnswer, now: Now) {
        let Some(process) = &mut self.process else { return };
        if process.sync_due.take().is_none() {
            return;
        }
        process.sdk = true;
        let resolved = sync.done.len();
        let SyncAnswer { running, done } = sync;
        self.take_done(done, now);
        let missing: Vec<_> = self.load.ids().filter(|id| !running.contains(id)).collect();
        for id in &missing {
            self.reports.extend(self.load.never_arrived(*id));
        }
        let is_ours = |id: &_| self.load.ids().any(|ours| ours == *id);
        let foreign: Vec<_> = running.into_iter().filter(|id| !is_ours(id)).collect();
        for id in &foreign {
            self.say(|out| put_cancel(out, *id));
        }
        let (kept, lost, foreign) = (self.load.len(), missing.len(), foreign.len());
        tracing::info!(worker = %self.id, kept, resolved, lost, foreign, "taken over");
    }

    fn take_done(
        &mut self,
        done: Vec<(ganger_core::TaskId, TaskAnswer<Box<serde_json::value::RawValue>>)>,
        now: Now,
    ) {
        for (id, answer) in done {
            let how = match answer {
                TaskAnswer::Result(raw) => {
                    How::Completed(String::from(Box::<str>::from(raw)).into())
                }
                TaskAnswer::Error(failure) => error_of(failure),
            };
            self.reports.extend(self.load.answered(id, how, now));
        }
    }

    fn on_ended(&mut self, report: &ExitReport, now: Now) {
        let Some(mut process) = self.process.take() else { return };
        if let Some(link) = &mut process.link {
            link.drain();
            // What it said last to others still counts.
            if let Ok(heard) = link.hear(&mut self.load, process.guest.as_mut(), now) {
                process.answers += heard.answers;
                self.reports.extend(heard.reports);
                if let Some(sync) = heard.sync {
                    self.take_done(sync.done, now);
                }
            }
        }
        let mut why =
            format!("worker {} (pid {}) {}", self.id, process.pid, crash_text(&report.end));
        if !report.stuck.is_empty() {
            why = format!("{why}; {}", stuck_text(&report.stuck));
        }
        let usage = Some(Box::new(report.usage));
        let asked = process.end_asked || self.stopping.as_ref().is_some_and(Stopping::is_asked);
        let gone = Gone {
            cause: Cause::of(report, asked),
            error: AttemptError { usage, ..AttemptError::new(why.clone()) },
        };
        let reports = self.load.died(&gone);
        let (dead, others): (Vec<_>, Vec<_>) =
            reports.into_iter().partition(|r| died_with_it(&r.how));
        self.reports.extend(others);
        let crashed = dead.iter().filter(|r| matches!(r.how, How::Crash(_))).count();
        if crashed > 0 {
            let s = if crashed == 1 { "" } else { "s" };
            self.tell("worker.crash", format!("{why} while it ran {crashed} task{s}"));
        }
        for report in dead.iter().filter(|r| matches!(r.how, How::Stuck { .. })) {
            self.tell("task.stuck", format!("task {} is not run again: {why}", report.id));
        }
        if !dead.is_empty() {
            self.report_with_words(dead, process.started_at_ms);
        }
    }

    /// Even SIGKILL did not end it (yet). Its attempts stay as they are: the next ones wait until the keeper tells its end.
    fn on_view(&mut self, view: Arc<InstanceView>) {
        let Some(process) = &mut self.process else { return self.show(view) };
        if !view.stuck.is_empty() && !std::mem::replace(&mut process.told_stuck, true) {
            let why = stuck_text(&view.stuck);
            for (id, n) in self.load.now_running().collect::<Vec<_>>() {
                let text = format!("attempt {n} of task {id} counts as running: {why}");
                self.tell("task.stuck", text);
            }
        }
        self.show(view);
    }

    /// The attempts that died with a process get its last words before they are told.
    fn report_with_words(&mut self, mut dead: Vec<Report>, started_at_ms: u64) {
        let last =
            self.words.clone().last(self.shared.around.clone(), self.id.clone(), started_at_ms);
        self.late.spawn(async move {
            let lines = last.await;
            for error in dead.iter_mut().filter_map(|report| report.how.error_mut()) {
                error.stderr.clone_from(&lines);
            }
            dead
        });
    }

    pub(super) fn tell(&self, kind: &str, reason: String) {
        events::tell(&self.shared.around.told, events::of_worker(kind, &self.id, reason));
    }

    /// Why a worker that did not answer `$sync` is ended.
    pub(super) fn tell_no_sync(&self) {
        let why = format!("it did not say within {} what it runs, so it is ended", Dur(SYNC));
        self.tell("worker.takeover", why);
    }
}

/// How a worker's end reads in an attempt's error.
fn crash_text(end: &End) -> String {
    match end {
        End::Exited { code: 0 } => "exited with code 0 before it answered".into(),
        other => other.to_string(),
    }
}

/// An attempt as the store keeps it. Its time is the engine's to watch: it began under another daemon's clock.
pub(crate) fn attempt_of(claim: RunningRow, worker: u64) -> Attempt {
    let RunningRow { queue, row, token, .. } = claim;
    Attempt {
        worker,
        id: row.id,
        token,
        queue,
        kind: row.kind,
        payload: bytes::Bytes::new(),
        n: row.attempt,
        priority: row.priority,
        timeout: Duration::MAX,
        started: true,
    }
}
