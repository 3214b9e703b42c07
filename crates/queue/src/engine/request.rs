//! Requests by people: cancel, retry, pause.

use std::sync::Arc;

use ganger_core::{TaskId, TaskState};
use ganger_store::{Op, RefusedWhy};

use super::finish::End;
use super::lane::Waiting;
use super::{Engine, Now, Phase, QueueIx};
use crate::actions::{Cancelling, Done, Failure};

impl Engine {
    /// A task shall not run. The reply comes after the commit; for a running task at once, as [`Done::Cancelling`].
    pub fn cancel(&mut self, req: u64, id: TaskId, now: Now) {
        self.clock = now;
        if let Some(run) = self.running.get_mut(&id).filter(|r| r.phase != Phase::Ending) {
            if !run.cancel && run.phase != Phase::Claiming {
                let (worker, token) = (run.worker, run.token);
                self.actions.cancels.push(Cancelling { worker, id, token });
            }
            run.cancel = true;
            return self.reply(req, Ok(Done::Cancelling));
        }
        if let Some(parked) = self.parked.remove(&id) {
            return self.cancel_memory(req, parked.ix, parked.waiting, parked.state, now);
        }
        if let Some(why) = self.memory_done(id) {
            return self.reply(req, Err(Failure::Refused { id, why }));
        }
        if let Some((ix, waiting)) = self.remove_waiting(id) {
            if self.row(ix).is_memory() {
                return self.cancel_memory(req, ix, waiting, TaskState::Available, now);
            }
            self.cancelling.insert(id, (ix, waiting));
        }
        if !self.has_durable() {
            return self.reply(req, Err(Failure::Refused { id, why: RefusedWhy::NotFound }));
        }
        self.batch.sync = true;
        self.batch.ops.push(Op::Cancel { id, at_ms: now.wall_ms, req });
    }

    fn cancel_memory(
        &mut self,
        req: u64,
        ix: QueueIx,
        waiting: Waiting,
        from: TaskState,
        now: Now,
    ) {
        let end = End::of(TaskState::Cancelled);
        self.bury(ix, waiting.row, waiting.history, end, from, now);
        self.reply(req, Ok(Done::Cancelled));
    }

    /// Whether a queue hands out tasks. Takes effect at once; the reply comes after the commit.
    pub fn pause(&mut self, req: u64, ix: QueueIx, paused: bool) {
        let row = self.row_mut(ix);
        row.paused = paused;
        if row.is_memory() {
            return self.reply(req, Ok(if paused { Done::Paused } else { Done::Resumed }));
        }
        let queue = Arc::clone(&row.name);
        self.batch.sync = true;
        self.batch.ops.push(Op::Pause { queue, paused, req });
    }

    /// Takes a waiting task out of whatever window it is in.
    pub(super) fn remove_waiting(&mut self, id: TaskId) -> Option<(QueueIx, Waiting)> {
        self.queues.iter_mut().enumerate().find_map(|(at, queue)| {
            let waiting = queue.remove_waiting(id)?;
            Some((QueueIx(u32::try_from(at).unwrap_or(u32::MAX)), waiting))
        })
    }

    fn memory_done(&self, id: TaskId) -> Option<RefusedWhy> {
        self.queues
            .iter()
            .find_map(|queue| queue.done(id))
            .map(|done| RefusedWhy::State(done.state))
    }

    pub(super) fn has_durable(&self) -> bool {
        self.queues.iter().any(|queue| !queue.is_memory())
    }
}
