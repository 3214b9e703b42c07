//! The plan's state and its steps.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::attempt::Running;
use super::workers::Workers;
use super::{Action, Assignment, AttemptId, Phase, Refused, Settings, Task, WorkerId};

/// A task between its attempts. 16 bytes.
#[derive(Debug, Clone, Copy, Default)]
struct Cell {
    /// The number of the committed attempt and its epoch; 0 is none.
    committed: u32,
    epoch: u32,
    /// The last worker that failed it, plus one.
    failed_on: u32,
    failures: u8,
    losses: u8,
    /// On more than one worker.
    spread: bool,
    dead: bool,
}

/// The plan of one job.
#[derive(Debug)]
pub struct Plan {
    settings: Settings,
    epoch: u32,
    last_attempt: u32,
    maps: Vec<Cell>,
    reduces: Vec<Cell>,
    /// Maps, then reduces, that are neither committed nor dead.
    open: (usize, usize),
    /// Tasks that never ran are those from here on; tasks to run again stand in `again`.
    fresh: (u32, u32),
    again: VecDeque<Task>,
    running: BTreeMap<AttemptId, Running>,
    workers: Workers,
    /// Time and number of the tasks that succeeded: maps, then reduces.
    took: [(Duration, u32); 2],
    alone_since: Option<Duration>,
    stalled: bool,
    failed: Option<(Task, String)>,
    refused: Refused,
}

impl Plan {
    /// A plan for so many splits and partitions. `epoch` is larger than that of any plan of this job before. `manifest`: the rows
    /// that are there; those tasks are done and don't run again.
    #[must_use]
    pub fn new(
        maps: u32,
        reduces: u32,
        settings: Settings,
        epoch: u32,
        manifest: impl IntoIterator<Item = (Task, AttemptId)>,
    ) -> Self {
        let mut plan = Self {
            settings,
            epoch,
            last_attempt: 0,
            maps: vec![Cell::default(); maps as usize],
            reduces: vec![Cell::default(); reduces as usize],
            open: (maps as usize, reduces as usize),
            fresh: (0, 0),
            again: VecDeque::new(),
            running: BTreeMap::new(),
            workers: Workers::default(),
            took: [(Duration::ZERO, 0); 2],
            alone_since: Some(Duration::ZERO),
            stalled: false,
            failed: None,
            refused: Refused::default(),
        };
        for (task, attempt) in manifest {
            plan.settle(task, attempt);
        }
        plan
    }

    /// Where the job stands.
    #[must_use]
    pub fn phase(&self) -> Phase {
        if let Some((task, why)) = &self.failed {
            return Phase::Failed { task: *task, why: why.clone() };
        }
        match self.open {
            (0, 0) => Phase::Finished,
            _ if self.stalled => Phase::Stalled { why: self.why_stalled() },
            (0, _) => Phase::Reducing,
            _ => Phase::Mapping,
        }
    }

    /// The attempt whose result counts for a task.
    #[must_use]
    pub fn winner(&self, task: Task) -> Option<AttemptId> {
        let cell = self.cell(task)?;
        (cell.committed > 0).then_some(AttemptId { epoch: cell.epoch, number: cell.committed })
    }

    /// Tasks that were given up.
    pub fn dead(&self) -> impl Iterator<Item = Task> + '_ {
        let dead = |(_, cell): &(u32, &Cell)| cell.dead;
        let maps = (0..).zip(&self.maps).filter(dead).map(|(n, _)| Task::Map(n));
        maps.chain((0..).zip(&self.reduces).filter(dead).map(|(n, _)| Task::Reduce(n)))
    }

    /// Answers that changed nothing.
    #[must_use]
    pub fn refused_answers(&self) -> Refused {
        self.refused
    }

    /// Bytes of memory of all tasks.
    #[must_use]
    pub fn memory(&self) -> usize {
        (self.maps.capacity() + self.reduces.capacity()) * size_of::<Cell>()
            + self.again.capacity() * size_of::<Task>()
    }

    /// A worker is there.
    pub fn join(&mut self, worker: WorkerId) {
        self.workers.join(worker);
        self.alone_since = None;
        self.stalled = false;
    }

    /// Work for a free worker; `None` when there is nothing for it now.
    pub fn assign(&mut self, worker: WorkerId, now: Duration) -> Option<Assignment> {
        if self.failed.is_some() || !self.workers.good(worker) {
            return None;
        }
        if self.running.values().any(|running| running.worker == worker && !running.committing) {
            return None;
        }
        let (task, speculative) = match self.next_pending(worker) {
            Some(task) => (task, false),
            None => (self.slowest(worker, now)?, true),
        };
        self.last_attempt += 1;
        let attempt = AttemptId { epoch: self.epoch, number: self.last_attempt };
        let running = Running { task, worker, started: now, done: 0.0, committing: false };
        self.running.insert(attempt, running);
        Some(Assignment { task, attempt, speculative })
    }

    /// How far an attempt is, 0 to 1.
    pub fn progress(&mut self, attempt: AttemptId, done: f64) {
        if let Some(running) = self.running.get_mut(&attempt) {
            running.done = done.clamp(0.0, 1.0);
        }
    }

    /// An attempt's result is whole and on disk.
    pub fn finished(&mut self, attempt: AttemptId, now: Duration) -> Vec<Action> {
        let Some(running) =
            self.running.get(&attempt).filter(|running| !running.committing).copied()
        else {
            self.refused.stale += 1;
            return Vec::new();
        };
        let (task, worker) = (running.task, running.worker);
        if self.attempts_of(task).any(|other| self.running[&other].committing) {
            // One row at a time: a second could be written after the first was revoked.
            self.running.remove(&attempt);
            return vec![Action::Drop { task, attempt }];
        }
        self.running.insert(attempt, Running { committing: true, ..running });
        let took = &mut self.took[usize::from(matches!(task, Task::Reduce(_)))];
        *took = (took.0 + now.saturating_sub(running.started), took.1 + 1);
        self.workers.succeeded(worker);
        vec![Action::Commit { task, attempt }]
    }

    /// The row was written: the attempt's result counts from here on.
    pub fn committed(&mut self, attempt: AttemptId) -> Vec<Action> {
        let Some(task) = self.running.get(&attempt).map(|running| running.task) else {
            self.refused.stale += 1;
            return Vec::new();
        };
        self.running.remove(&attempt);
        self.settle(task, attempt);
        let others: Vec<AttemptId> = self.attempts_of(task).collect();
        others
            .into_iter()
            .map(|attempt| {
                self.running.remove(&attempt);
                Action::Drop { task, attempt }
            })
            .collect()
    }

    /// The row was not written: another stands there, or the attempt's fence is old.
    pub fn refused(&mut self, attempt: AttemptId) -> Vec<Action> {
        let Some(running) = self.running.remove(&attempt) else {
            self.refused.stale += 1;
            return Vec::new();
        };
        self.retry(running.task);
        vec![Action::Drop { task: running.task, attempt }]
    }

    /// An attempt ended without a result.
    pub fn failed(&mut self, attempt: AttemptId, why: &str) -> Vec<Action> {
        let Some(running) =
            self.running.get(&attempt).filter(|running| !running.committing).copied()
        else {
            self.refused.stale += 1;
            return Vec::new();
        };
        self.running.remove(&attempt);
        let (task, worker) = (running.task, running.worker);
        let mut actions = vec![Action::Drop { task, attempt }];
        let aside = self.workers.failed(worker, task, self.settings.worker_failures);
        if let Some(row) = aside {
            actions.push(Action::SetAside { worker });
            // Charged before it was known who was to blame; the failure at hand is not charged at all.
            for charged in row.into_iter().filter(|charged| *charged != task) {
                if let Some(cell) = self.cell_mut(charged) {
                    cell.failures = cell.failures.saturating_sub(1);
                }
            }
        } else if self.charge(task, worker) {
            actions.extend(self.give_up(task, why));
            return actions;
        }
        self.retry(task);
        actions
    }

    /// A worker is gone with what it was doing. What it committed stays.
    pub fn lost(&mut self, worker: WorkerId, now: Duration) -> Vec<Action> {
        if !self.workers.lose(worker) {
            return Vec::new();
        }
        if self.workers.good_count() == 0 {
            self.alone_since.get_or_insert(now);
        }
        let mine = |(attempt, running): (&AttemptId, &Running)| {
            (running.worker == worker && !running.committing).then_some((*attempt, running.task))
        };
        let ended: Vec<(AttemptId, Task)> = self.running.iter().filter_map(mine).collect();
        let mut actions = Vec::new();
        for (attempt, task) in ended {
            self.running.remove(&attempt);
            actions.push(Action::Drop { task, attempt });
            let most = self.settings.task_losses;
            let over = self.cell_mut(task).is_some_and(|cell| {
                cell.losses = cell.losses.saturating_add(1);
                cell.losses >= most
            });
            if over {
                actions.extend(self.give_up(task, "every worker that tried it died"));
            } else {
                self.retry(task);
            }
        }
        actions
    }

    /// What a committed map left can't be read: it is made again. Told by the reduce that wanted it, which runs again too
    /// and is not charged.
    pub fn spill_lost(
        &mut self,
        map: u32,
        of: AttemptId,
        told_by: Option<AttemptId>,
    ) -> Vec<Action> {
        let mut actions = Vec::new();
        if let Some(reader) = told_by {
            match self.running.get(&reader).filter(|running| !running.committing).copied() {
                Some(running) => {
                    self.running.remove(&reader);
                    actions.push(Action::Drop { task: running.task, attempt: reader });
                    self.retry(running.task);
                }
                None => self.refused.stale += 1,
            }
        }
        let task = Task::Map(map);
        if self.winner(task) != Some(of) {
            // Another reducer told the same before.
            return actions;
        }
        if let Some(cell) = self.cell_mut(task) {
            (cell.committed, cell.epoch) = (0, 0);
            self.open.0 += 1;
            // One that a former daemon committed may still be before those that were not given yet.
            if map < self.fresh.0 {
                self.again.push_back(task);
            }
        }
        actions.push(Action::Revoke { task, attempt: of });
        actions.push(Action::Drop { task, attempt: of });
        actions
    }

    /// Time went by.
    pub fn tick(&mut self, now: Duration) {
        if self.workers.good_count() > 0 {
            self.alone_since = None;
            self.stalled = false;
            return;
        }
        let since = *self.alone_since.get_or_insert(now);
        self.stalled = now.saturating_sub(since) >= self.settings.grace;
    }

    fn why_stalled(&self) -> String {
        let (lost, aside) = (self.workers.lost, self.workers.aside_count());
        format!(
            "no worker is left: {lost} died or went away, {aside} set aside after failures; start workers and it goes on"
        )
    }

    /// A task that nobody works at: reduces only when all maps are committed or dead, and what failed on another worker if
    /// there is one.
    fn next_pending(&mut self, worker: WorkerId) -> Option<Task> {
        let reducing = self.open.0 == 0;
        let alone = self.workers.good_count() <= 1;
        let ready = |task: &Task| {
            let failed_here = self.cell(*task).is_some_and(|cell| cell.failed_on == worker.0 + 1);
            (reducing || matches!(task, Task::Map(_))) && (alone || !failed_here)
        };
        if let Some(at) = self.again.iter().position(ready) {
            return self.again.remove(at);
        }
        while (self.fresh.0 as usize) < self.maps.len() {
            self.fresh.0 += 1;
            if self.maps[self.fresh.0 as usize - 1].is_open() {
                return Some(Task::Map(self.fresh.0 - 1));
            }
        }
        while reducing && (self.fresh.1 as usize) < self.reduces.len() {
            self.fresh.1 += 1;
            if self.reduces[self.fresh.1 as usize - 1].is_open() {
                return Some(Task::Reduce(self.fresh.1 - 1));
            }
        }
        None
    }

    /// The task to do a second time: the one that will end last, if a new attempt is expected to end well before it.
    fn slowest(&self, worker: WorkerId, now: Duration) -> Option<Task> {
        let mut tasks = BTreeSet::new();
        let speculative =
            self.running.values().filter(|running| !tasks.insert(running.task)).count();
        let most = (self.running.len() / self.settings.speculate_one_in.max(1)).max(1);
        if speculative >= most {
            return None;
        }
        // A reduce that runs while a map is made again would only find the same gap.
        let reducing = self.open.0 == 0;
        let late = self.running.values().filter(|running| {
            !running.committing
                && (reducing || matches!(running.task, Task::Map(_)))
                && running.worker != worker
                && self.attempts_of(running.task).count() == 1
        });
        let late = late.filter_map(|running| {
            let (total, number) = self.took[usize::from(matches!(running.task, Task::Reduce(_)))];
            let usual = total.checked_div(number)?;
            let left = running.left(now, usual);
            (left > (usual * 2).max(self.settings.speculate_from)).then_some((left, running.task))
        });
        late.max().map(|(_, task)| task)
    }

    fn attempts_of(&self, task: Task) -> impl Iterator<Item = AttemptId> + '_ {
        let of = move |(attempt, running): (&AttemptId, &Running)| {
            (running.task == task).then_some(*attempt)
        };
        self.running.iter().filter_map(of)
    }

    /// To be done again, unless it is settled or somebody is at it.
    fn retry(&mut self, task: Task) {
        let open = self.cell(task).is_some_and(|cell| cell.is_open());
        if open && self.attempts_of(task).next().is_none() && !self.again.contains(&task) {
            self.again.push_back(task);
        }
    }

    /// Counts a failure; whether it is one too many.
    fn charge(&mut self, task: Task, worker: WorkerId) -> bool {
        let others = self.workers.good_count() > 1;
        let most = self.settings.task_failures;
        self.cell_mut(task).is_some_and(|cell| {
            cell.failures = cell.failures.saturating_add(1);
            cell.spread |= cell.failed_on > 0 && cell.failed_on != worker.0 + 1;
            cell.failed_on = worker.0 + 1;
            cell.failures >= most && (cell.spread || !others)
        })
    }

    fn give_up(&mut self, task: Task, why: &str) -> Vec<Action> {
        let mut actions = Vec::new();
        let others: Vec<AttemptId> = self.attempts_of(task).collect();
        if others.iter().any(|attempt| self.running[attempt].committing) {
            // A result is there and only its row is not: it decides.
            return actions;
        }
        for attempt in others {
            self.running.remove(&attempt);
            actions.push(Action::Drop { task, attempt });
        }
        if let Some(cell) = self.cell_mut(task).filter(|cell| cell.is_open()) {
            cell.dead = true;
            self.close(task);
            actions.push(Action::Dead { task, why: why.to_owned() });
            if self.settings.fail_on_dead {
                self.failed.get_or_insert((task, why.to_owned()));
            }
        }
        actions
    }

    fn settle(&mut self, task: Task, attempt: AttemptId) {
        if let Some(cell) = self.cell_mut(task).filter(|cell| cell.is_open()) {
            (cell.committed, cell.epoch) = (attempt.number, attempt.epoch);
            self.close(task);
        }
    }

    fn close(&mut self, task: Task) {
        match task {
            Task::Map(_) => self.open.0 -= 1,
            Task::Reduce(_) => self.open.1 -= 1,
        }
    }

    fn cell(&self, task: Task) -> Option<&Cell> {
        match task {
            Task::Map(n) => self.maps.get(n as usize),
            Task::Reduce(n) => self.reduces.get(n as usize),
        }
    }

    fn cell_mut(&mut self, task: Task) -> Option<&mut Cell> {
        match task {
            Task::Map(n) => self.maps.get_mut(n as usize),
            Task::Reduce(n) => self.reduces.get_mut(n as usize),
        }
    }
}

impl Cell {
    fn is_open(self) -> bool {
        self.committed == 0 && !self.dead
    }
}
