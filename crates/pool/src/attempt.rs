//! What passes between the dispatcher and a worker's owner: attempts one way, reports the other.

use std::sync::Arc;
use std::time::Duration;

use ganger_core::{TaskId, Token};
use ganger_queue::{Attempt, How, Now, Saying};
use tokio::sync::mpsc;

use crate::pace::Room;

/// How one attempt ended, as its worker's owner saw it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Report {
    pub id: TaskId,
    pub token: Token,
    /// When it began; `None` if it never did.
    pub began: Option<Now>,
    /// The process that ran it, where there was one.
    pub pid: Option<u32>,
    /// What it said that was not told yet.
    pub said: Option<Box<Saying>>,
    pub how: How,
}

/// One message to a worker's owner; at most one per tick.
#[derive(Debug, Default)]
pub(crate) struct ToWorker {
    /// Attempts whose claims are committed.
    pub attempts: Vec<Attempt>,
    /// How many answers of which session are committed.
    pub committed: Option<Answers>,
    /// Running attempts that shall stop.
    pub stops: Vec<Stop>,
}

impl ToWorker {
    pub(crate) const fn is_empty(&self) -> bool {
        self.attempts.is_empty() && self.committed.is_none() && self.stops.is_empty()
    }
}

/// An attempt shall stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stop {
    pub id: TaskId,
    pub token: Token,
    /// Its time is over, which was this long; `None`: by request.
    pub after: Option<Duration>,
}

/// Answers of one session (one process under one daemon) so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Answers {
    pub session: u32,
    pub count: u64,
}

/// What a worker's owner tells the dispatcher.
#[derive(Debug)]
pub(crate) struct FromWorker {
    /// The worker's key.
    pub key: u64,
    /// Attempts that ended.
    pub reports: Vec<Report>,
    /// Attempts that began some time ago and go on: worth a row.
    pub began: Vec<(TaskId, Token, Option<u32>, Now)>,
    /// What attempts that go on said since the last time.
    pub said: Vec<(TaskId, Token, Saying)>,
    /// All answers so far, those of `reports` included.
    pub answers: Answers,
    /// What it can have now; nothing when it takes nothing.
    pub room: Room,
    /// What it runs at once.
    pub lanes: u32,
    /// Its process; 0 where there is none.
    pub pid: u32,
}

/// A worker enters the dispatcher's table.
#[derive(Debug)]
pub(crate) struct Joining {
    pub key: u64,
    /// The instance, e.g. `images#2`.
    pub name: Arc<str>,
    /// Whose tasks it takes.
    pub queues: Vec<Arc<str>>,
    /// Attempts that run at once.
    pub lanes: u32,
    pub to: mpsc::Sender<ToWorker>,
}
