//! Cached results and single flight: identical tasks run once.

use std::sync::Arc;

use bytes::Bytes;
use ganger_core::{TaskId, TaskState};
use rusqlite::{Connection, OptionalExtension, params};

use super::apply::Tx;
use super::control::Fate;
use super::{int, options_of};
use crate::batch::{Applied, Enqueue};
use crate::control::{Caching, FOLLOWERS_MAX, Followed};

/// Entries that one new result may push out; what is over the bound then goes with the next ones.
const EVICT_MAX: i64 = 64;

/// Whom a follower waits for.
pub(super) fn leader_of(conn: &Connection, id: TaskId) -> rusqlite::Result<Option<TaskId>> {
    let leader: Option<i64> = conn
        .prepare_cached("SELECT leader FROM follower WHERE id = ?1")?
        .query_row([id.raw()], |r| r.get(0))
        .optional()?;
    Ok(leader.and_then(TaskId::from_raw))
}

impl Tx<'_> {
    /// What the cache, or an identical task under way, has for a new task.
    pub(super) fn look_up(
        &mut self,
        queue: i64,
        cache: &Caching,
        id: TaskId,
    ) -> rusqlite::Result<Fate> {
        let now = int(id.drawn_at_ms());
        let found: Option<Vec<u8>> = self
            .conn
            .prepare_cached(
                "UPDATE cache SET used = ?3 WHERE queue = ?1 AND key = ?2 AND expires > ?4 \
                 RETURNING result",
            )?
            .query_row(params![queue, cache.key, id.raw(), now], |r| r.get(0))
            .optional()?;
        if let Some(result) = found {
            self.note(queue, "hits", 1)?;
            return Ok(Fate::Hit(result.into()));
        }
        let leader: Option<i64> = self
            .conn
            .prepare_cached(
                "UPDATE flight SET n = n + 1 WHERE queue = ?1 AND key = ?2 AND n < ?3 \
                 RETURNING leader",
            )?
            .query_row(params![queue, cache.key, FOLLOWERS_MAX], |r| r.get(0))
            .optional()?;
        if let Some(leader) = leader.and_then(TaskId::from_raw) {
            self.note(queue, "hits", 1)?;
            self.conn
                .prepare_cached("INSERT INTO follower VALUES (?1, ?2)")?
                .execute([leader.raw(), id.raw()])?;
            return Ok(Fate::Follows(leader));
        }
        self.note(queue, "misses", 1)?;
        self.conn
            .prepare_cached("INSERT OR IGNORE INTO flight VALUES (?1, ?2, ?3, 0)")?
            .execute(params![queue, cache.key, id.raw()])?;
        Ok(Fate::Plain)
    }

    fn note(&self, queue: i64, what: &str, by: i64) -> rusqlite::Result<()> {
        self.conn
            .prepare_cached(&format!(
                "INSERT INTO cache_total (queue, {what}) VALUES (?1, ?2) \
                 ON CONFLICT (queue) DO UPDATE SET {what} = {what} + excluded.{what}"
            ))?
            .execute([queue, by])?;
        Ok(())
    }

    /// The end of a task with an input that others may share.
    #[expect(clippy::too_many_arguments, reason = "the columns of one row that was just read")]
    pub(super) fn land(
        &mut self,
        op: usize,
        queue: i64,
        cache: &Caching,
        id: TaskId,
        ended_at: i64,
        result: Option<&[u8]>,
        applied: &mut Applied,
    ) -> rusqlite::Result<()> {
        if let Some(result) = result {
            self.remember(queue, cache, id, ended_at, result)?;
        }
        if let Some(leader) = leader_of(self.conn, id)? {
            // A follower that was cancelled.
            self.conn.prepare_cached("DELETE FROM follower WHERE id = ?1")?.execute([id.raw()])?;
            self.conn
                .prepare_cached("UPDATE flight SET n = n - 1 WHERE queue = ?1 AND leader = ?2")?
                .execute([queue, leader.raw()])?;
            return Ok(());
        }
        let leads: bool = self
            .conn
            .prepare_cached("SELECT 1 FROM flight WHERE queue = ?1 AND key = ?2 AND leader = ?3")?
            .exists(params![queue, cache.key, id.raw()])?;
        if !leads {
            return Ok(());
        }
        let followers: Vec<i64> = self
            .conn
            .prepare_cached("SELECT id FROM follower WHERE leader = ?1 ORDER BY id")?
            .query_map([id.raw()], |r| r.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        let name = self.queue_name(queue)?;
        match (result, followers.split_first()) {
            (Some(result), _) => {
                for follower in &followers {
                    self.follow(op, queue, &name, *follower, ended_at, result, applied)?;
                }
                self.conn
                    .prepare_cached("DELETE FROM follower WHERE leader = ?1")?
                    .execute([id.raw()])?;
                self.end_flight(queue, cache)
            }
            (None, None) => self.end_flight(queue, cache),
            (None, Some((heir, rest))) => {
                self.conn
                    .prepare_cached("DELETE FROM follower WHERE leader = ?1 AND id = ?2")?
                    .execute([id.raw(), *heir])?;
                self.conn
                    .prepare_cached("UPDATE follower SET leader = ?2 WHERE leader = ?1")?
                    .execute([id.raw(), *heir])?;
                self.conn
                    .prepare_cached(
                        "UPDATE flight SET leader = ?3, n = ?4 WHERE queue = ?1 AND key = ?2",
                    )?
                    .execute(params![queue, cache.key, heir, rest.len() as i64])?;
                self.conn
                    .prepare_cached("UPDATE task SET run_at = 1 WHERE id = ?1 AND state = 0")?
                    .execute([*heir])?;
                if let Some(id) = TaskId::from_raw(*heir) {
                    applied.followed.push(Followed {
                        op,
                        id,
                        queue: name,
                        payload_len: 0,
                        result: None,
                    });
                }
                Ok(())
            }
        }
    }

    fn end_flight(&self, queue: i64, cache: &Caching) -> rusqlite::Result<()> {
        self.conn
            .prepare_cached("DELETE FROM flight WHERE queue = ?1 AND key = ?2")?
            .execute(params![queue, cache.key])?;
        Ok(())
    }

    /// A follower is completed with its leader's result.
    #[expect(clippy::too_many_arguments, reason = "what all followers share")]
    fn follow(
        &mut self,
        op: usize,
        queue: i64,
        name: &Arc<str>,
        follower: i64,
        ended_at: i64,
        result: &[u8],
        applied: &mut Applied,
    ) -> rusqlite::Result<()> {
        let Some(id) = TaskId::from_raw(follower) else { return Ok(()) };
        let found: Option<(Option<String>, i64)> = self
            .conn
            .prepare_cached(
                "SELECT options, coalesce(length(payload), (SELECT length(bytes) FROM body \
                 WHERE body.id = task.id), 0) FROM task WHERE id = ?1 AND state = 0",
            )?
            .query_row([follower], |r| Ok((r.get(0)?, r.get(1)?)))
            .optional()?;
        let Some((options, payload_len)) = found else { return Ok(()) };
        let payload_len = payload_len.unsigned_abs();
        let Some(mut options) = options_of(options)? else { return Ok(()) };
        let control = options.control.get_or_insert_default();
        control.cached = true;
        self.limit_result(follower, control, ended_at)?;
        let text = super::apply::options_text(Some(&options))?;
        self.conn
            .prepare_cached(
                "INSERT INTO done (id, queue, state, priority, attempt, base, crashes, pid, \
                 ended_at, kind, options, payload, result) SELECT id, queue, 4, priority, 0, 0, 0, 0, \
                 ?2, kind, ?3, payload, ?4 FROM task WHERE id = ?1",
            )?
            .execute(params![follower, ended_at, text, result])?;
        self.hot.delete.execute([follower])?;
        self.done_rows += 1;
        self.entered_history(follower, queue, false)?;
        self.count(queue, TaskState::Scheduled, -1);
        self.count(queue, TaskState::Completed, 1);
        self.conn
            .prepare_cached("DELETE FROM dedupe WHERE id = ?1 AND until <= 1")?
            .execute([follower])?;
        let result = Some(Bytes::copy_from_slice(result));
        applied.followed.push(Followed { op, id, queue: Arc::clone(name), payload_len, result });
        Ok(())
    }

    /// A task that is answered from the cache is stored as completed.
    pub(super) fn store_hit(
        &mut self,
        queue: i64,
        task: &Enqueue,
        result: &[u8],
    ) -> rusqlite::Result<()> {
        let mut options = task.options.clone().unwrap_or_default();
        let control = options.control.get_or_insert_default();
        control.cached = true;
        let ended_at = int(task.id.drawn_at_ms());
        self.limit_result(task.id.raw(), control, ended_at)?;
        let text = super::apply::options_text(Some(&options))?;
        let payload = self.payload(task)?;
        self.conn
            .prepare_cached(
                "INSERT INTO done (id, queue, state, priority, attempt, base, crashes, pid, \
                 ended_at, kind, options, payload, result) \
                 VALUES (?1, ?2, 4, ?3, 0, 0, 0, 0, ?4, ?5, ?6, ?7, ?8)",
            )?
            .execute(params![
                task.id.raw(),
                queue,
                task.priority.0,
                ended_at,
                task.kind.as_deref(),
                text,
                payload,
                result,
            ])?;
        self.done_rows += 1;
        self.entered_history(task.id.raw(), queue, false)?;
        self.count(queue, TaskState::Completed, 1);
        self.conn
            .prepare_cached("DELETE FROM dedupe WHERE id = ?1 AND until <= 1")?
            .execute([task.id.raw()])?;
        Ok(())
    }

    /// Keeps a result, and drops those used longest ago while the cache is over its bounds.
    fn remember(
        &mut self,
        queue: i64,
        cache: &Caching,
        id: TaskId,
        at: i64,
        result: &[u8],
    ) -> rusqlite::Result<()> {
        let bytes = result.len() as i64;
        if bytes > int(cache.max_bytes) || cache.max_entries == 0 {
            return Ok(());
        }
        let ttl = i64::try_from(cache.ttl.as_millis()).unwrap_or(i64::MAX);
        let old: Option<i64> = self
            .conn
            .prepare_cached(
                "DELETE FROM cache WHERE queue = ?1 AND key = ?2 RETURNING length(result)",
            )?
            .query_row(params![queue, cache.key], |r| r.get(0))
            .optional()?;
        self.conn
            .prepare_cached(
                "INSERT INTO cache (queue, key, expires, used, result) VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute(params![queue, cache.key, at.saturating_add(ttl), id.raw(), result])?;
        self.note(queue, "entries", i64::from(old.is_none()))?;
        self.note(queue, "bytes", bytes - old.unwrap_or(0))?;
        self.evict(queue, cache)
    }

    fn evict(&mut self, queue: i64, cache: &Caching) -> rusqlite::Result<()> {
        for _ in 0..EVICT_MAX {
            let over: bool = self
                .conn
                .prepare_cached(
                    "SELECT 1 FROM cache_total WHERE queue = ?1 AND (entries > ?2 OR bytes > ?3)",
                )?
                .exists([queue, int(cache.max_entries), int(cache.max_bytes)])?;
            if !over {
                return Ok(());
            }
            let gone: Option<i64> = self
                .conn
                .prepare_cached(
                    "DELETE FROM cache WHERE rowid = (SELECT rowid FROM cache WHERE queue = ?1 \
                     ORDER BY used LIMIT 1) RETURNING length(result)",
                )?
                .query_row([queue], |r| r.get(0))
                .optional()?;
            let Some(bytes) = gone else { return Ok(()) };
            self.note(queue, "entries", -1)?;
            self.note(queue, "bytes", -bytes)?;
            self.note(queue, "evicted", 1)?;
        }
        Ok(())
    }

    fn queue_name(&self, queue: i64) -> rusqlite::Result<Arc<str>> {
        let name: String = self
            .conn
            .prepare_cached("SELECT name FROM queue WHERE no = ?1")?
            .query_row([queue], |r| r.get(0))?;
        Ok(name.into())
    }
}
