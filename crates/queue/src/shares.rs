//! Which lane is next: weights, so that low priorities keep a floor.
//!
//! The 256 priorities are three lanes, each named as the priority in its middle: `high` 160-255, `normal` 96-159, `low`
//! 0-95. Inside a lane larger priorities go first, then older tasks. Between lanes that have tasks, turns are dealt by
//! weight (start-time fair queueing, Goyal 1996): of any n turns during which a lane with weight w of W always has a
//! task, it gets at least ⌊n·w/W⌋ - 1. A lane without tasks loses its turns to the others and saves none up.

use ganger_core::Priority;
use serde::{Deserialize, Serialize};

/// How many lanes there are.
pub const LANES: usize = 3;

/// How turns are dealt to `high`, `normal` and `low`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Lanes {
    /// The largest priority first, whatever else waits.
    Strict,
    /// By weight, each at least 1: `[high, normal, low]`.
    Weighted([u32; LANES]),
}

impl Default for Lanes {
    fn default() -> Self {
        Self::Weighted([80, 15, 5])
    }
}

/// Smallest priority of each lane, `high` first.
const LOWEST: [u8; LANES] = [160, 96, 0];

/// The lane of a priority: 0 `high`, 1 `normal`, 2 `low`.
#[must_use]
pub(crate) const fn lane_of(priority: Priority) -> usize {
    match priority.0 {
        160.. => 0,
        96.. => 1,
        _ => 2,
    }
}

/// Smallest and largest priority of a lane.
pub(crate) const fn range_of(lane: usize) -> (u8, u8) {
    (LOWEST[lane], if lane == 0 { u8::MAX } else { LOWEST[lane - 1] - 1 })
}

/// What one turn of weight 1 costs; divided by weights up to 1,000 it stays exact enough.
const TURN: u64 = 1 << 32;

/// How far each lane is.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Shares {
    /// When a lane's next turn begins, in virtual time.
    begins: [u64; LANES],
    /// When the last turn began.
    now: u64,
}

impl Shares {
    /// The lane whose turn it is, of those that have a task: the one that begins first, then the one that waits longest.
    pub(crate) fn choose(&self, ready: [bool; LANES]) -> Option<usize> {
        let lanes = (0..LANES).filter(|lane| ready[*lane]);
        lanes.min_by_key(|lane| (self.begins[*lane].max(self.now), self.begins[*lane], *lane))
    }

    /// A lane had its turn.
    pub(crate) fn took(&mut self, lane: usize, weights: &[u32; LANES]) {
        self.now = self.begins[lane].max(self.now);
        self.begins[lane] = self.now + TURN / u64::from(weights[lane].max(1));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_priority_is_in_one_lane() {
        for priority in 0..=255 {
            let lane = lane_of(Priority(priority));
            let (low, high) = range_of(lane);
            assert!((low..=high).contains(&priority), "{priority} in {lane}");
        }
        let named = [Priority::HIGH, Priority::NORMAL, Priority::LOW].map(lane_of);
        assert_eq!(named, [0, 1, 2]);
    }

    proptest! {
        /// Whatever the others do, a lane that always has a task gets its part, from any past on.
        #[test]
        fn a_floor(
            weights in prop::array::uniform3(1..200u32),
            past in prop::collection::vec(prop::array::uniform3(any::<bool>()), 0..60),
            future in prop::collection::vec(prop::array::uniform3(any::<bool>()), 1..400),
            lane in 0..LANES,
        ) {
            let mut shares = Shares::default();
            for ready in past {
                if let Some(lane) = shares.choose(ready) {
                    shares.took(lane, &weights);
                }
            }
            let all: u64 = weights.iter().map(|w| u64::from(*w)).sum();
            let mut got = 0u64;
            for (turn, mut ready) in future.into_iter().enumerate() {
                ready[lane] = true;
                let chosen = shares.choose(ready).unwrap();
                prop_assert!(ready[chosen]);
                shares.took(chosen, &weights);
                got += u64::from(chosen == lane);
                let floor = (turn as u64 + 1) * u64::from(weights[lane]) / all;
                prop_assert!(got + 1 >= floor, "{got} of {} turns, floor {floor}", turn + 1);
            }
        }
    }
}
