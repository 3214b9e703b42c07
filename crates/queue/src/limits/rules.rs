//! What limits a queue has, as its configuration says.

use std::collections::BTreeMap;

use ganger_core::Rate;
use serde::{Deserialize, Serialize};

/// One limit: how many at once, and how often.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    /// Most claims at a time, from a claim's take to its confirmed end; what waits in a worker's buffer counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running: Option<u32>,
    /// Most claims in a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
}

impl Limit {
    /// True when it limits nothing.
    #[must_use]
    pub const fn is_none(&self) -> bool {
        self.running.is_none() && self.rate.is_none()
    }
}

/// All limits of one queue. Its `Default` limits nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitRules {
    /// Of the queue as a whole.
    #[serde(default)]
    pub queue: Limit,
    /// Of single kinds of work.
    #[serde(default)]
    pub kinds: BTreeMap<String, Limit>,
    /// Of each key.
    #[serde(default)]
    pub per_key: Limit,
    /// The payload field that is the key of a task without a `concurrency_key` of its own; dots go into objects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

impl LimitRules {
    /// True when nothing is limited.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.queue.is_none() && self.per_key.is_none() && self.kinds.values().all(Limit::is_none)
    }
}
