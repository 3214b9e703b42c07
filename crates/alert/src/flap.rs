//! Whether an alert comes and goes: Nagios' score over 21 checks.
//!
//! A check is a change (fired, ended), or a span of [`CHECK`] without one. Of the 20 steps between 21 checks those with a change count, the
//! newest 1.2, the oldest 0.8. Nagios counts its probes, which are minutes apart; rules are evaluated every few seconds, and
//! probes alone would forget a change within minutes.
//!
//! ```text
//!             score ≥ 14 %: three changes, wherever they lie
//!   calm ────────────────────────────────────────────────────▶ flapping
//!     ◀────────────────────────────────────────────────────────
//!             score < 6.5 %: at most one change
//! ```

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::state::ms;
use crate::values::Time;

/// A span without a change that counts as a check: 20 of them are 100 minutes.
pub const CHECK: Duration = Duration::from_secs(300);
/// Steps between 21 checks.
const STEPS: usize = 20;
/// The third change has just come (1.2) and the others may be the oldest (0.8 + 0.82): 14.1 %.
const HIGH: f64 = 0.14;
/// One change is at most 6 %, two are at least 8.1 %.
const LOW: f64 = 0.065;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Flap {
    /// Changes, oldest first; what is not there was calm.
    steps: VecDeque<bool>,
    /// When a span without a change is over.
    due: Time,
    /// Since when it flaps.
    since: Option<Time>,
}

impl Flap {
    /// Since when it flaps; `None`: it does not.
    #[must_use]
    pub fn since(&self) -> Option<Time> {
        self.since
    }

    /// From 0 (calm) to 1 (a change at every check).
    #[must_use]
    pub fn score(&self) -> f64 {
        let newest_first = self.steps.iter().rev().enumerate();
        let weight = |age: usize| 1.2 - 0.4 * age as f64 / (STEPS - 1) as f64;
        newest_first.filter(|(_, changed)| **changed).map(|(age, _)| weight(age)).sum::<f64>()
            / STEPS as f64
    }

    /// Nothing is remembered.
    #[must_use]
    pub fn is_calm(&self) -> bool {
        !self.steps.contains(&true)
    }

    /// Time went by, or the alert changed. `Some`: it began (true) or ceased (false) to flap.
    pub fn note(&mut self, changed: bool, now: Time) -> Option<bool> {
        if self.due == 0 {
            self.due = now + ms(CHECK);
        }
        let over = (now.saturating_sub(self.due) / ms(CHECK) + u64::from(now >= self.due))
            .min(STEPS as u64);
        for _ in 0..over {
            self.push(false);
        }
        if over > 0 {
            self.due = now + ms(CHECK);
        }
        if changed {
            self.push(true);
            self.due = now + ms(CHECK);
        }
        let score = self.score();
        match self.since {
            None if changed && score >= HIGH => {
                self.since = Some(now);
                Some(true)
            }
            Some(_) if score < LOW => {
                self.since = None;
                Some(false)
            }
            _ => None,
        }
    }

    fn push(&mut self, changed: bool) {
        if self.steps.len() == STEPS {
            self.steps.pop_front();
        }
        self.steps.push_back(changed);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MINUTE: Time = 60_000;

    #[test]
    fn three_changes_flap_and_calm_ends_it() {
        let mut flap = Flap::default();
        assert_eq!(flap.note(true, MINUTE), None);
        assert_eq!(flap.note(true, 2 * MINUTE), None);
        assert_eq!(flap.note(true, 3 * MINUTE), Some(true));
        assert_eq!(flap.note(false, 4 * MINUTE), None);
        // 18 calm checks later two of the three are still remembered, one check later only one.
        assert_eq!(flap.note(false, 97 * MINUTE), None);
        assert_eq!(flap.note(false, 103 * MINUTE), Some(false));
        assert_eq!(flap.note(false, 109 * MINUTE), None);
        assert!(flap.is_calm());
    }

    #[test]
    fn changes_hours_apart_do_not_flap() {
        let mut flap = Flap::default();
        for n in 0..50 {
            assert_eq!(flap.note(true, n * 120 * MINUTE + 1), None);
        }
    }

    proptest! {
        /// The score is that of Nagios' formula over the list of the last 20 steps, and the thresholds mean what they say.
        #[test]
        fn the_score_is_the_weighted_part(steps in prop::collection::vec(any::<bool>(), 0..40)) {
            let mut flap = Flap::default();
            let mut began = false;
            for (n, changed) in steps.iter().enumerate() {
                let now = 1 + (n as Time + 1) * ms(CHECK);
                // A change sets the clock, so the span before it is pushed first: one more calm check.
                began |= flap.note(*changed, now) == Some(true);
            }
            let kept: Vec<bool> = flap.steps.iter().copied().collect();
            let old = STEPS - kept.len();
            let plain: f64 = (0..STEPS)
                .filter(|at| *at >= old && kept[at - old])
                .map(|at| 0.8 + 0.4 * at as f64 / 19.0)
                .sum::<f64>() / 20.0;
            prop_assert!((plain - flap.score()).abs() < 1e-9);
            if began && flap.since().is_some() {
                prop_assert!(kept.iter().filter(|c| **c).count() >= 2);
            }
            if flap.since().is_none() && kept.last() == Some(&true) {
                prop_assert!(kept.iter().filter(|c| **c).count() < 3);
            }
        }
    }
}
