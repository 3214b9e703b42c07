//! One worker: the owner task of a place in a pool, of its process (through `supervise`) and of the attempts it holds.
//!
//! ```text
//!                    Started                     stop, restart, remove
//!   no process ────────────────► taking ──────────────────────────────► draining ─ empty, or time is up ─► ended ─┐
//!     ▲   ▲                        │  │                                                                           │
//!     │   │ Ended: attempts told   │  │ an attempt is stuck, garbage, a line without end, a closed channel        │
//!     │   └────────────────────────┘  ▼                                                                           │
//!     │                             doomed: takes nothing; ended as soon as only condemned attempts run           │
//!     └──────────────────────────────────────── Ended ◄───────────────────────────────────────────────────────────┘
//!
//!   adopted (a new daemon): SDK workers are asked with `$sync` and have 2 s; raw and stdio workers with an open attempt are doomed
//! ```
//!
//! It owns nothing durable and decides nothing about tasks: every attempt it was given is reported to the dispatcher exactly once
//! ([`load`]). Which event wins: bytes that were sent before the end of a process are read before the end is acted on.

mod end;
pub(crate) mod gone;
mod heard;
mod link;
pub(crate) mod load;
#[cfg(test)]
mod load_tests;
mod peers;
mod ping;
mod process;
mod recycle;
mod swallowed;
mod task;
mod words;

use std::sync::Arc;
use std::time::Duration;

use ganger_store::RunningRow;
use ganger_supervise::{InstanceView, Surroundings};
use tokio::sync::{mpsc, oneshot, watch};

pub(crate) use link::failed;
pub(crate) use process::attempt_of;
pub(crate) use task::{Worker, WorkerParts};
pub(crate) use words::Words;

use crate::spec::PoolSpec;

/// Orders of the dispatcher that may wait: it sends one per tick at most, and keeps what does not fit.
pub(crate) const ORDERS: usize = 16;

/// Commands of people that may wait.
pub(crate) const COMMANDS: usize = 16;

/// The answer to a command of a person.
pub(crate) type Reply = oneshot::Sender<Result<(), String>>;

/// What the pool tells one of its workers.
#[derive(Debug)]
pub(crate) enum Command {
    Start(Reply),
    Restart(Reply),
    /// Stop; with `leave` the place is given up. What it runs is ended when it takes longer than `within`.
    Stop {
        why: String,
        leave: bool,
        within: Option<Duration>,
        reply: Reply,
    },
    /// New rules. A changed plan replaces the process once it is idle.
    Replace(Arc<PoolSpec>),
}

/// What every worker of a daemon shares.
#[derive(Debug, Clone)]
pub(crate) struct Shared {
    pub around: Surroundings,
    /// To the dispatcher.
    pub tell: mpsc::Sender<crate::dispatcher::Msg>,
    /// Rings when a view changed. One place: a ring that waits says it all.
    pub changed: mpsc::Sender<()>,
}

/// What the pool keeps of a worker.
#[derive(Debug)]
pub(crate) struct WorkerHandle {
    pub key: u64,
    pub commands: mpsc::Sender<Command>,
    pub view: watch::Receiver<Option<Arc<InstanceView>>>,
}

/// Attempts of an earlier daemon at one worker, oldest first.
pub(crate) type Claimed = Vec<RunningRow>;
