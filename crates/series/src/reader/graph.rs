//! Downsampling for graphs and sparklines: a bar for each of N equal parts of a window.

use std::io;
use std::ops::Range;

use super::{Reader, Tier};
use crate::fold::{self, LOOKBACK};
use crate::key::{Key, Tick};
use crate::summary::{Cell, Summary};

/// Bars of a graph, at most: more than a screen is wide.
pub(crate) const BARS_MAX: usize = 10_000;

/// What a part of a window adds up to. Of a counter it is the increase a second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bar {
    /// First second of the part.
    pub at: Tick,
    /// Smallest value.
    pub min: i64,
    /// Largest value.
    pub max: i64,
    /// Mean.
    pub mean: f64,
}

impl Reader {
    /// Cuts `range` into `parts` and tells each one's extremes and mean; none for a part without samples. The first and the last may
    /// be summarised by whole minutes or hours when parts are that long, or when only these are kept.
    ///
    /// # Errors
    /// A segment can't be read.
    pub fn graph(
        &self,
        key: &Key,
        metric: &str,
        range: Range<Tick>,
        parts: usize,
    ) -> io::Result<Vec<Option<Bar>>> {
        let parts = parts.clamp(1, BARS_MAX);
        let mut sums: Vec<Option<Summary>> = vec![None; parts];
        if range.is_empty() {
            return Ok(vec![None; parts]);
        }
        let length = i128::from(range.end) - i128::from(range.start);
        for (at, cell) in self.at_width(key, metric, &range, (length / parts as i128) as Tick)? {
            // A step that began before the window belongs to its first part.
            let into = i128::from(at.max(range.start)) - i128::from(range.start);
            let part = (into * parts as i128 / length) as usize;
            match &mut sums[part.min(parts - 1)] {
                Some(sum) => sum.merge(&cell.summary),
                empty => *empty = Some(cell.summary),
            }
        }
        let start = |n: usize| {
            (i128::from(range.start) + (n as i128 * length + parts as i128 - 1) / parts as i128)
                as Tick
        };
        let bars = sums.into_iter().enumerate().map(|(n, sum)| {
            let sum = sum?;
            Some(Bar { at: start(n), min: sum.min, max: sum.max, mean: sum.mean() })
        });
        Ok(bars.collect())
    }

    /// Cells of the coarsest steps that still give each part its own.
    fn at_width(
        &self,
        key: &Key,
        metric: &str,
        range: &Range<Tick>,
        width: Tick,
    ) -> io::Result<Vec<(Tick, Cell)>> {
        let of = |tier: Tier| {
            let step = tier.step();
            self.cells(key, metric, tier, crate::view::floor(range.start, step)..range.end)
        };
        let samples_from = self.oldest_sample().unwrap_or(Tick::MAX);
        let minutes_from = self.oldest_minute().unwrap_or(Tick::MAX);
        if width >= Tier::Hour.step() || range.end <= minutes_from {
            return of(Tier::Hour);
        }
        if width >= Tier::Minute.step() || range.start < samples_from {
            return of(Tier::Minute);
        }
        let wide = range.start.saturating_sub(LOOKBACK)..range.end;
        let columns = self.points(key, Some(metric), &wide)?;
        Ok(columns
            .into_iter()
            .next()
            .map_or_else(Vec::new, |(metric, points)| fold::steps(&metric, &points, range, 1)))
    }
}
