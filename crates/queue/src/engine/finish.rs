//! Ends of attempts.

use std::sync::Arc;
use std::time::Duration;

use ganger_core::TaskState;
use ganger_store::{
    AttemptError, AttemptRow, AttemptWord, DeadReason, Next, Op, Outcome, ReadyRow, Said,
};

use super::lane::Waiting;
use super::row::DoneTask;
use super::{Engine, Finish, How, Now, Phase, QueueIx, Running, Stale};
use crate::actions::Finished;
use crate::retry::decide::{Case, Then, Verdict, decide};

impl Engine {
    /// An attempt ended; the rules decide what becomes of the task.
    ///
    /// # Errors
    /// [`Stale`]: the attempt is not the task's; tell and forget it.
    pub fn finish(&mut self, finish: Finish, now: Now) -> Result<(), Stale> {
        self.clock = now;
        let Finish { id, token, pid, how } = finish;
        let found = self.running.get_mut(&id).filter(|r| r.token == token);
        let Some(run) = found.filter(|r| r.phase != Phase::Ending) else {
            return self.stale(id, token);
        };
        run.phase = Phase::Ending;
        run.pid = pid.unwrap_or(run.pid);
        let (ix, began, demand) = (run.ix, run.started_at_ms, run.demand.take());
        let said = run.said.take().map(|saying| Box::new(saying.into_said()));
        let case = Case {
            rules: &self.queues[ix.0 as usize].config.retry,
            options: run.row.options.as_deref(),
            attempt: run.row.attempt,
            made: run.row.attempt.saturating_sub(run.row.base),
            crashes: run.row.crashes,
            age: age(&run.row, now),
            cancel: run.cancel || past_deadline(&run.row, now),
            unit: self.random.f64(),
        };
        let unused = matches!(how, How::Released);
        let verdict = decide(how, case);
        self.count(&verdict);
        if let Some(began) = began {
            self.row_mut(ix).pace.ended(now.wall_ms.saturating_sub(began), now.at);
        }
        if self.row(ix).is_memory() {
            if let Some(run) = self.running.remove(&id) {
                self.end_memory(run, verdict, said, now);
            }
        } else {
            self.end_durable(id, pid, verdict, said, now);
        }
        if demand.is_some() {
            self.release(ix, demand, unused);
        }
        self.purge_deadlines();
        Ok(())
    }

    fn count(&mut self, verdict: &Verdict) {
        self.stats.crashed += u64::from(verdict.word.is_crash());
        match verdict.then {
            Then::Completed(_) => self.stats.completed += 1,
            Then::Discarded(why) => {
                self.stats.discarded += 1;
                self.stats.quarantined += u64::from(why == DeadReason::Quarantined);
            }
            Then::Again | Then::After(_) if verdict.word != AttemptWord::Released => {
                self.stats.retried += 1;
            }
            _ => {}
        }
    }

    fn end_durable(
        &mut self,
        id: ganger_core::TaskId,
        pid: Option<u32>,
        verdict: Verdict,
        said: Option<Box<Said>>,
        now: Now,
    ) {
        let again = self.draw().raw();
        let Some(run) = self.running.get(&id) else { return };
        let row = self.row(run.ix);
        let next = match verdict.then {
            Then::Completed(result) => Next::Completed { result },
            Then::Again => Next::Available { seq: again },
            Then::Back => Next::Available { seq: run.row.seq },
            Then::After(wait) => Next::RetryAt { at_ms: after(now, wait) },
            Then::Discarded(why) => Next::Discarded(why),
            Then::Cancelled => Next::Cancelled,
        };
        let outcome = Outcome {
            id,
            queue: Arc::clone(&row.name),
            token: run.token,
            started_at_ms: run.started_at_ms,
            ended_at_ms: now.wall_ms,
            pid,
            word: verdict.word,
            error: verdict.error,
            said,
            next,
        };
        let synced = row.is_synced();
        let control = run.row.options.as_ref().and_then(|options| options.control.as_ref());
        let ends = control.is_some_and(|c| c.ends()) && outcome.state().is_final();
        self.batch.sync |= synced;
        let late = self.late(&outcome);
        self.batch.ops.push(Op::Outcome(Box::new(outcome)));
        if ends {
            self.batch.ops.push(Op::Settle { id });
        }
        self.batch.ops.extend(late);
    }

    /// What ends a task that an outcome lets wait again though its last moment has passed: that moment was looked at while
    /// it ran, and does not come again.
    pub(super) fn late(&self, outcome: &Outcome) -> Option<Op> {
        if outcome.state().is_final() {
            return None;
        }
        let (row, at_ms) = (&self.running.get(&outcome.id)?.row, self.clock.wall_ms);
        let control = row.options.as_ref()?.control.as_ref()?;
        let attempt = row.attempt - u32::from(outcome.word == AttemptWord::Released);
        control.over(attempt, row.base, at_ms)?;
        let moments = [control.deadline_ms, control.expires_ms].into_iter().flatten();
        let due_ms = moments.filter(|at| *at <= at_ms).min()?;
        Some(Op::Expire { id: outcome.id, due_ms, at_ms })
    }

    fn end_memory(&mut self, run: Running, verdict: Verdict, said: Option<Box<Said>>, now: Now) {
        let Verdict { word, error, then } = verdict;
        let ix = run.ix;
        let (mut row, mut history) = (run.row, run.history);
        if word == AttemptWord::Released {
            row.attempt -= 1;
        } else {
            row.crashes += u32::from(word.is_crash());
            row.base += u32::from(word == AttemptWord::Snoozed);
            history.push(AttemptRow {
                n: row.attempt,
                worker: run.worker_name,
                pid: run.pid,
                started_at_ms: run.started_at_ms,
                ended_at_ms: Some(now.wall_ms),
                outcome: Some(word),
                error: error.as_deref().cloned(),
                said,
            });
        }
        let released = word == AttemptWord::Released;
        match then {
            Then::After(wait) => {
                let state = if released { TaskState::Scheduled } else { TaskState::Retryable };
                self.row_mut(ix).moved(Some(TaskState::Running), None);
                let waiting = Waiting { row, history, birth: None };
                self.park(ix, waiting, after(now, wait), state);
            }
            Then::Again | Then::Back => {
                if then == Then::Again {
                    row.seq = self.draw().raw();
                }
                let queue = self.row_mut(ix);
                queue.moved(Some(TaskState::Running), Some(TaskState::Available));
                queue.admit(Waiting { row, history, birth: None }, true);
            }
            Then::Completed(result) => {
                let end = End { result: Some(result), ..End::of(TaskState::Completed) };
                self.bury(ix, row, history, end, TaskState::Running, now);
            }
            Then::Discarded(why) => {
                let end = End { error, reason: Some(why), ..End::of(TaskState::Discarded) };
                self.bury(ix, row, history, end, TaskState::Running, now);
            }
            Then::Cancelled => {
                let end = End { error, ..End::of(TaskState::Cancelled) };
                self.bury(ix, row, history, end, TaskState::Running, now);
            }
        }
    }

    /// The end of a task of a memory queue.
    pub(super) fn bury(
        &mut self,
        ix: QueueIx,
        row: ReadyRow,
        history: Vec<AttemptRow>,
        end: End,
        from: TaskState,
        now: Now,
    ) {
        let End { state, result, error, reason } = end;
        let queue = self.row_mut(ix);
        queue.moved(Some(from), Some(state));
        queue.drop_bytes(row.payload.len() as u64);
        let finished = Finished {
            id: row.id,
            queue: Arc::clone(&queue.name),
            state,
            result: result.clone(),
            error: error.clone(),
            reason,
            attempt: row.attempt,
        };
        let ended_at_ms = now.wall_ms;
        let done = DoneTask { row, history, state, result, error, reason, ended_at_ms };
        let pruned = queue.remember_done(done);
        self.stats.letters_pruned += pruned;
        self.actions.finished.push(finished);
    }
}

/// How a task of a memory queue ended.
pub(super) struct End {
    pub(super) state: TaskState,
    pub(super) result: Option<bytes::Bytes>,
    pub(super) error: Option<Box<AttemptError>>,
    pub(super) reason: Option<DeadReason>,
}

impl End {
    pub(super) const fn of(state: TaskState) -> Self {
        Self { state, result: None, error: None, reason: None }
    }
}

/// No further attempt would be in time.
fn past_deadline(row: &ReadyRow, now: Now) -> bool {
    let control = row.options.as_ref().and_then(|options| options.control.as_ref());
    control.and_then(|control| control.deadline_ms).is_some_and(|at| at <= now.wall_ms)
}

/// Since it was pushed or brought back.
fn age(row: &ReadyRow, now: Now) -> Duration {
    let revived = row.options.as_ref().and_then(|options| options.revived_at_ms);
    let since = revived.unwrap_or_else(|| row.id.drawn_at_ms());
    Duration::from_millis(now.wall_ms.saturating_sub(since))
}

fn after(now: Now, wait: Duration) -> u64 {
    now.wall_ms.saturating_add(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX))
}
