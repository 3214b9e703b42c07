//! The embedded backend: one SQLite file in WAL mode.
//!
//! One connection writes, `synchronous` is FULL for groups that ask for fsync and NORMAL for the others. In WAL mode a
//! FULL commit also fsyncs the NORMAL commits before it, so an acknowledged fsync never stands on air.

mod apply;
mod bucket;
mod cache;
mod control;
mod dead;
mod fault;
mod filter;
mod history;
mod hot;
mod list;
mod log;
mod open;
mod outcome;
mod read;
mod revive;
mod said;
mod schedule;
mod tend;
#[cfg(test)]
mod tests;
pub mod upkeep;
mod window;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::{Duration, Instant};

use ganger_core::TaskState;
use rusqlite::Connection;

use crate::batch::{Applied, Batch, Op, TaskOptions};
use crate::error::{OpenError, StoreError};
use crate::store::Store;

pub use open::SCHEMA as SCHEMA_VERSION;
pub use read::SqliteReader;

/// How to open the database.
#[derive(Debug, Clone)]
pub struct SqliteOptions {
    /// The file, `state.db` in the state folder. Made when missing.
    pub path: PathBuf,
    /// Finished tasks kept; older ones go first.
    pub history_rows: u64,
    /// How long a finished task is kept at most.
    pub history_age: Duration,
    /// Events kept.
    pub event_rows: u64,
    /// A write-ahead log of so many bytes is told: a reader holds it.
    pub log_told: u64,
    /// From so many bytes on pushes are refused until that reader lets go.
    pub log_max: u64,
}

impl SqliteOptions {
    /// The defaults for a file: a million finished tasks (about 600 MB at 200-byte payloads) for 30 days, 100,000
    /// events. A log that nobody holds stays near 4 MiB, so 256 MiB is worth a word; 1 GiB is what a backup of a million
    /// finished tasks leaves time for at full load.
    #[must_use]
    pub fn new(path: impl AsRef<Path>) -> Self {
        Self {
            path: path.as_ref().to_owned(),
            history_rows: 1_000_000,
            history_age: Duration::from_secs(30 * 86_400),
            event_rows: 100_000,
            log_told: 256 << 20,
            log_max: 1 << 30,
        }
    }
}

/// The write side.
#[derive(Debug)]
pub struct SqliteStore {
    conn: Connection,
    options: SqliteOptions,
    epoch: u32,
    /// True while `synchronous` is FULL.
    full: bool,
    names: hot::Names,
    next_event: u64,
    /// Pages in the log after the last commit, told by SQLite's hook.
    log_pages: Arc<AtomicU32>,
    tending: tend::Tending,
    unsynced: window::Unsynced,
}

impl SqliteStore {
    /// Opens or makes the database: settings asserted by reading them back, schema migrated, the write-ahead log
    /// brought home, the epoch raised durably.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(options: SqliteOptions) -> Result<Self, OpenError> {
        let failed = |e: rusqlite::Error| OpenError::Failed {
            path: options.path.clone(),
            step: "reading where it left off",
            source: fault::classify("open", &e),
        };
        let (mut conn, epoch) = open::open(&options.path)?;
        let last: i64 = conn
            .query_row("SELECT coalesce(max(seq), 0) FROM event", [], |r| r.get(0))
            .map_err(failed)?;
        let done_rows: i64 = conn
            .query_row("SELECT value FROM meta WHERE name = 'done_rows'", [], |r| r.get(0))
            .map_err(failed)?;
        let log_pages = Arc::new(AtomicU32::new(0));
        let told = Arc::clone(&log_pages);
        conn.wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, pages: i32| {
            told.store(pages.unsigned_abs(), std::sync::atomic::Ordering::Relaxed);
            Ok(())
        }))
        .map_err(failed)?;
        Ok(Self {
            conn,
            options,
            epoch,
            full: true,
            names: hot::Names::default(),
            next_event: last.unsigned_abs() + 1,
            log_pages,
            tending: tend::Tending::new(done_rows.max(0).unsigned_abs()),
            unsynced: window::Unsynced::default(),
        })
    }

    /// Switches what a commit promises; SQLite allows it only between transactions.
    fn set_full(&mut self, full: bool) -> rusqlite::Result<()> {
        if self.full != full {
            let pragma =
                if full { "PRAGMA synchronous = FULL" } else { "PRAGMA synchronous = NORMAL" };
            self.conn.execute_batch(pragma)?;
            self.full = full;
        }
        Ok(())
    }

    fn transact(&mut self, batches: &[Batch]) -> rusqlite::Result<Vec<Applied>> {
        let late = self.unsynced.is_due(Instant::now());
        self.set_full(late || batches.iter().any(|b| b.sync))?;
        self.conn.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        let mut tx = apply::Tx::new(&self.conn, &mut self.names, self.next_event)?;
        let applied =
            batches.iter().map(|b| tx.batch(b)).collect::<rusqlite::Result<Vec<Applied>>>()?;
        let (next_event, done_rows) = tx.finish()?;
        self.conn.prepare_cached("COMMIT")?.execute([])?;
        self.unsynced.committed(self.full, Instant::now());
        self.next_event = next_event;
        self.tending.done_rows = self.tending.done_rows.saturating_add_signed(done_rows);
        Ok(applied)
    }

    /// At the log's bound nothing new comes in; what is there goes on. The reader may have let go since the last look, and
    /// a log that is home as a whole begins anew with the next commit.
    fn has_room(&self, batches: &[Batch]) -> Result<(), StoreError> {
        let bytes = self.log_bytes();
        let pushes = |b: &Batch| b.ops.iter().any(|op| matches!(op, Op::Push(_)));
        if bytes < self.options.log_max || !batches.iter().any(pushes) {
            return Ok(());
        }
        if self.try_home().map_err(|e| fault::classify("checkpoint", &e))? {
            return Ok(());
        }
        let holders = log::holders(&self.options.path);
        Err(StoreError::LogFull { bytes, max: self.options.log_max, holders })
    }

    fn roll_back(&mut self) {
        self.names.forget();
        // SQLite has rolled back by itself after some errors; then there is nothing left to do.
        if !self.conn.is_autocommit()
            && let Err(error) = self.conn.execute_batch("ROLLBACK")
        {
            tracing::warn!(%error, "rolling back failed");
        }
    }
}

impl Store for SqliteStore {
    type Read = SqliteReader;

    fn epoch(&self) -> u32 {
        self.epoch
    }

    fn commit(&mut self, batches: &[Batch]) -> Result<Vec<Applied>, StoreError> {
        self.has_room(batches)?;
        self.transact(batches).map_err(|e| {
            self.roll_back();
            fault::classify("commit", &e)
        })
    }

    fn log_bytes(&self) -> u64 {
        let pages = self.log_pages.load(std::sync::atomic::Ordering::Relaxed);
        u64::from(pages) * u64::from(log::PAGE_BYTES)
    }

    fn letters_pruned(&self) -> u64 {
        self.tending.letters_pruned
    }

    fn tend(&mut self, idle: bool) -> Result<(), StoreError> {
        let rest = if idle { self.sync_rest() } else { Ok(()) };
        rest.and_then(|()| self.tend_now(idle)).map_err(|e| {
            self.roll_back();
            fault::classify("housekeeping", &e)
        })
    }

    fn wants_tending(&self) -> bool {
        self.has_chores()
    }

    fn reader(&self) -> Result<SqliteReader, StoreError> {
        SqliteReader::open(&self.options.path)
    }
}

/// A number as SQLite keeps it; 2^63 and more never occur in times, counters and ids.
fn int(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn state_of(stored: i64) -> rusqlite::Result<TaskState> {
    usize::try_from(stored)
        .ok()
        .and_then(|at| TaskState::ALL.get(at).copied())
        .ok_or_else(|| damaged(format!("{stored} is no task state")))
}

fn options_of(text: Option<String>) -> rusqlite::Result<Option<Box<TaskOptions>>> {
    text.map(|text| serde_json::from_str(&text).map(Box::new))
        .transpose()
        .map_err(|e| damaged(format!("a task's options: {e}")))
}

/// Something stored that can't be read back.
fn damaged(why: String) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Null, why.into())
}

fn unencodable(error: serde_json::Error) -> rusqlite::Error {
    rusqlite::Error::ToSqlConversionFailure(Box::new(error))
}
