//! What the store tells: rows as readers see them.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use bytes::Bytes;
use ganger_core::{Priority, TaskId, TaskState, Token};

use crate::batch::{AttemptError, AttemptWord, DeadReason, TaskOptions};
use crate::said::Said;

/// A task that can be claimed, with all a worker needs.
#[derive(Debug, Clone, PartialEq)]
pub struct ReadyRow {
    /// The task.
    pub id: TaskId,
    /// Larger first.
    pub priority: Priority,
    /// Smaller first inside one priority.
    pub seq: i64,
    /// What kind of work it is.
    pub kind: Option<Arc<str>>,
    /// JSON text.
    pub payload: Bytes,
    /// Number of its last attempt; 0 when none was made.
    pub attempt: u32,
    /// Attempts that don't count against the maximum: those before the last manual retry, and snoozed ones.
    pub base: u32,
    /// Ends by crash or timeout since it was pushed or brought back.
    pub crashes: u32,
    /// What differs from the queue's configuration.
    pub options: Option<Box<TaskOptions>>,
}

/// Tasks whose time has come, and when the next one comes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Due {
    /// Earliest first.
    pub rows: Vec<DueRow>,
    /// Due time of the earliest `scheduled` or `retryable` task that is not in `rows`; milliseconds since 1970.
    pub next_ms: Option<u64>,
}

/// A task whose time has come.
#[derive(Debug, Clone, PartialEq)]
pub struct DueRow {
    /// Its queue.
    pub queue: Arc<str>,
    /// `scheduled` or `retryable`.
    pub from: TaskState,
    /// The task. Its `seq` is 0: whoever promotes it draws one.
    pub row: ReadyRow,
}

/// A task under a claim, as a new daemon finds it.
#[derive(Debug, Clone, PartialEq)]
pub struct RunningRow {
    /// Its queue.
    pub queue: Arc<str>,
    /// The task; `attempt` is the number of the attempt that runs.
    pub row: ReadyRow,
    /// The claim.
    pub token: Token,
    /// The worker's instance.
    pub worker: Arc<str>,
    /// The worker's process; 0 where none was known.
    pub pid: u32,
    /// Wall clock, milliseconds since 1970.
    pub claimed_at_ms: u64,
    /// When it began; `None` while it waited in the worker's buffer.
    pub started_at_ms: Option<u64>,
    /// What it had said when that was stored last.
    pub said: Option<Box<Said>>,
}

/// A task as users see it, unfinished or finished.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskRow {
    /// The task.
    pub id: TaskId,
    /// Its queue.
    pub queue: Arc<str>,
    /// What kind of work it is.
    pub kind: Option<Arc<str>>,
    /// Where it is in its life.
    pub state: TaskState,
    /// Larger first.
    pub priority: Priority,
    /// Words to find it by.
    pub tags: Vec<Box<str>>,
    /// JSON text.
    pub payload: Bytes,
    /// When a `scheduled` or `retryable` task may run; milliseconds since 1970.
    pub run_at_ms: Option<u64>,
    /// When it was finished; milliseconds since 1970.
    pub ended_at_ms: Option<u64>,
    /// What its worker answered, when `completed`.
    pub result: Option<Bytes>,
    /// Why its last attempt failed.
    pub error: Option<AttemptError>,
    /// Why it was given up, when `discarded`; `None` for those of before such reasons were kept.
    pub reason: Option<DeadReason>,
    /// Ends by crash or timeout since it was pushed or brought back.
    pub crashes: u32,
    /// Number of its last attempt.
    pub attempt: u32,
    /// What it asked for beyond being run.
    pub control: Option<Box<crate::control::Control>>,
    /// Its attempts, oldest first. Empty in lists.
    pub attempts: Vec<AttemptRow>,
}

/// One attempt.
#[derive(Debug, Clone, PartialEq)]
pub struct AttemptRow {
    /// Number, from 1.
    pub n: u32,
    /// The worker's instance.
    pub worker: Arc<str>,
    /// Its process; 0 where none was known.
    pub pid: u32,
    /// Milliseconds since 1970; `None` while it waits in the worker's buffer.
    pub started_at_ms: Option<u64>,
    /// Milliseconds since 1970; `None` while it runs.
    pub ended_at_ms: Option<u64>,
    /// How it ended; `None` while it runs.
    pub outcome: Option<AttemptWord>,
    /// Why, for everything but success.
    pub error: Option<AttemptError>,
    /// What it said; `None`: nothing. Of a running one as it was stored last.
    pub said: Option<Box<Said>>,
}

/// Whether a queue takes tasks and hands them out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Gate {
    /// Hands out nothing.
    pub paused: bool,
    /// Takes nothing new.
    pub draining: bool,
    /// When one of these changed last; milliseconds since 1970.
    pub since_ms: Option<u64>,
    /// The configuration changed it, not a person.
    pub by_config: bool,
}

/// A queue the store knows.
#[derive(Debug, Clone, PartialEq)]
pub struct QueueRow {
    /// Its name.
    pub name: Arc<str>,
    /// Whether it takes tasks and hands them out.
    pub gate: Gate,
    /// How many tasks are where.
    pub counts: Counts,
}

impl QueueRow {
    /// One that has had no tasks.
    #[must_use]
    pub fn empty(name: &str) -> Self {
        Self { name: name.into(), gate: Gate::default(), counts: Counts::default() }
    }
}

/// How many tasks of a queue are in each state. `completed` and `cancelled` count all that ever were, also those whose
/// rows were dropped from the history by now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts([u64; 7]);

impl Counts {
    /// How many are in a state.
    #[must_use]
    pub const fn get(&self, state: TaskState) -> u64 {
        self.0[state as usize]
    }

    /// Sets how many are in a state.
    pub const fn set(&mut self, state: TaskState, n: u64) {
        self.0[state as usize] = n;
    }

    /// Adds `by` (may be negative, never below 0).
    pub const fn add(&mut self, state: TaskState, by: i64) {
        self.0[state as usize] = self.0[state as usize].saturating_add_signed(by);
    }

    /// Tasks that are not finished.
    #[must_use]
    pub const fn unfinished(&self) -> u64 {
        self.get(TaskState::Scheduled)
            + self.get(TaskState::Available)
            + self.get(TaskState::Running)
            + self.get(TaskState::Retryable)
    }
}

/// Sizes of a store's files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StoreSize {
    /// Bytes of the database file.
    pub bytes: u64,
    /// Of these, bytes that hold nothing and are used next.
    pub free_bytes: u64,
    /// Bytes of the write-ahead log's file.
    pub log_bytes: u64,
}

/// Which tasks to list.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TaskQuery {
    /// Only this queue's.
    pub queue: Option<String>,
    /// Only these.
    pub state: Option<TaskState>,
    /// Only of this kind.
    pub kind: Option<String>,
    /// Only those that carry this tag.
    pub tag: Option<String>,
    /// Only those pushed at or after this moment; milliseconds since 1970.
    pub since_ms: Option<u64>,
    /// Only those pushed before this moment; milliseconds since 1970.
    pub until_ms: Option<u64>,
    /// Only those with all these words in kind, tags, payload, result or error. Finished tasks of a searchable queue are
    /// found by an index of whole words (the last one may be the beginning of one); all others are read and looked
    /// through, part by part.
    pub text: Option<String>,
    /// At most so many, capped at [`crate::store::PAGE_MAX`].
    pub limit: usize,
    /// Go on after a page.
    pub after: Option<Cursor>,
}

/// Where the next page begins. Opaque; written as text in the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// True once the unfinished tasks are through.
    pub(crate) finished: bool,
    /// The last id looked at.
    pub(crate) id: i64,
}

impl Cursor {
    /// Goes on behind this task, in the order of lists.
    #[must_use]
    pub const fn behind(task: &TaskRow) -> Self {
        Self { finished: task.state.is_final(), id: task.id.raw() }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{:x}", if self.finished { 'f' } else { 'u' }, self.id)
    }
}

/// A text that is no cursor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a cursor: pass the `next` of the page before")]
pub struct CursorError(String);

impl CursorError {
    pub(crate) fn new(given: &str) -> Self {
        Self(given.chars().take(40).collect())
    }
}

impl FromStr for Cursor {
    type Err = CursorError;

    fn from_str(s: &str) -> Result<Self, CursorError> {
        let fail = || CursorError::new(s);
        let finished = match s.as_bytes().first() {
            Some(b'f') => true,
            Some(b'u') => false,
            _ => return Err(fail()),
        };
        let id = i64::from_str_radix(&s[1..], 16).map_err(|_| fail())?;
        Ok(Self { finished, id })
    }
}

/// One page of a list.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Page {
    /// The tasks: unfinished ones oldest first, then finished ones newest first. May be fewer than asked for, also
    /// none, when `next` is set: a read looks at a bounded number of rows.
    pub tasks: Vec<TaskRow>,
    /// Where to go on; `None` at the end.
    pub next: Option<Cursor>,
}
