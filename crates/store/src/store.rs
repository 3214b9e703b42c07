//! The traits a backend implements: one write side, many read sides.

use std::sync::Arc;

use ganger_core::{Event, Priority, TaskId};

use crate::batch::{Applied, Batch};
use crate::control::{CacheStats, Limits};
use crate::dead::{DeadPage, DeadQuery};
use crate::error::StoreError;
use crate::rows::{Due, Page, QueueRow, ReadyRow, RunningRow, StoreSize, TaskQuery, TaskRow};
use crate::schedule::{FireRow, ScheduleRow};

/// Most rows of one page: keeps a read short enough not to hold back the checkpoints.
pub const PAGE_MAX: usize = 1_000;

/// The write side. One owner (the writer thread) has it.
pub trait Store: Send + 'static {
    /// Its read side.
    type Read: StoreRead;

    /// The fencing epoch of this opening: rose by one, durably, when it was opened.
    fn epoch(&self) -> u32;

    /// Applies batches in order in ONE transaction, fsynced when one of them says so.
    ///
    /// # Errors
    /// Nothing of any batch was committed. [`StoreError::Poisoned`] is final.
    fn commit(&mut self, batches: &[Batch]) -> Result<Vec<Applied>, StoreError>;

    /// Housekeeping between commits: checkpoints, history bounds. `idle`: nothing waits, so there is time for more.
    ///
    /// # Errors
    /// As [`Store::commit`]; nothing a caller was told is lost.
    fn tend(&mut self, idle: bool) -> Result<(), StoreError>;

    /// True when an idle moment would be used by [`Store::tend`].
    fn wants_tending(&self) -> bool;

    /// Bytes that wait to be brought home from a write-ahead log; 0 for a backend without one.
    fn log_bytes(&self) -> u64 {
        0
    }

    /// Dead letters that [`Store::tend`] dropped for the bounds of histories, since this opening.
    fn letters_pruned(&self) -> u64;

    /// A new read side.
    ///
    /// # Errors
    /// When it can't be opened.
    fn reader(&self) -> Result<Self::Read, StoreError>;
}

/// The read side: sees every commit that was acknowledged before the read began. Every answer is bounded.
pub trait StoreRead: Send + 'static {
    /// The task, unfinished or finished, with its attempts; `None` when the store does not know it (any more).
    ///
    /// # Errors
    /// When the read fails; the same holds for all methods here.
    fn task(&mut self, id: TaskId) -> Result<Option<TaskRow>, StoreError>;

    /// A page of tasks without their attempts.
    fn list(&mut self, query: &TaskQuery) -> Result<Page, StoreError>;

    /// A page of dead letters.
    fn dead(&mut self, query: &DeadQuery) -> Result<DeadPage, StoreError>;

    /// All queues with their counts.
    fn queues(&mut self) -> Result<Vec<QueueRow>, StoreError>;

    /// One queue with its counts.
    fn queue(&mut self, name: &str) -> Result<Option<QueueRow>, StoreError>;

    /// When the task became available that waits longest in this queue; milliseconds since 1970.
    fn oldest_available_ms(&mut self, queue: &str) -> Result<Option<u64>, StoreError>;

    /// The token buckets of a queue, by what they are of, and when each would be full again (wall clock, milliseconds since
    /// 1970). Those that are full may be missing.
    fn buckets(&mut self, queue: &str) -> Result<Vec<(Arc<str>, u64)>, StoreError>;

    /// Priorities that have available tasks, largest first.
    fn lanes(&mut self, queue: &str) -> Result<Vec<Priority>, StoreError>;

    /// Available tasks of one lane in order, after a place. Payloads stop it early at `max_bytes` (but at least one
    /// task comes). Fewer than `limit` rows and not `cut` means there are no more.
    fn refill(
        &mut self,
        queue: &str,
        priority: Priority,
        after_seq: i64,
        limit: usize,
        max_bytes: usize,
    ) -> Result<(Vec<ReadyRow>, bool), StoreError>;

    /// `scheduled` and `retryable` tasks whose time has come, at most `limit`.
    fn due(&mut self, now_ms: u64, limit: usize) -> Result<Due, StoreError>;

    /// Tasks with a last moment that has come, at most `limit`.
    fn limits(&mut self, now_ms: u64, limit: usize) -> Result<Limits, StoreError>;

    /// Whose result a task waits for, instead of running itself; `None`: nobody's.
    fn leader(&mut self, id: TaskId) -> Result<Option<TaskId>, StoreError>;

    /// What is known of a queue's result cache.
    fn cache_stats(&mut self, queue: &str) -> Result<CacheStats, StoreError>;

    /// Payload bytes of a queue's unfinished tasks. Walks over all of them: for queues bounded by bytes, at start.
    fn open_bytes(&mut self, queue: &str) -> Result<u64, StoreError>;

    /// Every task under a claim, in order of id.
    fn running(&mut self) -> Result<Vec<RunningRow>, StoreError>;

    /// Events after a number, oldest first.
    fn events(&mut self, after_seq: u64, limit: usize) -> Result<Vec<Event>, StoreError>;

    /// The newest events, oldest of them first.
    fn last_events(&mut self, n: usize) -> Result<Vec<Event>, StoreError>;

    /// One key of the desired state.
    fn desired(&mut self, key: &str) -> Result<Option<Vec<u8>>, StoreError>;

    /// Every key of the desired state that begins so, in order.
    fn desired_all(&mut self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, StoreError>;

    /// Ids an idempotency key stands for.
    fn pushed_under(&mut self, queue: &str, key: &str) -> Result<Option<Vec<TaskId>>, StoreError>;

    /// How much room it takes.
    fn size(&mut self) -> Result<StoreSize, StoreError>;

    /// Where every schedule is, by name.
    fn schedules(&mut self) -> Result<Vec<ScheduleRow>, StoreError>;

    /// The newest fires of a schedule, newest first.
    fn fires(&mut self, schedule: &str, limit: usize) -> Result<Vec<FireRow>, StoreError>;

    /// The highest id ever drawn, for [`ganger_core::TaskIdSource::new`].
    fn id_floor(&mut self) -> Result<Option<TaskId>, StoreError>;
}

/// A queue's name as operations carry it.
pub type QueueName = Arc<str>;
