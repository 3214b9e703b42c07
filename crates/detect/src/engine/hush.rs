//! Suppression of repeats for one metric: within a tenth of the baseline an alarm is told again only if it is clearly worse.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::BASELINE;

/// A told alarm silences its equals for so many samples: 10 % of the baseline.
pub const HUSH_SAMPLES: u64 = (BASELINE / 10) as u64;
/// Worse means so many decades more.
pub const HUSH_STEP: f64 = 0.5;

/// What was told lately, the worst last: at most one entry a step, since each had to be worse than all before it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Hush {
    sample: u64,
    told: VecDeque<(u64, f64)>,
}

impl Hush {
    /// `decades` if it is news, else 0. To be called for every sample.
    pub fn news(&mut self, decades: f64) -> f64 {
        let now = self.sample;
        self.sample += 1;
        while self.told.front().is_some_and(|(at, _)| at + HUSH_SAMPLES <= now) {
            self.told.pop_front();
        }
        let worst = self.told.back().map_or(0.0, |(_, decades)| *decades);
        if decades < worst + HUSH_STEP {
            return 0.0;
        }
        self.told.push_back((now, decades));
        decades
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn equals_are_silenced_and_worse_is_told() {
        let mut hush = Hush::default();
        assert_eq!(hush.news(3.0), 3.0);
        assert_eq!(hush.news(3.2), 0.0);
        assert_eq!(hush.news(3.5), 3.5);
        (0..HUSH_SAMPLES - 1).for_each(|_| assert_eq!(hush.news(0.0), 0.0));
        assert_eq!(hush.news(3.0), 3.0, "the time is over");
    }

    proptest! {
        /// Against a search of everything told.
        #[test]
        fn it_tells_what_a_full_search_would(decades in prop::collection::vec(0u8..16, 1..1_500)) {
            let (mut hush, mut told) = (Hush::default(), Vec::<(u64, f64)>::new());
            for (now, d) in (0u64..).zip(decades) {
                let d = f64::from(d) / 2.0;
                let worst = told.iter().filter(|(at, _)| at + HUSH_SAMPLES > now).map(|(_, d)| *d).fold(0.0, f64::max);
                let expected = if d >= worst + HUSH_STEP { d } else { 0.0 };
                if expected > 0.0 { told.push((now, d)); }
                prop_assert_eq!(hush.news(d), expected);
                prop_assert!(hush.told.len() <= 32);
            }
        }
    }
}
