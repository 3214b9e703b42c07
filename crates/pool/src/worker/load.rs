//! What one worker holds, as a pure machine: no clock, no I/O.
//!
//! ```text
//! take ─► Waiting ─put─► Sent ─(a lane is free, or `started`)─► Running ─answer─► report
//!            │             │                                       │ deadline or cancel: verdict fixed, $cancel sent
//!            │             │                                       ▼
//!            │             │                                    Running with a verdict ─answer─► report (the verdict)
//!            │             │                                       │ grace over: the worker is stuck and must be ended
//!            └─────────────┴──── the process ended: Released ──────┴──► Crash, Interrupted, Lost, Stuck, or the verdict
//! ```
//!
//! Every attempt taken is reported exactly once. A verdict (timed out, cancelled) is reported only when the worker has answered or
//! is proven gone, so that the next attempt of the task never overlaps this one.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ganger_core::{Dur, TaskId, Token};
use ganger_queue::{Attempt, How, Now, Saying};
use ganger_store::AttemptError;

use super::gone::Gone;
use crate::attempt::{Report, Stop};

/// A buffered attempt that runs longer than this gets a row that says since when; shorter ones are told with their end.
const WORTH_A_ROW: Duration = Duration::from_millis(500);

/// How a worker takes its tasks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Manner {
    /// Attempts that run at once.
    pub lanes: usize,
    /// Attempts that the process may have at once, running or buffered.
    pub window: usize,
    /// How long a worker may take to answer a `$cancel`.
    pub grace: Duration,
}

#[derive(Debug)]
struct Open {
    task: Attempt,
    stage: Stage,
    verdict: Option<How>,
    /// When a running attempt is over its time or, with a verdict, its grace.
    deadline: Option<Instant>,
    /// When a buffered attempt that runs is worth a row of its own.
    note_at: Option<Instant>,
    /// What it said that was not told yet.
    said: Option<Box<Saying>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Waiting,
    Sent,
    Running(Now),
}

impl Open {
    fn report(self, how: How, pid: Option<u32>) -> Report {
        let began = match self.stage {
            Stage::Running(began) => Some(began),
            Stage::Waiting | Stage::Sent => None,
        };
        let (id, token, said) = (self.task.id, self.task.token, self.said);
        Report { id, token, began, pid, said, how }
    }
}

/// What a deadline brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expired {
    /// Its time is over: ask the worker to cancel it.
    Cancel(TaskId),
    /// It did not answer the cancel: the worker has to be ended.
    Stuck(TaskId),
    /// It came out of the buffer and has run for a while: worth a row.
    Began(TaskId, Token, Now),
}

/// What a stop means for this worker.
#[derive(Debug, PartialEq)]
pub(crate) enum Stopped {
    /// Not here (any more), or on its way out already.
    Unknown,
    /// It had not been sent.
    Reported(Box<Report>),
    /// The worker has it: tell it.
    Ask,
}

/// The attempts of one worker, in the order they came.
#[derive(Debug)]
pub(crate) struct Load {
    manner: Manner,
    open: VecDeque<Open>,
    sent: usize,
    running: usize,
    stuck: bool,
    /// An attempt said something that is not told.
    untold: bool,
    /// The process that has what was sent.
    pid: Option<u32>,
}

impl Load {
    pub(crate) const fn new(manner: Manner) -> Self {
        Self {
            manner,
            open: VecDeque::new(),
            sent: 0,
            running: 0,
            stuck: false,
            untold: false,
            pid: None,
        }
    }

    /// What is sent from now on goes to this process.
    pub(crate) const fn set_pid(&mut self, pid: u32) {
        self.pid = Some(pid);
    }

    /// How the worker takes its tasks from now on.
    pub(crate) const fn set_manner(&mut self, manner: Manner) {
        self.manner = manner;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    pub(crate) const fn running(&self) -> usize {
        self.running
    }

    pub(crate) fn len(&self) -> usize {
        self.open.len()
    }

    /// Takes attempts; nothing is sent yet.
    pub(crate) fn take(&mut self, tasks: impl IntoIterator<Item = Attempt>) {
        let open = |task| Open {
            task,
            stage: Stage::Waiting,
            verdict: None,
            deadline: None,
            note_at: None,
            said: None,
        };
        self.open.extend(tasks.into_iter().map(open));
    }

    /// Takes an attempt that the process already has (a new daemon's first look).
    pub(crate) fn adopt(&mut self, task: Attempt, now: Now) {
        self.open.push_back(Open {
            task,
            stage: Stage::Sent,
            verdict: None,
            deadline: None,
            note_at: None,
            said: None,
        });
        self.sent += 1;
        self.start_free_lanes(now);
    }

    /// Gives every attempt that may go out now to `put`, in order, until that says `false`: enough for now.
    pub(crate) fn send(&mut self, now: Now, mut put: impl FnMut(&Attempt) -> bool) {
        if self.sent == self.open.len() {
            return;
        }
        for open in &mut self.open {
            if self.sent >= self.manner.window {
                break;
            }
            if open.stage == Stage::Waiting {
                let more = put(&open.task);
                open.task.payload = Bytes::new();
                open.stage = Stage::Sent;
                self.sent += 1;
                if !more {
                    break;
                }
            }
        }
        self.start_free_lanes(now);
    }

    /// The oldest attempts that the process has are what it runs, as many as it has lanes.
    fn start_free_lanes(&mut self, now: Now) {
        if self.running >= self.manner.lanes {
            return;
        }
        for open in &mut self.open {
            if open.stage == Stage::Sent {
                self.running += 1;
                start(open, now, self.manner.grace);
                if self.running >= self.manner.lanes {
                    return;
                }
            }
        }
    }

    /// The worker says that it began this one.
    pub(crate) fn started(&mut self, id: TaskId, now: Now) {
        let grace = self.manner.grace;
        if let Some(open) = self.open.iter_mut().find(|o| o.task.id == id)
            && open.stage == Stage::Sent
        {
            self.running += 1;
            start(open, now, grace);
        }
    }

    /// The worker answered. `None`: it has no such attempt, the answer is stale.
    pub(crate) fn answered(&mut self, id: TaskId, how: How, now: Now) -> Option<Report> {
        let at = self.open.iter().position(|o| o.task.id == id && o.stage != Stage::Waiting)?;
        let mut open = self.open.remove(at)?;
        self.sent -= 1;
        if open.stage == Stage::Sent {
            open.stage = Stage::Running(now);
        } else {
            self.running -= 1;
        }
        let how = with_verdict(open.verdict.take(), how);
        let report = open.report(how, self.pid);
        self.start_free_lanes(now);
        Some(report)
    }

    /// The worker says something of an attempt. False: it has no such attempt (any more), the words are stale.
    pub(crate) fn says(
        &mut self,
        id: TaskId,
        token: Option<Token>,
        say: impl FnOnce(&mut Saying),
    ) -> bool {
        let is_it = |o: &&mut Open| {
            let same = o.task.id == id && token.is_none_or(|token| token == o.task.token);
            same && o.stage != Stage::Waiting
        };
        let Some(open) = self.open.iter_mut().find(is_it) else { return false };
        say(open.said.get_or_insert_default());
        self.untold = true;
        true
    }

    /// Something was said that is not told.
    pub(crate) const fn has_words(&self) -> bool {
        self.untold
    }

    /// What was said since the last time, by attempt.
    pub(crate) fn take_words(&mut self) -> Vec<(TaskId, Token, Saying)> {
        self.untold = false;
        let words = |o: &mut Open| Some((o.task.id, o.task.token, *o.said.take()?));
        self.open.iter_mut().filter_map(words).collect()
    }

    /// The process does not have it after all: back without a charge.
    pub(crate) fn never_arrived(&mut self, id: TaskId) -> Option<Report> {
        let at = self.open.iter().position(|o| o.task.id == id)?;
        let open = self.open.remove(at)?;
        self.sent -= usize::from(open.stage != Stage::Waiting);
        self.running -= usize::from(matches!(open.stage, Stage::Running(_)));
        let how = open.verdict.clone().unwrap_or(How::Released);
        Some(open.report(how, None))
    }

    /// What runs, with the number of the attempt.
    pub(crate) fn now_running(&self) -> impl Iterator<Item = (TaskId, u32)> {
        let runs = |o: &&Open| matches!(o.stage, Stage::Running(_));
        self.open.iter().filter(runs).map(|o| (o.task.id, o.task.n))
    }

    /// The token of an attempt here.
    pub(crate) fn token(&self, id: TaskId) -> Option<Token> {
        self.open.iter().find(|o| o.task.id == id).map(|o| o.task.token)
    }

    /// Every attempt here, oldest first.
    pub(crate) fn ids(&self) -> impl Iterator<Item = TaskId> {
        self.open.iter().map(|o| o.task.id)
    }

    /// In raw mode: which attempt the next message answers.
    pub(crate) fn in_lane(&self) -> Option<TaskId> {
        self.open.iter().find(|o| o.stage != Stage::Waiting).map(|o| o.task.id)
    }

    /// The next moment at which [`Self::expire`] has something to say.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.open.iter().flat_map(|o| [o.deadline, o.note_at]).flatten().min()
    }

    /// What is over its time.
    pub(crate) fn expire(&mut self, now: Now) -> Vec<Expired> {
        let grace = self.manner.grace;
        let mut expired = Vec::new();
        for open in &mut self.open {
            if let (Stage::Running(began), Some(at)) = (open.stage, open.note_at)
                && at <= now.at
            {
                open.note_at = None;
                expired.push(Expired::Began(open.task.id, open.task.token, began));
            }
            if open.deadline.is_none_or(|at| now.at < at) {
                continue;
            }
            if open.verdict.is_some() {
                open.deadline = None;
                self.stuck = true;
                expired.push(Expired::Stuck(open.task.id));
            } else {
                open.verdict = Some(timed_out(open.task.timeout));
                open.deadline = Some(now.at + grace);
                expired.push(Expired::Cancel(open.task.id));
            }
        }
        expired
    }

    /// This attempt shall end: by request, or because somebody else's clock says that its time is over.
    pub(crate) fn stop(&mut self, stop: Stop, now: Now) -> Stopped {
        let is_it = |o: &Open| o.task.id == stop.id && o.task.token == stop.token;
        let Some(at) = self.open.iter().position(is_it) else { return Stopped::Unknown };
        let how = stop.after.map_or(How::Cancelled, timed_out);
        let open = &mut self.open[at];
        if open.stage == Stage::Waiting {
            return self.open.remove(at).map_or(Stopped::Unknown, |open| {
                Stopped::Reported(Box::new(open.report(how, None)))
            });
        }
        if open.verdict.is_some() {
            return Stopped::Unknown;
        }
        open.verdict = Some(how);
        let runs = matches!(open.stage, Stage::Running(_));
        open.deadline = runs.then(|| now.at + self.manner.grace);
        Stopped::Ask
    }

    /// What the running attempts are to be reported as, whatever comes now. The worker has to be ended.
    pub(crate) fn condemn(&mut self, how: &How) {
        for open in &mut self.open {
            if matches!(open.stage, Stage::Running(_)) {
                open.verdict.get_or_insert_with(|| how.clone());
            }
        }
        self.stuck = true;
    }

    /// An attempt must be ended by ending the worker.
    pub(crate) const fn is_stuck(&self) -> bool {
        self.stuck
    }

    /// Nothing but what is over its time runs: ending the worker hurts nobody else.
    pub(crate) fn only_condemned_run(&self) -> bool {
        let runs = |o: &&Open| matches!(o.stage, Stage::Running(_));
        self.open.iter().filter(runs).all(|o| o.verdict.is_some())
    }

    /// Gives back what the process does not have.
    pub(crate) fn take_back(&mut self) -> Vec<Report> {
        let (waiting, kept): (VecDeque<Open>, VecDeque<Open>) =
            self.open.drain(..).partition(|o| o.stage == Stage::Waiting);
        self.open = kept;
        waiting.into_iter().map(|o| o.report(How::Released, None)).collect()
    }

    /// The process is gone: reports for everything.
    pub(crate) fn died(&mut self, gone: &Gone) -> Vec<Report> {
        (self.sent, self.running, self.stuck) = (0, 0, false);
        let pid = self.pid.take();
        let end = |mut open: Open| {
            let verdict = open.verdict.take();
            let how = match open.stage {
                Stage::Running(_) => gone.fate(verdict),
                Stage::Waiting | Stage::Sent => verdict.unwrap_or(How::Released),
            };
            open.report(how, pid)
        };
        self.open.drain(..).map(end).collect()
    }
}

fn start(open: &mut Open, now: Now, grace: Duration) {
    open.stage = Stage::Running(now);
    open.note_at = (!open.task.started).then(|| now.at + WORTH_A_ROW);
    open.deadline = if open.verdict.is_some() {
        Some(now.at + grace)
    } else {
        now.at.checked_add(open.task.timeout)
    };
}

/// A verdict stands whatever the end was; only the process's last words and figures go with it, and that part of it may live on.
fn with_verdict(verdict: Option<How>, mut how: How) -> How {
    let timeout = matches!(verdict, Some(How::Timeout(_)));
    match (verdict, &mut how) {
        (None, _) => how,
        (Some(_), How::Stuck { timed_out, .. }) => {
            *timed_out = timeout;
            how
        }
        (Some(How::Timeout(mut told)), _) => {
            if let Some(end) = how.error_mut() {
                told.stderr = std::mem::take(&mut end.stderr);
                told.usage = end.usage.take();
            }
            How::Timeout(told)
        }
        (Some(verdict), _) => verdict,
    }
}

fn timed_out(after: Duration) -> How {
    let text = format!("timed out after {}", Dur(after));
    How::Timeout(Box::new(AttemptError::new(text)))
}
