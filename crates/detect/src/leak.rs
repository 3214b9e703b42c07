//! Leak: what grows and never gives back, and when it will hit the limit.
//!
//! Looked at are the **minima** of buckets: work in flight comes and goes, what is never freed raises the minimum. Two eyes, one rule:
//!
//! | eye | bucket | buckets | finds |
//! | --- | --- | --- | --- |
//! | quick | 10 s | 60-120 (10-20 min) | only what will hit the limit within an hour |
//! | patient | 1 min | 30-120 (30 min-2 h) | what takes 10 % of the limit a day |
//!
//! The rule, at the end of each bucket:
//!
//! 1. Mann-Kendall: the minima rise with p < 0.001, its variance widened by the autocorrelation of what the trend leaves over: a random walk
//!    is no trend.
//! 2. Theil-Sen (median of slopes) tells how fast; the time to the limit follows.
//! 3. **Sawtooth**: where a quarter of the range was given back at some point (a collector ran), only minima since then count, and the
//!    value must have passed the highest tooth. Beside it the troughs themselves are looked at: eight and more that rise by a fifth of a tooth are a leak
//!    under a collector.
//! 4. **Warming cache**: growth that slows down ends somewhere. The rise of the second half against the first gives the plateau (a geometric
//!    series); below the limit it is no leak.
//! 5. It holds for three buckets in a row, and is taken back after three in which it doesn't.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::finding::{Cause, Detector, Finding, Metric, span};
use crate::trend;

/// Minima that an eye remembers.
pub const MINIMA_MAX: usize = 120;
/// Time after a start in which growth is normal.
const SETTLE_MS: u64 = 60_000;
/// z of p < 0.001, one-sided.
const Z: f64 = 3.09;
/// What was given back, as a share of the range, makes a sawtooth.
const TOOTH: f64 = 0.25;
/// Second half's rise against the first's: from here on growth counts as steady.
const STEADY: f64 = 0.8;
/// Troughs that an eye remembers, and that it needs.
const TROUGHS_MAX: usize = 60;
const TROUGHS_MIN: usize = 8;
/// Troughs must rise by this share of the highest tooth above them.
const TROUGH_RISE: f64 = 0.2;
/// The limit is taken to be near from this share of it.
const NEAR: f64 = 0.9;
/// Buckets in a row.
const HOLD: i8 = 3;

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Eye {
    Quick,
    Patient,
}

impl Eye {
    const fn bucket_ms(self) -> u64 {
        match self {
            Self::Quick => 10_000,
            Self::Patient => 60_000,
        }
    }

    const fn least(self) -> usize {
        match self {
            Self::Quick => 60,
            Self::Patient => 30,
        }
    }
}

/// Minima, the newest last, and what they say.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Trend {
    eye: Eye,
    minima: VecDeque<f64>,
    bucket: u64,
    lowest: f64,
    /// Highest value before something was given back.
    tooth: f64,
    /// After each drop: the bucket and what was left.
    troughs: VecDeque<(u64, f64)>,
    /// Buckets in a row that say yes (or, below zero, no).
    held: i8,
    /// Slope a second and seconds to the limit, while it is a leak.
    seen: Option<(f64, Option<f64>)>,
}

impl Trend {
    fn new(eye: Eye) -> Self {
        Self {
            eye,
            minima: VecDeque::new(),
            bucket: 0,
            lowest: f64::INFINITY,
            tooth: 0.0,
            troughs: VecDeque::new(),
            held: 0,
            seen: None,
        }
    }

    fn sample(&mut self, now_ms: u64, value: f64, limit: f64, floor: f64) {
        let bucket = now_ms / self.eye.bucket_ms();
        if bucket != self.bucket && self.lowest.is_finite() {
            self.close(limit, floor);
            self.lowest = f64::INFINITY;
        }
        self.bucket = bucket;
        self.lowest = self.lowest.min(value);
    }

    fn close(&mut self, limit: f64, floor: f64) {
        self.give_back(floor);
        if self.minima.len() == MINIMA_MAX {
            self.minima.pop_front();
        }
        self.minima.push_back(self.lowest);
        let said = self.judge(limit, floor);
        self.held = match said {
            Some(_) => self.held.max(0).saturating_add(1).min(HOLD),
            None => self.held.min(0).saturating_sub(1).max(-HOLD),
        };
        if self.held >= HOLD {
            self.seen = said;
        } else if self.held <= -HOLD {
            self.seen = None;
        }
    }

    /// A drop of a quarter of the range and more starts anew, and the tooth is remembered; it fades by 1 % a tooth.
    fn give_back(&mut self, floor: f64) {
        let highest = self.minima.iter().copied().fold(f64::MIN, f64::max);
        let least = self.minima.iter().copied().fold(f64::MAX, f64::min).min(self.lowest);
        let drop = highest - self.lowest;
        if drop > floor / 4.0 && drop >= TOOTH * (highest - least) {
            self.tooth = (self.tooth * 0.99).max(highest);
            self.minima.clear();
            if self.troughs.len() == TROUGHS_MAX {
                self.troughs.pop_front();
            }
            self.troughs.push_back((self.bucket, self.lowest));
        }
    }

    fn judge(&self, limit: f64, floor: f64) -> Option<(f64, Option<f64>)> {
        let n = self.minima.len();
        let now = *self.minima.back()?;
        if n >= self.eye.least() && now > self.tooth {
            let values: Vec<f64> = self.minima.iter().copied().collect();
            let said = self.rises(&values, 1.0, limit, floor);
            if said.is_some() {
                return said;
            }
        }
        let (first, last) = (self.troughs.front()?, self.troughs.back()?);
        let spanned = last.0.saturating_sub(first.0);
        if self.troughs.len() < TROUGHS_MIN || spanned < self.eye.least() as u64 {
            return None;
        }
        let values: Vec<f64> = self.troughs.iter().map(|(_, value)| *value).collect();
        let every = spanned as f64 / (values.len() - 1) as f64;
        self.rises(&values, every, limit, floor.max(TROUGH_RISE * (self.tooth - first.1)))
    }

    /// Slope a second and seconds to the limit, if `values`, one in `every` buckets, rise by at least `floor` like a leak.
    fn rises(
        &self,
        values: &[f64],
        every: f64,
        limit: f64,
        floor: f64,
    ) -> Option<(f64, Option<f64>)> {
        let (first, now) = (*values.first()?, *values.last()?);
        if now - first < floor || trend::mann_kendall(values) < Z {
            return None;
        }
        let half = values.len() / 2;
        let (early, late) = (trend::theil_sen(&values[..half]), trend::theil_sen(&values[half..]));
        let keeps = late / early.max(f64::MIN_POSITIVE);
        if keeps < STEADY {
            // What is still to come if each half goes on to bring `keeps` of the one before.
            let plateau = now + late * half as f64 * keeps.max(0.0) / (1.0 - keeps.max(0.0));
            if !limit.is_finite() || plateau < NEAR * limit {
                return None;
            }
        }
        let slope =
            late.min(trend::theil_sen(values)) / (every * self.eye.bucket_ms() as f64 / 1e3);
        let eta = limit.is_finite().then(|| ((limit - now) / slope).max(0.0));
        let fast_enough = match self.eye {
            Eye::Quick => keeps >= STEADY && eta.is_some_and(|eta| eta < 3_600.0),
            Eye::Patient if limit.is_finite() => slope * 86_400.0 >= 0.1 * limit,
            // Without a limit: more than its own size a day.
            Eye::Patient => slope * 86_400.0 >= now,
        };
        (slope > 0.0 && fast_enough).then_some((slope, eta))
    }
}

/// The detector's state for one metric of one object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Leak {
    metric: Metric,
    started_ms: Option<u64>,
    since_ms: Option<u64>,
    eyes: [Trend; 2],
}

impl Leak {
    pub(crate) fn new(metric: Metric) -> Self {
        let eyes = [Trend::new(Eye::Quick), Trend::new(Eye::Patient)];
        Self { metric, started_ms: None, since_ms: None, eyes }
    }

    /// The process was replaced: what it held is gone.
    pub(crate) fn restarted(&mut self) {
        *self = Self::new(self.metric);
    }

    /// `limit`: what the object may have; `None` if nothing bounds it.
    pub(crate) fn sample(
        &mut self,
        object: &str,
        now_ms: u64,
        value: f64,
        limit: Option<f64>,
    ) -> Option<Finding> {
        let started = *self.started_ms.get_or_insert(now_ms);
        if now_ms.saturating_sub(started) < SETTLE_MS || !value.is_finite() {
            return None;
        }
        let limit = limit.unwrap_or(f64::INFINITY);
        for eye in &mut self.eyes {
            // A leak of 16 MiB matters below a limit of 100 MiB, one of 1 MiB nowhere.
            eye.sample(now_ms, value, limit, self.metric.floor().min(limit * 0.05));
        }
        let Some(eye) = self.eyes.iter().find(|eye| eye.seen.is_some()) else {
            self.since_ms = None;
            return None;
        };
        let (slope, eta_s) = eye.seen?;
        let spanned = eye.minima.len() as u64 * eye.eye.bucket_ms();
        let since_ms = *self.since_ms.get_or_insert(now_ms.saturating_sub(spanned));
        let first = eye.minima.front().copied().unwrap_or(value);
        let rise = format!(
            "lowest of each {} rose from {} to {} in {}",
            span(eye.eye.bucket_ms() as f64 / 1e3),
            self.metric.show(first),
            self.metric.show(value),
            span(spanned as f64 / 1e3)
        );
        let mut evidence = vec![
            rise,
            format!("{} an hour, and nothing was given back", self.metric.show(slope * 3_600.0)),
        ];
        if let Some(eta) = eta_s {
            evidence.push(format!(
                "the limit of {} is reached in {}",
                self.metric.show(limit),
                span(eta)
            ));
        }
        Some(Finding {
            detector: Detector::Leak,
            object: object.to_owned(),
            cause: Cause::Leak(self.metric),
            since_ms,
            // An hour to the limit is a call, a day is worth a note.
            score: eta_s.map_or(0.5, |eta| {
                (1.0 - 0.5 * (eta / 3_600.0).max(1.0).log2() / 4.6).clamp(0.4, 1.0)
            }),
            value,
            baseline: first,
            samples: eye.minima.len() as u64,
            evidence,
            eta_s,
            deploy: false,
        })
    }
}

#[cfg(test)]
mod tests;
