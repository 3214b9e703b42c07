//! `GET /queues` and `GET /queues/{name}`.

use ganger_core::Durability;
use serde::{Deserialize, Serialize};

use super::{Seconds, V1};

/// All queues.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Queues {
    /// Version of the shape.
    pub v: V1,
    /// Ordered by name.
    pub queues: Vec<Queue>,
}

/// One queue.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Queue {
    /// Version of the shape.
    pub v: V1,
    /// Its name.
    pub name: String,
    /// Takes tasks but hands none out.
    pub paused: bool,
    /// Takes no new tasks; what it has goes on.
    #[serde(default)]
    pub draining: bool,
    /// Tasks by state.
    pub counts: QueueCounts,
    /// Age of the oldest available task in seconds.
    pub oldest_age_s: Option<Seconds>,
    /// What an acknowledgement promises.
    pub durability: Durability,
    /// What its result cache has done; absent while it has done nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<super::QueueCache>,
}

/// Tasks by state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct QueueCounts {
    /// Wait for their time.
    pub scheduled: u64,
    /// May be claimed.
    pub available: u64,
    /// Claimed by a worker.
    pub running: u64,
    /// Failed, to be tried again.
    pub retryable: u64,
    /// Ended well.
    pub completed: u64,
    /// Ended by request.
    pub cancelled: u64,
    /// Dead letters.
    pub discarded: u64,
}

impl QueueCounts {
    /// Tasks that have not ended. A queue is empty when this is 0.
    #[must_use]
    pub const fn open(&self) -> u64 {
        self.scheduled + self.available + self.running + self.retryable
    }
}
