//! The history of queues that ask for more: bounds of their own, and words to search by.
//!
//! ```text
//! task ends ──(same commit)──► done.bytes, keep.rows/bytes      queues with bounds
//!                        └───► unsearched                       queues with search
//! between commits ──► oldest rows over a bound leave · unsearched → history_text · older rows are counted in
//! ```
//!
//! A queue that asks for neither pays one look into an empty map per finished task. All steps between commits are bounded,
//! so no commit waits long for them.

use std::collections::{HashMap, HashSet};

use rusqlite::{Connection, params};

use super::apply::Tx;
use super::fault::now_ms;
use super::{SqliteStore, int};
use crate::batch::KeepBounds;

/// Rows that leave, or are counted in, in one step: some milliseconds.
const STEP: usize = 2_048;
/// Finished tasks whose words are written in one step: at 1 KiB each some ten milliseconds.
const WORDS_STEP: usize = 256;
/// Unwritten words above which they are written although commits wait.
const WORDS_PRESSING: i64 = 20_000;
/// Bytes of a payload, a result or an error that are searched.
const WORDS_BYTES: usize = 64 * 1024;
/// By how much a bound may be overrun before rows leave although commits wait.
const SLACK_ROWS: i64 = 10_000;
/// The same in bytes.
const SLACK_BYTES: i64 = 32 * 1024 * 1024;

/// Which queues ask for more. Read at the first transaction, and anew after a rollback.
#[derive(Debug, Default)]
pub(super) struct Asked {
    /// Queue, and whether it is about its dead letters.
    kept: HashSet<(i64, bool)>,
    searched: HashSet<i64>,
    loaded: bool,
}

impl Asked {
    pub(super) fn load(&mut self, conn: &Connection) -> rusqlite::Result<()> {
        if self.loaded {
            return Ok(());
        }
        let mut kept = conn.prepare_cached("SELECT queue, dead FROM keep")?;
        self.kept =
            kept.query_map([], |r| Ok((r.get(0)?, r.get(1)?)))?.collect::<Result<_, _>>()?;
        let mut searched = conn.prepare_cached("SELECT queue FROM searchable")?;
        self.searched = searched.query_map([], |r| r.get(0))?.collect::<Result<_, _>>()?;
        self.loaded = true;
        Ok(())
    }
}

/// Rows and bytes by which a history changed.
pub(super) type Change = HashMap<(i64, bool), (i64, i64)>;

/// Bytes of what a finished task keeps.
const BYTES: &str = "coalesce(length(payload), (SELECT length(bytes) FROM body WHERE body.id = done.id), 0) \
    + coalesce(length(result), 0) + coalesce(length(error), 0) \
    + coalesce((SELECT sum(length(said)) FROM said WHERE said.id = done.id), 0)";

impl Tx<'_> {
    /// A row is in `done` now.
    pub(super) fn entered_history(
        &mut self,
        id: i64,
        queue: i64,
        dead: bool,
    ) -> rusqlite::Result<()> {
        if self.asked().kept.contains(&(queue, dead)) {
            let bytes: i64 = self
                .conn
                .prepare_cached(&format!(
                    "UPDATE done SET bytes = {BYTES} WHERE id = ?1 RETURNING bytes"
                ))?
                .query_row([id], |r| r.get(0))?;
            let change = self.kept.entry((queue, dead)).or_default();
            *change = (change.0 + 1, change.1 + bytes);
        }
        self.mark_words(id, queue, false)
    }

    /// A row is about to leave `done`, back to the living.
    pub(super) fn leaves_history(&mut self, id: i64, queue: i64) -> rusqlite::Result<()> {
        let (bytes, dead): (Option<i64>, bool) = self
            .conn
            .prepare_cached("SELECT bytes, state = 6 FROM done WHERE id = ?1")?
            .query_row([id], |r| Ok((r.get(0)?, r.get(1)?)))?;
        if let Some(bytes) = bytes {
            let change = self.kept.entry((queue, dead)).or_default();
            *change = (change.0 - 1, change.1 - bytes);
        }
        self.mark_words(id, queue, true)
    }

    fn mark_words(&mut self, id: i64, queue: i64, gone: bool) -> rusqlite::Result<()> {
        if self.asked().searched.contains(&queue) {
            self.conn
                .prepare_cached("INSERT OR REPLACE INTO unsearched VALUES (?1, ?2)")?
                .execute(params![id, gone])?;
        }
        Ok(())
    }

    /// Sets a queue's bounds. What is there already is counted in between later commits.
    pub(super) fn keep(
        &mut self,
        queue: i64,
        dead: bool,
        bounds: &KeepBounds,
    ) -> rusqlite::Result<()> {
        let age = bounds.age.map(|age| i64::try_from(age.as_millis()).unwrap_or(i64::MAX));
        let none = *bounds == KeepBounds::default();
        if none && !self.asked().kept.contains(&(queue, dead)) {
            return Ok(());
        }
        self.conn
            .prepare_cached(
                "INSERT INTO keep (queue, dead, max_rows, max_age_ms, max_bytes, adopt_below) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (queue, dead) DO UPDATE SET \
                 max_rows = excluded.max_rows, max_age_ms = excluded.max_age_ms, max_bytes = excluded.max_bytes",
            )?
            .execute(params![queue, dead, bounds.rows.map(int), age, bounds.bytes.map(int), i64::MAX])?;
        self.asked_mut().kept.insert((queue, dead));
        self.kept.entry((queue, dead)).or_default();
        Ok(())
    }

    /// From now on finished tasks of this queue can be found by their words, or no longer.
    pub(super) fn searchable(&mut self, queue: i64, on: bool) -> rusqlite::Result<()> {
        if on {
            self.conn
                .prepare_cached("INSERT OR IGNORE INTO searchable VALUES (?1)")?
                .execute([queue])?;
            self.asked_mut().searched.insert(queue);
        } else if self.asked_mut().searched.remove(&queue) {
            self.conn
                .prepare_cached("DELETE FROM searchable WHERE queue = ?1")?
                .execute([queue])?;
        }
        Ok(())
    }

    /// Writes what was gathered. True when a history with bounds has changed.
    pub(super) fn flush_history(&self) -> rusqlite::Result<bool> {
        for ((queue, dead), (rows, bytes)) in &self.kept {
            self.conn
                .prepare_cached("UPDATE keep SET rows = rows + ?3, bytes = bytes + ?4 WHERE queue = ?1 AND dead = ?2")?
                .execute(params![queue, dead, rows, bytes])?;
        }
        Ok(!self.kept.is_empty())
    }
}

/// A queue's bounds and what is there.
struct Keep {
    queue: i64,
    dead: bool,
    max_rows: Option<i64>,
    max_age_ms: Option<i64>,
    max_bytes: Option<i64>,
    rows: i64,
    bytes: i64,
    adopt_below: Option<i64>,
}

impl Keep {
    fn over_rows(&self) -> i64 {
        self.max_rows.map_or(0, |max| (self.rows - max).max(0))
    }

    fn over_bytes(&self) -> i64 {
        self.max_bytes.map_or(0, |max| (self.bytes - max).max(0))
    }

    fn presses(&self) -> bool {
        self.over_rows() > SLACK_ROWS || self.over_bytes() > SLACK_BYTES
    }
}

impl SqliteStore {
    /// One step of everything above. True when there is more to do. Must be called outside of a transaction.
    pub(super) fn tend_history(&mut self, idle: bool) -> rusqlite::Result<bool> {
        self.names.asked.load(&self.conn)?;
        let mut more = false;
        if !self.names.asked.kept.is_empty() {
            for keep in self.keeps()? {
                if idle || keep.presses() {
                    more |= self.tend_keep(&keep)?;
                } else {
                    more |= keep.over_rows() > 0 || keep.over_bytes() > 0;
                }
            }
        }
        if !self.names.asked.searched.is_empty() {
            more |= self.tend_words(idle)?;
        }
        Ok(more)
    }

    fn keeps(&self) -> rusqlite::Result<Vec<Keep>> {
        self.conn
            .prepare_cached(
                "SELECT queue, dead, max_rows, max_age_ms, max_bytes, rows, bytes, adopt_below FROM keep",
            )?
            .query_map([], |r| {
                Ok(Keep {
                    queue: r.get(0)?,
                    dead: r.get(1)?,
                    max_rows: r.get(2)?,
                    max_age_ms: r.get(3)?,
                    max_bytes: r.get(4)?,
                    rows: r.get(5)?,
                    bytes: r.get(6)?,
                    adopt_below: r.get(7)?,
                })
            })?
            .collect()
    }

    fn tend_keep(&mut self, keep: &Keep) -> rusqlite::Result<bool> {
        let mut more = false;
        if let Some(below) = keep.adopt_below {
            self.step(|store| store.adopt(keep, below))?;
            more = true;
        }
        let before = keep.max_age_ms.map_or(i64::MIN, |age| now_ms().saturating_sub(age));
        let (mut rows, mut bytes) = (keep.over_rows(), keep.over_bytes());
        let mut go = Vec::new();
        {
            let mut oldest = self.conn.prepare_cached(
                "SELECT id, bytes, ended_at FROM done INDEXED BY done_kept \
                 WHERE bytes IS NOT NULL AND queue = ?1 AND (state = 6) = ?2 ORDER BY ended_at LIMIT ?3",
            )?;
            let mut found = oldest.query(params![keep.queue, keep.dead, STEP as i64])?;
            while let Some(row) = found.next()? {
                let (id, size, ended): (i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
                if rows <= 0 && bytes <= 0 && ended >= before {
                    break;
                }
                (rows, bytes) = (rows - 1, bytes - size);
                go.push(id);
            }
        }
        if !go.is_empty() {
            self.step(|store| store.forget_rows(&go))?;
        }
        Ok(more || go.len() >= STEP)
    }

    /// A small transaction of its own. What leaves a history may come back after a power cut: it leaves again.
    fn step(
        &mut self,
        work: impl FnOnce(&mut Self) -> rusqlite::Result<()>,
    ) -> rusqlite::Result<()> {
        self.set_full(false)?;
        self.conn.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        work(self)?;
        self.conn.prepare_cached("COMMIT")?.execute([])?;
        Ok(())
    }

    /// Counts in rows that were finished before the queue had bounds, newest first.
    fn adopt(&mut self, keep: &Keep, below: i64) -> rusqlite::Result<()> {
        let down_to: Option<i64> = self
            .conn
            .prepare_cached("SELECT min(id), count(*) FROM (SELECT id FROM done WHERE id < ?1 ORDER BY id DESC LIMIT ?2)")?
            .query_row(params![below, STEP as i64], |r| {
                Ok(if r.get::<_, i64>(1)? < STEP as i64 { None } else { r.get(0)? })
            })?;
        let (mut rows, mut bytes) = (0_i64, 0_i64);
        {
            let mut count_in = self.conn.prepare_cached(&format!(
                "UPDATE done SET bytes = {BYTES} WHERE id >= ?1 AND id < ?2 AND queue = ?3 \
                 AND (state = 6) = ?4 AND bytes IS NULL RETURNING bytes"
            ))?;
            let from = down_to.unwrap_or(i64::MIN);
            let counted = count_in
                .query_map(params![from, below, keep.queue, keep.dead], |r| r.get::<_, i64>(0))?;
            for size in counted {
                (rows, bytes) = (rows + 1, bytes + size?);
            }
        }
        self.conn
            .prepare_cached(
                "UPDATE keep SET rows = rows + ?3, bytes = bytes + ?4, adopt_below = ?5 WHERE queue = ?1 AND dead = ?2",
            )?
            .execute(params![keep.queue, keep.dead, rows, bytes, down_to])?;
        Ok(())
    }

    /// Finished tasks leave for good, with all that is kept of them and beside them. Inside a transaction.
    pub(super) fn forget_rows(&mut self, ids: &[i64]) -> rusqlite::Result<()> {
        self.names.asked.load(&self.conn)?;
        let mut change = Change::default();
        let mut dead_letters: HashMap<i64, i64> = HashMap::new();
        let mut gone: u64 = 0;
        let any_said = self.any_said()?;
        for id in ids {
            let mut delete = self.conn.prepare_cached(
                "DELETE FROM done WHERE id = ?1 RETURNING queue, state = 6, bytes",
            )?;
            let mut rows = delete.query([id])?;
            let Some(row) = rows.next()? else { continue };
            let (queue, dead, bytes): (i64, bool, Option<i64>) =
                (row.get(0)?, row.get(1)?, row.get(2)?);
            // A statement that RETURNs is done only when it was stepped to its end.
            while rows.next()?.is_some() {}
            gone += 1;
            if let Some(bytes) = bytes {
                let change = change.entry((queue, dead)).or_default();
                *change = (change.0 + 1, change.1 + bytes);
            }
            if dead {
                *dead_letters.entry(queue).or_default() += 1;
            }
            self.conn.prepare_cached("DELETE FROM attempt WHERE id = ?1")?.execute([id])?;
            self.conn.prepare_cached("DELETE FROM body WHERE id = ?1")?.execute([id])?;
            if any_said {
                self.conn.prepare_cached("DELETE FROM said WHERE id = ?1")?.execute([id])?;
            }
            if self.names.asked.searched.contains(&queue) {
                self.conn
                    .prepare_cached("INSERT OR REPLACE INTO unsearched VALUES (?1, 1)")?
                    .execute([id])?;
            }
        }
        for ((queue, dead), (rows, bytes)) in change {
            self.conn
                .prepare_cached("UPDATE keep SET rows = rows - ?3, bytes = bytes - ?4 WHERE queue = ?1 AND dead = ?2")?
                .execute(params![queue, dead, rows, bytes])?;
        }
        // Other counts are of all that ever were; dead letters are those that are there.
        for (queue, n) in dead_letters {
            self.tending.letters_pruned += n.unsigned_abs();
            self.conn
                .prepare_cached("UPDATE counter SET n = n - ?2 WHERE queue = ?1 AND state = 6")?
                .execute([queue, n])?;
        }
        self.conn
            .prepare_cached("UPDATE meta SET value = value - ?1 WHERE name = 'done_rows'")?
            .execute([int(gone)])?;
        self.tending.done_rows = self.tending.done_rows.saturating_sub(gone);
        Ok(())
    }

    fn tend_words(&mut self, idle: bool) -> rusqlite::Result<bool> {
        let waiting: i64 = self
            .conn
            .prepare_cached("SELECT count(*) FROM (SELECT 1 FROM unsearched LIMIT ?1)")?
            .query_row([WORDS_PRESSING + 1], |r| r.get(0))?;
        if waiting == 0 || !(idle || waiting > WORDS_PRESSING) {
            return Ok(waiting > 0);
        }
        self.step(|store| store.write_words())?;
        Ok(waiting > WORDS_STEP as i64)
    }

    fn write_words(&mut self) -> rusqlite::Result<()> {
        let found: Vec<(i64, Option<[String; 5]>)> = self
            .conn
            .prepare_cached(
                "SELECT unsearched.id, gone OR done.id IS NULL, kind, \
                 (SELECT group_concat(value, ' ') FROM json_each(coalesce(options, '{}'), '$.tags')), \
                 coalesce(payload, (SELECT bytes FROM body WHERE body.id = done.id)), result, error \
                 FROM unsearched LEFT JOIN done ON done.id = unsearched.id ORDER BY unsearched.id LIMIT ?1",
            )?
            .query_map([WORDS_STEP as i64], |r| {
                let gone: bool = r.get(1)?;
                let mut words: [String; 5] = Default::default();
                for (at, word) in words.iter_mut().enumerate() {
                    let bytes = r.get_ref(at + 2)?.as_bytes_or_null().unwrap_or_default();
                    let bytes = bytes.unwrap_or_default();
                    *word = String::from_utf8_lossy(&bytes[..bytes.len().min(WORDS_BYTES)]).into_owned();
                }
                Ok((r.get(0)?, (!gone).then_some(words)))
            })?
            .collect::<rusqlite::Result<_>>()?;
        for (id, words) in found {
            self.conn.prepare_cached("DELETE FROM history_text WHERE rowid = ?1")?.execute([id])?;
            if let Some([kind, tags, payload, result, error]) = words {
                self.conn
                    .prepare_cached(
                        "INSERT INTO history_text (rowid, kind, tags, payload, result, error) \
                         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                    )?
                    .execute(params![id, kind, tags, payload, result, error])?;
            }
            self.conn.prepare_cached("DELETE FROM unsearched WHERE id = ?1")?.execute([id])?;
        }
        Ok(())
    }
}
