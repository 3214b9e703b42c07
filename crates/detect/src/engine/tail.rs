//! How rare a size is among all sizes seen: a histogram with logarithmic bins that forgets slowly.
//!
//! Four bins an octave, 64 of them below the largest size seen: whatever the unit, the range follows the data, and a bin is at most 19 % wide.
//! What is smaller than 2^-16 of the largest shares the lowest bin; its rank does not matter to a tail.

use serde::{Deserialize, Serialize};

/// Bins.
const BINS: usize = 64;
/// Bins an octave.
const PER_OCTAVE: f64 = 4.0;
/// Weights are halved over so many sizes: the length of the baseline, 4,000 samples (11 h at 10 s, 14 days at 5 min).
pub const BASELINE: u32 = 4_000;
/// Decay is applied once in so many sizes.
const DECAY_EVERY: u32 = 64;
/// A bin that has decayed below this is empty.
const EMPTY: f32 = 0.02;
/// Beyond the largest size, each octave counts as one more decade of rarity, at most so many.
const BEYOND_MAX: f64 = 4.0;
/// Sizes at or below this are zero.
const ZERO: f64 = 1e-12;

/// Weights of the sizes seen, the largest bin first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Tail {
    /// The number of the first bin; meaningless while nothing was added.
    top: i32,
    bins: Vec<f32>,
    total: f64,
    since_decay: u32,
}

impl Tail {
    pub(crate) fn new() -> Self {
        Self { top: i32::MIN, bins: vec![0.0; BINS], total: 0.0, since_decay: 0 }
    }

    /// Rarity of `size` in decades: 3 means that one in a thousand was larger. 0 while nothing is known.
    pub(crate) fn decades(&self, size: f64) -> f64 {
        if size <= ZERO || self.total <= 0.0 {
            return 0.0;
        }
        let bin = bin_of(size);
        let mut above = 0.0;
        let mut largest = None;
        for (k, weight) in self.bins.iter().enumerate().filter(|(_, weight)| **weight > EMPTY) {
            let here = self.top - k as i32;
            largest.get_or_insert(here);
            if here > bin {
                above += f64::from(*weight);
            } else {
                // The bin's own sizes count as half above.
                above += if here == bin { f64::from(*weight) / 2.0 } else { 0.0 };
                break;
            }
        }
        // Half a size is added to both, so that the never seen is rare and not impossible.
        let seen = -((above + 0.5) / (self.total + 0.5)).log10();
        let octaves =
            largest.map_or(0.0, |largest| f64::from(bin.saturating_sub(largest)) / PER_OCTAVE);
        seen + if above == 0.0 { octaves.clamp(0.0, BEYOND_MAX) } else { 0.0 }
    }

    /// One more size.
    pub(crate) fn add(&mut self, size: f64) {
        if size > ZERO {
            let bin = bin_of(size);
            self.raise_to(bin);
            let k = usize::try_from(self.top.saturating_sub(bin)).unwrap_or(BINS);
            self.bins[k.min(BINS - 1)] += 1.0;
        }
        self.total += 1.0;
        self.since_decay += 1;
        if self.since_decay == DECAY_EVERY {
            self.since_decay = 0;
            let keep = 0.5_f64.powf(f64::from(DECAY_EVERY) / f64::from(BASELINE));
            self.total *= keep;
            for weight in &mut self.bins {
                *weight *= keep as f32;
            }
        }
    }

    /// Makes `bin` one of the bins, moving the others down; what falls off the end gathers in the last.
    fn raise_to(&mut self, bin: i32) {
        if self.top == i32::MIN {
            self.top = bin;
        }
        let shift = usize::try_from(bin.saturating_sub(self.top)).unwrap_or(0);
        if shift == 0 {
            return;
        }
        self.top = bin;
        let kept = BINS - shift.min(BINS);
        let lost: f32 = self.bins[kept..].iter().sum();
        self.bins.copy_within(..kept, BINS - kept);
        self.bins[..BINS - kept].fill(0.0);
        self.bins[BINS - 1] += lost;
    }
}

/// `size` is above [`ZERO`]; the engine keeps it below 1e31, so the number is small.
fn bin_of(size: f64) -> i32 {
    (size.log2() * PER_OCTAVE).floor() as i32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_rank_is_what_counting_gives() {
        let mut tail = Tail::new();
        for n in 1..=1_000 {
            tail.add(f64::from(n));
        }
        // Bins are 19 % wide: 900 stands among 861..1024.
        let decades = tail.decades(900.0);
        assert!((0.8..1.3).contains(&decades), "{decades}");
        assert!(tail.decades(1.0) < 0.01);
        let never = tail.decades(4_096.0);
        assert!((4.5..6.5).contains(&never), "two octaves beyond: {never}");
    }

    #[test]
    fn a_level_that_stays_becomes_usual() {
        let mut tail = Tail::new();
        (0..4_000).for_each(|_| tail.add(1.0));
        let before = tail.decades(100.0);
        (0..400).for_each(|_| tail.add(100.0));
        assert!(before > 6.0 && tail.decades(100.0) < 1.5);
    }

    proptest! {
        /// Weight is neither made nor lost, whatever comes in whatever order.
        #[test]
        fn weights_add_up(sizes in prop::collection::vec(-30i32..90, 1..60)) {
            let mut tail = Tail::new();
            for exponent in &sizes {
                tail.add(2f64.powi(*exponent));
            }
            let sum: f32 = tail.bins.iter().sum();
            prop_assert!((f64::from(sum) - tail.total).abs() < 1e-3);
            let largest = sizes.iter().copied().max().unwrap_or(0);
            prop_assert!(tail.decades(2f64.powi(largest + 3)) >= tail.decades(2f64.powi(largest)));
        }
    }
}
