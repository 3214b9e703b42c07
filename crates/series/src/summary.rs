//! What some seconds of a metric add up to: exact sums, extremes, and where asked for a sketch.
//!
//! All of it is integers, so that merging is exact in any order: minutes merged are the hour, not nearly the hour.

use crate::bytes::{Take, put_int, put_uint, put_wide};
use crate::sketch::Sketch;

/// What is summed is cut to ± this: squares of an hour of such values fit into 128 bits. In bytes it is 64 PiB, in units of 100 µs
/// of CPU 228 years; samples themselves are kept whole.
pub const OBSERVED_MAX: i64 = 1 << 56;

/// Count, sum, extremes, last value, squares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// Seconds that are in it: samples of a gauge; seconds that increases of a counter cover.
    pub count: u64,
    /// Sum of the values of a gauge; increase of a counter.
    pub sum: i128,
    /// Smallest value; of a counter smallest increase a second.
    pub min: i64,
    /// Largest value; of a counter largest increase a second.
    pub max: i64,
    /// Last value; of a counter its total then.
    pub last: i64,
    /// Sum of squares; stops at the end of its range.
    pub squares: u128,
}

impl Summary {
    /// `value` for so many seconds.
    pub(crate) fn of(value: i64, seconds: u64, last: i64) -> Self {
        let value = value.clamp(-OBSERVED_MAX, OBSERVED_MAX);
        let square = u128::from(value.unsigned_abs()).pow(2);
        Self {
            count: seconds,
            sum: i128::from(value) * i128::from(seconds),
            min: value,
            max: value,
            last,
            squares: square.saturating_mul(u128::from(seconds)),
        }
    }

    /// Adds what came later.
    pub fn merge(&mut self, later: &Self) {
        self.count = self.count.saturating_add(later.count);
        self.sum = self.sum.saturating_add(later.sum);
        self.min = self.min.min(later.min);
        self.max = self.max.max(later.max);
        self.last = later.last;
        self.squares = self.squares.saturating_add(later.squares);
    }

    /// Mean of the values; of a counter mean increase a second.
    #[must_use]
    pub fn mean(&self) -> f64 {
        self.sum as f64 / self.count.max(1) as f64
    }

    /// Standard deviation over all seconds (of the population, not an estimate from a sample).
    #[must_use]
    pub fn stddev(&self) -> f64 {
        let n = u128::from(self.count.max(1));
        let sum = self.sum.unsigned_abs();
        // n · Σx² - (Σx)² in integers, as far as they go: in floats the difference of two large numbers is noise.
        let exact = n
            .checked_mul(self.squares)
            .zip(sum.checked_mul(sum))
            .and_then(|(left, right)| left.checked_sub(right));
        let spread = exact.map_or_else(
            || n as f64 * self.squares as f64 - sum as f64 * sum as f64,
            |spread| spread as f64,
        );
        spread.max(0.0).sqrt() / n as f64
    }
}

/// A summary and, where the metric has one, its sketch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    /// The sums.
    pub summary: Summary,
    /// The distribution.
    pub sketch: Option<Sketch>,
}

impl Cell {
    pub(crate) fn of(value: i64, seconds: u64, last: i64, sketched: bool) -> Self {
        let summary = Summary::of(value, seconds, last);
        let sketch = sketched.then(|| {
            let mut sketch = Sketch::new();
            sketch.add(summary.min, seconds);
            sketch
        });
        Self { summary, sketch }
    }

    /// Adds one more observation.
    pub(crate) fn add(&mut self, value: i64, seconds: u64, last: i64) {
        let observed = Summary::of(value, seconds, last);
        self.summary.merge(&observed);
        if let Some(sketch) = &mut self.sketch {
            sketch.add(observed.min, seconds);
        }
    }

    /// Adds what came later. Without a sketch on either side there is none of the whole.
    pub fn merge(&mut self, later: &Self) {
        self.summary.merge(&later.summary);
        match (&mut self.sketch, &later.sketch) {
            (Some(sketch), Some(more)) => sketch.merge(more),
            (sketch, _) => *sketch = None,
        }
    }

    /// Appends its bytes: everything relative to the smallest value, so that a calm minute is short. `before` is the smallest value
    /// of the row before.
    pub(crate) fn put(
        &self,
        out: &mut Vec<u8>,
        before: &mut i64,
        is_counter: bool,
        total: &mut i64,
    ) {
        let Summary { count, sum, min, max, last, squares } = self.summary;
        put_uint(out, count);
        put_int(out, min.wrapping_sub(*before));
        *before = min;
        let range = max.abs_diff(min);
        put_uint(out, range);
        if range > 0 {
            // Σ(x - min) and Σ(x - min)²: exact, and small where values are close to each other.
            let over = sum - i128::from(min) * i128::from(count);
            put_wide(out, over as u128);
            put_wide(out, shifted(squares, sum, count, min));
        }
        if is_counter {
            put_int(out, last.wrapping_sub(*total));
            *total = last;
        } else if range > 0 {
            put_uint(out, last.abs_diff(min));
        }
        if let Some(sketch) = &self.sketch
            && range > 0
        {
            sketch.put(out);
        }
    }

    pub(crate) fn take(
        from: &mut Take<'_>,
        before: &mut i64,
        is_counter: bool,
        total: &mut i64,
        sketched: bool,
    ) -> Option<Self> {
        let count = from.uint()?;
        let min = before.wrapping_add(from.int()?);
        *before = min;
        let range = from.uint()?;
        let max = min.checked_add_unsigned(range)?;
        let (mut sum, mut squares) = (i128::from(min).checked_mul(i128::from(count))?, 0);
        if range > 0 {
            sum = sum.checked_add(i128::try_from(from.wide()?).ok()?)?;
            squares = from.wide()?;
        }
        squares = unshifted(squares, sum, count, min)?;
        let last = if is_counter {
            *total = total.wrapping_add(from.int()?);
            *total
        } else if range > 0 {
            min.checked_add_unsigned(from.uint()?)?
        } else {
            min
        };
        let sketch = match (sketched, range) {
            (false, _) => None,
            // One value only: its sketch is known.
            (true, 0) => {
                let mut sketch = Sketch::new();
                sketch.add(min, count);
                Some(sketch)
            }
            (true, _) => Some(Sketch::take(from)?),
        };
        Some(Self { summary: Summary { count, sum, min, max, last, squares }, sketch })
    }
}

/// Σ(x - m)² of Σx² and Σx. Arithmetic wraps: taking it back wraps the same way.
fn shifted(squares: u128, sum: i128, count: u64, m: i64) -> u128 {
    let m = i128::from(m);
    let cross = sum.wrapping_mul(m).wrapping_mul(2);
    let own = m.wrapping_mul(m).wrapping_mul(i128::from(count));
    squares.wrapping_sub(cross as u128).wrapping_add(own as u128)
}

fn unshifted(squares: u128, sum: i128, count: u64, m: i64) -> Option<u128> {
    let wide = i128::from(m);
    let cross = sum.wrapping_mul(wide).wrapping_mul(2);
    let own = wide.wrapping_mul(wide).wrapping_mul(i128::from(count));
    Some(squares.wrapping_add(cross as u128).wrapping_sub(own as u128))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cell(values: &[i64], sketched: bool) -> Cell {
        let mut cell = Cell::of(values[0], 1, values[0], sketched);
        for value in &values[1..] {
            cell.add(*value, 1, *value);
        }
        cell
    }

    fn near() -> impl Strategy<Value = Vec<i64>> {
        prop_oneof![
            prop::collection::vec(-OBSERVED_MAX..=OBSERVED_MAX, 1..60),
            prop::collection::vec(4_000i64..4_100, 1..60),
            prop::collection::vec(-3i64..3, 1..60),
        ]
    }

    #[test]
    fn mean_and_deviation() {
        let summary = cell(&[2, 4, 4, 4, 5, 5, 7, 9], false).summary;
        assert_eq!((summary.mean(), summary.stddev()), (5.0, 2.0));
        let far = cell(&[1_000_000_000_000_001, 1_000_000_000_000_003], false).summary;
        assert_eq!(far.stddev(), 1.0, "large levels don't drown it");
    }

    #[test]
    fn what_can_not_be_is_cut() {
        let summary = cell(&[i64::MAX, i64::MIN + 1], false).summary;
        assert_eq!((summary.min, summary.max, summary.sum), (-OBSERVED_MAX, OBSERVED_MAX, 0));
        let hour = Summary::of(i64::MAX, 3_600, 0);
        assert!(hour.squares < u128::MAX, "an hour of the largest values has room");
    }

    proptest! {
        #[test]
        fn any_order_of_merging_is_one_pass(values in near(), cut in 0usize..60) {
            let cut = cut.min(values.len() - 1);
            let whole = cell(&values, true);
            if cut > 0 {
                let mut parts = cell(&values[..cut], true);
                parts.merge(&cell(&values[cut..], true));
                prop_assert_eq!(parts, whole);
            }
        }

        #[test]
        fn cells_come_back(a in near(), b in near(), counter in any::<bool>(), sketched in any::<bool>()) {
            let cells = [cell(&a, sketched), cell(&b, sketched)];
            let mut out = Vec::new();
            let (mut before, mut total) = (0, 0);
            for cell in &cells {
                cell.put(&mut out, &mut before, counter, &mut total);
            }
            let mut take = Take(&out);
            let (mut before, mut total) = (0, 0);
            for cell in &cells {
                prop_assert_eq!(Cell::take(&mut take, &mut before, counter, &mut total, sketched), Some(cell.clone()));
            }
            prop_assert!(take.0.is_empty());
        }
    }
}
