//! How attempts and tasks end. Every statement about an attempt is fenced by its token.

use ganger_core::{TaskId, TaskState};
use rusqlite::{OptionalExtension, params};

use super::apply::Tx;
use super::int;
use crate::batch::{AttemptError, AttemptWord, Cancelled, DeadReason, Next, Outcome, RefusedWhy};

type Refusal = Option<(TaskId, RefusedWhy)>;

impl Tx<'_> {
    /// An attempt's end: refused unless the task runs under this very token.
    pub(super) fn outcome(&mut self, outcome: &Outcome) -> rusqlite::Result<Refusal> {
        let queue = self.queue_no(&outcome.queue)?;
        if let Some(said) = &outcome.said {
            self.said_at_end(outcome, said)?;
        }
        let held = match &outcome.next {
            Next::Completed { result } => self.complete(queue, outcome, result)?,
            Next::RetryAt { at_ms } => self.again(queue, outcome, int(*at_ms), 0)?,
            Next::Available { seq } => self.again(queue, outcome, 0, *seq)?,
            Next::Discarded(why) => self.bury(queue, outcome, Some(*why))?,
            Next::Cancelled => self.bury(queue, outcome, None)?,
        };
        if !held {
            return self.stale(outcome.id);
        }
        self.count(queue, TaskState::Running, -1);
        self.count(queue, outcome.state(), 1);
        Ok(None)
    }

    fn complete(&mut self, queue: i64, outcome: &Outcome, result: &[u8]) -> rusqlite::Result<bool> {
        let id = outcome.id.raw();
        let moved = self.hot.complete.execute(params![
            id,
            outcome.token.epoch,
            int(outcome.token.counter),
            queue,
            outcome.pid,
            outcome.started_at_ms.map(int),
            int(outcome.ended_at_ms),
            result,
        ])?;
        if moved != 1 {
            return Ok(false);
        }
        self.hot.delete.execute([id])?;
        self.done_rows += 1;
        self.entered_history(id, queue, false)?;
        Ok(true)
    }

    /// Back to waiting: `retryable`, `scheduled` or `available`.
    fn again(
        &mut self,
        queue: i64,
        outcome: &Outcome,
        run_at: i64,
        seq: i64,
    ) -> rusqlite::Result<bool> {
        let charged = outcome.word != AttemptWord::Released;
        if charged && !self.record(queue, outcome)? {
            return Ok(false);
        }
        let changed = self
            .conn
            .prepare_cached(
                "UPDATE task SET state = ?5, run_at = ?6, seq = ?7, attempt = attempt - ?8, \
                 crashes = crashes + ?9, base = base + ?10, epoch = 0, counter = 0, pid = 0, claimed_at = 0, \
                 started_at = NULL, worker = NULL \
                 WHERE id = ?1 AND state = 2 AND epoch = ?2 AND counter = ?3 AND queue = ?4",
            )?
            .execute(params![
                outcome.id.raw(),
                outcome.token.epoch,
                int(outcome.token.counter),
                queue,
                outcome.state() as i64,
                run_at,
                seq,
                i64::from(!charged),
                i64::from(outcome.word.is_crash()),
                i64::from(outcome.word == AttemptWord::Snoozed),
            ])?;
        Ok(changed == 1)
    }

    /// `discarded` or `cancelled` from `running`.
    fn bury(
        &mut self,
        queue: i64,
        outcome: &Outcome,
        why: Option<DeadReason>,
    ) -> rusqlite::Result<bool> {
        if !self.record(queue, outcome)? {
            return Ok(false);
        }
        let end = End {
            state: outcome.state(),
            at: int(outcome.ended_at_ms),
            error: error_text(outcome)?,
            crash: i64::from(outcome.word.is_crash()),
            why,
        };
        self.move_to_done(outcome.id, queue, end)?;
        Ok(true)
    }

    /// A row in the history of attempts. False when the fence does not hold.
    fn record(&mut self, queue: i64, outcome: &Outcome) -> rusqlite::Result<bool> {
        let written = self
            .conn
            .prepare_cached(
                "INSERT INTO attempt SELECT id, attempt, worker, coalesce(?5, pid), \
                 coalesce(?6, started_at, claimed_at), ?7, ?8, ?9 \
                 FROM task WHERE id = ?1 AND state = 2 AND epoch = ?2 AND counter = ?3 AND queue = ?4",
            )?
            .execute(params![
                outcome.id.raw(),
                outcome.token.epoch,
                int(outcome.token.counter),
                queue,
                outcome.pid,
                outcome.started_at_ms.map(int),
                int(outcome.ended_at_ms),
                outcome.word.as_str(),
                error_text(outcome)?,
            ])?;
        Ok(written == 1)
    }

    fn move_to_done(&mut self, id: TaskId, queue: i64, end: End) -> rusqlite::Result<()> {
        let dead = end.state == TaskState::Discarded;
        self.conn
            .prepare_cached(
                "INSERT INTO done (id, queue, state, priority, attempt, base, crashes, pid, \
                 started_at, ended_at, worker, kind, options, payload, error, reason) \
                 SELECT id, queue, ?2, priority, attempt, base, crashes + ?5, pid, started_at, ?3, \
                 worker, kind, options, payload, ?4, ?6 FROM task WHERE id = ?1",
            )?
            .execute(params![
                id.raw(),
                end.state as i64,
                end.at,
                end.error,
                end.crash,
                end.why.map(DeadReason::as_str),
            ])?;
        self.hot.delete.execute([id.raw()])?;
        self.done_rows += 1;
        self.entered_history(id.raw(), queue, dead)
    }

    /// A waiting task ends by request.
    pub(super) fn cancel(
        &mut self,
        op: usize,
        id: TaskId,
        at_ms: u64,
    ) -> rusqlite::Result<Result<Cancelled, RefusedWhy>> {
        self.cancel_because(op, id, at_ms, None)
    }

    /// The same for a reason of ganger's own.
    pub(super) fn cancel_because(
        &mut self,
        op: usize,
        id: TaskId,
        at_ms: u64,
        why: Option<&AttemptError>,
    ) -> rusqlite::Result<Result<Cancelled, RefusedWhy>> {
        let found = self
            .conn
            .prepare_cached(
                "SELECT queue, state, (SELECT name FROM queue WHERE no = task.queue), attempt, \
                 coalesce(length(payload), (SELECT length(bytes) FROM body WHERE body.id = task.id), 0) \
                 FROM task WHERE id = ?1 AND state <> 2",
            )?
            .query_row([id.raw()], |r| {
                let (queue, name): (i64, String) = (r.get(0)?, r.get(2)?);
                let from = super::state_of(r.get(1)?)?;
                let error = why.cloned().map(Box::new);
                let (queue_name, attempt) = (name.into(), r.get(3)?);
                let payload_len = r.get::<_, i64>(4)?.unsigned_abs();
                let cancelled =
                    Cancelled { op, id, error, queue: queue_name, from, attempt, payload_len };
                Ok((queue, cancelled))
            })
            .optional()?;
        let Some((queue, cancelled)) = found else {
            return Ok(Err(self.state(id)?.map_or(RefusedWhy::NotFound, RefusedWhy::State)));
        };
        let error = why.map(serde_json::to_string).transpose().map_err(super::unencodable)?;
        let end = End { state: TaskState::Cancelled, at: int(at_ms), error, crash: 0, why: None };
        self.move_to_done(id, queue, end)?;
        self.count(queue, cancelled.from, -1);
        self.count(queue, TaskState::Cancelled, 1);
        Ok(Ok(cancelled))
    }
}

/// How a task leaves the unfinished ones.
struct End {
    state: TaskState,
    at: i64,
    error: Option<String>,
    crash: i64,
    why: Option<DeadReason>,
}

fn error_text(outcome: &Outcome) -> rusqlite::Result<Option<String>> {
    outcome.error.as_ref().map(serde_json::to_string).transpose().map_err(super::unencodable)
}
