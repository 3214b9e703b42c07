//! A DDSketch of integers with one fixed layout: any quantile within 1 % of the value, and merging is exact.
//!
//! The bounds of the bins are powers of γ = (1 + α) / (1 - α), α = 0.01, the same in every sketch ("DDSketch: a fast and fully-mergeable
//! quantile sketch with relative-error guarantees", VLDB 2019, without its collapsing: an i64 needs at most 4,400 bins). A bin is found in a
//! table that is made by multiplication alone, so the same values give the same bytes on every machine, and a day's 1,440
//! minutes merged are the sketch of the day, bit for bit.
//!
//! Bins are signed: `-k` mirrors `k`, 0 is zero. So one sorted list of (bin, count) is the whole sketch.

use std::sync::LazyLock;

use crate::bytes::{Take, put_int, put_uint};

/// Relative error of a quantile.
pub const ALPHA: f64 = 0.01;
const GAMMA: f64 = (1.0 + ALPHA) / (1.0 - ALPHA);
/// Below this a bin is narrower than 1, so it holds one integer at most, and a quantile is that integer.
const EXACT_BELOW: f64 = 49.0;
/// ln(2^63) / ln γ, rounded up: no i64 needs more on either side of zero.
const BINS: usize = 2_185;

/// Upper bounds of the bins of positive values; bin `k` (from 1) is `(bound[k - 2], bound[k - 1]]`.
static BOUNDS: LazyLock<Vec<f64>> = LazyLock::new(|| {
    std::iter::successors(Some(1.0), |bound| Some(bound * GAMMA)).take(BINS + 1).collect()
});

/// The bin of a positive value.
fn bin(value: u64) -> i16 {
    let value = value as f64;
    // The bits of a float are its logarithm, near enough to begin with; the table decides.
    let guess = (value.log2() / GAMMA.log2()) as usize;
    let mut at = guess.min(BINS);
    while at > 0 && BOUNDS[at - 1] >= value {
        at -= 1;
    }
    while at < BINS && BOUNDS[at] < value {
        at += 1;
    }
    (at + 1) as i16
}

/// The value that stands for a bin: nowhere in it is further than α from it.
fn middle(bin: i16) -> f64 {
    let k = usize::from(bin.unsigned_abs());
    if k == 0 {
        return 0.0;
    }
    let upper = BOUNDS[(k - 1).min(BINS)];
    let value = 2.0 * upper / (GAMMA + 1.0);
    let value = if upper < EXACT_BELOW { upper.floor() } else { value };
    if bin < 0 { -value } else { value }
}

/// Counts of values in bins of 1 % of their value.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sketch {
    /// Sorted by bin; counts are never 0. One form for one content, so `==` compares contents.
    bins: Vec<(i16, u64)>,
    count: u64,
}

impl Sketch {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts `value` `times` times.
    pub fn add(&mut self, value: i64, times: u64) {
        if times == 0 {
            return;
        }
        let bin = match value {
            0 => 0,
            1.. => bin(value.unsigned_abs()),
            _ => -bin(value.unsigned_abs()),
        };
        self.count = self.count.saturating_add(times);
        match self.bins.binary_search_by_key(&bin, |(bin, _)| *bin) {
            Ok(at) => self.bins[at].1 = self.bins[at].1.saturating_add(times),
            Err(at) => self.bins.insert(at, (bin, times)),
        }
    }

    /// Adds all of another: exact, in any order.
    pub fn merge(&mut self, other: &Self) {
        self.count = self.count.saturating_add(other.count);
        if self.bins.is_empty() {
            self.bins.clone_from(&other.bins);
            return;
        }
        let mut merged = Vec::with_capacity(self.bins.len().max(other.bins.len()));
        let (mut a, mut b) = (self.bins.iter().peekable(), other.bins.iter().peekable());
        while let (Some(x), Some(y)) = (a.peek(), b.peek()) {
            match x.0.cmp(&y.0) {
                std::cmp::Ordering::Less => merged.extend(a.next()),
                std::cmp::Ordering::Greater => merged.extend(b.next()),
                std::cmp::Ordering::Equal => {
                    merged.push((x.0, x.1.saturating_add(y.1)));
                    a.next();
                    b.next();
                }
            }
        }
        merged.extend(a);
        merged.extend(b);
        self.bins = merged;
    }

    /// Values counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The value at rank `⌊q · (count - 1)⌋` of the sorted values, within 1 %; none without values.
    #[must_use]
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let last = self.count.checked_sub(1)?;
        let rank = (q.clamp(0.0, 1.0) * last as f64).floor() as u64;
        let mut seen = 0u64;
        for (bin, count) in &self.bins {
            seen = seen.saturating_add(*count);
            if seen > rank {
                return Some(middle(*bin));
            }
        }
        self.bins.last().map(|(bin, _)| middle(*bin))
    }

    /// Non-empty bins: what it weighs, in 16 bytes each.
    #[must_use]
    pub fn bins(&self) -> usize {
        self.bins.len()
    }

    /// Appends its bytes: a bin that holds one value right after its neighbour is one byte.
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        put_uint(out, self.bins.len() as u64);
        let Some((first, _)) = self.bins.first() else { return };
        put_int(out, i64::from(*first));
        let mut before = *first;
        for (bin, count) in &self.bins {
            // The first gap is 0, the others at least 1: (gap, is the count more than 1) in one number.
            let gap = (i32::from(*bin) - i32::from(before)) as u64;
            put_uint(out, gap << 1 | u64::from(*count > 1));
            if *count > 1 {
                put_uint(out, *count - 2);
            }
            before = *bin;
        }
    }

    pub(crate) fn take(from: &mut Take<'_>) -> Option<Self> {
        let n = from.count(2 * BINS + 3)?;
        if n == 0 {
            return Some(Self::default());
        }
        let mut bin = i16::try_from(from.int()?).ok()?;
        let mut sketch = Self { bins: Vec::with_capacity(n), count: 0 };
        for at in 0..n {
            let head = from.uint()?;
            let gap = i16::try_from(head >> 1).ok()?;
            if (gap == 0) != (at == 0) {
                return None;
            }
            bin = bin.checked_add(gap)?;
            let count = if head & 1 == 1 { from.uint()?.checked_add(2)? } else { 1 };
            sketch.count = sketch.count.checked_add(count)?;
            sketch.bins.push((bin, count));
        }
        Some(sketch)
    }
}

#[cfg(test)]
mod tests;
