//! The loop of a job: assigns, starts children, writes rows, and ends with nothing running.
//!
//! ```text
//! going ── all rows there ─▶ published
//!    ├──── a task is dead ─▶ ending ─▶ failed          what is committed stays, for `resume`
//!    └──── INT, TERM, HUP ─▶ ending ─▶ interrupted
//! ```

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::Scope;
use std::time::{Duration, Instant};

use ganger_core::{End, SpawnId};
use ganger_keeper::Gang;
use ganger_sys::torture::reach;
use rustix::pipe::{PipeFlags, pipe_with};

use super::RunError;
use super::attempt::{Made, Shared, Work};
use super::child::{Line, Message, Which};
use super::error::Failure;
use super::journal::{Journal, Row, State};
use super::options::{Job, Map, Note, Outcome, Progress, Reduce};
use crate::plan::{Action, AttemptId, Phase, Plan, Task, WorkerId};

/// Between two looks at who is late, while a slot has nothing to do.
const LOOK: Duration = Duration::from_millis(100);

/// A job that is worked at.
pub(super) struct Driver<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    shared: &'env Shared<'env>,
    gang: Gang,
    plan: Plan,
    journal: Journal,
    pub(super) state: State,
    pub(super) outcome: Outcome,
    from: Receiver<Message>,
    to: Sender<Message>,
    woken: OwnedFd,
    wake: OwnedFd,
    /// Who has which slot; a slot that lost its process is another worker from then on.
    slots: Vec<WorkerId>,
    free: BTreeSet<usize>,
    last_worker: u32,
    running: BTreeMap<AttemptId, Running>,
    children: HashMap<SpawnId, Child>,
    began: Instant,
    ending: bool,
}

/// Whose a child is, and how its attempt is told of its end: first the word, then `over` is closed.
struct Child {
    attempt: AttemptId,
    end: Sender<Result<End, String>>,
    over: OwnedFd,
}

struct Running {
    task: Task,
    slot: usize,
    fed: Arc<AtomicU64>,
    size: u64,
    child: Option<SpawnId>,
    dropped: bool,
}

impl<'scope, 'env> Driver<'scope, 'env> {
    pub(super) fn new(
        scope: &'scope Scope<'scope, 'env>,
        shared: &'env Shared<'env>,
        gang: Gang,
        mut plan: Plan,
        (journal, state): (Journal, State),
    ) -> Result<Self, RunError> {
        let (to, from) = mpsc::channel();
        let pipe = || {
            let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
            Ok((reader, writer))
        };
        let (woken, wake) = pipe()
            .map_err(|errno: rustix::io::Errno| RunError::io("make", "a pipe")(errno.into()))?;
        let slots: Vec<WorkerId> = (1..).take(shared.job.slots.max(1)).map(WorkerId).collect();
        slots.iter().for_each(|worker| plan.join(*worker));
        Ok(Self {
            scope,
            shared,
            gang,
            plan,
            journal,
            state,
            outcome: Outcome::default(),
            from,
            to,
            woken,
            wake,
            free: (0..slots.len()).collect(),
            last_worker: slots.len() as u32,
            slots,
            running: BTreeMap::new(),
            children: HashMap::new(),
            began: Instant::now(),
            ending: false,
        })
    }

    pub(super) fn go(&mut self, said: &mut dyn FnMut(Note<'_>)) -> Result<(), RunError> {
        loop {
            self.progress();
            self.assign()?;
            said(Note::Progress(self.shown()));
            match self.plan.phase() {
                Phase::Finished => return Ok(()),
                Phase::Failed { task, why } => {
                    return Err(RunError::Dead { task: self.shared.named(task), why });
                }
                Phase::Mapping | Phase::Reducing | Phase::Stalled { .. } => {}
            }
            if let Some(signal) = self.turn(said)?.first().copied() {
                let path = self.shared.folder.parent().unwrap_or(&self.shared.folder).to_path_buf();
                return Err(RunError::Interrupted { signal, path });
            }
        }
    }

    /// Waits for something, and does what follows. Returns the signals that came.
    fn turn(&mut self, said: &mut dyn FnMut(Note<'_>)) -> Result<Vec<i32>, RunError> {
        // Only who is late can make work for a slot that has none: that is told by time.
        let until = (!self.free.is_empty() && !self.ending).then(|| Instant::now() + LOOK);
        let news = self.gang.wait(until, &[self.woken.as_fd()])?;
        let mut sink = [0; 256];
        while rustix::io::read(&self.woken, &mut sink).is_ok_and(|read| read == sink.len()) {}
        for ended in news.ended {
            if let Some(Child { attempt, end, over }) = self.children.remove(&ended.id) {
                if let Some(running) = self.running.get_mut(&attempt) {
                    running.child = None;
                }
                // Its thread may have given up; `over` closes behind what is told.
                let _ = end.send(Ok(ended.end));
                drop(over);
            }
        }
        let mut finished = Vec::new();
        while let Ok(message) = self.from.try_recv() {
            match message {
                Message::Start { attempt, which, fds, end, over } => {
                    self.start(attempt, which, fds, (end, over))
                }
                Message::Kill(attempt) => self.kill(attempt),
                Message::Over { attempt, result } => finished.push((attempt, result)),
            }
        }
        self.over(finished, said)?;
        Ok(news.signals)
    }

    /// Work for free slots.
    fn assign(&mut self) -> Result<(), RunError> {
        for slot in self.free.clone() {
            let now = self.began.elapsed();
            let Some(given) = self.plan.assign(self.slots[slot], now) else { continue };
            self.outcome.speculative += u64::from(given.speculative);
            self.free.remove(&slot);
            let (work, size) = match given.task {
                Task::Map(n) => (Work::Map(n), self.shared.splits.bytes_of(u64::from(n))),
                Task::Reduce(n) => {
                    let maps = self.maps();
                    let bytes: u64 = self.state.done.iter().map(|(_, (_, row))| row.bytes).sum();
                    (Work::Reduce(n, maps), bytes / u64::from(self.shared.job.reducers.max(1)))
                }
            };
            let fed = Arc::new(AtomicU64::new(0));
            let wake = self.wake.try_clone().map_err(RunError::io("copy", "a pipe"))?;
            let line =
                Line { to: self.to.clone(), wake, attempt: given.attempt, fed: Arc::clone(&fed) };
            let running =
                Running { task: given.task, slot, fed, size, child: None, dropped: false };
            self.running.insert(given.attempt, running);
            let shared = self.shared;
            self.scope.spawn(move || {
                let result = shared.attempt(&line, work);
                line.send(Message::Over { attempt: line.attempt, result });
            });
        }
        Ok(())
    }

    fn maps(&self) -> Vec<(u32, AttemptId)> {
        let map = |(task, (attempt, _)): (&Task, &(AttemptId, Row))| match task {
            Task::Map(n) => Some((*n, *attempt)),
            Task::Reduce(_) => None,
        };
        self.state.done.iter().filter_map(map).collect()
    }

    fn start(
        &mut self,
        attempt: AttemptId,
        which: Which,
        fds: [OwnedFd; 3],
        (end, over): (Sender<Result<End, String>>, OwnedFd),
    ) {
        let job = self.shared.job;
        let Some(running) = self.running.get_mut(&attempt).filter(|running| !running.dropped)
        else {
            return;
        };
        if self.ending {
            return;
        }
        let Some(argv) = command(job, which) else { return };
        let mut plan = job.plan.clone();
        match (job.find)(&argv[0]) {
            Ok(path) => plan.program = path.to_string_lossy().into_owned(),
            Err((_, why)) => {
                let _ = end.send(Err(why));
                return;
            }
        }
        plan.tree = Some(format!("mapreduce{}", running.slot));
        let (kind, number) = match running.task {
            Task::Map(n) => ("m", n),
            Task::Reduce(n) => ("r", n),
        };
        plan.env.set("GANGER_TASK", format!("{kind}-{number}"));
        plan.env.set("GANGER_ATTEMPT", attempt.to_string());
        // What programs written for Hadoop look at.
        plan.env.set("mapreduce_task_partition", number.to_string());
        plan.env.set(
            "mapreduce_task_attempt_id",
            format!("attempt_local_{:04}_{kind}_{number:06}_{}", attempt.epoch, attempt.number),
        );
        if let Task::Map(n) = running.task
            && let Some(path) = self.shared.splits.only_file(u64::from(n))
        {
            plan.env.set("mapreduce_map_input_file", path.to_string_lossy());
            plan.env.set("map_input_file", path.to_string_lossy());
        }
        let words: Result<Vec<CString>, _> =
            argv.iter().map(|word| CString::new(word.as_bytes())).collect();
        let Ok(words) = words else {
            let _ = end.send(Err("an argument holds a zero byte".to_owned()));
            return;
        };
        let lent = fds.iter().map(AsFd::as_fd).zip(0..).collect();
        match self.gang.start(&plan, words, lent) {
            Ok(id) => {
                running.child = Some(id);
                self.children.insert(id, Child { attempt, end, over });
            }
            Err(failed) => {
                let _ = end.send(Ok(failed.end));
            }
        }
    }

    fn kill(&mut self, attempt: AttemptId) {
        if let Some(id) = self.running.get(&attempt).and_then(|running| running.child) {
            self.gang.end(id);
        }
    }

    /// Attempts that are over: rows of those that count are written, synced once, and then told to the plan.
    fn over(
        &mut self,
        finished: Vec<(AttemptId, Result<Made, Failure>)>,
        said: &mut dyn FnMut(Note<'_>),
    ) -> Result<(), RunError> {
        let mut commits = Vec::new();
        for (attempt, result) in finished {
            let Some(running) = self.running.remove(&attempt) else { continue };
            self.free.insert(running.slot);
            match result {
                _ if running.dropped || self.ending => self.forget(running.task, attempt),
                Ok(made) => {
                    let actions = self.plan.finished(attempt, self.began.elapsed());
                    let wanted = matches!(actions[..], [Action::Commit { .. }]);
                    if wanted && !self.state.done.contains_key(&running.task) {
                        self.journal.done(running.task, attempt, &made.row)?;
                        self.state.done.insert(running.task, (attempt, made.row));
                        commits.push(attempt);
                    } else {
                        let actions = self.plan.refused(attempt);
                        self.act(actions, said)?;
                        self.forget(running.task, attempt);
                    }
                }
                Err(failure) => self.failed(attempt, &running, &failure, said)?,
            }
        }
        if !commits.is_empty() {
            self.journal.sync()?;
            reach("mapreduce.rows.synced");
        }
        for attempt in commits {
            let actions = self.plan.committed(attempt);
            self.act(actions, said)?;
            reach("mapreduce.committed");
        }
        Ok(())
    }

    fn failed(
        &mut self,
        attempt: AttemptId,
        running: &Running,
        failure: &Failure,
        said: &mut dyn FnMut(Note<'_>),
    ) -> Result<(), RunError> {
        if let Failure::SpillLost { map, of, .. } = failure {
            said(Note::Warning(&failure.to_string()));
            self.outcome.remade += 1;
            let actions = self.plan.spill_lost(*map, *of, Some(attempt));
            return self.act(actions, said);
        }
        let actions = if failure.is_loss() {
            self.outcome.failed.1 += 1;
            let actions = self.plan.lost(self.slots[running.slot], self.began.elapsed());
            self.last_worker += 1;
            self.slots[running.slot] = WorkerId(self.last_worker);
            self.plan.join(WorkerId(self.last_worker));
            actions
        } else {
            self.outcome.failed.0 += 1;
            said(Note::Warning(&format!("{}: {failure}", self.shared.named(running.task))));
            self.plan.failed(attempt, &failure.to_string())
        };
        self.act(actions, said)
    }

    fn act(
        &mut self,
        actions: Vec<Action>,
        said: &mut dyn FnMut(Note<'_>),
    ) -> Result<(), RunError> {
        for action in actions {
            match action {
                Action::Drop { task, attempt } => match self.running.get_mut(&attempt) {
                    Some(running) => {
                        running.dropped = true;
                        self.kill(attempt);
                    }
                    None => self.forget(task, attempt),
                },
                Action::Revoke { task, attempt } => {
                    self.journal.revoke(task, attempt)?;
                    self.state.done.remove(&task);
                }
                Action::Dead { task, why } => {
                    said(Note::Warning(&format!("{} is given up: {why}", self.shared.named(task))));
                    self.journal.dead(task, &why)?;
                    self.state.dead.insert(task, why);
                }
                Action::Commit { .. } | Action::SetAside { .. } => {}
            }
        }
        Ok(())
    }

    /// An attempt's file that does not count goes.
    fn forget(&self, task: Task, attempt: AttemptId) {
        // It may not have come to make one.
        let _ = std::fs::remove_file(self.shared.path(task, attempt));
    }

    fn progress(&mut self) {
        for (attempt, running) in &self.running {
            let fed = running.fed.load(Ordering::Relaxed) as f64;
            if running.size > 0 {
                self.plan.progress(*attempt, fed / running.size as f64);
            }
        }
    }

    fn shown(&self) -> Progress {
        let maps =
            self.state.done.keys().filter(|task| matches!(task, Task::Map(_))).count() as u32;
        let reduces = self.state.done.len() as u32 - maps;
        let job = self.shared.job;
        let all = self.shared.splits.count() as u32;
        let reducers = if job.reduce.is_some() { job.reducers } else { 0 };
        let bytes = self.shared.splits.inputs().bytes();
        let share = bytes * u64::from(maps) / u64::from(all.max(1));
        Progress {
            maps: (maps, all),
            reduces: (reduces, reducers),
            running: self.running.len(),
            bytes: (share, bytes),
        }
    }

    pub(super) fn end_all(&mut self) {
        self.ending = true;
        for running in self.running.values_mut() {
            running.dropped = true;
        }
        let ids: Vec<SpawnId> = self.children.keys().copied().collect();
        ids.into_iter().for_each(|id| self.gang.end(id));
    }

    /// Until no attempt runs.
    pub(super) fn stop(&mut self) -> Result<(), RunError> {
        while !self.running.is_empty() {
            self.turn(&mut |_| ())?;
        }
        Ok(())
    }
}

/// The words of an attempt's command, if that step is one.
fn command(job: &Job, which: Which) -> Option<&[String]> {
    let step = match which {
        Which::Map => {
            let Map::Command(argv) = &job.map else { return None };
            return Some(argv);
        }
        Which::Combine => job.combine.as_ref()?,
        Which::Reduce => job.reduce.as_ref()?,
    };
    let Reduce::Command(argv) = step else { return None };
    Some(argv)
}
