//! The writer's answers: what was committed takes effect.

use std::sync::Arc;

use ganger_core::{TaskId, TaskState, Token};
use ganger_store::{
    Applied, AttemptWord, Cancelled, Enqueue, Followed, Next, Op, Outcome, Push, Refused, Revived,
    Settled, Special, What,
};

use super::lane::Waiting;
use super::{Engine, Now, Phase, QueueIx};
use crate::actions::{Done, Failure, Finished, Reply, Returned};

/// The answers to a batch, met in the order of its operations.
struct Answers {
    refused: std::iter::Peekable<std::vec::IntoIter<Refused>>,
    duplicates: std::iter::Peekable<std::vec::IntoIter<ganger_store::Duplicate>>,
    revived: std::iter::Peekable<std::vec::IntoIter<Revived>>,
    cancelled: std::iter::Peekable<std::vec::IntoIter<Cancelled>>,
    special: std::iter::Peekable<std::vec::IntoIter<Special>>,
    followed: std::iter::Peekable<std::vec::IntoIter<Followed>>,
}

impl Answers {
    fn new(applied: Applied) -> Self {
        Self {
            refused: applied.refused.into_iter().peekable(),
            duplicates: applied.duplicates.into_iter().peekable(),
            revived: applied.revived.into_iter().peekable(),
            cancelled: applied.cancelled.into_iter().peekable(),
            special: applied.special.into_iter().peekable(),
            followed: applied.followed.into_iter().peekable(),
        }
    }
}

impl Engine {
    /// The writer's answer, in the order of the batches.
    pub fn settled(&mut self, settled: Settled, now: Now) {
        self.clock = now;
        self.in_flight = self.in_flight.saturating_sub(1);
        self.due.settled(settled.batch.no);
        self.limits.settled(settled.batch.no);
        self.settled_no = settled.batch.no;
        match settled.result {
            Ok(applied) => {
                self.held = None;
                let mut answers = Answers::new(applied);
                let first = self.actions.send.len();
                for (at, op) in settled.batch.ops.into_iter().enumerate() {
                    self.done(at, op, &mut answers, now);
                    while let Some(cancelled) = answers.cancelled.next_if(|c| c.op == at) {
                        self.ended_by_store(cancelled);
                    }
                    while let Some(followed) = answers.followed.next_if(|f| f.op == at) {
                        self.followed(followed);
                    }
                }
                // Claims that rode along with their push stand before others in the batch, whatever was taken first.
                self.actions.send[first..].sort_unstable_by_key(|attempt| attempt.token);
            }
            Err(error) => self.failed(settled.batch.ops, &error, now),
        }
        self.read_all_left(false);
        self.purge_deadlines();
    }

    fn done(&mut self, at: usize, op: Op, answers: &mut Answers, now: Now) {
        let refused = answers.refused.next_if(|r| r.op == at);
        match (op, refused) {
            (Op::Push(push), _) => match answers.duplicates.next_if(|d| d.op == at) {
                Some(known) => {
                    self.unpush(&push);
                    self.reply(
                        push.req,
                        Ok(Done::Pushed { ids: known.ids, duplicate: true, known: Vec::new() }),
                    );
                }
                None => {
                    let special = std::iter::from_fn(|| answers.special.next_if(|s| s.op == at));
                    self.pushed(push, special.collect(), now);
                }
            },
            (Op::Claim(claim), None) => {
                if let Some(ix) = self.queue(&claim.queue) {
                    let row = self.row_mut(ix);
                    row.claiming = row.claiming.saturating_sub(1);
                    row.moved(Some(TaskState::Available), Some(TaskState::Running));
                }
                self.dispatch(claim.id, now);
            }
            (Op::Claim(claim), Some(_)) => {
                if let Some(ix) = self.queue(&claim.queue) {
                    let row = self.row_mut(ix);
                    row.claiming = row.claiming.saturating_sub(1);
                }
                self.drop_claim(claim.id, claim.token);
            }
            (Op::Outcome(outcome), None) => self.ended(*outcome),
            (Op::Outcome(outcome), Some(_)) => self.end_refused(&outcome),
            (Op::Promote { id, .. }, refused) => {
                if let Some((ix, from, row)) = self.promoting.remove(&id)
                    && refused.is_none()
                {
                    let queue = self.row_mut(ix);
                    queue.moved(Some(from), Some(TaskState::Available));
                    queue.admit(Waiting::stored(row), true);
                    self.refill(ix);
                }
            }
            (Op::Cancel { id, req, .. }, Some(refused)) => {
                // The store says that it is finished already, so it belongs into no window either.
                self.cancelling.remove(&id);
                self.refuse(req, &refused);
            }
            (Op::Cancel { id, req, .. }, None) => {
                if let Some(cancelled) = answers.cancelled.next_if(|c| c.op == at) {
                    self.cancelled(id, cancelled);
                }
                self.reply(req, Ok(Done::Cancelled));
            }
            (Op::Expire { id, .. }, _) => {
                // What did not end by it runs, or has ended: it belongs into no window either.
                if answers.cancelled.peek().is_none_or(|c| c.op != at) {
                    self.not_moved(id, false);
                }
            }
            (Op::Priority { id, req, .. }, Some(refused)) => {
                self.not_moved(id, false);
                self.refuse(req, &refused);
            }
            (Op::Priority { req, .. }, None) => {
                if let Some(moved) = answers.revived.next_if(|r| r.op == at) {
                    self.moved(moved);
                }
                self.reply(req, Ok(Done::Moved));
            }
            (Op::Settle { .. }, _) => {}
            (Op::Retry { req, .. }, Some(refused)) => self.refuse(req, &refused),
            (Op::Retry { req, .. }, None) => {
                if let Some(revived) = answers.revived.next_if(|r| r.op == at) {
                    self.revived(revived);
                }
                self.reply(req, Ok(Done::Retried));
            }
            (Op::Purge { req, .. }, Some(refused)) => self.refuse(req, &refused),
            (Op::Purge { req, .. }, None) => self.reply(req, Ok(Done::Purged)),
            (Op::Gate { req, .. }, _) => self.reply(req, Ok(Done::Gated)),
            (Op::Started { .. }, Some(_)) => self.stats.stale += 1,
            (Op::Started { .. } | Op::Said { .. } | Op::Event(_) | Op::Desire { .. }, _)
            | (Op::Buckets { .. } | Op::Keep { .. } | Op::Searchable { .. }, _)
            | (Op::Fire(_) | Op::Schedule { .. }, _) => {}
        }
    }

    pub(super) fn reply(&mut self, req: u64, result: Result<Done, Failure>) {
        self.actions.replies.push(Reply { req, result });
    }

    fn refuse(&mut self, req: u64, refused: &Refused) {
        self.reply(req, Err(Failure::Refused { id: refused.id, why: refused.why }));
    }

    fn pushed(&mut self, push: Push, special: Vec<Special>, now: Now) {
        let Some(ix) = self.queue(&push.queue) else { return };
        if let Some(Special { task: index, what: What::Rejected(holder), .. }) = special.first() {
            self.unpush(&push);
            let failure = Failure::NotUnique { index: *index, holder: *holder };
            return self.reply(push.req, Err(failure));
        }
        let mut ids: Vec<TaskId> = push.tasks.iter().map(|task| task.id).collect();
        let known = special.iter().filter(|s| matches!(s.what, What::Existing(_)));
        let known = known.map(|special| special.task).collect();
        self.note_limits(&push);
        let plain = if special.is_empty() {
            push.tasks
        } else {
            self.without_special(ix, push.tasks, special, &mut ids)
        };
        self.reply(push.req, Ok(Done::Pushed { ids, duplicate: false, known }));
        for task in plain {
            let row = self.row_mut(ix);
            let later = task.run_at_ms > 0;
            row.pending[usize::from(later)] = row.pending[usize::from(later)].saturating_sub(1);
            if task.claim.is_some() {
                row.claiming = row.claiming.saturating_sub(1);
                row.moved(None, Some(TaskState::Running));
                self.dispatch(task.id, now);
            } else if later {
                row.moved(None, Some(TaskState::Scheduled));
                self.due.lower(task.run_at_ms);
            } else {
                row.moved(None, Some(TaskState::Available));
                row.lane_mut(task.priority).committed(task.id.raw());
            }
        }
        self.refill(ix);
    }

    /// The tasks of a push that wait like any other.
    fn without_special(
        &mut self,
        ix: QueueIx,
        tasks: Vec<Enqueue>,
        special: Vec<Special>,
        ids: &mut [TaskId],
    ) -> Vec<Enqueue> {
        let mut special = special.into_iter().peekable();
        let mut plain = Vec::with_capacity(tasks.len());
        for (at, task) in tasks.into_iter().enumerate() {
            match special.next_if(|s| s.task == at) {
                Some(other) => {
                    self.unpush_one(ix, &task);
                    self.special(ix, &task, other.what, ids, at);
                }
                None => plain.push(task),
            }
        }
        plain
    }

    /// Takes back what a push put into windows and claims: it was a duplicate, or was not stored.
    pub(super) fn unpush(&mut self, push: &Push) {
        let Some(ix) = self.queue(&push.queue) else { return };
        for task in &push.tasks {
            self.unpush_one(ix, task);
        }
        self.refill(ix);
    }

    fn unpush_one(&mut self, ix: QueueIx, task: &Enqueue) {
        let now = self.clock.at;
        let later = usize::from(task.run_at_ms > 0);
        let row = self.row_mut(ix);
        row.pending[later] = row.pending[later].saturating_sub(1);
        row.drop_bytes(task.payload.len() as u64);
        if let Some(claim) = &task.claim {
            row.claiming = row.claiming.saturating_sub(1);
            self.drop_claim(task.id, claim.token);
        } else if row.take_back(task.id, task.priority, now) {
            // It waited in its lane, or was set aside.
        } else if let Some(token) = self.running.get(&task.id).map(|run| run.token) {
            // Claimed by a later batch, which the store will refuse; its own answer finds nothing then.
            self.drop_claim(task.id, token);
        } else {
            self.cancelling.remove(&task.id);
        }
    }

    /// A claim that the store does not know: the worker has its room back.
    fn drop_claim(&mut self, id: TaskId, token: Token) {
        let Some(run) = self.running.get(&id).filter(|r| r.token == token) else { return };
        // An attempt that was ended meanwhile has been given back by its owner.
        if run.phase == Phase::Claiming {
            self.actions.returned.push(Returned { worker: run.worker, id, token });
        }
        self.uncount(id, true);
        self.running.remove(&id);
    }

    fn ended(&mut self, outcome: Outcome) {
        let state = outcome.state();
        let Some(run) = self.running.remove(&outcome.id) else { return };
        let (ix, mut row) = (run.ix, run.row);
        let queue = self.row_mut(ix);
        queue.moved(Some(TaskState::Running), Some(state));
        let (result, reason) = match outcome.next {
            Next::RetryAt { at_ms } => return self.due.lower(at_ms),
            Next::Available { seq } => {
                row.seq = seq;
                row.attempt -= u32::from(outcome.word == AttemptWord::Released);
                row.crashes += u32::from(outcome.word.is_crash());
                row.base += u32::from(outcome.word == AttemptWord::Snoozed);
                queue.admit(Waiting::stored(row), true);
                return self.refill(ix);
            }
            Next::Completed { result } => (Some(result), None),
            Next::Discarded(reason) => (None, Some(reason)),
            Next::Cancelled => (None, None),
        };
        queue.drop_bytes(row.payload.len() as u64);
        let finished = Finished {
            id: outcome.id,
            queue: Arc::clone(&queue.name),
            state,
            result,
            error: outcome.error,
            reason,
            attempt: row.attempt,
        };
        self.actions.finished.push(finished);
    }

    /// The store does not know this attempt. When its claim never came to be, the task still waits.
    fn end_refused(&mut self, outcome: &Outcome) {
        let Some(run) = self.running.remove(&outcome.id) else { return };
        if run.claimed {
            self.stats.stale += 1;
            return;
        }
        let mut row = run.row;
        row.attempt -= 1;
        self.row_mut(run.ix).admit(Waiting::stored(row), true);
    }

    pub(super) fn cancelled(&mut self, id: TaskId, cancelled: Cancelled) {
        // It may have entered a window while the cancel was on its way.
        if self.cancelling.remove(&id).is_none() {
            let _ = self.remove_waiting(id);
        }
        if let Some(ix) = self.queue(&cancelled.queue) {
            let row = self.row_mut(ix);
            row.moved(Some(cancelled.from), Some(TaskState::Cancelled));
            row.drop_bytes(cancelled.payload_len);
            // Whoever waits in the store only must not wait for the next push or end.
            self.refill(ix);
        }
        self.actions.finished.push(Finished {
            id,
            queue: cancelled.queue,
            state: TaskState::Cancelled,
            result: None,
            error: cancelled.error,
            reason: None,
            attempt: cancelled.attempt,
        });
    }

    fn revived(&mut self, revived: Revived) {
        let Some(ix) = self.queue(&revived.queue) else { return };
        let known = self.running.contains_key(&revived.row.id);
        let queue = self.row_mut(ix);
        queue.moved(Some(revived.from), Some(TaskState::Available));
        queue.add_bytes(revived.row.payload.len());
        // A read under way may have found it before it ended: it would wait, and be given out, twice.
        queue.forget_read(revived.row.id, revived.row.seq);
        if !known {
            queue.admit(Waiting::stored(revived.row), true);
        }
        self.refill(ix);
    }
}
