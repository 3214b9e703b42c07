//! How starts go, by the test's word.

use std::collections::HashMap;
use std::time::Duration;

use ganger_core::{End, InstanceId};
use ganger_keeper::wire::Plan;

/// What a child does when it gets SIGTERM, SIGINT, SIGQUIT or SIGHUP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OnTerm {
    /// Dies of it at once.
    Dies,
    /// Exits with this code after this time.
    Exits(Duration, i32),
    /// Nothing.
    Ignores,
}

/// How one start goes.
#[derive(Debug, Clone)]
pub struct Act {
    /// Step, errno and detail of a start that fails.
    pub fails: Option<(String, i32, String)>,
    /// Time from the request to the answer.
    pub answers_after: Duration,
    /// When and how it ends by itself, counted from the answer.
    pub ends_after: Option<(Duration, End)>,
    /// What it does on a polite signal.
    pub on_term: OnTerm,
    /// Even SIGKILL takes this long (a process in uninterruptible sleep); meanwhile `EndTree` says stuck.
    pub stuck_for: Option<Duration>,
    /// Its pid, where something looks a real process up by it; numbers of its own otherwise.
    pub pid: Option<u32>,
}

impl Act {
    /// Runs until it is ended; dies of SIGTERM.
    #[must_use]
    pub const fn runs() -> Self {
        Self {
            fails: None,
            answers_after: Duration::ZERO,
            ends_after: None,
            on_term: OnTerm::Dies,
            stuck_for: None,
            pid: None,
        }
    }

    /// Can't be started.
    #[must_use]
    pub fn fails(step: &str, errno: i32, detail: &str) -> Self {
        Self { fails: Some((step.to_owned(), errno, detail.to_owned())), ..Self::runs() }
    }

    /// Exits by itself.
    #[must_use]
    pub fn exits(after: Duration, code: i32) -> Self {
        Self { ends_after: Some((after, End::Exited { code })), ..Self::runs() }
    }

    /// Runs and pays no heed to SIGTERM.
    #[must_use]
    pub fn ignores_term() -> Self {
        Self { on_term: OnTerm::Ignores, ..Self::runs() }
    }
}

type Says = Box<dyn FnMut(&Plan, u32) -> Act + Send>;

/// The test's word and how often each place was started.
pub(super) struct Script {
    says: Says,
    starts: HashMap<InstanceId, u32>,
}

impl Script {
    pub(super) fn new(says: Says) -> Self {
        Self { says, starts: HashMap::new() }
    }

    pub(super) fn next(&mut self, plan: &Plan) -> Act {
        let starts = self.starts.entry(plan.instance.clone()).or_default();
        *starts += 1;
        (self.says)(plan, *starts)
    }
}
