//! Dead letters that come back or go for ever.

use std::sync::Arc;

use bytes::Bytes;
use ganger_core::{TaskId, TaskState};
use ganger_store::{Op, RefusedWhy};

use super::lane::Waiting;
use super::{Engine, Now, QueueIx};
use crate::actions::{Done, Failure};

impl Engine {
    /// A discarded or cancelled task gets a fresh budget of attempts. The reply comes after the commit.
    pub fn retry(&mut self, req: u64, id: TaskId, now: Now) {
        self.replay(req, id, None, None, now);
    }

    /// The same, where `attempt` says that it must still be the one that died in that attempt, and `payload` takes the place of
    /// its payload.
    pub fn replay(
        &mut self,
        req: u64,
        id: TaskId,
        attempt: Option<u32>,
        payload: Option<Bytes>,
        now: Now,
    ) {
        self.clock = now;
        let seq = self.draw().raw();
        let found = self.memory_task(id).map(|task| (task.state, task.attempt));
        match found {
            Some((state @ (TaskState::Discarded | TaskState::Cancelled), last)) => {
                if attempt.is_some_and(|seen| seen != last) {
                    return self.refuse_dead(req, id, RefusedWhy::Stale(state));
                }
                self.revive_memory(id, seq, payload);
                self.reply(req, Ok(Done::Retried));
            }
            Some((state, _)) => self.refuse_dead(req, id, RefusedWhy::State(state)),
            None if self.has_durable() => {
                self.batch.sync = true;
                self.batch.ops.push(Op::Retry { id, seq, attempt, payload, req });
            }
            None => self.refuse_dead(req, id, RefusedWhy::NotFound),
        }
    }

    /// A dead letter is forgotten, with its attempts; fenced like [`Engine::replay`]. The reply comes after the commit.
    pub fn purge(&mut self, req: u64, id: TaskId, attempt: Option<u32>) {
        let found = self.memory_task(id).map(|task| (task.state, task.attempt));
        match found {
            Some((TaskState::Discarded, last)) => {
                if attempt.is_some_and(|seen| seen != last) {
                    return self.refuse_dead(req, id, RefusedWhy::Stale(TaskState::Discarded));
                }
                if let Some(queue) = self.queues.iter_mut().find(|queue| queue.done(id).is_some()) {
                    queue.take_done(id);
                    queue.moved(Some(TaskState::Discarded), None);
                }
                self.reply(req, Ok(Done::Purged));
            }
            Some((state, _)) => self.refuse_dead(req, id, RefusedWhy::State(state)),
            None if self.has_durable() => {
                self.batch.sync = true;
                self.batch.ops.push(Op::Purge { id, attempt, req });
            }
            None => self.refuse_dead(req, id, RefusedWhy::NotFound),
        }
    }

    /// Tells the store how many dead letters of a queue to keep.
    pub(super) fn keep_dead(&mut self, ix: QueueIx) {
        let row = self.row(ix);
        if row.is_memory() {
            return;
        }
        let (queue, bounds) = (Arc::clone(&row.name), row.config.dead);
        self.batch.ops.push(Op::Keep { queue, dead: true, bounds });
    }

    fn refuse_dead(&mut self, req: u64, id: TaskId, why: RefusedWhy) {
        self.reply(req, Err(Failure::Refused { id, why }));
    }

    fn revive_memory(&mut self, id: TaskId, seq: i64, payload: Option<Bytes>) {
        let found = self.queues.iter_mut().find_map(|queue| Some((queue.take_done(id)?, queue)));
        let Some((done, queue)) = found else { return };
        let mut row = done.row;
        row.seq = seq;
        (row.base, row.crashes) = (row.attempt, 0);
        row.payload = payload.unwrap_or(row.payload);
        let revived_at_ms = TaskId::from_raw(seq).map(TaskId::drawn_at_ms);
        row.options.get_or_insert_default().revived_at_ms = revived_at_ms;
        queue.moved(Some(done.state), Some(TaskState::Available));
        queue.add_bytes(row.payload.len());
        queue.admit(Waiting { row, history: done.history, birth: None }, true);
    }
}
