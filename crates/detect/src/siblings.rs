//! Outlier among siblings: one worker unlike the rest of its pool.
//!
//! Needs no past: the pool itself is the baseline, from the first minute. The distance from the pool's median, in robust standard deviations
//! (1.4826 MAD), with a scale that is at least 15 % of the median and half the metric's floor: a pool of equals is not torn apart by a hair.
//! Told after 60 s at 6 and more, taken back below 4.

use serde::{Deserialize, Serialize};

use crate::desk::{Change, Desk};
use crate::finding::{Cause, Detector, Finding, Metric, span};
use crate::trend::median;

/// Smaller pools have no majority.
pub const POOL_MIN: usize = 4;
/// Siblings that are watched for each metric; more are judged, but never told.
pub const SIBLINGS_MAX: usize = 1_024;
const FAR: f64 = 6.0;
const NEAR: f64 = 4.0;
const FOR_MS: u64 = 60_000;
const SCALE_RATIO: f64 = 0.15;

/// One that is far from the rest now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Far {
    object: String,
    metric: Metric,
    since_ms: u64,
    told: bool,
    samples: u64,
}

/// The state for one pool.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Siblings {
    far: Vec<Far>,
    desk: Desk,
}

impl Siblings {
    /// Nothing seen yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// One tick of a pool: for each metric its members with their values. Members that do not work now should be left out.
    pub fn sample(&mut self, now_ms: u64, metrics: &[(Metric, &[(&str, f64)])]) -> Vec<Change> {
        let mut findings = Vec::new();
        for (metric, members) in metrics {
            self.compare(now_ms, *metric, members, &mut findings);
        }
        self.desk.observe(now_ms, findings)
    }

    /// Incidents that are open.
    pub const fn desk(&self) -> &Desk {
        &self.desk
    }

    fn compare(
        &mut self,
        now_ms: u64,
        metric: Metric,
        members: &[(&str, f64)],
        findings: &mut Vec<Finding>,
    ) {
        let here =
            |far: &Far| far.metric != metric || members.iter().any(|(name, _)| *name == far.object);
        self.far.retain(here);
        let mut values: Vec<f64> =
            members.iter().map(|(_, v)| *v).filter(|v| v.is_finite()).collect();
        if values.len() < POOL_MIN {
            self.far.retain(|far| far.metric != metric);
            return;
        }
        let middle = median(&mut values);
        values.iter_mut().for_each(|v| *v = (*v - middle).abs());
        let scale = (1.4826 * median(&mut values))
            .max(SCALE_RATIO * middle.abs())
            .max(metric.floor() / 2.0);
        for (name, value) in members.iter().filter(|(_, v)| v.is_finite()) {
            let distance = (value - middle) / scale;
            let known = self.far.iter().position(|far| far.metric == metric && far.object == *name);
            let line = if known.is_some_and(|k| self.far[k].told) { NEAR } else { FAR };
            if distance.abs() < line {
                known.map(|k| self.far.swap_remove(k));
                continue;
            }
            let Some(k) = known.or_else(|| self.remember(now_ms, metric, name)) else { continue };
            let far = &mut self.far[k];
            far.samples += 1;
            far.told |= now_ms.saturating_sub(far.since_ms) >= FOR_MS;
            if far.told {
                findings.push(finding(far, now_ms, *value, middle, distance, members.len()));
            }
        }
    }

    fn remember(&mut self, now_ms: u64, metric: Metric, name: &str) -> Option<usize> {
        if self.far.len() >= SIBLINGS_MAX {
            return None;
        }
        self.far.push(Far {
            object: name.to_owned(),
            metric,
            since_ms: now_ms,
            told: false,
            samples: 0,
        });
        Some(self.far.len() - 1)
    }
}

fn finding(far: &Far, now_ms: u64, value: f64, middle: f64, distance: f64, pool: usize) -> Finding {
    let metric = far.metric;
    Finding {
        detector: Detector::Outlier,
        object: far.object.clone(),
        cause: Cause::Outlier(metric),
        since_ms: far.since_ms,
        score: (0.4 + 0.1 * (distance.abs() / FAR).log2()).clamp(0.4, 0.8),
        value,
        baseline: middle,
        samples: far.samples,
        evidence: vec![
            format!(
                "{metric}: {} against a median of {} among {pool} siblings",
                metric.show(value),
                metric.show(middle)
            ),
            format!(
                "{distance:+.1} robust deviations for {}",
                span(now_ms.saturating_sub(far.since_ms) as f64 / 1e3)
            ),
        ],
        eta_s: None,
        deploy: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(pool: &[f64], seconds: u64) -> Vec<String> {
        let names: Vec<String> = (0..pool.len()).map(|n| format!("w#{n}")).collect();
        let members: Vec<(&str, f64)> =
            names.iter().map(String::as_str).zip(pool.iter().copied()).collect();
        let mut siblings = Siblings::new();
        let mut found = Vec::new();
        for s in 0..seconds {
            for change in siblings.sample(s * 1_000, &[(Metric::Cpu, &members)]) {
                found.push(change.incident().finding.object.clone());
            }
        }
        found
    }

    #[test]
    fn the_one_unlike_the_rest_is_told_once_after_a_minute() {
        assert_eq!(opened(&[0.1, 0.12, 0.9, 0.11], 61), ["w#2"]);
        assert!(opened(&[0.1, 0.12, 0.9, 0.11], 60).is_empty());
        assert_eq!(opened(&[0.9, 0.9, 0.0, 0.91], 61), ["w#2"], "the idle one too");
    }

    #[test]
    fn small_pools_equals_and_spread_pools_have_no_outlier() {
        assert!(opened(&[0.1, 0.9, 0.1], 600).is_empty(), "three are no majority");
        assert!(opened(&[0.5, 0.5, 0.5, 0.5, 0.51], 600).is_empty());
        assert!(opened(&[0.1, 0.3, 0.5, 0.7, 0.9], 600).is_empty());
        assert!(opened(&[0.1, f64::NAN, 0.1, 0.1], 600).is_empty());
    }

    #[test]
    fn members_that_left_are_forgotten_and_the_number_is_bounded() {
        let mut siblings = Siblings::new();
        let names: Vec<String> = (0..4_000).map(|n| format!("w#{n}")).collect();
        let members: Vec<(&str, f64)> = names
            .iter()
            .enumerate()
            .map(|(n, name)| (name.as_str(), if n % 3 == 0 { 9.0 } else { 0.1 }))
            .collect();
        siblings.sample(0, &[(Metric::Cpu, &members)]);
        assert_eq!(siblings.far.len(), SIBLINGS_MAX);
        siblings.sample(1_000, &[(Metric::Cpu, &members[..5])]);
        assert!(siblings.far.len() <= 5);
        siblings.sample(2_000, &[(Metric::Cpu, &members[..3])]);
        assert!(siblings.far.is_empty());
    }
}
