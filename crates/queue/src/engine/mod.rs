//! The engine.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use ganger_core::{Priority, TaskId, TaskState, Token};
use ganger_store::{AttemptError, Batch, Counts, Page, QueueRow, RunningRow, Settled, TaskRow};

use crate::actions::{Actions, Loaded};
use crate::config::{NewTask, PushError, QueueConfig};

/// A moment on both clocks. Timeouts use the monotonic one, stored times the wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Wall clock, milliseconds since 1970.
    pub wall_ms: u64,
    /// Monotonic clock.
    pub at: Instant,
}

impl Now {
    /// Reads both clocks.
    #[must_use]
    pub fn real() -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { wall_ms: u64::try_from(wall.as_millis()).unwrap_or(u64::MAX), at: Instant::now() }
    }

    /// The same moment later.
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        let ms = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        Self { wall_ms: self.wall_ms.saturating_add(ms), at: self.at + by }
    }
}

/// How to make an engine.
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// The store's epoch ([`ganger_store::Writer::epoch`]); any number ≥ 1 where only memory queues are used.
    pub epoch: u32,
    /// This machine's number in task ids.
    pub node: u8,
    /// The highest id the store has seen.
    pub id_floor: Option<TaskId>,
    /// Seed of the jitter.
    pub seed: u64,
}

impl EngineOptions {
    /// Node 0, nothing made yet, a random seed.
    #[must_use]
    pub fn new(epoch: u32) -> Self {
        Self { epoch, node: 0, id_floor: None, seed: fastrand::u64(..) }
    }
}

/// A configured queue, as long as this engine lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QueueIx(pub(crate) u32);

/// Who takes tasks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Worker {
    /// The owner's own key, handed back in actions.
    pub key: u64,
    /// The instance, e.g. `images#2`.
    pub name: Arc<str>,
    /// Its process; 0 where there is none yet (a command per task).
    pub pid: u32,
}

/// An attempt's end.
#[derive(Debug, Clone, PartialEq)]
pub struct Finish {
    /// The task.
    pub id: TaskId,
    /// The attempt.
    pub token: Token,
    /// The process that ran it, where it differs from the worker's.
    pub pid: Option<u32>,
    /// How it ended.
    pub how: How,
}

impl Finish {
    /// An end without a pid of its own.
    #[must_use]
    pub const fn new(id: TaskId, token: Token, how: How) -> Self {
        Self { id, token, pid: None, how }
    }
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq)]
pub enum How {
    /// With a result (JSON text).
    Completed(Bytes),
    /// With an error of the task's own.
    Error {
        /// Why.
        error: Box<AttemptError>,
        /// False: no further attempt makes sense, `discarded` at once.
        retryable: bool,
        /// The wait before the next attempt, instead of the backoff.
        retry_after: Option<Duration>,
    },
    /// The process ended while the attempt ran.
    Crash(Box<AttemptError>),
    /// Its time was over and it was ended.
    Timeout(Box<AttemptError>),
    /// Nobody knows how it ended, only that nothing of it runs any more.
    Lost(Box<AttemptError>),
    /// The worker wants it again later; costs no attempt.
    Snooze(Duration),
    /// It never began (a buffered task of a worker that went away); costs no attempt.
    Released,
    /// It was stopped because of a cancel request.
    Cancelled,
}

/// A word about an attempt that is not the task's (any more).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("attempt {token} of task {id} is stale: the task is not running under it")]
pub struct Stale {
    /// The task.
    pub id: TaskId,
    /// The attempt.
    pub token: Token,
}

/// Counts since the engine was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EngineStats {
    /// Tasks pushed.
    pub pushed: u64,
    /// Attempts claimed.
    pub claimed: u64,
    /// Tasks completed.
    pub completed: u64,
    /// Tasks discarded.
    pub discarded: u64,
    /// Attempts that failed and will be tried again.
    pub retried: u64,
    /// Attempts that ended by crash.
    pub crashed: u64,
    /// Words about stale attempts, refused here or by the store.
    pub stale: u64,
    /// Commits that failed.
    pub failed_commits: u64,
}

/// The rules. See the crate's documentation for the loop that drives it.
#[derive(Debug)]
pub struct Engine {
    actions: Actions,
    stats: EngineStats,
}

#[expect(
    unused_variables,
    clippy::needless_pass_by_value,
    reason = "the bodies follow in the next commit"
)]
impl Engine {
    /// An engine without queues.
    #[must_use]
    pub fn new(options: EngineOptions) -> Self {
        Self { actions: Actions::default(), stats: EngineStats::default() }
    }

    /// Adds a queue or changes its rules. The durability of a queue that exists is not changed while it has unfinished
    /// tasks.
    pub fn configure(&mut self, name: &str, config: QueueConfig) -> QueueIx {
        QueueIx(0)
    }

    /// A configured queue by name.
    #[must_use]
    pub fn queue(&self, name: &str) -> Option<QueueIx> {
        None
    }

    /// What the store knows of a durable queue at start: pause, counts, and the lanes with available tasks. Tasks come
    /// by [`crate::Read`]s.
    pub fn restore(&mut self, ix: QueueIx, row: &QueueRow, lanes: &[Priority]) {}

    /// Claims of earlier epochs at start: the tasks count as running under their old tokens, with worker key 0, until
    /// [`Engine::adopt`] and [`Engine::finish`] say more. Rows of queues that are not configured come back.
    pub fn resume(&mut self, rows: Vec<RunningRow>, now: Now) -> Vec<RunningRow> {
        rows
    }

    /// A resumed attempt lives on at this worker.
    ///
    /// # Errors
    /// [`Stale`].
    pub fn adopt(&mut self, id: TaskId, token: Token, worker: &Worker) -> Result<(), Stale> {
        Err(Stale { id, token })
    }

    /// New tasks. The reply with tag `req` comes when they are acknowledged.
    ///
    /// # Errors
    /// [`PushError`]; nothing was taken then and no reply follows.
    pub fn push(
        &mut self,
        req: u64,
        ix: QueueIx,
        key: Option<Box<str>>,
        tasks: Vec<NewTask>,
        now: Now,
    ) -> Result<(), PushError> {
        Ok(())
    }

    /// True when [`Engine::take`] would find something in this queue now.
    #[must_use]
    pub fn has_ready(&self, ix: QueueIx) -> bool {
        false
    }

    /// Claims up to `n` tasks of these queues for a worker: highest priority first over all of them, oldest first
    /// inside one priority. The first `starts` begin when they are sent, the others wait in the worker's buffer.
    /// Returns how many there were; they come in [`Actions::send`] after their commit, or in [`Actions::returned`].
    pub fn take(
        &mut self,
        worker: &Worker,
        queues: &[QueueIx],
        n: usize,
        starts: usize,
        now: Now,
    ) -> usize {
        0
    }

    /// A buffered attempt began, or a command's process is known now: its clock runs from here. `record` also stores it
    /// (worth a row for long attempts only).
    ///
    /// # Errors
    /// [`Stale`].
    pub fn started(
        &mut self,
        id: TaskId,
        token: Token,
        pid: Option<u32>,
        record: bool,
        now: Now,
    ) -> Result<(), Stale> {
        Err(Stale { id, token })
    }

    /// An attempt ended; the rules decide what becomes of the task.
    ///
    /// # Errors
    /// [`Stale`]: the attempt is not the task's; tell and forget it.
    pub fn finish(&mut self, finish: Finish, now: Now) -> Result<(), Stale> {
        Err(Stale { id: finish.id, token: finish.token })
    }

    /// A task shall not run. The reply comes after the commit.
    pub fn cancel(&mut self, req: u64, id: TaskId, now: Now) {}

    /// A discarded or cancelled task gets a fresh budget of attempts. The reply comes after the commit.
    pub fn retry(&mut self, req: u64, id: TaskId, now: Now) {}

    /// Whether a queue hands out tasks. Takes effect at once; the reply comes after the commit.
    pub fn pause(&mut self, req: u64, ix: QueueIx, paused: bool) {}

    /// Time has passed: due tasks, expired attempts.
    pub fn tick(&mut self, now: Now) {}

    /// When to call [`Engine::tick`] next.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        None
    }

    /// What must be committed, when there is something and fewer than [`crate::IN_FLIGHT_MAX`] batches are out.
    pub fn flush(&mut self) -> Option<Batch> {
        None
    }

    /// The writer's answer, in the order of the batches.
    pub fn settled(&mut self, settled: Settled, now: Now) {}

    /// The answer to a read.
    pub fn loaded(&mut self, loaded: Loaded, now: Now) {}

    /// Takes what is to be done.
    #[must_use]
    pub fn actions(&mut self) -> Actions {
        std::mem::take(&mut self.actions)
    }

    /// How many tasks of a queue are in each state. Of durable queues only the unfinished states are kept here.
    #[must_use]
    pub fn counts(&self, ix: QueueIx) -> Counts {
        Counts::default()
    }

    /// Whether a queue hands out nothing.
    #[must_use]
    pub fn is_paused(&self, ix: QueueIx) -> bool {
        false
    }

    /// A queue's name.
    #[must_use]
    pub fn name(&self, ix: QueueIx) -> Arc<str> {
        "".into()
    }

    /// A queue's rules.
    #[must_use]
    pub fn config(&self, ix: QueueIx) -> Option<&QueueConfig> {
        None
    }

    /// A task of a memory queue, unfinished or among the last finished ones. Durable tasks: ask the store.
    #[must_use]
    pub fn memory_task(&self, id: TaskId) -> Option<TaskRow> {
        None
    }

    /// Tasks of a memory queue, as `StoreRead::list`.
    #[must_use]
    pub fn memory_list(&self, ix: QueueIx, state: Option<TaskState>, limit: usize) -> Page {
        Page::default()
    }

    /// When the task of a memory queue became available that waits longest; milliseconds since 1970.
    #[must_use]
    pub fn memory_oldest_ms(&self, ix: QueueIx) -> Option<u64> {
        None
    }

    /// Counts since the engine was made.
    #[must_use]
    pub const fn stats(&self) -> EngineStats {
        self.stats
    }
}
