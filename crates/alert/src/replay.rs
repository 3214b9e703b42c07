//! What a rule would have said about times long past: `ganger alert test RULE --since 7d`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::alerts::{Action, Alerts, Settings};
use crate::expr::Evidence;
use crate::rule::Rule;
use crate::state::{Ended, StateName, ms};
use crate::values::{Object, Time, Values};

/// Most evaluations of a replay: 30 days at a step of 10 s, and some.
pub const STEPS_MAX: u64 = 300_000;
/// Most episodes that are listed; more are counted.
pub const EPISODES_MAX: usize = 1_000;

/// One time that the rule would have fired.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Episode {
    /// About what.
    pub object: Object,
    /// From then.
    pub from: Time,
    /// Until then; `None`: it still would.
    pub until: Option<Time>,
    /// Why it would have ended.
    pub ended: Option<Ended>,
    /// What it read when it fired.
    pub evidence: Option<Evidence>,
}

/// What [`replay`] found.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Replayed {
    /// In the order of their beginnings, at most [`EPISODES_MAX`].
    pub episodes: Vec<Episode>,
    /// All of them.
    pub fired: u64,
    /// Messages to each receiver of the rule, after grouping, repeats and flap control.
    pub notifications: u64,
    /// Times at which the rule was looked at.
    pub steps: u64,
    /// The step was made longer, for at most [`STEPS_MAX`] of them.
    pub step: Duration,
}

/// Evaluates the rule over stored values, from `from` to `to` (both included), every `step` (at least 1 ms; longer if there would be too
/// many). A week at 10 s is 60,480 evaluations for each object.
pub fn replay(rule: Rule, values: &impl Values, from: Time, to: Time, step: Duration) -> Replayed {
    let span = to.saturating_sub(from);
    let step = ms(step).max(1).max(span.div_ceil(STEPS_MAX));
    let receivers = rule.settings.notify.len().max(1) as u64;
    let mut alerts = Alerts::new(vec![rule], Settings::default());
    let mut found = Replayed { step: Duration::from_millis(step), ..Replayed::default() };
    let mut now = from;
    while now <= to {
        for action in alerts.evaluate(now, values) {
            match action {
                Action::Notify(_) => found.notifications += 1,
                Action::Changed(change) => {
                    if let Some(why) = change.ended {
                        found.end(&change.object, why, now);
                    } else if matches!(change.to, StateName::Firing | StateName::Flapping)
                        && !found.is_open(&change.object)
                    {
                        found.begin(change.object, change.evidence, now);
                    }
                }
            }
        }
        found.steps += 1;
        now += step;
    }
    found.notifications /= receivers;
    found
}

impl Replayed {
    fn is_open(&self, object: &Object) -> bool {
        self.episodes.iter().any(|e| e.until.is_none() && e.object == *object)
    }

    fn begin(&mut self, object: Object, evidence: Option<Evidence>, now: Time) {
        self.fired += 1;
        if self.episodes.len() < EPISODES_MAX {
            let (from, until, ended) = (now, None, None);
            self.episodes.push(Episode { object, from, until, ended, evidence });
        }
    }

    fn end(&mut self, object: &Object, why: Ended, now: Time) {
        let open = self.episodes.iter_mut().find(|e| e.until.is_none() && e.object == *object);
        if let Some(open) = open {
            (open.until, open.ended) = (Some(now), Some(why));
        }
    }
}
