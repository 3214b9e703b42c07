//! Spike and level shift of one metric: the engine says how rare, this says whether it matters.
//!
//! ```text
//!   sample ─▶ mean of the 10 s step ─▶ Engine ─┬─ rare (SPIKE decades), above the floor and half again as high as usual: armed ─▶ 3 of 5 steps
//!                                              │                                           over the line half-way up ─▶ spike, until 3 of 5 are below
//!                                              └─ the last 5 min stand beyond everything but themselves, before them it was as ever, ─▶ level
//!                                                 and they are level themselves                                          shift, until 10 min later
//! ```
//!
//! A ramp is neither: it is the leak detector's. A fall is told only after a reload: idling is no trouble.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::desk::STEP_MS;
use crate::engine::{Engine, Season, Verdict};
use crate::finding::{Cause, Detector, Finding, Metric, span};
use crate::trend::median;

/// Decades that arm a spike.
const SPIKE: f64 = 3.5;
/// A spike is at least so many times what is usual.
const SPIKE_RATIO: f64 = 1.5;
/// Steps over the line of the last five.
const OF_FIVE: usize = 3;
/// Steps of a window of the shift: 5 min.
const WINDOW: usize = 30;
/// A shift is at least this share of the level before it.
const SHIFT_RATIO: f64 = 0.2;
/// Steps that the baseline must have beyond the two windows.
const HISTORY: u64 = 100;
/// A new level is news for so long.
const NEWS_MS: u64 = 600_000;
/// A change this soon after a reload is the deploy's.
pub const DEPLOY_MS: u64 = 300_000;

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Spike {
    since_ms: u64,
    /// Half-way between usual and the value that armed it.
    line: f64,
    usual: f64,
    decades: f64,
    told: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Shift {
    since_ms: u64,
    until_ms: u64,
    from: f64,
    to: f64,
    deploy_after_ms: Option<u64>,
}

/// The state for one metric of one object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Meter {
    metric: Metric,
    engine: Engine,
    step: u64,
    sum: f64,
    count: u32,
    /// The last two windows, the newest last.
    recent: VecDeque<f64>,
    spike: Option<Spike>,
    shift: Option<Shift>,
    samples: u64,
}

impl Meter {
    pub(crate) fn new(metric: Metric) -> Self {
        Self {
            metric,
            engine: Engine::new(),
            step: 0,
            sum: 0.0,
            count: 0,
            recent: VecDeque::with_capacity(2 * WINDOW),
            spike: None,
            shift: None,
            samples: 0,
        }
    }

    /// One sample; `local_s` is its local time in seconds (for seasons), `reload_ms` the last reload.
    pub(crate) fn sample(&mut self, now_ms: u64, local_s: i64, value: f64, reload_ms: Option<u64>) {
        if !value.is_finite() {
            return;
        }
        let step = now_ms / STEP_MS;
        if step != self.step && self.count > 0 {
            let mean = self.sum / f64::from(self.count);
            (self.sum, self.count) = (0.0, 0);
            self.close(now_ms, local_s, mean, reload_ms);
        }
        self.step = step;
        self.sum += value;
        self.count += 1;
    }

    /// What is seen now, if anything.
    pub(crate) fn look(&self, object: &str, now_ms: u64) -> Option<Finding> {
        let shift = self.shift.filter(|shift| now_ms < shift.until_ms);
        shift.map(|shift| self.shift_finding(object, &shift)).or_else(|| {
            self.spike
                .filter(|spike| spike.told)
                .map(|spike| self.spike_finding(object, now_ms, &spike))
        })
    }

    /// A new process starts from another level: windows and spike are of the old one.
    pub(crate) fn restarted(&mut self) {
        self.spike = None;
    }

    fn close(&mut self, now_ms: u64, local_s: i64, value: f64, reload_ms: Option<u64>) {
        let Some(verdict) = self.engine.push(local_s, value) else { return };
        self.samples = verdict.samples;
        if self.recent.len() == 2 * WINDOW {
            self.recent.pop_front();
        }
        self.recent.push_back(value);
        self.step_spike(now_ms, value, &verdict);
        self.step_shift(now_ms, &verdict, reload_ms);
    }

    fn step_spike(&mut self, now_ms: u64, value: f64, verdict: &Verdict) {
        if let Some(spike) = &mut self.spike {
            let over = self.recent.iter().rev().take(5).filter(|v| **v >= spike.line).count();
            let age = now_ms.saturating_sub(spike.since_ms) / STEP_MS;
            if over >= OF_FIVE {
                spike.told = true;
            } else if age >= 5 || (spike.told && over < 2) {
                self.spike = None;
            }
            return;
        }
        let usual = verdict.expected;
        let highest = self.engine.quantile(0.98).unwrap_or(usual);
        let excess = value - usual;
        let matters =
            excess >= 2.0 * self.metric.floor() && value >= SPIKE_RATIO * usual.max(highest);
        if verdict.decades >= SPIKE && matters {
            let since_ms = now_ms.saturating_sub(STEP_MS);
            let line = usual + excess / 2.0;
            self.spike =
                Some(Spike { since_ms, line, usual, decades: verdict.decades, told: false });
        }
    }

    fn step_shift(&mut self, now_ms: u64, verdict: &Verdict, reload_ms: Option<u64>) {
        if let Some(shift) = &self.shift {
            if now_ms >= shift.until_ms {
                self.shift = None;
            }
            return;
        }
        if self.recent.len() < 2 * WINDOW || verdict.samples < HISTORY + WINDOW as u64 {
            return;
        }
        let values: Vec<f64> = self.recent.iter().copied().collect();
        let (before, now) =
            (median(&mut values[..WINDOW].to_vec()), median(&mut values[WINDOW..].to_vec()));
        let level = |part: &[f64]| median(&mut part.to_vec());
        let (early, late) =
            (level(&values[WINDOW..WINDOW * 3 / 2]), level(&values[WINDOW * 3 / 2..]));
        let size = now - before;
        let usual = self.engine.quantile(0.5).unwrap_or(before);
        let steady = (early - late).abs() <= size.abs() / 4.0;
        let matters = size.abs() >= self.metric.floor().max(SHIFT_RATIO * before.abs());
        // Where a season knows better, its value has to be left too.
        let seasonal =
            verdict.season.is_none_or(|_| (now - verdict.expected).abs() >= size.abs() / 2.0);
        if !(steady && matters && seasonal && (usual - before).abs() <= size.abs() / 2.0) {
            return;
        }
        let middle = f64::midpoint(before, now);
        // Beyond the middle stand only the values of this window, but for 2 %.
        let beyond = self.engine.share_above(middle);
        let beyond = if size > 0.0 { beyond } else { 1.0 - beyond };
        let own = WINDOW as f64 / verdict.samples as f64;
        if beyond > own * 1.1 + 0.02 {
            return;
        }
        let new = values.iter().rev().take_while(|v| (**v >= middle) == (size > 0.0)).count();
        let since_ms = now_ms.saturating_sub(new as u64 * STEP_MS);
        // A reload that is up to a step younger than the change is its cause too: steps are 10 s wide.
        let deploy_after_ms = reload_ms
            .filter(|at| *at <= since_ms + 2 * STEP_MS && since_ms.saturating_sub(*at) <= DEPLOY_MS)
            .map(|at| since_ms.saturating_sub(at));
        if size > 0.0 || deploy_after_ms.is_some() {
            self.shift = Some(Shift {
                since_ms,
                until_ms: now_ms + NEWS_MS,
                from: before,
                to: now,
                deploy_after_ms,
            });
        }
    }

    fn spike_finding(&self, object: &str, now_ms: u64, spike: &Spike) -> Finding {
        let value = self.recent.back().copied().unwrap_or(spike.line);
        let ratio = value / spike.usual.max(self.metric.floor());
        Finding {
            detector: Detector::Spike,
            object: object.to_owned(),
            cause: Cause::Unusual(self.metric),
            since_ms: spike.since_ms,
            score: (0.3 + 0.1 * (spike.decades - SPIKE) + 0.1 * ratio.max(1.0).log2())
                .clamp(0.3, 0.9),
            value,
            baseline: spike.usual,
            samples: self.samples,
            evidence: vec![
                format!(
                    "{} for {}, usually {}",
                    self.metric.show(value),
                    span(now_ms.saturating_sub(spike.since_ms) as f64 / 1e3),
                    self.metric.show(spike.usual)
                ),
                format!("rarity {:.1} decades among {} steps of 10 s", spike.decades, self.samples),
            ],
            eta_s: None,
            deploy: false,
        }
    }

    fn shift_finding(&self, object: &str, shift: &Shift) -> Finding {
        let change = (shift.to - shift.from) / shift.from.abs().max(self.metric.floor());
        let mut evidence = vec![format!(
            "from {} to {} ({:+.0} %)",
            self.metric.show(shift.from),
            self.metric.show(shift.to),
            100.0 * (shift.to - shift.from)
                / shift.from.abs().max(f64::MIN_POSITIVE).max(self.metric.floor() / 10.0)
        )];
        if let Some(after) = shift.deploy_after_ms {
            evidence.push(format!("it began {} after a reload", span(after as f64 / 1e3)));
        }
        evidence.push(format!("no such level in {} steps of 10 s before", self.samples));
        Finding {
            detector: Detector::LevelShift,
            object: object.to_owned(),
            cause: Cause::Unusual(self.metric),
            since_ms: shift.since_ms,
            score: (0.4 + 0.15 * change.abs().max(1.0).log2()).clamp(0.4, 0.8),
            value: shift.to,
            baseline: shift.from,
            samples: self.samples,
            evidence,
            eta_s: None,
            deploy: shift.deploy_after_ms.is_some(),
        }
    }

    /// The season that the expected value comes from, if there is enough history.
    pub(crate) fn season(&self, local_s: i64) -> Option<(f64, Season)> {
        self.engine.usual(local_s)
    }
}

#[cfg(test)]
mod tests;
