//! Statistics over any window.

use std::io;
use std::ops::Range;

use super::{Reader, Tier};
use crate::fold::{self, LOOKBACK};
use crate::key::{Key, Tick};
use crate::minute::MINUTE;
use crate::sketch::Sketch;
use crate::summary::{Cell, Summary};
use crate::view::{HOUR, floor};

/// Windows up to so long are read from samples where these are kept: percentiles of every metric, at some 5 ms.
const FROM_SAMPLES: Tick = 6 * HOUR;

/// What a window of a metric adds up to. For a counter every figure but `last` is increase a second.
#[derive(Debug, Clone, PartialEq)]
pub struct Stats {
    /// What the figures cover: wider than asked for where only a coarser tier is kept.
    pub range: Range<Tick>,
    /// Seconds with samples; of a counter seconds that its increases cover.
    pub count: u64,
    /// Mean.
    pub mean: f64,
    /// Standard deviation over all seconds.
    pub stddev: f64,
    /// Smallest.
    pub min: i64,
    /// Largest.
    pub max: i64,
    /// The last sample; of a counter its total at the last increase that is told of.
    pub last: i64,
    /// Sum of a gauge's values; the whole increase of a counter.
    pub sum: i128,
    /// Distribution; none for a metric without sketches over a window that samples don't cover.
    pub sketch: Option<Sketch>,
}

impl Stats {
    fn of(range: Range<Tick>, cell: Cell) -> Self {
        let summary = cell.summary;
        let Summary { count, sum, min, max, last, .. } = summary;
        let (mean, stddev) = (summary.mean(), summary.stddev());
        Self { range, count, mean, stddev, min, max, last, sum, sketch: cell.sketch }
    }

    /// The value below which `percent` of the seconds are, within 1 % of it; none without a sketch.
    #[must_use]
    pub fn percentile(&self, percent: f64) -> Option<f64> {
        let value = self.sketch.as_ref()?.quantile(percent / 100.0)?;
        // A bin may reach over what was seen.
        Some(value.clamp(self.min as f64, self.max as f64))
    }
}

/// Adds what came later.
fn merge(sum: &mut Option<Cell>, later: Option<Cell>) {
    match (sum.as_mut(), later) {
        (Some(sum), Some(later)) => sum.merge(&later),
        (None, later) => *sum = later,
        (Some(_), None) => {}
    }
}

impl Reader {
    /// Statistics of a window: from samples where they are kept and few enough, else from hours, with minutes and samples at the edges.
    /// None if there is nothing.
    ///
    /// # Errors
    /// A segment can't be read.
    pub fn stats(&self, key: &Key, metric: &str, range: Range<Tick>) -> io::Result<Option<Stats>> {
        let Some(oldest) = self.oldest_sample().filter(|_| !range.is_empty()) else {
            return self.sum_tiers(key, metric, range, Tick::MAX);
        };
        if oldest <= range.start && range.end - range.start <= FROM_SAMPLES {
            let cell = self.sum_samples(key, metric, &range, true)?;
            return Ok(cell.map(|cell| Stats::of(range, cell)));
        }
        self.sum_tiers(key, metric, range, oldest)
    }

    fn sum_samples(
        &self,
        key: &Key,
        metric: &str,
        range: &Range<Tick>,
        all: bool,
    ) -> io::Result<Option<Cell>> {
        if range.is_empty() {
            return Ok(None);
        }
        let wide = range.start.saturating_sub(LOOKBACK)..range.end;
        let columns = self.points(key, Some(metric), &wide)?;
        Ok(columns.into_iter().next().and_then(|(metric, points)| {
            fold::whole(&metric, &points, range, all || metric.is_sketched())
        }))
    }

    fn sum_steps(
        &self,
        key: &Key,
        metric: &str,
        tier: Tier,
        range: Range<Tick>,
    ) -> io::Result<Option<Cell>> {
        let mut sum = None;
        if !range.is_empty() {
            for (_, cell) in self.cells(key, metric, tier, range)? {
                merge(&mut sum, Some(cell));
            }
        }
        Ok(sum)
    }

    /// Samples, minutes, hours, minutes, samples. What a finer tier no longer has is widened to the coarser one's step.
    fn sum_tiers(
        &self,
        key: &Key,
        metric: &str,
        asked: Range<Tick>,
        samples_from: Tick,
    ) -> io::Result<Option<Stats>> {
        if asked.is_empty() {
            return Ok(None);
        }
        let minutes_from = self.oldest_minute().unwrap_or(Tick::MAX);
        let mut range = asked;
        // An edge between two steps needs the finer tier from a step before it on.
        if range.start.rem_euclid(MINUTE) != 0 && range.start < samples_from {
            range.start = floor(range.start, MINUTE);
        }
        if range.start.rem_euclid(HOUR) != 0 && range.start < minutes_from {
            range.start = floor(range.start, HOUR);
        }
        if range.end.rem_euclid(MINUTE) != 0 && floor(range.end, MINUTE) < samples_from {
            range.end = floor(range.end, MINUTE) + MINUTE;
        }
        if range.end.rem_euclid(HOUR) != 0 && floor(range.end, HOUR) < minutes_from {
            range.end = floor(range.end, HOUR) + HOUR;
        }
        let up = |at: Tick, step: Tick| floor(at.saturating_add(step - 1), step);
        let cut = |at: Tick| at.clamp(range.start, range.end);
        let (m1, m2) = (cut(up(range.start, MINUTE)), floor(range.end, MINUTE));
        let m2 = m2.max(m1);
        let (h1, h2) = (up(m1, HOUR).min(m2), floor(m2, HOUR));
        let h2 = h2.max(h1);
        let mut sum = self.sum_samples(key, metric, &(range.start..m1), false)?;
        merge(&mut sum, self.sum_steps(key, metric, Tier::Minute, m1..h1)?);
        merge(&mut sum, self.sum_steps(key, metric, Tier::Hour, h1..h2)?);
        merge(&mut sum, self.sum_steps(key, metric, Tier::Minute, h2..m2)?);
        merge(&mut sum, self.sum_samples(key, metric, &(m2..range.end), false)?);
        Ok(sum.map(|cell| Stats::of(range, cell)))
    }
}
