//! Housekeeping between commits: the log's way home, and the bounds of every history.

use std::sync::atomic::Ordering;

use ganger_core::TaskId;
use rusqlite::params;

use super::SqliteStore;
use super::apply::ids_from_blob;
use super::fault::now_ms;
use super::int;
use super::log::PAGE_BYTES;

/// The log is copied home each time it has grown by 4 MiB: some milliseconds of work, never a long stop.
const HOME_EACH_PAGES: u32 = 4 * 1024 * 1024 / PAGE_BYTES;
/// Rows dropped at a time when nothing waits, so that a commit that comes never waits long.
const CHUNK: usize = 2_048;
/// Rows dropped at a time when the bound is overrun: what one group can add, so that it can't run away.
const CHUNK_PRESSING: usize = crate::writer::GROUP_ROWS_MAX;
/// By how much a bound may be overrun before rows are dropped although commits wait.
const SLACK: u64 = 10_000;
/// How long an idempotency key is remembered at least.
const KEY_AGE_MS: i64 = 24 * 3_600_000;
/// How often ages are looked at while there are commits.
const AGES_EACH_MS: i64 = 3_600_000;

/// What is left to tidy.
#[derive(Debug, Default)]
pub(super) struct Tending {
    /// Pages of the log at the last try to bring them home.
    home: u32,
    /// A log held by a reader has been told.
    held_told: bool,
    /// Finished tasks kept.
    pub(super) done_rows: u64,
    /// Up to here there is nothing to drop but what came late: old dead letters need not be passed each time.
    done_from: i64,
    /// The oldest event kept is at least this one.
    events_from: u64,
    /// When ages are looked at next.
    ages_at: i64,
    /// A chunk was full: there is more to drop.
    more: bool,
    /// The same of queues with bounds or search of their own.
    more_history: bool,
    /// Dead letters dropped since the store was opened.
    pub(super) letters_pruned: u64,
}

impl Tending {
    pub(super) fn new(done_rows: u64) -> Self {
        Self { done_rows, done_from: -1, ..Self::default() }
    }
}

impl SqliteStore {
    pub(super) fn has_chores(&self) -> bool {
        self.tending.more
            || self.tending.more_history
            || self.log_pages.load(Ordering::Relaxed) != self.tending.home
    }

    pub(super) fn tend_now(&mut self, idle: bool) -> rusqlite::Result<()> {
        let pages = self.log_pages.load(Ordering::Relaxed);
        if pages < self.tending.home {
            self.tending.home = 0;
        }
        self.bound_histories(idle)?;
        self.tending.more_history = self.tend_history(idle)?;
        let pages = self.log_pages.load(Ordering::Relaxed).max(pages);
        let grown = pages.saturating_sub(self.tending.home);
        if grown >= HOME_EACH_PAGES || (idle && grown > 0) {
            self.bring_log_home(pages)?;
        }
        Ok(())
    }

    /// Never waits for a reader. What a reader holds back comes home with a later try; a log that is home as a whole begins
    /// anew with the next commit, and its file keeps its size up to 64 MiB: overwriting costs one flush, growing also a
    /// journal commit of the file system.
    fn bring_log_home(&mut self, pages: u32) -> rusqlite::Result<()> {
        let all = self.try_home()?;
        self.tending.home = pages;
        let bytes = u64::from(pages) * u64::from(PAGE_BYTES);
        if all || bytes < self.options.log_told {
            self.tending.held_told &= !all;
        } else if !std::mem::replace(&mut self.tending.held_told, true) {
            let (mib, holders) = (bytes >> 20, super::log::holders(&self.options.path));
            tracing::warn!(
                mib,
                holders,
                "a reader holds the write-ahead log, which grows until it ends"
            );
        }
        Ok(())
    }

    /// Copies what no reader holds back into the file. True when that is all of the log.
    pub(super) fn try_home(&self) -> rusqlite::Result<bool> {
        self.conn
            .prepare_cached("PRAGMA wal_checkpoint(PASSIVE)")?
            .query_row([], |r| Ok(r.get::<_, i64>(2)? >= r.get::<_, i64>(1)?))
    }

    fn bound_histories(&mut self, idle: bool) -> rusqlite::Result<()> {
        let now = now_ms();
        let ages = now >= self.tending.ages_at;
        let over = self.tending.done_rows.saturating_sub(self.options.history_rows);
        let newest = self.next_event - 1;
        let events_to = newest.saturating_sub(self.options.event_rows);
        let events_due = events_to.saturating_sub(self.tending.events_from);
        let due = ages || self.tending.more || over > 0 || events_due > 0;
        let pressing = over > SLACK || events_due > SLACK;
        if !(due && idle || pressing) {
            self.tending.more |= due;
            return Ok(());
        }
        self.set_full(false)?;
        self.conn.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        let mut more = self.drop_done(over, now)?;
        more |= self.drop_keys(now)?;
        more |= ages && self.drop_expired(now)?;
        if events_due > 0 {
            self.conn.execute("DELETE FROM event WHERE seq <= ?1", [int(events_to)])?;
            self.tending.events_from = events_to;
        }
        self.conn.prepare_cached("COMMIT")?.execute([])?;
        if !more {
            self.tending.ages_at = now + AGES_EACH_MS;
        }
        self.tending.more = more;
        Ok(())
    }

    /// Drops finished tasks over the bound, and those too old. Dead letters with bounds of their own stay: a queue's many
    /// completed tasks must not take them along.
    fn drop_done(&mut self, over: u64, now: i64) -> rusqlite::Result<bool> {
        let age = i64::try_from(self.options.history_age.as_millis()).unwrap_or(i64::MAX);
        let ended_before = now.saturating_sub(age);
        let made_before = TaskId::first_at(ended_before.max(0).unsigned_abs()).raw();
        let chunk = if over > SLACK { CHUNK_PRESSING } else { CHUNK };
        let over = usize::try_from(over).unwrap_or(usize::MAX).min(chunk);
        let ids: Vec<i64> = {
            let mut oldest = self.conn.prepare_cached(
                "SELECT id FROM done WHERE id < ?1 AND ended_at < ?2 AND id > ?4 \
                 AND NOT (state = 6 AND bytes IS NOT NULL) ORDER BY id LIMIT ?3",
            )?;
            let (made, ended, limit) = if over > 0 {
                (i64::MAX, i64::MAX, over)
            } else {
                (made_before, ended_before, CHUNK)
            };
            oldest
                .query_map(params![made, ended, limit as i64, self.tending.done_from], |r| {
                    r.get(0)
                })?
                .collect::<rusqlite::Result<_>>()?
        };
        // Tasks that end late have low ids: a look from the start follows when nothing is left above.
        self.tending.done_from = ids.last().copied().unwrap_or(-1);
        self.forget_rows(&ids)?;
        Ok(ids.len() >= CHUNK)
    }

    /// Forgets what is over by its own time: keys of tasks, results, cached results.
    fn drop_expired(&self, now: i64) -> rusqlite::Result<bool> {
        let chunk = params![now, CHUNK as i64];
        let keys = self
            .conn
            .prepare_cached(
                "DELETE FROM dedupe WHERE (queue, key) IN \
                 (SELECT queue, key FROM dedupe WHERE until > 1 AND until <= ?1 LIMIT ?2)",
            )?
            .execute(chunk)?;
        let buckets = self
            .conn
            .prepare_cached(
                "DELETE FROM bucket WHERE (queue, of) IN \
                 (SELECT queue, of FROM bucket WHERE full_at <= ?1 ORDER BY full_at LIMIT ?2)",
            )?
            .execute(chunk)?;
        let results: Vec<i64> = self
            .conn
            .prepare_cached(
                "DELETE FROM result_limit WHERE id IN \
                 (SELECT id FROM result_limit WHERE at <= ?1 ORDER BY at LIMIT ?2) RETURNING id",
            )?
            .query_map(chunk, |r| r.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        for id in &results {
            self.conn
                .prepare_cached("UPDATE done SET result = NULL WHERE id = ?1")?
                .execute([id])?;
        }
        let cached: Vec<(i64, i64)> = self
            .conn
            .prepare_cached(
                "DELETE FROM cache WHERE rowid IN \
                 (SELECT rowid FROM cache WHERE expires <= ?1 ORDER BY expires LIMIT ?2) \
                 RETURNING queue, length(result)",
            )?
            .query_map(chunk, |r| Ok((r.get(0)?, r.get(1)?)))?
            .collect::<rusqlite::Result<_>>()?;
        for (queue, bytes) in &cached {
            self.conn
                .prepare_cached(
                    "UPDATE cache_total SET entries = entries - 1, bytes = bytes - ?2 WHERE queue = ?1",
                )?
                .execute([queue, bytes])?;
        }
        Ok(keys.max(buckets).max(results.len()).max(cached.len()) >= CHUNK)
    }

    /// Forgets old idempotency keys; one with an unfinished task is looked at again a day later.
    fn drop_keys(&self, now: i64) -> rusqlite::Result<bool> {
        let old: Vec<(i64, String, Vec<u8>)> = self
            .conn
            .prepare_cached(
                "SELECT queue, key, ids FROM pushed WHERE at < ?1 ORDER BY at LIMIT ?2",
            )?
            .query_map(params![now - KEY_AGE_MS, CHUNK as i64], |r| {
                Ok((r.get(0)?, r.get(1)?, r.get(2)?))
            })?
            .collect::<rusqlite::Result<_>>()?;
        for (queue, key, ids) in &old {
            let mut unfinished = self.conn.prepare_cached("SELECT 1 FROM task WHERE id = ?1")?;
            let mut waits = false;
            for id in ids_from_blob(ids) {
                if unfinished.exists([id.raw()])? {
                    waits = true;
                    break;
                }
            }
            let sql = if waits {
                "UPDATE pushed SET at = ?3 WHERE queue = ?1 AND key = ?2"
            } else {
                "DELETE FROM pushed WHERE queue = ?1 AND key = ?2 AND at < ?3"
            };
            self.conn.prepare_cached(sql)?.execute(params![queue, key, now])?;
        }
        Ok(old.len() == CHUNK)
    }
}
