//! The dispatcher: one owner task that drives the queue engine, the store's writer and the workers.
//!
//! ```text
//!  pushes, cancels, looks ──┐                                   ┌─► replies, watchers, streams
//!  reports of workers ──────┤  one tick: all that waits         │
//!  commits of the writer ───┼─► engine ─► workers with room ────┼─► ONE batch to the writer
//!  reads, time ─────────────┘             take tasks            └─► per worker ONE message: attempts, $ack, stops
//! ```
//!
//! It owns which worker holds how much; which attempts those are is the worker's owner's. It never waits for a worker and never
//! does I/O: what can't be delivered now stays in the worker's row until the next tick. Nothing here happens per task but hash
//! look-ups: no channel, no tokio task.

mod deliver;
mod empty;
mod load;
mod requests;
mod run;
mod said;
mod table;
#[cfg(test)]
mod tests;
mod workers;

use std::sync::Arc;

use ganger_core::{TaskId, TaskState};
use ganger_queue::{EngineStats, GateSet, NewTask, QueueConfig};
use ganger_store::{Page, TaskRow};
use tokio::sync::oneshot;

pub(crate) use run::{Dispatcher, DispatcherParts, now, until};

use crate::attempt::{FromWorker, Joining};
use crate::autoscale::PoolLoad;
use crate::error::TaskError;
use crate::stream::StreamRoom;
use crate::tasks::{Ended, Pushed, QueueLook};

/// Messages that may wait. One message carries a whole batch, so this is far above what a tick finds; it makes pushers
/// and workers wait when the dispatcher can't follow.
pub(crate) const INBOX: usize = 1_024;

/// Messages taken in one tick: bounds the size of a commit and so everyone's latency.
const TICK_MAX: usize = 512;

/// Callers that may wait for single tasks at a time: at about 100 bytes each 10 MB.
const WATCHERS_MAX: usize = 100_000;

type Answer<T> = oneshot::Sender<Result<T, TaskError>>;

/// What the dispatcher is told.
#[derive(Debug)]
pub(crate) enum Msg {
    Push(Pushing),
    /// Several pushes that share a commit: all of them are taken, or none.
    PushAll {
        queue: Arc<str>,
        groups: Vec<crate::bulk::Group>,
        reply: Answer<crate::bulk::GroupAnswers>,
    },
    Cancel {
        id: TaskId,
        reply: Answer<()>,
    },
    Priority {
        id: TaskId,
        priority: ganger_core::Priority,
        reply: Answer<()>,
    },
    Retry {
        id: TaskId,
        reply: Answer<()>,
    },
    Replay {
        id: TaskId,
        attempt: Option<u32>,
        payload: Option<bytes::Bytes>,
        reply: Answer<()>,
    },
    Purge {
        id: TaskId,
        attempt: Option<u32>,
        reply: Answer<()>,
    },
    Gate {
        queue: Arc<str>,
        set: GateSet,
        by_config: bool,
        reply: Answer<()>,
    },
    Configure {
        queues: Vec<(String, QueueConfig)>,
        reply: Answer<()>,
    },
    Watch {
        id: TaskId,
        reply: oneshot::Sender<Ended>,
    },
    WatchEmpty {
        queue: Arc<str>,
        reply: Answer<()>,
    },
    OpenStream {
        queue: Arc<str>,
        results: tokio::sync::mpsc::Sender<Vec<ganger_queue::Finished>>,
        reply: Answer<u64>,
    },
    MemoryTask {
        id: TaskId,
        reply: oneshot::Sender<Option<Box<TaskRow>>>,
    },
    MemoryList {
        queue: Arc<str>,
        state: Option<TaskState>,
        limit: usize,
        reply: Answer<Option<Page>>,
    },
    Look {
        queue: Option<Arc<str>>,
        reply: Answer<Vec<QueueLook>>,
    },
    /// Why a task does not run, as far as queues and workers know.
    Why {
        task: Box<TaskRow>,
        /// Whose result it waits for.
        leader: Option<Box<TaskRow>>,
        reply: oneshot::Sender<crate::why::Facts>,
    },
    /// What the running attempt of a task said, and its number.
    Said {
        id: TaskId,
        reply: oneshot::Sender<Option<(u32, Box<ganger_store::Said>)>>,
    },
    /// How far running tasks are.
    Progress {
        ids: Vec<TaskId>,
        reply: oneshot::Sender<Vec<(TaskId, ganger_store::Progress)>>,
    },
    /// What attempts of a task say from now on.
    Listen {
        id: TaskId,
        to: tokio::sync::mpsc::Sender<crate::said::Heard>,
        reply: Answer<()>,
    },
    Stats {
        reply: oneshot::Sender<DispatchStats>,
    },
    /// How loaded a pool is.
    PoolLoad {
        pool: Arc<str>,
        queues: Vec<Arc<str>>,
        reply: oneshot::Sender<PoolLoad>,
    },
    /// Answered when a task of these queues waits that nobody took.
    WatchWork {
        queues: Vec<Arc<str>>,
        reply: oneshot::Sender<()>,
    },
    Join(Joining),
    Leave {
        key: u64,
    },
    /// The worker takes from other queues, or runs more or fewer at once.
    Retarget {
        key: u64,
        queues: Vec<Arc<str>>,
        lanes: u32,
    },
    Worker(FromWorker),
    /// Rows of claims of an earlier epoch that live on at a worker.
    Adopt {
        key: u64,
        attempts: Vec<(TaskId, ganger_core::Token)>,
    },
    /// No attempt is handed out from now on; answered when none is with a worker.
    Drain {
        reply: oneshot::Sender<()>,
    },
}

/// One push.
#[derive(Debug)]
pub(crate) struct Pushing {
    pub queue: Arc<str>,
    pub key: Option<Box<str>>,
    /// The fire of a schedule that this is; then there is one task and no key.
    pub fire: Option<Box<ganger_store::Fire>>,
    pub tasks: Vec<NewTask>,
    pub reply: oneshot::Sender<Result<Pushed, TaskError>>,
    pub stream: Option<StreamRoom>,
}

/// Figures for metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DispatchStats {
    /// The engine's counts.
    pub engine: EngineStats,
    /// Ticks done.
    pub ticks: u64,
    /// Attempts sent to workers.
    pub sent: u64,
    /// Workers in the table.
    pub workers: u64,
    /// Attempts with workers now.
    pub holding: u64,
}
