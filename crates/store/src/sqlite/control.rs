//! Unique keys, last moments, cached results and tasks that wait for an identical one: all inside the commit that pushes,
//! starts or ends the task.
//!
//! ```text
//! push ─┬─ key held ──────────────► existing, rejected, or the holder is cancelled and this one takes its place
//!       ├─ result cached ─────────► completed
//!       ├─ identical one under way ► follows ──┬─ it completed ──► completed, cached
//!       └─ else: waits, runs                   └─ it ended otherwise: the oldest follower runs, the others follow it
//! ```

use bytes::Bytes;
use ganger_core::{TaskId, TaskState};
use rusqlite::{OptionalExtension, params};
use std::collections::HashMap;

use super::apply::Tx;
use super::{int, options_of, state_of};
use crate::batch::{Applied, AttemptError, Enqueue, Push};
use crate::control::{Control, Dedupe, OnConflict, Special, Until, What};

/// What [`Tx::special`] says of a new task.
pub(super) enum Fate {
    /// It is stored as any other.
    Plain,
    /// It is not stored: this one is the answer.
    Instead(TaskId),
    /// It is stored, with its claim dropped, as `scheduled` until this one has ended.
    Follows(TaskId),
    /// It is stored as completed.
    Hit(Bytes),
}

fn control(task: &Enqueue) -> Option<&Control> {
    task.options.as_ref()?.control.as_deref()
}

impl Tx<'_> {
    /// The first task of a push that makes all of it be refused, and who holds its key.
    pub(super) fn rejected(
        &mut self,
        queue: i64,
        push: &Push,
    ) -> rusqlite::Result<Option<(usize, TaskId)>> {
        let mut own: HashMap<&str, TaskId> = HashMap::new();
        for (at, task) in push.tasks.iter().enumerate() {
            let Some(dedupe) = control(task).and_then(|control| control.dedupe.as_ref()) else {
                continue;
            };
            if let Some(first) = own.get(&*dedupe.key) {
                // One of the same request waits, whatever becomes of it.
                if dedupe.on_conflict == OnConflict::Reject {
                    return Ok(Some((at, *first)));
                }
                continue;
            }
            match (self.holder(queue, dedupe, task.id)?, dedupe.on_conflict) {
                // The holder stands for it: it takes no key, and the next of the request meets the holder too.
                (Some(_), OnConflict::Existing) => continue,
                (Some(holder), OnConflict::Reject) => return Ok(Some((at, holder))),
                (Some(holder), OnConflict::Replace) if !self.waits(holder)? => {
                    return Ok(Some((at, holder)));
                }
                (Some(_), OnConflict::Replace) | (None, _) => {}
            }
            own.insert(&dedupe.key, task.id);
        }
        Ok(None)
    }

    fn waits(&self, id: TaskId) -> rusqlite::Result<bool> {
        Ok(self.locate(id)?.is_some_and(|(_, state)| state != TaskState::Running))
    }

    /// Who holds a key at the moment of a push.
    fn holder(&self, queue: i64, dedupe: &Dedupe, new: TaskId) -> rusqlite::Result<Option<TaskId>> {
        let held: Option<(i64, i64)> = self
            .conn
            .prepare_cached("SELECT id, until FROM dedupe WHERE queue = ?1 AND key = ?2")?
            .query_row(params![queue, dedupe.key], |r| Ok((r.get(0)?, r.get(1)?)))
            .optional()?;
        let now = int(new.drawn_at_ms());
        Ok(held
            .filter(|(_, until)| *until <= 1 || *until > now)
            .and_then(|(id, _)| TaskId::from_raw(id)))
    }

    /// What becomes of a new task of a push that is not refused.
    pub(super) fn special(
        &mut self,
        op: usize,
        queue: i64,
        task: &Enqueue,
        applied: &mut Applied,
    ) -> rusqlite::Result<Fate> {
        let Some(control) = control(task) else { return Ok(Fate::Plain) };
        if let Some(dedupe) = &control.dedupe
            && let Some(holder) = self.make_way(op, queue, dedupe, task, applied)?
        {
            return Ok(Fate::Instead(holder));
        }
        let id = task.id.raw();
        for at in [control.deadline_ms, control.expires_ms].into_iter().flatten() {
            self.conn
                .prepare_cached("INSERT OR IGNORE INTO task_limit VALUES (?1, ?2)")?
                .execute([int(at), id])?;
        }
        let fate = match &control.cache {
            Some(cache) => self.look_up(queue, cache, task.id)?,
            None => Fate::Plain,
        };
        if let Some(dedupe) = &control.dedupe {
            self.take_key(queue, dedupe, task, &fate)?;
        }
        Ok(fate)
    }

    /// Sees to it that nobody holds the key, or tells who keeps it.
    fn make_way(
        &mut self,
        op: usize,
        queue: i64,
        dedupe: &Dedupe,
        task: &Enqueue,
        applied: &mut Applied,
    ) -> rusqlite::Result<Option<TaskId>> {
        if let Some(holder) = self.holder(queue, dedupe, task.id)? {
            if dedupe.on_conflict != OnConflict::Replace {
                return Ok(Some(holder));
            }
            let why = AttemptError::of("replaced", format!("task {} took its place", task.id));
            let at_ms = task.id.drawn_at_ms();
            match self.cancel_because(op, holder, at_ms, Some(&why))? {
                Ok(cancelled) => {
                    applied.cancelled.push(cancelled);
                    self.settle(op, holder, applied)?;
                    // Also one held for a time: it goes to who took the place, or to nobody.
                    self.conn
                        .prepare_cached("DELETE FROM dedupe WHERE queue = ?1 AND key = ?2")?
                        .execute(params![queue, dedupe.key])?;
                }
                // It runs: refused before, unless it is of this very request.
                Err(_) => return Ok(Some(holder)),
            }
        }
        Ok(None)
    }

    fn take_key(
        &mut self,
        queue: i64,
        dedupe: &Dedupe,
        task: &Enqueue,
        fate: &Fate,
    ) -> rusqlite::Result<()> {
        let until = match dedupe.until {
            // It starts with this commit. A follower does not: its claim is dropped.
            Until::Start if task.claim.is_some() && matches!(fate, Fate::Plain) => return Ok(()),
            Until::Start => 0,
            Until::Success => 1,
            Until::For(time) => {
                let ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
                int(task.id.drawn_at_ms().saturating_add(ms)).max(2)
            }
        };
        self.conn
            .prepare_cached("INSERT OR REPLACE INTO dedupe VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![queue, dedupe.key, task.id.raw(), until])?;
        Ok(())
    }

    /// Lets go of what a task no longer holds in the state it is in: its key, its followers, its claim on a result.
    /// Asks nothing of the caller, so it can be said twice.
    pub(super) fn settle(
        &mut self,
        op: usize,
        id: TaskId,
        applied: &mut Applied,
    ) -> rusqlite::Result<()> {
        let raw = id.raw();
        match self.locate(id)? {
            Some((_, TaskState::Running)) => {
                self.conn
                    .prepare_cached("DELETE FROM dedupe WHERE id = ?1 AND until = 0")?
                    .execute([raw])?;
                return Ok(());
            }
            Some(_) => return Ok(()),
            None => {}
        }
        self.conn
            .prepare_cached("DELETE FROM dedupe WHERE id = ?1 AND until <= 1")?
            .execute([raw])?;
        let found = self
            .conn
            .prepare_cached(
                "SELECT queue, state, options, ended_at, result FROM done WHERE id = ?1",
            )?
            .query_row([raw], |r| {
                let result: Option<Vec<u8>> = r.get(4)?;
                let (queue, ended): (i64, i64) = (r.get(0)?, r.get(3)?);
                Ok((queue, state_of(r.get(1)?)?, options_of(r.get(2)?)?, ended, result))
            })
            .optional()?;
        let Some((queue, state, Some(options), ended_at, result)) = found else { return Ok(()) };
        let Some(control) = options.control else { return Ok(()) };
        let result = result.filter(|_| state == TaskState::Completed);
        if result.is_some() {
            self.limit_result(raw, &control, ended_at)?;
        }
        match &control.cache {
            // A result of another task's serves as long as it would have without this one.
            Some(cache) if !control.cached => {
                self.land(op, queue, cache, id, ended_at, result.as_deref(), applied)
            }
            _ => Ok(()),
        }
    }

    pub(super) fn limit_result(
        &self,
        id: i64,
        control: &Control,
        ended_at: i64,
    ) -> rusqlite::Result<()> {
        let Some(ttl) = control.result_ttl else { return Ok(()) };
        let ttl = i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX);
        self.conn
            .prepare_cached("INSERT OR REPLACE INTO result_limit VALUES (?1, ?2)")?
            .execute([id, ended_at.saturating_add(ttl)])?;
        Ok(())
    }

    /// A task whose last moment has come is cancelled, unless it runs: then its owner ends it.
    pub(super) fn expire(
        &mut self,
        op: usize,
        id: TaskId,
        due_ms: u64,
        at_ms: u64,
        applied: &mut Applied,
    ) -> rusqlite::Result<()> {
        self.conn
            .prepare_cached("DELETE FROM task_limit WHERE at = ?1 AND id = ?2")?
            .execute([int(due_ms), id.raw()])?;
        let found = self
            .conn
            .prepare_cached("SELECT attempt, base, options FROM task WHERE id = ?1 AND state <> 2")?
            .query_row([id.raw()], |r| {
                Ok((r.get::<_, u32>(0)?, r.get::<_, u32>(1)?, options_of(r.get(2)?)?))
            })
            .optional()?;
        let Some((attempt, base, Some(options))) = found else { return Ok(()) };
        let Some(why) = options.control.and_then(|control| control.over(attempt, base, at_ms))
        else {
            return Ok(());
        };
        if let Ok(cancelled) = self.cancel_because(op, id, at_ms, Some(&why))? {
            applied.cancelled.push(cancelled);
            self.settle(op, id, applied)?;
        }
        Ok(())
    }
}

impl Special {
    pub(super) const fn new(op: usize, task: usize, what: What) -> Self {
        Self { op, task, what }
    }
}
