//! Unique tasks, last moments, cached results: what the engine does about them. The store decides inside the commit;
//! here windows, counts and waiting callers follow. Queues without these features never come by here but for a test of
//! one pointer.

use std::sync::Arc;
use std::time::Duration;

use ganger_core::{Priority, TaskId, TaskState};
use ganger_store::{
    Cancelled, Control, Enqueue, Followed, Limits, Op, Push, ReadyRow, RefusedWhy, Revived,
    StoreError, What,
};

use super::finish::End;
use super::lane::Waiting;
use super::{Engine, Now, Phase, QueueIx};
use crate::actions::{Done, Failure, Finished};
use crate::config::{NewTask, PushError};

/// How long a failed read waits for its repetition.
const AGAIN_MS: u64 = 1_000;

fn control(row: &ReadyRow) -> Option<&Control> {
    row.options.as_ref()?.control.as_deref()
}

impl Engine {
    /// What goes with each task of a push.
    ///
    /// # Errors
    /// A memory queue can't keep it.
    pub(super) fn resolve(
        &self,
        ix: QueueIx,
        tasks: &mut [NewTask],
        now: Now,
    ) -> Result<(), PushError> {
        let row = self.row(ix);
        let rules = row.config.control.as_deref();
        if rules.is_none() && tasks.iter().all(|task| task.wants.is_none()) {
            return Ok(());
        }
        let none = crate::control::ControlRules::default();
        let rules = rules.unwrap_or(&none);
        for (index, task) in tasks.iter_mut().enumerate() {
            let (kind, own) = (task.kind.as_deref(), task.wants.take());
            let found = rules.control(&row.name, kind, &task.payload, own.as_deref(), now.wall_ms);
            let Some(control) = found else { continue };
            if row.is_memory() && control.ends() {
                return Err(PushError::NotInMemory { queue: Arc::clone(&row.name), index });
            }
            task.options.get_or_insert_default().control = Some(control);
        }
        Ok(())
    }

    /// The earliest last moment among tasks that are stored now.
    pub(super) fn note_limits(&mut self, push: &Push) {
        for task in &push.tasks {
            let control = task.options.as_ref().and_then(|options| options.control.as_ref());
            let Some(control) = control else { continue };
            for at in [control.deadline_ms, control.expires_ms].into_iter().flatten() {
                self.limits.lower(at);
            }
        }
    }

    /// A task that is about to be claimed, unless its last moment has passed: then it is on its way out.
    pub(super) fn still_wanted(
        &mut self,
        ix: QueueIx,
        waiting: Waiting,
        now: Now,
    ) -> Option<Waiting> {
        let Some(control) = control(&waiting.row) else { return Some(waiting) };
        let (attempt, base) = (waiting.row.attempt, waiting.row.base);
        let Some(error) = control.over(attempt, base, now.wall_ms) else { return Some(waiting) };
        let moments = [control.deadline_ms, control.expires_ms].into_iter().flatten();
        let due_ms = moments.filter(|at| *at <= now.wall_ms).min().unwrap_or(now.wall_ms);
        let id = waiting.row.id;
        if self.row(ix).is_memory() {
            let end = End { error: Some(Box::new(error)), ..End::of(TaskState::Cancelled) };
            self.bury(ix, waiting.row, waiting.history, end, TaskState::Available, now);
        } else {
            self.cancelling.insert(id, (ix, waiting));
            self.batch.ops.push(Op::Expire { id, due_ms, at_ms: now.wall_ms });
        }
        None
    }

    /// How long an attempt may take when its task has a deadline.
    pub(super) fn until_deadline(row: &ReadyRow, timeout: Duration, now: Now) -> Duration {
        match control(row).and_then(|control| control.deadline_ms) {
            Some(at) => timeout.min(Duration::from_millis(at.saturating_sub(now.wall_ms))),
            None => timeout,
        }
    }

    /// True when the claim of this task lets go of its key.
    pub(super) fn frees_at_start(waiting: &Waiting) -> bool {
        control(&waiting.row).is_some_and(Control::starts)
    }

    /// The answer to a read of last moments.
    pub(super) fn limits_loaded(&mut self, read: Result<Limits, StoreError>, now: Now) {
        let limits = match read {
            Ok(limits) => limits,
            Err(error) => {
                tracing::warn!(%error, "looking for last moments failed");
                return self.limits.answered(Some(now.wall_ms + AGAIN_MS), None);
            }
        };
        let held_by = (!limits.due.is_empty()).then_some(self.batch.no);
        self.limits.answered(limits.next_ms, held_by);
        for (id, due_ms) in limits.due {
            self.stop_at_deadline(id, now);
            self.batch.ops.push(Op::Expire { id, due_ms, at_ms: now.wall_ms });
        }
    }

    /// A task that is with a worker at its deadline is cancelled there.
    fn stop_at_deadline(&mut self, id: TaskId, now: Now) {
        let Some(run) = self.running.get_mut(&id) else { return };
        let control = run.row.options.as_ref().and_then(|options| options.control.as_deref());
        let over = control.and_then(|c| c.deadline_ms).is_some_and(|at| at <= now.wall_ms);
        if !over || run.cancel || run.phase == Phase::Ending {
            return;
        }
        run.cancel = true;
        if run.phase != Phase::Claiming {
            let (worker, token) = (run.worker, run.token);
            self.actions.cancels.push(crate::actions::Cancelling { worker, id, token });
        }
    }

    /// One task of a push that did not become a waiting task. Its place in windows and claims is taken back already.
    pub(super) fn special(
        &mut self,
        ix: QueueIx,
        task: &Enqueue,
        what: What,
        ids: &mut [TaskId],
        at: usize,
    ) {
        match what {
            What::Existing(holder) | What::Rejected(holder) => ids[at] = holder,
            What::Follows(_) => {
                let row = self.row_mut(ix);
                row.add_bytes(task.payload.len());
                row.moved(None, Some(TaskState::Scheduled));
            }
            What::Hit(result) => {
                self.stats.completed += 1;
                let row = self.row_mut(ix);
                row.moved(None, Some(TaskState::Completed));
                let queue = Arc::clone(&row.name);
                self.actions.finished.push(Finished {
                    id: task.id,
                    queue,
                    state: TaskState::Completed,
                    result: Some(result),
                    error: None,
                    reason: None,
                    attempt: 0,
                });
            }
        }
    }

    /// A task whose leader has ended.
    pub(super) fn followed(&mut self, followed: Followed) {
        let Followed { id, queue, result, payload_len, .. } = followed;
        let Some(result) = result else { return self.due.lower(1) };
        self.stats.completed += 1;
        if let Some(ix) = self.queue(&queue) {
            let row = self.row_mut(ix);
            row.moved(Some(TaskState::Scheduled), Some(TaskState::Completed));
            row.drop_bytes(payload_len);
        }
        let state = TaskState::Completed;
        let result = Some(result);
        let finished = Finished { id, queue, state, result, error: None, reason: None, attempt: 0 };
        self.actions.finished.push(finished);
    }

    /// A task that waits gets another priority. The reply comes after the commit.
    pub fn reprioritise(&mut self, req: u64, id: TaskId, priority: Priority, now: Now) {
        self.clock = now;
        let refuse = |why| Err(Failure::Refused { id, why });
        if self.running.contains_key(&id) {
            return self.reply(req, refuse(RefusedWhy::State(TaskState::Running)));
        }
        if let Some(parked) = self.parked.get_mut(&id) {
            parked.waiting.row.priority = priority;
            return self.reply(req, Ok(Done::Moved));
        }
        if let Some(task) = self.memory_task(id)
            && task.state.is_final()
        {
            return self.reply(req, refuse(RefusedWhy::State(task.state)));
        }
        if let Some((ix, mut waiting)) = self.remove_waiting(id) {
            if self.row(ix).is_memory() {
                waiting.row.priority = priority;
                self.row_mut(ix).admit(waiting, true);
                return self.reply(req, Ok(Done::Moved));
            }
            self.cancelling.insert(id, (ix, waiting));
        }
        if !self.queues.iter().any(|queue| !queue.is_memory()) {
            return self.reply(req, refuse(RefusedWhy::NotFound));
        }
        self.batch.sync = true;
        self.batch.ops.push(Op::Priority { id, priority, req });
    }

    /// It has another priority in the store now.
    pub(super) fn moved(&mut self, moved: Revived) {
        let Revived { queue, from, row, .. } = moved;
        let id = row.id;
        self.cancelling.remove(&id);
        // It may have entered a window while this was on its way.
        let _ = self.remove_waiting(id);
        if let Some((_, _, promoted)) = self.promoting.get_mut(&id) {
            promoted.priority = row.priority;
        }
        let Some(ix) = self.queue(&queue) else { return };
        let busy = self.running.contains_key(&id) || self.promoting.contains_key(&id);
        self.row_mut(ix).forget_read(id, i64::MAX);
        self.due.forget_read(id, row.priority);
        if from == TaskState::Available && !busy {
            self.row_mut(ix).admit(Waiting::stored(row), true);
            self.refill(ix);
        }
    }

    /// It has not: it runs or has ended, or nothing was stored.
    pub(super) fn not_moved(&mut self, id: TaskId, back: bool) {
        if let Some((ix, waiting)) = self.cancelling.remove(&id)
            && back
        {
            self.row_mut(ix).admit(waiting, true);
        }
    }

    /// Tasks that a push or a last moment ended.
    pub(super) fn ended_by_store(&mut self, cancelled: Cancelled) {
        let id = cancelled.id;
        self.cancelled(id, cancelled);
    }
}
