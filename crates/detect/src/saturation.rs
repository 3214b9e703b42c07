//! Saturation: close to a limit, or held back by one.
//!
//! | resource | full from | calm below | for |
//! | --- | --- | --- | --- |
//! | descriptors, processes, memory | 90 % of the limit | 80 % | 5 samples |
//! | CPU quota | held back 25 % of the time | 15 % | 60 s |
//! | CPU pressure (some) | 60 % | 40 % | 60 s |
//! | memory pressure (full) | 10 % | 5 % | 60 s |
//! | I/O pressure (full) | 40 % | 25 % | 60 s |
//!
//! Shares of the limits are ours (Netdata and Monit warn at 80-90 %); pressure follows what Meta's oomd and systemd-oomd act on (systemd-oomd's
//! default: 60 % for 30 s, told here long before).

use serde::{Deserialize, Serialize};

use crate::finding::{Cause, Detector, Finding, Resource, span};

/// One row of the table above.
struct Rule {
    resource: Resource,
    full: f64,
    calm: f64,
    for_ms: u64,
}

/// A limit counts after so many milliseconds over it: five samples at 1 Hz.
const AT_ONCE: u64 = 5_000;
const LASTING: u64 = 60_000;

const RULES: [Rule; 7] = [
    Rule { resource: Resource::Fds, full: 0.9, calm: 0.8, for_ms: AT_ONCE },
    Rule { resource: Resource::Pids, full: 0.9, calm: 0.8, for_ms: AT_ONCE },
    Rule { resource: Resource::Memory, full: 0.9, calm: 0.8, for_ms: AT_ONCE },
    Rule { resource: Resource::CpuQuota, full: 0.25, calm: 0.15, for_ms: LASTING },
    Rule { resource: Resource::CpuPressure, full: 0.6, calm: 0.4, for_ms: LASTING },
    Rule { resource: Resource::MemoryPressure, full: 0.1, calm: 0.05, for_ms: LASTING },
    Rule { resource: Resource::IoPressure, full: 0.4, calm: 0.25, for_ms: LASTING },
];

/// The detector's state: a line for each resource.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Saturation {
    lines: [Line; RULES.len()],
}

#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
struct Line {
    /// Since when it has been over `full` (or, once told, not below `calm`).
    since_ms: Option<u64>,
    told: bool,
    peak: f64,
    samples: u64,
}

impl Saturation {
    /// `shares` gives 0..1 for the resources that are known.
    pub(crate) fn sample(
        &mut self,
        object: &str,
        now_ms: u64,
        share: impl Fn(Resource) -> Option<f64>,
    ) -> Vec<Finding> {
        let rows = RULES.iter().zip(&mut self.lines);
        rows.filter_map(|(rule, line)| {
            let share = share(rule.resource).filter(|share| share.is_finite())?;
            line.samples += 1;
            let over = share >= if line.told { rule.calm } else { rule.full };
            if !over {
                *line = Line { samples: line.samples, ..Line::default() };
                return None;
            }
            let since_ms = *line.since_ms.get_or_insert(now_ms);
            line.peak = line.peak.max(share);
            line.told |= now_ms.saturating_sub(since_ms) >= rule.for_ms;
            line.told.then(|| finding(object, rule, line, now_ms, since_ms, share))
        })
        .collect()
    }
}

fn finding(
    object: &str,
    rule: &Rule,
    line: &Line,
    now_ms: u64,
    since_ms: u64,
    share: f64,
) -> Finding {
    let full_scale = (share - rule.full) / (1.0 - rule.full);
    Finding {
        detector: Detector::Saturation,
        object: object.to_owned(),
        cause: Cause::Saturated(rule.resource),
        since_ms,
        score: (0.6 + 0.4 * full_scale).clamp(0.5, 1.0),
        value: share,
        baseline: rule.full,
        samples: line.samples,
        evidence: vec![
            format!(
                "{} at {:.0} % for {}",
                rule.resource.word(),
                share * 100.0,
                span(now_ms.saturating_sub(since_ms) as f64 / 1e3)
            ),
            format!("told from {:.0} %, highest {:.0} %", rule.full * 100.0, line.peak * 100.0),
        ],
        eta_s: None,
        deploy: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(resource: Resource, shares: &[f64]) -> Vec<u64> {
        let mut saturation = Saturation::default();
        let samples = (0..).zip(shares);
        samples
            .filter(|(s, share)| {
                !saturation
                    .sample("a", s * 1_000, |asked| (asked == resource).then_some(**share))
                    .is_empty()
            })
            .map(|(s, _)| s)
            .collect()
    }

    #[test]
    fn a_limit_is_told_after_five_seconds_and_taken_back_below_the_lower_line() {
        let mut shares = vec![0.5; 10];
        shares.extend([0.95; 10]);
        shares.extend([0.85; 5]);
        shares.extend([0.5; 5]);
        shares.extend([0.85; 5]);
        assert_eq!(seen(Resource::Fds, &shares), (15..25).collect::<Vec<_>>());
    }

    #[test]
    fn pressure_has_to_last() {
        assert!(seen(Resource::IoPressure, &[0.9; 59]).is_empty());
        assert_eq!(seen(Resource::IoPressure, &[0.9; 62]), [60, 61]);
        assert!(seen(Resource::CpuPressure, &[f64::NAN; 100]).is_empty());
    }
}
