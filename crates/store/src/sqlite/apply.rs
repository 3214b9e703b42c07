//! Applying batches inside one transaction: pushes, claims and the rarer operations. Outcomes are in `outcome`.

use std::collections::HashMap;
use std::sync::Arc;

use ganger_core::{TaskId, TaskState};
use rusqlite::{Connection, OptionalExtension, params};

use super::control::Fate;
use super::fault::now_ms;
use super::history::{Asked, Change};
use super::hot::{Hot, Names};
use super::int;
use super::revive::Return;
use crate::batch::{Applied, Batch, Claim, Duplicate, Enqueue, Op, Push, Refused, RefusedWhy};
use crate::control::{Special, What};

/// Longest payload that stays in the task's row: short enough that rewriting the row at a claim stays cheap.
pub(super) const INLINE_MAX: usize = 1024;

/// One transaction under way.
pub(super) struct Tx<'c> {
    pub(super) conn: &'c Connection,
    pub(super) hot: Hot<'c>,
    names: &'c mut Names,
    /// Change of each counter, by queue number.
    delta: HashMap<i64, [i64; 7]>,
    pub(super) done_rows: i64,
    next_event: u64,
    id_floor: i64,
    /// Change of histories that have bounds of their own.
    pub(super) kept: Change,
}

impl<'c> Tx<'c> {
    pub(super) fn new(
        conn: &'c Connection,
        names: &'c mut Names,
        next_event: u64,
    ) -> rusqlite::Result<Self> {
        let hot = Hot::new(conn)?;
        names.asked.load(conn)?;
        let (delta, kept) = (HashMap::new(), Change::new());
        Ok(Self { conn, hot, names, delta, done_rows: 0, next_event, id_floor: -1, kept })
    }

    pub(super) fn asked(&self) -> &Asked {
        &self.names.asked
    }

    pub(super) fn asked_mut(&mut self) -> &mut Asked {
        &mut self.names.asked
    }

    /// Applies one batch.
    pub(super) fn batch(&mut self, batch: &Batch) -> rusqlite::Result<Applied> {
        let mut applied = Applied::default();
        if let Some(floor) = batch.id_floor {
            self.id_floor = self.id_floor.max(floor.raw());
        }
        for (at, op) in batch.ops.iter().enumerate() {
            self.op(at, op, &mut applied)?;
        }
        Ok(applied)
    }

    /// Writes what was gathered over all batches. Returns the number of the next event and the change in finished tasks.
    pub(super) fn finish(self) -> rusqlite::Result<(u64, i64)> {
        let mut add = self.conn.prepare_cached(
            "INSERT INTO counter VALUES (?1, ?2, ?3) \
             ON CONFLICT (queue, state) DO UPDATE SET n = n + excluded.n",
        )?;
        for (queue, states) in &self.delta {
            for (state, n) in states.iter().enumerate().filter(|(_, n)| **n != 0) {
                add.execute(params![queue, state as i64, n])?;
            }
        }
        self.flush_history()?;
        if self.id_floor >= 0 {
            self.conn
                .prepare_cached("UPDATE meta SET value = max(value, ?1) WHERE name = 'id_floor'")?
                .execute([self.id_floor])?;
        }
        if self.done_rows != 0 {
            self.conn
                .prepare_cached("UPDATE meta SET value = value + ?1 WHERE name = 'done_rows'")?
                .execute([self.done_rows])?;
        }
        Ok((self.next_event, self.done_rows))
    }

    fn op(&mut self, at: usize, op: &Op, applied: &mut Applied) -> rusqlite::Result<()> {
        let refused = match op {
            Op::Push(push) => {
                if let Some(ids) = self.push(at, push, applied)? {
                    applied.duplicates.push(Duplicate { op: at, ids });
                }
                None
            }
            Op::Claim(claim) => self.claim(claim)?,
            Op::Started { id, token, at_ms, pid } => {
                let changed = self
                    .conn
                    .prepare_cached(
                        "UPDATE task SET started_at = ?4, pid = coalesce(?5, pid) \
                         WHERE id = ?1 AND state = 2 AND epoch = ?2 AND counter = ?3",
                    )?
                    .execute(params![
                        id.raw(),
                        token.epoch,
                        int(token.counter),
                        int(*at_ms),
                        pid
                    ])?;
                if changed == 1 { None } else { self.stale(*id)? }
            }
            Op::Said { id, token, said } => {
                // A stale one is not told: the attempt's end has said all.
                self.said(*id, *token, said)?;
                None
            }
            Op::Outcome(outcome) => self.outcome(outcome)?,
            Op::Promote { id, queue, seq } => self.promote(*id, queue, *seq)?,
            Op::Cancel { id, at_ms, .. } => match self.cancel(at, *id, *at_ms)? {
                Ok(cancelled) => {
                    applied.cancelled.push(cancelled);
                    self.settle(at, *id, applied)?;
                    None
                }
                Err(why) => Some((*id, why)),
            },
            Op::Retry { id, seq, attempt, payload, .. } => {
                let (seq, attempt, payload) = (*seq, *attempt, payload.as_ref());
                match self.revive(at, &Return { id: *id, seq, attempt, payload })? {
                    Ok(revived) => {
                        applied.revived.push(revived);
                        None
                    }
                    Err(why) => Some((*id, why)),
                }
            }
            Op::Purge { id, attempt, .. } => self.purge(*id, *attempt)?,
            Op::Settle { id } => {
                self.settle(at, *id, applied)?;
                None
            }
            Op::Expire { id, due_ms, at_ms } => {
                self.expire(at, *id, *due_ms, *at_ms, applied)?;
                None
            }
            Op::Priority { id, priority, .. } => match self.reprioritise(at, *id, *priority)? {
                Ok(moved) => {
                    applied.revived.push(moved);
                    None
                }
                Err(why) => Some((*id, why)),
            },
            Op::Gate { queue, gate, .. } => {
                let no = self.queue_no(queue)?;
                self.conn
                    .prepare_cached(
                        "UPDATE queue SET paused = ?2, draining = ?3, gated_at = ?4, \
                         gated_by_config = ?5 WHERE no = ?1",
                    )?
                    .execute(params![
                        no,
                        gate.paused,
                        gate.draining,
                        gate.since_ms.map(int),
                        gate.by_config
                    ])?;
                None
            }
            Op::Fire(fire) => {
                self.fire(fire)?;
                None
            }
            Op::Schedule { name, mark } => {
                self.schedule(name, mark.as_deref())?;
                None
            }
            Op::Keep { queue, dead, bounds } => {
                let no = self.queue_no(queue)?;
                self.keep(no, *dead, bounds)?;
                None
            }
            Op::Searchable { queue, on } => {
                let no = self.queue_no(queue)?;
                self.searchable(no, *on)?;
                None
            }
            Op::Buckets { queue, full_at } => {
                let no = self.queue_no(queue)?;
                self.buckets(no, full_at)?;
                None
            }
            Op::Event(event) => {
                let mut event = event.clone();
                event.seq = self.next_event;
                self.event(&event)?;
                applied.first_event_seq.get_or_insert(self.next_event);
                self.next_event += 1;
                None
            }
            Op::Desire { key, value } => {
                self.desire(key, value.as_deref())?;
                None
            }
        };
        if let Some((id, why)) = refused {
            applied.refused.push(Refused { op: at, id, why });
        }
        Ok(())
    }

    /// The queue's number; new names get one.
    pub(super) fn queue_no(&mut self, name: &Arc<str>) -> rusqlite::Result<i64> {
        if let Some((last, no)) = &self.names.last
            && Arc::ptr_eq(last, name)
        {
            return Ok(*no);
        }
        let no = if let Some(no) = self.names.by_name.get(name) {
            *no
        } else {
            self.conn
                .prepare_cached("INSERT INTO queue (name) VALUES (?1) ON CONFLICT DO NOTHING")?
                .execute([&**name])?;
            let no = self
                .conn
                .prepare_cached("SELECT no FROM queue WHERE name = ?1")?
                .query_row([&**name], |r| r.get(0))?;
            self.names.by_name.insert(Arc::clone(name), no);
            no
        };
        self.names.last = Some((Arc::clone(name), no));
        Ok(no)
    }

    pub(super) fn count(&mut self, queue: i64, state: TaskState, by: i64) {
        self.delta.entry(queue).or_default()[state as usize] += by;
    }

    /// Ids of the first request when the key is known.
    fn push(
        &mut self,
        op: usize,
        push: &Push,
        applied: &mut Applied,
    ) -> rusqlite::Result<Option<Vec<TaskId>>> {
        let queue = self.queue_no(&push.queue)?;
        if let Some(fire) = &push.fire
            && let Some(known) = self.fire_with(fire, push.tasks.first().map(|task| task.id))?
        {
            return Ok(Some(vec![known]));
        }
        if let Some(key) = &push.key {
            let known: Option<Vec<u8>> = self
                .conn
                .prepare_cached("SELECT ids FROM pushed WHERE queue = ?1 AND key = ?2")?
                .query_row(params![queue, key], |r| r.get(0))
                .optional()?;
            if let Some(ids) = known {
                return Ok(Some(ids_from_blob(&ids)));
            }
        }
        let controlled =
            |task: &Enqueue| task.options.as_ref().is_some_and(|o| o.control.is_some());
        let mut instead = HashMap::new();
        if push.tasks.iter().any(controlled) {
            if let Some((task, holder)) = self.rejected(queue, push)? {
                applied.special.push(Special::new(op, task, What::Rejected(holder)));
                return Ok(None);
            }
            instead = self.enqueue_controlled(op, queue, push, applied)?;
        } else {
            for task in &push.tasks {
                self.enqueue(queue, task)?;
            }
        }
        if let Some(key) = &push.key {
            let id = |task: &Enqueue| instead.get(&task.id).copied().unwrap_or(task.id);
            let ids: Vec<u8> = push.tasks.iter().flat_map(|t| id(t).raw().to_be_bytes()).collect();
            self.conn
                .prepare_cached("INSERT INTO pushed VALUES (?1, ?2, ?3, ?4)")?
                .execute(params![queue, key, now_ms(), ids])?;
        }
        Ok(None)
    }

    /// Stores tasks that may become something else than waiting ones. Tells which were not stored, and what stands for
    /// them.
    fn enqueue_controlled(
        &mut self,
        op: usize,
        queue: i64,
        push: &Push,
        applied: &mut Applied,
    ) -> rusqlite::Result<HashMap<TaskId, TaskId>> {
        let mut instead = HashMap::new();
        for (at, task) in push.tasks.iter().enumerate() {
            let what = match self.special(op, queue, task, applied)? {
                Fate::Plain => {
                    self.enqueue(queue, task)?;
                    continue;
                }
                Fate::Instead(holder) => {
                    instead.insert(task.id, holder);
                    What::Existing(holder)
                }
                Fate::Follows(leader) => {
                    // No moment: it is due when its leader has ended.
                    let waits = Enqueue { run_at_ms: u64::MAX, claim: None, ..task.clone() };
                    self.enqueue(queue, &waits)?;
                    What::Follows(leader)
                }
                Fate::Hit(result) => {
                    self.store_hit(queue, task, &result)?;
                    What::Hit(result)
                }
            };
            applied.special.push(Special::new(op, at, what));
        }
        Ok(instead)
    }

    /// The payload for the task's row; a long one goes into a row of its own.
    pub(super) fn payload<'t>(&self, task: &'t Enqueue) -> rusqlite::Result<Option<&'t [u8]>> {
        if task.payload.len() <= INLINE_MAX {
            return Ok(Some(&task.payload));
        }
        self.conn
            .prepare_cached("INSERT INTO body VALUES (?1, ?2)")?
            .execute(params![task.id.raw(), &task.payload[..]])?;
        Ok(None)
    }

    fn enqueue(&mut self, queue: i64, task: &Enqueue) -> rusqlite::Result<()> {
        let id = task.id.raw();
        let payload = self.payload(task)?;
        let kind = task.kind.as_deref();
        let options = options_text(task.options.as_deref())?;
        let state = if let Some(claim) = &task.claim {
            let started = claim.started.then_some(int(claim.at_ms));
            self.hot.enqueue_claimed.execute(params![
                id,
                queue,
                task.priority.0,
                kind,
                options,
                payload,
                claim.attempt,
                claim.token.epoch,
                int(claim.token.counter),
                claim.pid,
                int(claim.at_ms),
                started,
                &*claim.worker,
            ])?;
            TaskState::Running
        } else {
            let state =
                if task.run_at_ms == 0 { TaskState::Available } else { TaskState::Scheduled };
            self.hot.enqueue.execute(params![
                id,
                queue,
                state as i64,
                task.priority.0,
                int(task.run_at_ms),
                kind,
                options,
                payload,
            ])?;
            state
        };
        self.count(queue, state, 1);
        Ok(())
    }

    fn claim(&mut self, claim: &Claim) -> rusqlite::Result<Option<(TaskId, RefusedWhy)>> {
        let queue = self.queue_no(&claim.queue)?;
        let changed = self.hot.claim.execute(params![
            claim.id.raw(),
            queue,
            claim.attempt,
            claim.token.epoch,
            int(claim.token.counter),
            claim.pid,
            int(claim.at_ms),
            claim.started.then_some(int(claim.at_ms)),
            &*claim.worker,
        ])?;
        if changed != 1 {
            return self.wrong_state(claim.id);
        }
        self.count(queue, TaskState::Available, -1);
        self.count(queue, TaskState::Running, 1);
        Ok(None)
    }

    fn promote(
        &mut self,
        id: TaskId,
        queue: &Arc<str>,
        seq: i64,
    ) -> rusqlite::Result<Option<(TaskId, RefusedWhy)>> {
        let queue = self.queue_no(queue)?;
        let Some((_, state)) = self.locate(id)?.filter(|(q, s)| {
            *q == queue && matches!(s, TaskState::Scheduled | TaskState::Retryable)
        }) else {
            return self.wrong_state(id);
        };
        self.conn
            .prepare_cached("UPDATE task SET state = 1, seq = ?2 WHERE id = ?1")?
            .execute(params![id.raw(), seq])?;
        self.count(queue, state, -1);
        self.count(queue, TaskState::Available, 1);
        Ok(None)
    }

    /// Queue and state of an unfinished task.
    pub(super) fn locate(&self, id: TaskId) -> rusqlite::Result<Option<(i64, TaskState)>> {
        self.conn
            .prepare_cached("SELECT queue, state FROM task WHERE id = ?1")?
            .query_row([id.raw()], |r| Ok((r.get(0)?, super::state_of(r.get(1)?)?)))
            .optional()
    }

    /// The state of any task.
    pub(super) fn state(&self, id: TaskId) -> rusqlite::Result<Option<TaskState>> {
        if let Some((_, state)) = self.locate(id)? {
            return Ok(Some(state));
        }
        self.conn
            .prepare_cached("SELECT state FROM done WHERE id = ?1")?
            .query_row([id.raw()], |r| super::state_of(r.get(0)?))
            .optional()
    }

    pub(super) fn wrong_state(&self, id: TaskId) -> rusqlite::Result<Option<(TaskId, RefusedWhy)>> {
        let why = self.state(id)?.map_or(RefusedWhy::NotFound, RefusedWhy::State);
        Ok(Some((id, why)))
    }

    pub(super) fn stale(&self, id: TaskId) -> rusqlite::Result<Option<(TaskId, RefusedWhy)>> {
        let why = self.state(id)?.map_or(RefusedWhy::NotFound, RefusedWhy::Stale);
        Ok(Some((id, why)))
    }

    fn event(&self, event: &ganger_core::Event) -> rusqlite::Result<()> {
        let text = serde_json::to_string(event).map_err(super::unencodable)?;
        self.conn
            .prepare_cached("INSERT INTO event VALUES (?1, ?2)")?
            .execute(params![int(event.seq), text])?;
        Ok(())
    }

    fn desire(&self, key: &str, value: Option<&[u8]>) -> rusqlite::Result<()> {
        match value {
            Some(value) => self
                .conn
                .prepare_cached(
                    "INSERT INTO desired VALUES (?1, ?2) \
                     ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                )?
                .execute(params![key, value])?,
            None => {
                self.conn.prepare_cached("DELETE FROM desired WHERE key = ?1")?.execute([key])?
            }
        };
        Ok(())
    }
}

pub(super) fn options_text(
    options: Option<&crate::batch::TaskOptions>,
) -> rusqlite::Result<Option<String>> {
    options.map(serde_json::to_string).transpose().map_err(super::unencodable)
}

/// Ids from the `pushed` table.
pub(super) fn ids_from_blob(blob: &[u8]) -> Vec<TaskId> {
    blob.as_chunks::<8>()
        .0
        .iter()
        .filter_map(|bytes| TaskId::from_raw(i64::from_be_bytes(*bytes)))
        .collect()
}
