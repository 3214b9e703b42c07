//! One rule about one object. Pure: what the condition says goes in with its time, what happened comes out.
//!
//! ```text
//!               true            `for` over                 false             `keep_firing` over
//!   inactive ─────────▶ pending ───────────▶ firing ──────────────▶ keeping ─────────────────▶ inactive (resolved)
//!      ▲                  │ false               ▲                      │ true
//!      └──────────────────┘                     └──────────────────────┘
//!
//!   in any of them, when a value is missing:   missing = "keep"   stands still, clocks too; firing: stale after 5 min, lost after 24 h (told)
//!                                              missing = "alert"  goes on as if true
//!                                              missing = "ok"     goes on as if false; an end says that data was missing
//! ```
//!
//! Without `for`, pending is passed in the same step, and so is keeping without `keep_firing`. Missing is shown as a state of its own, and what it
//! holds up is kept beneath. Time that nobody watched (missing data under `keep`, a daemon that was down) counts for nothing.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::expr::Truth;
use crate::rule::Missing;
use crate::values::Time;

/// A firing alert without data says so after this (Alertmanager's `resolve_timeout`).
pub const STALE_AFTER: Duration = Duration::from_secs(300);
/// A firing alert without data ends after this, and says so.
pub const LOST_AFTER: Duration = Duration::from_secs(24 * 3_600);

/// Milliseconds, as times are counted.
pub(crate) fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// What a rule says about time.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// `for`.
    pub hold: Duration,
    /// `keep_firing`.
    pub keep_firing: Duration,
    /// `missing`.
    pub missing: Missing,
}

/// Where the condition stands; times are milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "phase")]
pub enum Phase {
    /// The condition does not hold.
    #[default]
    Inactive,
    /// It holds, not yet for long enough.
    Pending {
        /// Since then.
        since: Time,
    },
    /// People are told.
    Firing {
        /// Since then.
        since: Time,
    },
    /// It holds no more, not yet for long enough.
    Keeping {
        /// Fires since then.
        since: Time,
        /// Holds no more since then.
        clear: Time,
    },
}

/// The words that lists and events use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StateName {
    /// Nothing.
    Inactive,
    /// See [`Phase::Pending`].
    Pending,
    /// See [`Phase::Firing`].
    Firing,
    /// See [`Phase::Keeping`].
    KeepFiring,
    /// No data.
    Missing,
    /// An alert ended.
    Resolved,
    /// It comes and goes; told once instead of each time.
    Flapping,
}

/// Why an alert ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// The condition holds no more.
    Cleared,
    /// Data is missing, and the rule says that this is fine.
    NoData,
    /// Data was missing for [`LOST_AFTER`].
    Lost,
    /// The object was removed from the configuration.
    Gone,
    /// The rule was removed.
    RuleRemoved,
    /// The rule was changed: under its new labels, or to others, it may go on.
    RuleChanged,
}

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// inactive → pending.
    Began,
    /// → firing.
    Fired,
    /// firing → keeping.
    Cooling,
    /// keeping → firing.
    Again,
    /// pending → inactive.
    Dropped,
    /// → inactive from firing or keeping.
    Resolved(Ended),
    /// A value is missing from now on.
    WentMissing,
    /// Data is back; the state is what it was.
    CameBack,
    /// Firing, and no data for [`STALE_AFTER`].
    Stale,
}

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct State {
    /// What holds, or is held up while data is missing.
    pub phase: Phase,
    /// Since when a value is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<Time>,
    /// [`Step::Stale`] was said of this gap.
    #[serde(default)]
    pub stale: bool,
}

impl State {
    /// Whether people are or would be told that it fires.
    #[must_use]
    pub fn is_firing(&self) -> bool {
        matches!(self.phase, Phase::Firing { .. } | Phase::Keeping { .. })
    }

    /// Since when it fires.
    #[must_use]
    pub fn firing_since(&self) -> Option<Time> {
        match self.phase {
            Phase::Firing { since } | Phase::Keeping { since, .. } => Some(since),
            _ => None,
        }
    }

    /// The state's word.
    #[must_use]
    pub fn name(&self) -> StateName {
        match (self.missing, self.phase) {
            (Some(_), _) => StateName::Missing,
            (None, Phase::Inactive) => StateName::Inactive,
            (None, Phase::Pending { .. }) => StateName::Pending,
            (None, Phase::Firing { .. }) => StateName::Firing,
            (None, Phase::Keeping { .. }) => StateName::KeepFiring,
        }
    }

    /// Time went by that nobody watched: clocks that wait for a condition to hold stood still.
    pub fn shift(&mut self, by: u64) {
        match &mut self.phase {
            Phase::Pending { since } => *since += by,
            Phase::Keeping { clear, .. } => *clear += by,
            Phase::Inactive | Phase::Firing { .. } => {}
        }
        if let Some(since) = &mut self.missing {
            *since += by;
        }
    }

    /// What the condition says at that time; times never go back.
    pub fn step(&mut self, timing: &Timing, truth: Truth, now: Time) -> Vec<Step> {
        let mut steps = Vec::new();
        if truth == Truth::Missing {
            if self.missing.is_none() {
                self.missing = Some(now);
                steps.push(Step::WentMissing);
            }
            match timing.missing {
                Missing::Keep => self.without_data(now, &mut steps),
                Missing::Alert => self.active(timing, now, &mut steps),
                Missing::Ok => self.inactive(timing, Ended::NoData, now, &mut steps),
            }
            return steps;
        }
        if let Some(since) = self.missing.take() {
            steps.push(Step::CameBack);
            self.stale = false;
            if timing.missing == Missing::Keep {
                self.shift(now - since.min(now));
            }
        }
        match truth {
            Truth::True => self.active(timing, now, &mut steps),
            _ => self.inactive(timing, Ended::Cleared, now, &mut steps),
        }
        steps
    }

    fn without_data(&mut self, now: Time, steps: &mut Vec<Step>) {
        let gap = now.saturating_sub(self.missing.unwrap_or(now));
        if gap >= ms(LOST_AFTER) {
            if self.is_firing() {
                steps.push(Step::Resolved(Ended::Lost));
            }
            self.phase = Phase::Inactive;
        } else if gap >= ms(STALE_AFTER) && self.is_firing() && !self.stale {
            self.stale = true;
            steps.push(Step::Stale);
        }
    }

    fn active(&mut self, timing: &Timing, now: Time, steps: &mut Vec<Step>) {
        match self.phase {
            Phase::Firing { .. } => return,
            Phase::Keeping { since, .. } => {
                self.phase = Phase::Firing { since };
                return steps.push(Step::Again);
            }
            Phase::Inactive if !timing.hold.is_zero() => {
                self.phase = Phase::Pending { since: now };
                return steps.push(Step::Began);
            }
            Phase::Pending { since } if now.saturating_sub(since) < ms(timing.hold) => return,
            Phase::Inactive | Phase::Pending { .. } => {}
        }
        self.phase = Phase::Firing { since: now };
        steps.push(Step::Fired);
    }

    fn inactive(&mut self, timing: &Timing, why: Ended, now: Time, steps: &mut Vec<Step>) {
        match self.phase {
            Phase::Inactive => {}
            Phase::Pending { .. } => {
                self.phase = Phase::Inactive;
                steps.push(Step::Dropped);
            }
            Phase::Firing { since } if !timing.keep_firing.is_zero() => {
                self.phase = Phase::Keeping { since, clear: now };
                steps.push(Step::Cooling);
            }
            Phase::Keeping { clear, .. } if now.saturating_sub(clear) < ms(timing.keep_firing) => {}
            Phase::Firing { .. } | Phase::Keeping { .. } => {
                self.phase = Phase::Inactive;
                steps.push(Step::Resolved(why));
            }
        }
    }
}
