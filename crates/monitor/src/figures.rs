//! What a metric was over a window, in the units in which it is shown.

use std::io;
use std::ops::Range;

use ganger_series::{Key, Reader, Sketch, Stats};

use crate::metrics::MetricInfo;

/// A metric over a window. Of a counter all figures are rates.
#[derive(Debug, Clone, PartialEq)]
pub struct Figure {
    /// Seconds of which something is known.
    pub seconds: u64,
    /// Mean.
    pub mean: f64,
    /// Standard deviation over the seconds.
    pub stddev: f64,
    /// Least.
    pub min: f64,
    /// Most.
    pub max: f64,
    /// Now: a level as it was last, a rate of the last seconds.
    pub last: f64,
    /// p50, p90, p95, p99, p99.9, each within 1 % of the value; none where the window is so long that only sums are kept.
    pub percentiles: Option<[f64; 5]>,
    /// Means of as many equal parts of the window as were asked for; none where nothing is known.
    pub graph: Vec<Option<f64>>,
}

/// Percentiles that figures have.
const PERCENTS: [f64; 5] = [50.0, 90.0, 95.0, 99.0, 99.9];
/// Of a rate: how many of the last seconds are "now".
const NOW: i64 = 5;

/// One metric of one object, as it is kept.
#[derive(Debug, Clone)]
pub struct Kept {
    stats: Stats,
    now: f64,
    graph: Vec<Option<f64>>,
}

/// Reads one metric of an object over a window of seconds since the epoch; `None` where nothing is known. Reads files: blocks.
///
/// # Errors
/// A segment can't be read.
pub fn read(
    reader: &Reader,
    key: &Key,
    info: &MetricInfo,
    range: Range<i64>,
    points: usize,
) -> io::Result<Option<Kept>> {
    let Some(stats) = reader.stats(key, info.name, range.clone())? else { return Ok(None) };
    let now = if info.counter {
        let recent = range.end.saturating_sub(NOW)..range.end;
        reader.stats(key, info.name, recent)?.map_or(0.0, |stats| stats.mean)
    } else {
        stats.last as f64
    };
    let graph = match points {
        0 => vec![],
        _ => reader.graph(key, info.name, range, points)?,
    };
    let graph = graph.into_iter().map(|bar| Some(bar?.mean)).collect();
    Ok(Some(Kept { stats, now, graph }))
}

/// What these add up to, over the seconds of all of them: the mean of two instances is not their sum. `None` of nothing.
#[must_use]
pub fn figure(all: &[Kept], info: &MetricInfo) -> Option<Figure> {
    let factor = info.meaning.factor();
    let seconds: u64 = all.iter().map(|one| one.stats.count).sum();
    let weighed = |of: fn(&Stats) -> f64| {
        let sum: f64 = all.iter().map(|one| of(&one.stats) * one.stats.count as f64).sum();
        sum / seconds.max(1) as f64
    };
    let mean = weighed(|stats| stats.mean);
    let squares = weighed(|stats| stats.stddev.powi(2) + stats.mean.powi(2));
    let min = all.iter().map(|one| one.stats.min).min()?;
    let max = all.iter().map(|one| one.stats.max).max()?;
    let sketch = all.iter().map(|one| one.stats.sketch.as_ref()).collect::<Option<Vec<_>>>();
    let percentiles = sketch.and_then(|parts| percentiles(&parts, (min as f64, max as f64)));
    Some(Figure {
        seconds,
        mean: mean * factor,
        stddev: (squares - mean.powi(2)).max(0.0).sqrt() * factor,
        min: min as f64 * factor,
        max: max as f64 * factor,
        last: all.iter().map(|one| one.now).sum::<f64>() / all.len() as f64 * factor,
        percentiles: percentiles.map(|all| all.map(|value| value * factor)),
        graph: graph(all).into_iter().map(|mean| Some(mean? * factor)).collect(),
    })
}

fn percentiles(parts: &[&Sketch], (min, max): (f64, f64)) -> Option<[f64; 5]> {
    let (first, rest) = parts.split_first()?;
    let mut whole = Sketch::clone(first);
    rest.iter().for_each(|part| whole.merge(part));
    let at = |percent: f64| Some(whole.quantile(percent / 100.0)?.clamp(min, max));
    let [a, b, c, d, e] = PERCENTS.map(at);
    Some([a?, b?, c?, d?, e?])
}

/// The mean of those of whom something is known, part by part.
fn graph(all: &[Kept]) -> Vec<Option<f64>> {
    let parts = all.iter().map(|one| one.graph.len()).max().unwrap_or(0);
    let at = |n: usize| {
        let known: Vec<f64> =
            all.iter().filter_map(|one| one.graph.get(n).copied().flatten()).collect();
        (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64)
    };
    (0..parts).map(at).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::metric;

    fn kept(values: &[i64]) -> Kept {
        let mut sketch = Sketch::new();
        values.iter().for_each(|value| sketch.add(*value, 1));
        let n = values.len() as f64;
        let mean = values.iter().sum::<i64>() as f64 / n;
        let spread = values.iter().map(|v| (*v as f64 - mean).powi(2)).sum::<f64>() / n;
        let stats = Stats {
            range: 0..values.len() as i64,
            count: values.len() as u64,
            mean,
            stddev: spread.sqrt(),
            min: *values.iter().min().unwrap(),
            max: *values.iter().max().unwrap(),
            last: *values.last().unwrap(),
            sum: values.iter().map(|v| i128::from(*v)).sum(),
            sketch: Some(sketch),
        };
        Kept { stats, now: *values.last().unwrap() as f64, graph: vec![Some(mean), None] }
    }

    #[test]
    fn instances_together_are_as_if_they_were_one() {
        let (a, b) = ([1, 2, 3, 4], [10, 20]);
        let info = metric("web", "threads").unwrap();
        let both = figure(&[kept(&a), kept(&b)], info).unwrap();
        let one = figure(&[kept(&[1, 2, 3, 4, 10, 20])], info).unwrap();
        assert_eq!((both.seconds, both.min, both.max), (6, 1.0, 20.0));
        assert!((both.mean - one.mean).abs() < 1e-9);
        assert!((both.stddev - one.stddev).abs() < 1e-9);
        assert_eq!(both.percentiles, one.percentiles);
        assert_eq!(both.graph, [Some(8.75), None]);
        assert_eq!(figure(&[], info), None);
    }
}
