//! Dead letters and cancelled tasks that come back.

use std::sync::Arc;

use ganger_core::{Priority, TaskId, TaskState};
use rusqlite::{OptionalExtension, params};

use super::apply::{INLINE_MAX, Tx};
use crate::batch::{RefusedWhy, Revived, TaskOptions};
use crate::rows::ReadyRow;

/// What brings a task back.
pub(super) struct Return<'b> {
    pub(super) id: TaskId,
    /// Its place, drawn now: also the moment from which its age counts.
    pub(super) seq: i64,
    /// Its last attempt must still be this one.
    pub(super) attempt: Option<u32>,
    pub(super) payload: Option<&'b bytes::Bytes>,
}

impl Tx<'_> {
    /// Brings it back with a fresh budget: earlier attempts become its base, its crashes are forgiven.
    pub(super) fn revive(
        &mut self,
        op: usize,
        wanted: &Return<'_>,
    ) -> rusqlite::Result<Result<Revived, RefusedWhy>> {
        let Some((queue, mut revived)) = self.dead(op, wanted)? else {
            return Ok(Err(self.state(wanted.id)?.map_or(RefusedWhy::NotFound, RefusedWhy::State)));
        };
        if wanted.attempt.is_some_and(|seen| seen != revived.row.attempt) {
            return Ok(Err(RefusedWhy::Stale(revived.from)));
        }
        let options = super::apply::options_text(revived.row.options.as_deref())?;
        self.conn
            .prepare_cached(
                "INSERT INTO task (id, queue, state, priority, seq, attempt, base, kind, options, \
                 payload) SELECT id, queue, 1, priority, ?2, attempt, attempt, kind, ?3, payload \
                 FROM done WHERE id = ?1",
            )?
            .execute(params![wanted.id.raw(), wanted.seq, options])?;
        self.leaves_history(wanted.id.raw(), queue)?;
        self.conn.prepare_cached("DELETE FROM done WHERE id = ?1")?.execute([wanted.id.raw()])?;
        if let Some(payload) = wanted.payload {
            self.set_payload(wanted.id, payload)?;
            revived.row.payload = payload.clone();
        }
        self.done_rows -= 1;
        self.count(queue, revived.from, -1);
        self.count(queue, TaskState::Available, 1);
        Ok(Ok(revived))
    }

    /// Another priority for a task that waits.
    pub(super) fn reprioritise(
        &mut self,
        op: usize,
        id: TaskId,
        priority: Priority,
    ) -> rusqlite::Result<Result<Revived, RefusedWhy>> {
        let moved = self
            .conn
            .prepare_cached(
                "UPDATE task SET priority = ?2 WHERE id = ?1 AND state <> 2 RETURNING state, \
                 (SELECT name FROM queue WHERE no = task.queue), seq, kind, \
                 coalesce(payload, (SELECT bytes FROM body WHERE body.id = task.id)), attempt, base, \
                 crashes, options",
            )?
            .query_row(params![id.raw(), priority.0], |r| {
                let row = ReadyRow {
                    id,
                    priority,
                    seq: r.get(2)?,
                    kind: r.get::<_, Option<String>>(3)?.map(Arc::from),
                    payload: r.get::<_, Vec<u8>>(4)?.into(),
                    attempt: r.get(5)?,
                    base: r.get(6)?,
                    crashes: r.get(7)?,
                    options: super::options_of(r.get(8)?)?,
                };
                let name: String = r.get(1)?;
                Ok(Revived { op, queue: name.into(), from: super::state_of(r.get(0)?)?, row })
            })
            .optional()?;
        match moved {
            Some(moved) => Ok(Ok(moved)),
            None => Ok(Err(self.state(id)?.map_or(RefusedWhy::NotFound, RefusedWhy::State))),
        }
    }

    fn dead(&self, op: usize, wanted: &Return<'_>) -> rusqlite::Result<Option<(i64, Revived)>> {
        let (id, seq) = (wanted.id, wanted.seq);
        self.conn
            .prepare_cached(
                "SELECT queue, state, (SELECT name FROM queue WHERE no = done.queue), priority, \
                 kind, coalesce(payload, (SELECT bytes FROM body WHERE body.id = done.id)), \
                 attempt, options FROM done WHERE id = ?1 AND state IN (5, 6)",
            )?
            .query_row([id.raw()], |r| {
                let mut options = super::options_of(r.get(7)?)?.unwrap_or_default();
                let drawn = TaskId::from_raw(seq).map(TaskId::drawn_at_ms);
                // Its key, its last moments and its place in the cache went when it ended.
                *options = TaskOptions { revived_at_ms: drawn, control: None, ..*options };
                let row = ReadyRow {
                    id,
                    priority: Priority(r.get(3)?),
                    seq,
                    kind: r.get::<_, Option<String>>(4)?.map(Arc::from),
                    payload: r.get::<_, Vec<u8>>(5)?.into(),
                    attempt: r.get(6)?,
                    base: r.get(6)?,
                    crashes: 0,
                    options: Some(options),
                };
                let name: String = r.get(2)?;
                let from = super::state_of(r.get(1)?)?;
                Ok((r.get(0)?, Revived { op, queue: name.into(), from, row }))
            })
            .optional()
    }

    fn set_payload(&self, id: TaskId, payload: &[u8]) -> rusqlite::Result<()> {
        let inline = payload.len() <= INLINE_MAX;
        self.conn.prepare_cached("DELETE FROM body WHERE id = ?1")?.execute([id.raw()])?;
        self.conn
            .prepare_cached("UPDATE task SET payload = ?2 WHERE id = ?1")?
            .execute(params![id.raw(), inline.then_some(payload)])?;
        if !inline {
            self.conn
                .prepare_cached("INSERT INTO body VALUES (?1, ?2)")?
                .execute(params![id.raw(), payload])?;
        }
        Ok(())
    }
}
