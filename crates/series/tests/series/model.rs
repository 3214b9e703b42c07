//! The model: every sample in a Vec, and statistics by sorting and summing.

use std::collections::BTreeMap;
use std::ops::Range;

use ganger_series::{Kind, Reader, Stats, Tier};

use crate::key;

/// Samples of one object: metric → tick → value.
#[derive(Debug, Clone, Default)]
pub(crate) struct Model(pub(crate) BTreeMap<&'static str, BTreeMap<i64, i64>>);

pub(crate) const METRICS: [(&str, Kind); 3] =
    [("cpu", Kind::Counter), ("rss", Kind::Gauge), ("fds", Kind::Gauge)];

impl Model {
    pub(crate) fn push(&mut self, tick: i64, row: &[i64; 3]) {
        for ((name, _), value) in METRICS.iter().zip(row) {
            if *value != ganger_series::ABSENT {
                self.0.entry(name).or_default().insert(tick, *value);
            }
        }
    }

    pub(crate) fn samples(&self, metric: &str, range: Range<i64>) -> Vec<(i64, i64)> {
        let samples =
            self.0.get(metric).into_iter().flat_map(|samples| samples.range(range.clone()));
        samples.map(|(at, value)| (*at, *value)).collect()
    }

    /// What each second of `range` says, with the second it is told of: a counter's increase over a gap is spread over its seconds.
    pub(crate) fn seconds(&self, metric: &str, kind: Kind, range: &Range<i64>) -> Vec<(i64, i64)> {
        let all: Vec<(i64, i64)> = self.samples(metric, i64::MIN..range.end);
        let mut told = Vec::new();
        for (n, (at, value)) in all.iter().enumerate().filter(|(_, (at, _))| range.contains(at)) {
            if kind == Kind::Gauge {
                told.push((*at, *value));
                continue;
            }
            let Some((then, before)) = n.checked_sub(1).map(|before| all[before]) else { continue };
            let gap = at - then;
            if gap > 60 {
                continue;
            }
            let increase = if *value < before { *value } else { value - before };
            for second in 0..gap {
                let share = increase / gap + if second == 0 { increase % gap } else { 0 };
                told.push((*at, share));
            }
        }
        told
    }

    pub(crate) fn check_samples(&self, reader: &Reader, name: &str, range: Range<i64>) {
        for (metric, _) in METRICS {
            let read = reader.samples(&key(name, 0), metric, range.clone()).unwrap();
            assert_eq!(read, self.samples(metric, range.clone()), "{metric} in {range:?}");
        }
    }

    /// All figures of a window, as the store tells them of the range that it covers.
    pub(crate) fn check_stats(&self, reader: &Reader, name: &str, range: Range<i64>) {
        for (metric, kind) in METRICS {
            let stats = reader.stats(&key(name, 0), metric, range.clone()).unwrap();
            let covered = stats.as_ref().map_or(range.clone(), |stats| stats.range.clone());
            assert!(covered.start <= range.start && range.end <= covered.end);
            let told = self.seconds(metric, kind, &covered);
            let Some(stats) = stats else {
                assert!(
                    told.is_empty(),
                    "{metric} in {range:?}: nothing for {} seconds",
                    told.len()
                );
                continue;
            };
            compare(&stats, told.iter().map(|(_, value)| *value).collect(), metric);
            let last = told.last().map(|(at, _)| self.samples(metric, *at..at + 1)[0].1);
            assert_eq!(Some(stats.last), last, "{metric} in {range:?}");
        }
    }

    /// Every step of a tier that begins in the range.
    pub(crate) fn check_cells(&self, reader: &Reader, name: &str, tier: Tier, range: Range<i64>) {
        for (metric, kind) in METRICS {
            let cells = reader.cells(&key(name, 0), metric, tier, range.clone()).unwrap();
            let mut steps: BTreeMap<i64, (i128, u64)> = BTreeMap::new();
            let up = |at: i64| at + (-at).rem_euclid(tier.step());
            for (at, value) in self.seconds(metric, kind, &(up(range.start)..up(range.end))) {
                let step = steps.entry(at - at.rem_euclid(tier.step())).or_default();
                *step = (step.0 + i128::from(value), step.1 + 1);
            }
            let read: BTreeMap<i64, (i128, u64)> = cells
                .iter()
                .map(|(at, cell)| (*at, (cell.summary.sum, cell.summary.count)))
                .collect();
            assert_eq!(read, steps, "{metric} {tier:?} in {range:?}");
        }
    }
}

fn compare(stats: &Stats, mut values: Vec<i64>, metric: &str) {
    values.sort_unstable();
    let n = values.len() as f64;
    let sum: i128 = values.iter().map(|value| i128::from(*value)).sum();
    let mean = sum as f64 / n;
    let variance = values.iter().map(|value| (*value as f64 - mean).powi(2)).sum::<f64>() / n;
    assert_eq!((stats.count, stats.sum), (values.len() as u64, sum), "{metric}");
    assert_eq!((stats.min, stats.max), (values[0], values[values.len() - 1]), "{metric}");
    let near = |a: f64, b: f64| (a - b).abs() <= 1e-6 * b.abs().max(1.0);
    assert!(near(stats.mean, mean), "{metric}: mean {} for {mean}", stats.mean);
    assert!(
        near(stats.stddev, variance.sqrt()),
        "{metric}: {} for {}",
        stats.stddev,
        variance.sqrt()
    );
    if stats.sketch.is_none() {
        assert_eq!(metric, "fds", "the others have sketches");
        return;
    }
    for percent in [0.0, 50.0, 90.0, 99.0, 99.9, 100.0] {
        let exact = values[(percent / 100.0 * (n - 1.0)).floor() as usize] as f64;
        let told = stats.percentile(percent).unwrap();
        let off = (told - exact).abs();
        assert!(
            off <= 0.01 * exact.abs() * (1.0 + 1e-9),
            "{metric} p{percent}: {told} for {exact}"
        );
    }
}
