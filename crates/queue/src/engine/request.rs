//! Requests by people: cancel, retry, pause.

use std::sync::Arc;

use ganger_core::{TaskId, TaskState};
use ganger_store::{Gate, Op, RefusedWhy};

use super::finish::End;
use super::lane::Waiting;
use super::{Engine, Now, Phase, QueueIx};
use crate::actions::{Cancelling, Done, Failure};
use crate::engine::GateSet;

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

    /// Whether a queue takes tasks and hands them out. Takes effect at once; the reply comes after the commit.
    pub fn set_gate(&mut self, req: u64, ix: QueueIx, set: GateSet, by_config: bool, now: Now) {
        self.clock = now;
        let row = self.row_mut(ix);
        let (paused, draining) = match set {
            GateSet::Pause => (true, row.gate.draining),
            GateSet::Drain => (row.gate.paused, true),
            GateSet::Resume => (false, false),
        };
        let same = (paused, draining) == (row.gate.paused, row.gate.draining);
        if !same {
            row.gate = Gate { paused, draining, since_ms: Some(now.wall_ms), by_config };
        }
        if row.is_memory() {
            return self.reply(req, Ok(Done::Gated));
        }
        let (queue, gate) = (Arc::clone(&row.name), row.gate);
        self.batch.sync = true;
        self.batch.ops.push(Op::Gate { queue, gate, req });
    }

    /// Takes a waiting task out of whatever window it is in.
    pub(super) fn remove_waiting(&mut self, id: TaskId) -> Option<(QueueIx, Waiting)> {
        let now = self.clock.at;
        self.queues.iter_mut().enumerate().find_map(|(at, queue)| {
            let waiting = queue.remove_waiting(id, now)?;
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
