//! When a failed task runs again, and when not any more.
//!
//! [`RetryRules`] are a queue's; a task may set some of them for itself ([`ganger_store::TaskOptions`]), and an error's class may
//! have its own ([`ClassRule`]). What a task sets for itself wins over what its error's class says, and that over the queue's.
//! `decide` is the pure function over all of it.

mod class;
pub(crate) mod decide;

use std::time::Duration;

use ganger_core::TaskBackoff;
use serde::{Deserialize, Serialize};

pub use class::{CLASS_RULES_MAX, ClassRule, OnClass};

/// Ends by crash or timeout until quarantine, where nothing else is said. One may be a neighbour's fault (the machine ran out of
/// memory), two a coincidence; Sidekiq's super_fetch gives up on the third recovery as well.
pub const CRASH_LIMIT: u32 = 3;

/// Number of the attempt up to which a retry-after is free. A worker that says "later" for ever would otherwise never be told off,
/// and each attempt leaves a row.
pub const SNOOZE_FREE_MAX: u32 = 1_000;

/// When a failed task runs again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RetryRules {
    /// Attempts in all, at least 1.
    pub max: u32,
    /// Wait between them.
    pub backoff: TaskBackoff,
    /// No further attempt would begin later than this after the push (or after it was brought back); `None`: any age.
    pub max_age: Option<Duration>,
    /// Attempts that may end by crash or timeout: the last of so many is the last of the task. 0: no limit but `max`.
    pub crash_limit: u32,
    /// What is different for some classes of errors.
    pub classes: Vec<ClassRule>,
}

impl Default for RetryRules {
    fn default() -> Self {
        Self {
            max: 5,
            backoff: TaskBackoff::DEFAULT,
            max_age: None,
            crash_limit: CRASH_LIMIT,
            classes: Vec::new(),
        }
    }
}
