//! The embedded backend: one SQLite file in WAL mode.

use std::path::{Path, PathBuf};

use ganger_core::{Event, Priority, TaskId};

use crate::batch::{Applied, Batch};
use crate::error::{OpenError, StoreError};
use crate::rows::{Due, Page, QueueRow, ReadyRow, RunningRow, TaskQuery, TaskRow};
use crate::store::{Store, StoreRead};

/// How to open the database.
#[derive(Debug, Clone)]
pub struct SqliteOptions {
    /// The file, `state.db` in the state folder. Made when missing.
    pub path: PathBuf,
    /// Finished tasks kept; older ones go first.
    pub history_rows: u64,
    /// How long a finished task is kept at most.
    pub history_age: std::time::Duration,
}

impl SqliteOptions {
    /// The defaults for a file: a million finished tasks, 30 days.
    #[must_use]
    pub fn new(path: impl AsRef<Path>) -> Self {
        Self {
            path: path.as_ref().to_owned(),
            history_rows: 1_000_000,
            history_age: std::time::Duration::from_secs(30 * 86_400),
        }
    }
}

/// The write side.
#[derive(Debug)]
pub struct SqliteStore {
    options: SqliteOptions,
    epoch: u32,
}

impl SqliteStore {
    /// Opens or makes the database: settings asserted by reading them back, schema migrated, the write-ahead log
    /// brought home, the epoch raised durably.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(options: SqliteOptions) -> Result<Self, OpenError> {
        Ok(Self { options, epoch: 0 })
    }
}

impl Store for SqliteStore {
    type Read = SqliteReader;

    fn epoch(&self) -> u32 {
        self.epoch
    }
    fn commit(&mut self, _batches: &[Batch]) -> Result<Vec<Applied>, StoreError> {
        Err(StoreError::Closed)
    }
    fn tend(&mut self, _idle: bool) -> Result<(), StoreError> {
        Ok(())
    }
    fn wants_tending(&self) -> bool {
        false
    }
    fn reader(&self) -> Result<SqliteReader, StoreError> {
        SqliteReader::open(&self.options.path)
    }
}

/// The read side: a connection that can only query.
#[derive(Debug)]
pub struct SqliteReader {}

impl SqliteReader {
    /// Opens a read connection on a database that exists.
    ///
    /// # Errors
    /// When it can't be opened.
    pub fn open(_path: &Path) -> Result<Self, StoreError> {
        Err(StoreError::Closed)
    }
}

impl StoreRead for SqliteReader {
    fn task(&mut self, _id: TaskId) -> Result<Option<TaskRow>, StoreError> {
        Err(StoreError::Closed)
    }
    fn list(&mut self, _query: &TaskQuery) -> Result<Page, StoreError> {
        Err(StoreError::Closed)
    }
    fn queues(&mut self) -> Result<Vec<QueueRow>, StoreError> {
        Err(StoreError::Closed)
    }
    fn queue(&mut self, _name: &str) -> Result<Option<QueueRow>, StoreError> {
        Err(StoreError::Closed)
    }
    fn oldest_available_ms(&mut self, _queue: &str) -> Result<Option<u64>, StoreError> {
        Err(StoreError::Closed)
    }
    fn lanes(&mut self, _queue: &str) -> Result<Vec<Priority>, StoreError> {
        Err(StoreError::Closed)
    }
    fn refill(
        &mut self,
        _queue: &str,
        _priority: Priority,
        _after_seq: i64,
        _limit: usize,
        _max_bytes: usize,
    ) -> Result<(Vec<ReadyRow>, bool), StoreError> {
        Err(StoreError::Closed)
    }
    fn due(&mut self, _now_ms: u64, _limit: usize) -> Result<Due, StoreError> {
        Err(StoreError::Closed)
    }
    fn running(&mut self) -> Result<Vec<RunningRow>, StoreError> {
        Err(StoreError::Closed)
    }
    fn events(&mut self, _after_seq: u64, _limit: usize) -> Result<Vec<Event>, StoreError> {
        Err(StoreError::Closed)
    }
    fn last_events(&mut self, _n: usize) -> Result<Vec<Event>, StoreError> {
        Err(StoreError::Closed)
    }
    fn desired(&mut self, _key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        Err(StoreError::Closed)
    }
    fn desired_all(&mut self, _prefix: &str) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        Err(StoreError::Closed)
    }
    fn pushed_under(
        &mut self,
        _queue: &str,
        _key: &str,
    ) -> Result<Option<Vec<TaskId>>, StoreError> {
        Err(StoreError::Closed)
    }
    fn id_floor(&mut self) -> Result<Option<TaskId>, StoreError> {
        Err(StoreError::Closed)
    }
}
