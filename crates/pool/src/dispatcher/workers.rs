//! The workers' side of a tick: reports in, tasks out, evenly.

use ganger_core::{Durability, TaskId, TaskState, Token};
use ganger_queue::{Finish, How, QueueIx, Worker};

use super::run::{Dispatcher, now};
use super::table::Row;
use crate::attempt::{Answers, FromWorker, Joining, Report, ToWorker};
use crate::pace::Room;

impl Dispatcher {
    pub(super) fn on_join(&mut self, joining: Joining) {
        let Joining { key, name, queues, lanes, to } = joining;
        let row = Row {
            worker: Worker { key, name, pid: 0 },
            queues: Vec::new(),
            queue_names: queues,
            lanes,
            room: Room::default(),
            commits: false,
            holding: 0,
            done: 0,
            to,
            out: ToWorker::default(),
            answers: Answers::default(),
            leaving: false,
        };
        self.workers.insert(key, row);
        self.resolve_queues();
    }

    /// Queues may be configured before or after the workers that take from them.
    pub(super) fn resolve_queues(&mut self) {
        for row in self.workers.values_mut() {
            row.queues =
                row.queue_names.iter().filter_map(|name| self.engine.queue(name)).collect();
            let durability = |ix: &QueueIx| self.engine.config(*ix).map(|c| c.durability);
            row.commits = row.queues.iter().any(|ix| durability(ix) != Some(Durability::Memory));
        }
    }

    pub(super) fn on_leave(&mut self, key: u64) {
        if let Some(row) = self.workers.get_mut(&key) {
            row.leaving = true;
            row.room = Room::default();
        }
        self.forget_left();
    }

    /// A row goes when nothing of it is under way.
    fn forget_left(&mut self) {
        self.workers.retain(|_, row| !(row.leaving && row.holding == 0));
    }

    /// Attempts for workers that went away while their claims were committed wait again. True when there were any.
    pub(super) fn recall(&mut self) -> bool {
        let mut back = Vec::new();
        for row in self.workers.values_mut().filter(|row| row.leaving) {
            back.append(&mut std::mem::take(&mut row.out).attempts);
        }
        for attempt in &back {
            if let Some(row) = self.workers.get_mut(&attempt.worker) {
                row.holding = row.holding.saturating_sub(1);
            }
            let finish = Finish::new(attempt.id, attempt.token, How::Released);
            if let Err(stale) = self.engine.finish(finish, now()) {
                tracing::debug!(%stale, "recalled");
            }
        }
        if back.is_empty() {
            return false;
        }
        self.forget_left();
        true
    }

    pub(super) fn on_adopt(&mut self, key: u64, attempts: &[(TaskId, Token)]) {
        let Some(row) = self.workers.get_mut(&key) else { return };
        for (id, token) in attempts {
            match self.engine.adopt(*id, *token, &row.worker) {
                Ok(()) => row.holding += 1,
                Err(stale) => tracing::warn!(%stale, worker = %row.worker.name, "not adopted"),
            }
        }
    }

    pub(super) fn on_worker(&mut self, note: FromWorker) {
        let FromWorker { key, reports, began, said, answers, room, lanes, pid } = note;
        let now = now();
        for (id, token, pid, when) in began {
            if let Err(stale) = self.engine.started(id, token, pid, true, when) {
                tracing::debug!(%stale, "began");
            }
        }
        for (id, token, more) in said {
            self.on_said(id, token, more, now);
        }
        let reported = u32::try_from(reports.len()).unwrap_or(u32::MAX);
        for report in reports {
            self.on_report(report, now);
        }
        let Some(row) = self.workers.get_mut(&key) else { return };
        row.holding = row.holding.saturating_sub(reported);
        row.done += u64::from(reported);
        (row.room, row.lanes) = (room, lanes);
        row.worker.pid = pid;
        if answers != row.answers && answers.count > 0 {
            row.answers = answers;
            self.answered.push((key, answers));
        }
        if row.leaving {
            self.forget_left();
        }
    }

    fn on_report(&mut self, report: Report, now: ganger_queue::Now) {
        let Report { id, token, began, pid, said, how } = report;
        let noted = match began {
            Some(began) => self.engine.started(id, token, pid, false, began),
            None => Ok(()),
        };
        if let Some(more) = said {
            self.on_said(id, token, *more, now);
        }
        let told = noted.and_then(|()| self.engine.finish(Finish { id, token, pid, how }, now));
        if let Err(stale) = told {
            tracing::warn!(%stale, "an answer came too late and is dropped");
        }
    }

    /// Gives every worker with room what it may have: first so that every lane runs, then buffers, each an equal share.
    pub(super) fn hand_out(&mut self) {
        if self.draining.is_some() {
            return;
        }
        let mut free: Vec<(u64, u32)> = self
            .workers
            .values()
            .filter(|row| row.free() > 0 && row.queues.iter().any(|ix| self.engine.has_ready(*ix)))
            .map(|row| (row.worker.key, row.holding))
            .collect();
        if free.is_empty() {
            return;
        }
        free.sort_unstable_by_key(|(key, holding)| (*holding, *key));
        self.turn = self.turn.wrapping_add(1);
        let idle = free.partition_point(|(_, holding)| *holding == free[0].1);
        free[..idle].rotate_left(self.turn % idle);
        for (key, _) in &free {
            self.give(*key, |row| row.free().min(row.lanes.saturating_sub(row.holding)));
        }
        let sharers = free.len();
        for (key, _) in &free {
            let share = self.share(*key, sharers);
            self.give(*key, |row| row.free().min(share));
        }
    }

    /// An equal part of what is available for a worker, at least one.
    fn share(&self, key: u64, sharers: usize) -> u32 {
        let Some(row) = self.workers.get(&key) else { return 0 };
        let available: u64 =
            row.queues.iter().map(|ix| self.engine.counts(*ix).get(TaskState::Available)).sum();
        u32::try_from(available.div_ceil(sharers as u64).max(1)).unwrap_or(u32::MAX)
    }

    fn give(&mut self, key: u64, how_many: impl FnOnce(&Row) -> u32) {
        let Some(row) = self.workers.get_mut(&key) else { return };
        let n = how_many(row);
        if n == 0 {
            return;
        }
        let starts = row.lanes.saturating_sub(row.holding) as usize;
        let got = self.engine.take(&row.worker, &row.queues, n as usize, starts, now());
        row.holding += u32::try_from(got).unwrap_or(0);
    }
}
