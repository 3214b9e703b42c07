//! When an instance is started again, how long it waits, and how it is ended: plain data, no behaviour.

use std::time::Duration;

use ganger_core::{Backoff, CauseBackoffs, Dur, FailureCause};
use serde::{Deserialize, Serialize};

/// Which ends lead to a new start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Restart {
    /// Every end.
    Always,
    /// Every end but exit code 0.
    #[default]
    OnFailure,
    /// None.
    Never,
}

/// How many automatic restarts are allowed in which time before the breaker opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartLimit {
    /// Restarts within the window. At most [`StartLimit::MAX_TRACKED`].
    pub max: u32,
    /// The window.
    pub within: Duration,
    /// How long the breaker stays open before one probe start.
    pub breaker: Duration,
}

impl StartLimit {
    /// Restart times remembered per instance: 16 bytes each, so 64 KiB at the very most.
    pub const MAX_TRACKED: u32 = 4_096;
}

impl Default for StartLimit {
    /// 10 in 60 s, then 60 s of silence.
    fn default() -> Self {
        Self { max: 10, within: Duration::from_secs(60), breaker: Duration::from_secs(60) }
    }
}

/// What the instance's state machine goes by.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// Which ends lead to a new start.
    pub restart: Restart,
    /// The wait before it.
    pub backoff: Backoff,
    /// Other waits for some causes.
    pub backoff_by: CauseBackoffs,
    /// Up this long counts as healthy again. Absent: [`Policy::stable_after`].
    pub healthy_after: Option<Duration>,
    /// Absent: no limit.
    pub start_limit: Option<StartLimit>,
    /// From the stop signal to the end of the tree by force.
    pub stop_timeout: Duration,
    /// It finishes by itself what it has and ends, when told: from then to the stop signal. Absent: the signal comes at once.
    pub drain: Option<Duration>,
    /// From exec to ready. Absent: no readiness is declared and a started program counts as ready.
    pub ready_timeout: Option<Duration>,
    /// From exec to the end of its start-up. Absent: none is declared, and readiness has its time from exec on.
    pub startup_timeout: Option<Duration>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            restart: Restart::OnFailure,
            backoff: Backoff::SERVICE,
            backoff_by: CauseBackoffs::default(),
            healthy_after: None,
            start_limit: Some(StartLimit::default()),
            stop_timeout: Duration::from_secs(10),
            drain: None,
            ready_timeout: None,
            startup_timeout: None,
        }
    }
}

impl Policy {
    /// An instance that was up this long after a start-up of `startup` counts as healthy again: its failures in a row
    /// are forgotten. The greater of 10 s and ten times the start-up time, so that a slow starter that dies right after
    /// it got ready does not reset its own backoff.
    #[must_use]
    pub fn stable_after(startup: Duration) -> Duration {
        Duration::from_secs(10).max(startup.saturating_mul(10))
    }

    /// How long it must be up to count as healthy again, after a start-up of `startup`.
    pub(crate) fn healthy(&self, startup: Duration) -> Duration {
        self.healthy_after.unwrap_or_else(|| Self::stable_after(startup))
    }

    /// The wait after the `failures`-th failure in a row, whose cause was `cause`.
    pub(crate) fn wait(&self, cause: FailureCause, failures: u32, unit: f64) -> Duration {
        self.backoff_by.of(cause).unwrap_or(self.backoff).delay(failures, unit)
    }

    /// The limit as a person would say it.
    pub(crate) fn limit_text(limit: &StartLimit) -> String {
        format!("{} restarts in {}", limit.max, Dur(limit.within))
    }
}
