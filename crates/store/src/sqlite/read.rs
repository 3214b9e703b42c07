//! The read side: point lookups and the reads of the ready window. Lists are in `list`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ganger_core::{Event, Priority, TaskId, TaskState, Token};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::apply::ids_from_blob;
use super::fault::classify;
use super::{damaged, int, open, options_of, state_of};
use crate::control::{CacheStats, Limits};
use crate::dead::{DeadPage, DeadQuery};
use crate::error::StoreError;
use crate::rows::{
    Counts, Due, DueRow, Gate, Page, QueueRow, ReadyRow, RunningRow, StoreSize, TaskQuery, TaskRow,
};
use crate::schedule::{FireRow, ScheduleRow};
use crate::store::{PAGE_MAX, StoreRead};

/// Columns of a [`ReadyRow`], from `task`.
const READY: &str = "id, priority, seq, kind, \
    coalesce(payload, (SELECT bytes FROM body WHERE body.id = task.id)), \
    attempt, base, crashes, options, queue";

/// The read side: a connection that can only query.
#[derive(Debug)]
pub struct SqliteReader {
    pub(super) conn: Connection,
    names: HashMap<i64, Arc<str>>,
    path: PathBuf,
}

impl SqliteReader {
    /// Opens a read connection on a database that exists.
    ///
    /// # Errors
    /// When it can't be opened.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Ok(Self { conn: open::open_reader(path)?, names: HashMap::new(), path: path.to_owned() })
    }

    /// A queue's name by its number.
    pub(super) fn name(&mut self, no: i64) -> rusqlite::Result<Arc<str>> {
        if let Some(name) = self.names.get(&no) {
            return Ok(Arc::clone(name));
        }
        let name: String = self
            .conn
            .prepare_cached("SELECT name FROM queue WHERE no = ?1")?
            .query_row([no], |r| r.get(0))?;
        let name: Arc<str> = name.into();
        self.names.insert(no, Arc::clone(&name));
        Ok(name)
    }

    pub(super) fn queue_no(&self, name: &str) -> rusqlite::Result<Option<i64>> {
        self.conn
            .prepare_cached("SELECT no FROM queue WHERE name = ?1")?
            .query_row([name], |r| r.get(0))
            .optional()
    }

    fn queue_rows(&self, only: Option<&str>) -> rusqlite::Result<Vec<QueueRow>> {
        let mut queues = self.conn.prepare_cached(
            "SELECT no, name, paused, draining, gated_at, gated_by_config FROM queue \
             WHERE ?1 IS NULL OR name = ?1 ORDER BY name",
        )?;
        let rows = queues.query_map([only], |r| {
            let since_ms = r.get::<_, Option<i64>>(4)?.map(|ms| ms.max(0).unsigned_abs());
            let gate =
                Gate { paused: r.get(2)?, draining: r.get(3)?, since_ms, by_config: r.get(5)? };
            Ok((r.get::<_, i64>(0)?, r.get::<_, String>(1)?, gate))
        })?;
        let mut counters =
            self.conn.prepare_cached("SELECT state, n FROM counter WHERE queue = ?1")?;
        rows.map(|row| {
            let (no, name, gate) = row?;
            let mut counts = Counts::default();
            for counter in counters.query_map([no], |r| Ok((state_of(r.get(0)?)?, r.get(1)?)))? {
                let (state, n): (TaskState, i64) = counter?;
                counts.set(state, n.max(0).unsigned_abs());
            }
            Ok(QueueRow { name: name.into(), gate, counts })
        })
        .collect()
    }

    /// The first available task after a priority, walking the lanes upwards.
    fn next_lane(&self, queue: i64, after: i64) -> rusqlite::Result<Option<(u8, i64)>> {
        self.conn
            .prepare_cached(
                "SELECT priority, seq FROM task WHERE state = 1 AND queue = ?1 AND priority > ?2 \
                 ORDER BY priority, seq LIMIT 1",
            )?
            .query_row([queue, after], |r| Ok((r.get(0)?, r.get(1)?)))
            .optional()
    }

    fn heads(&self, queue: &str) -> rusqlite::Result<Vec<(u8, i64)>> {
        let Some(queue) = self.queue_no(queue)? else { return Ok(Vec::new()) };
        let mut heads = Vec::new();
        let mut after = -1;
        while let Some((priority, seq)) = self.next_lane(queue, after)? {
            heads.push((priority, seq));
            after = i64::from(priority);
        }
        Ok(heads)
    }

    fn refill_now(
        &self,
        queue: &str,
        priority: Priority,
        after_seq: i64,
        limit: usize,
        max_bytes: usize,
    ) -> rusqlite::Result<(Vec<ReadyRow>, bool)> {
        let Some(queue) = self.queue_no(queue)? else { return Ok((Vec::new(), false)) };
        let mut ready = self.conn.prepare_cached(&format!(
            "SELECT {READY} FROM task WHERE state = 1 AND queue = ?1 AND priority = ?2 \
             AND seq > ?3 ORDER BY seq LIMIT ?4"
        ))?;
        let mut found = ready.query(params![queue, priority.0, after_seq, limit as i64])?;
        let mut rows = Vec::new();
        let mut bytes = 0;
        while let Some(row) = found.next()? {
            let row = ready_row(row)?;
            bytes += row.payload.len();
            rows.push(row);
            if bytes >= max_bytes {
                return Ok((rows, true));
            }
        }
        let cut = rows.len() >= limit;
        Ok((rows, cut))
    }

    fn due_now(&mut self, now_ms: u64, limit: usize) -> rusqlite::Result<Due> {
        // One more than asked for tells when the next one comes. Both reads see the same snapshot.
        let snapshot = self.conn.unchecked_transaction()?;
        let found: Vec<(i64, TaskState, ReadyRow, u64)> = snapshot
            .prepare_cached(&format!(
                "SELECT {READY}, run_at, state FROM task WHERE state IN (0, 3) AND run_at <= ?1 \
                 ORDER BY run_at, id LIMIT ?2"
            ))?
            .query_map(params![int(now_ms), limit as i64 + 1], |r| {
                let from = state_of(r.get(11)?)?;
                Ok((r.get(9)?, from, ready_row(r)?, r.get::<_, i64>(10)?.unsigned_abs()))
            })?
            .collect::<rusqlite::Result<_>>()?;
        let later: Option<i64> = snapshot
            .prepare_cached("SELECT min(run_at) FROM task WHERE state IN (0, 3) AND run_at > ?1")?
            .query_row([int(now_ms)], |r| r.get(0))?;
        drop(snapshot);
        let next_ms = found.get(limit).map(|(_, _, _, at)| *at).or(later.map(i64::unsigned_abs));
        let mut rows = Vec::with_capacity(found.len().min(limit));
        for (queue, from, row, _) in found.into_iter().take(limit) {
            rows.push(DueRow { queue: self.name(queue)?, from, row: ReadyRow { seq: 0, ..row } });
        }
        Ok(Due { rows, next_ms })
    }

    fn running_now(&mut self) -> rusqlite::Result<Vec<RunningRow>> {
        let found: Vec<(i64, RunningRow)> = self
            .conn
            .prepare_cached(&format!(
                "SELECT {READY}, epoch, counter, worker, pid, claimed_at, started_at, \
                 (SELECT said FROM said WHERE said.id = task.id AND n = task.attempt) \
                 FROM task INDEXED BY task_running WHERE state = 2 ORDER BY id"
            ))?
            .query_map([], |r| {
                let running = RunningRow {
                    queue: Arc::from(""),
                    row: ready_row(r)?,
                    token: Token {
                        epoch: r.get(10)?,
                        counter: r.get::<_, i64>(11)?.unsigned_abs(),
                    },
                    worker: r.get::<_, Option<String>>(12)?.unwrap_or_default().into(),
                    pid: r.get(13)?,
                    claimed_at_ms: r.get::<_, i64>(14)?.unsigned_abs(),
                    started_at_ms: r.get::<_, Option<i64>>(15)?.map(i64::unsigned_abs),
                    said: super::said::from_json(r.get(16)?)?,
                };
                Ok((r.get(9)?, running))
            })?
            .collect::<rusqlite::Result<_>>()?;
        found
            .into_iter()
            .map(|(queue, mut running)| {
                running.queue = self.name(queue)?;
                Ok(running)
            })
            .collect()
    }

    fn limits_now(&self, now_ms: u64, limit: usize) -> rusqlite::Result<Limits> {
        let mut due: Vec<(TaskId, u64)> = self
            .conn
            .prepare_cached("SELECT id, at FROM task_limit ORDER BY at, id LIMIT ?1")?
            .query_map([limit as i64 + 1], |r| {
                Ok((task_id(r.get(0)?)?, r.get::<_, i64>(1)?.unsigned_abs()))
            })?
            .collect::<rusqlite::Result<_>>()?;
        let now = due.partition_point(|(_, at)| *at <= now_ms).min(limit);
        let next_ms = due.get(now).map(|(_, at)| *at);
        due.truncate(now);
        Ok(Limits { due, next_ms })
    }

    fn cache_stats_now(&self, queue: &str) -> rusqlite::Result<CacheStats> {
        let number = |r: &Row<'_>, at| r.get::<_, i64>(at).map(|n| n.max(0).unsigned_abs());
        let found = self
            .conn
            .prepare_cached(
                "SELECT entries, bytes, hits, misses, evicted FROM cache_total \
                 WHERE queue = (SELECT no FROM queue WHERE name = ?1)",
            )?
            .query_row([queue], |r| {
                Ok(CacheStats {
                    entries: number(r, 0)?,
                    bytes: number(r, 1)?,
                    hits: number(r, 2)?,
                    misses: number(r, 3)?,
                    evicted: number(r, 4)?,
                })
            })
            .optional()?;
        Ok(found.unwrap_or_default())
    }

    fn events_of(&self, sql: &str, args: [i64; 2]) -> rusqlite::Result<Vec<Event>> {
        self.conn
            .prepare_cached(sql)?
            .query_map(args, |r| r.get::<_, String>(0))?
            .map(|text| {
                serde_json::from_str(&text?).map_err(|e| damaged(format!("a stored event: {e}")))
            })
            .collect()
    }
}

fn ready_row(r: &Row<'_>) -> rusqlite::Result<ReadyRow> {
    Ok(ReadyRow {
        id: task_id(r.get(0)?)?,
        priority: Priority(r.get(1)?),
        seq: r.get(2)?,
        kind: r.get_ref(3)?.as_str_or_null().map_err(|e| damaged(e.to_string()))?.map(Arc::from),
        payload: r.get::<_, Vec<u8>>(4)?.into(),
        attempt: r.get(5)?,
        base: r.get(6)?,
        crashes: r.get(7)?,
        options: options_of(r.get(8)?)?,
    })
}

/// Sizes of the database's files.
pub(super) fn size_of(conn: &Connection, path: &Path) -> rusqlite::Result<StoreSize> {
    let number = |sql: &str| conn.query_row(sql, [], |r| r.get::<_, i64>(0)).map(i64::unsigned_abs);
    let page = number("PRAGMA page_size")?;
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    Ok(StoreSize {
        bytes: number("PRAGMA page_count")? * page,
        free_bytes: number("PRAGMA freelist_count")? * page,
        // No log is an empty one.
        log_bytes: std::fs::metadata(log).map_or(0, |m| m.len()),
    })
}

pub(super) fn task_id(raw: i64) -> rusqlite::Result<TaskId> {
    TaskId::from_raw(raw).ok_or_else(|| damaged(format!("{raw} is no task id")))
}

/// Runs a read and names it in its error.
macro_rules! reading {
    ($step:literal, $read:expr) => {
        $read.map_err(|e| classify($step, &e))
    };
}

impl StoreRead for SqliteReader {
    fn task(&mut self, id: TaskId) -> Result<Option<TaskRow>, StoreError> {
        reading!("reading a task", self.task_now(id))
    }

    fn list(&mut self, query: &TaskQuery) -> Result<Page, StoreError> {
        reading!("listing tasks", self.list_now(query))
    }

    fn dead(&mut self, query: &DeadQuery) -> Result<DeadPage, StoreError> {
        reading!("listing dead letters", self.dead_now(query))
    }

    fn queues(&mut self) -> Result<Vec<QueueRow>, StoreError> {
        reading!("reading queues", self.queue_rows(None))
    }

    fn queue(&mut self, name: &str) -> Result<Option<QueueRow>, StoreError> {
        reading!("reading a queue", self.queue_rows(Some(name)).map(|mut rows| rows.pop()))
    }

    fn oldest_available_ms(&mut self, queue: &str) -> Result<Option<u64>, StoreError> {
        let heads = reading!("reading lanes", self.heads(queue))?;
        let oldest = heads.into_iter().map(|(_, seq)| seq).min();
        Ok(oldest.and_then(TaskId::from_raw).map(TaskId::drawn_at_ms))
    }

    fn buckets(&mut self, queue: &str) -> Result<Vec<(Arc<str>, u64)>, StoreError> {
        reading!("reading token buckets", self.bucket_rows(queue))
    }

    fn lanes(&mut self, queue: &str) -> Result<Vec<Priority>, StoreError> {
        let heads = reading!("reading lanes", self.heads(queue))?;
        Ok(heads.into_iter().rev().map(|(priority, _)| Priority(priority)).collect())
    }

    fn refill(
        &mut self,
        queue: &str,
        priority: Priority,
        after_seq: i64,
        limit: usize,
        max_bytes: usize,
    ) -> Result<(Vec<ReadyRow>, bool), StoreError> {
        reading!("refilling", self.refill_now(queue, priority, after_seq, limit, max_bytes))
    }

    fn due(&mut self, now_ms: u64, limit: usize) -> Result<Due, StoreError> {
        reading!("reading due tasks", self.due_now(now_ms, limit))
    }

    fn limits(&mut self, now_ms: u64, limit: usize) -> Result<Limits, StoreError> {
        reading!("looking for last moments", self.limits_now(now_ms, limit))
    }

    fn leader(&mut self, id: TaskId) -> Result<Option<TaskId>, StoreError> {
        reading!("reading whom a task waits for", super::cache::leader_of(&self.conn, id))
    }

    fn cache_stats(&mut self, queue: &str) -> Result<CacheStats, StoreError> {
        reading!("reading a cache's figures", self.cache_stats_now(queue))
    }

    fn open_bytes(&mut self, queue: &str) -> Result<u64, StoreError> {
        let sql = "SELECT coalesce(sum(coalesce(length(payload), \
             (SELECT length(bytes) FROM body WHERE body.id = task.id))), 0) \
             FROM task WHERE queue = (SELECT no FROM queue WHERE name = ?1)";
        let sum =
            self.conn.prepare_cached(sql).and_then(|mut s| s.query_row([queue], |r| r.get(0)));
        reading!("adding up payloads", sum).map(i64::unsigned_abs)
    }

    fn running(&mut self) -> Result<Vec<RunningRow>, StoreError> {
        reading!("reading claims", self.running_now())
    }

    fn events(&mut self, after_seq: u64, limit: usize) -> Result<Vec<Event>, StoreError> {
        let sql = "SELECT event FROM event WHERE seq > ?1 ORDER BY seq LIMIT ?2";
        let limit = limit.min(PAGE_MAX) as i64;
        reading!("reading events", self.events_of(sql, [int(after_seq), limit]))
    }

    fn last_events(&mut self, n: usize) -> Result<Vec<Event>, StoreError> {
        let sql = "SELECT event FROM event WHERE seq > ?1 ORDER BY seq DESC LIMIT ?2";
        let mut events =
            reading!("reading events", self.events_of(sql, [-1, n.min(PAGE_MAX) as i64]))?;
        events.reverse();
        Ok(events)
    }

    fn desired(&mut self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let read = || {
            self.conn
                .prepare_cached("SELECT value FROM desired WHERE key = ?1")?
                .query_row([key], |r| r.get(0))
                .optional()
        };
        reading!("reading desired state", read())
    }

    fn desired_all(&mut self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        let read = || {
            self.conn
                .prepare_cached(
                    "SELECT key, value FROM desired WHERE substr(key, 1, length(?1)) = ?1 \
                     ORDER BY key",
                )?
                .query_map([prefix], |r| Ok((r.get(0)?, r.get(1)?)))?
                .collect::<rusqlite::Result<Vec<_>>>()
        };
        reading!("reading desired state", read())
    }

    fn pushed_under(&mut self, queue: &str, key: &str) -> Result<Option<Vec<TaskId>>, StoreError> {
        let read = || {
            let Some(queue) = self.queue_no(queue)? else { return Ok(None) };
            let ids: Option<Vec<u8>> = self
                .conn
                .prepare_cached("SELECT ids FROM pushed WHERE queue = ?1 AND key = ?2")?
                .query_row(params![queue, key], |r| r.get(0))
                .optional()?;
            Ok(ids.map(|ids| ids_from_blob(&ids)))
        };
        reading!("reading an idempotency key", read())
    }

    fn size(&mut self) -> Result<StoreSize, StoreError> {
        reading!("reading the size", size_of(&self.conn, &self.path))
    }

    fn schedules(&mut self) -> Result<Vec<ScheduleRow>, StoreError> {
        reading!("reading schedules", self.schedules_now())
    }

    fn fires(&mut self, schedule: &str, limit: usize) -> Result<Vec<FireRow>, StoreError> {
        reading!("reading fires", self.fires_now(schedule, limit.min(PAGE_MAX)))
    }

    fn id_floor(&mut self) -> Result<Option<TaskId>, StoreError> {
        let read = || {
            self.conn
                .prepare_cached("SELECT value FROM meta WHERE name = 'id_floor'")?
                .query_row([], |r| r.get::<_, i64>(0))
        };
        Ok(TaskId::from_raw(reading!("reading the highest id", read())?))
    }
}
