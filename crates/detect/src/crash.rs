//! Crash loop: ends that nobody asked for, close together.
//!
//! | rule | enough ends | within |
//! | --- | --- | --- |
//! | fast | 3 | 60 s |
//! | slow | 5 | 15 min |
//! | steady | 4, of which the mean uptime (each new one counts 0.3) is below 10 min | 1 h |
//!
//! It is over when the object has been up five mean uptimes, at least five minutes.

use std::collections::VecDeque;

use ganger_core::{End, SignalSource};
use serde::{Deserialize, Serialize};

use crate::finding::{Cause, Detector, EVIDENCE_MAX, Finding, span};

/// Ends that are remembered.
pub const ENDS_MAX: usize = 32;
/// (ends, within milliseconds), see the table above.
const FAST: (usize, u64) = (3, 60_000);
const SLOW: (usize, u64) = (5, 900_000);
const STEADY: (usize, u64) = (4, 3_600_000);
/// The steady rule's mean uptime.
const STEADY_UPTIME_S: f64 = 600.0;
const UPTIME_RATE: f64 = 0.3;
/// Shortest time up after which a loop is over.
const OVER_MS: u64 = 300_000;

/// The detector's state.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct CrashLoop {
    /// When, and why.
    ends: VecDeque<(u64, String)>,
    uptime_s: f64,
    seen: u64,
    /// Since when the loop goes on.
    since_ms: Option<u64>,
}

impl CrashLoop {
    /// An end that nobody asked for, after `uptime_ms`.
    pub(crate) fn end(&mut self, now_ms: u64, uptime_ms: u64, end: &End) {
        if self.ends.len() == ENDS_MAX {
            self.ends.pop_front();
        }
        self.ends.push_back((now_ms, reason(end)));
        let uptime = uptime_ms as f64 / 1e3;
        self.seen += 1;
        let rate = if self.seen == 1 { 1.0 } else { UPTIME_RATE };
        self.uptime_s += rate * (uptime - self.uptime_s);
        let steady = self.uptime_s < STEADY_UPTIME_S && self.within(now_ms, STEADY);
        if self.since_ms.is_none()
            && (self.within(now_ms, FAST) || self.within(now_ms, SLOW) || steady)
        {
            let window = if self.within(now_ms, FAST) { FAST.1 } else { STEADY.1 };
            self.since_ms = self.ends.iter().map(|(at, _)| *at).find(|at| at + window >= now_ms);
        }
    }

    /// What is seen at `now_ms`; ends the loop when it has been calm.
    pub(crate) fn look(&mut self, object: &str, now_ms: u64) -> Option<Finding> {
        let since_ms = self.since_ms?;
        let last = self.ends.back().map_or(0, |(at, _)| *at);
        let calm = OVER_MS.max((self.uptime_s * 5_000.0) as u64);
        if now_ms.saturating_sub(last) >= calm {
            // A later end starts from nothing.
            *self = Self::default();
            return None;
        }
        Some(self.finding(object, since_ms, now_ms))
    }

    fn within(&self, now_ms: u64, (count, window_ms): (usize, u64)) -> bool {
        self.ends.iter().filter(|(at, _)| at + window_ms >= now_ms).count() >= count
    }

    fn finding(&self, object: &str, since_ms: u64, now_ms: u64) -> Finding {
        let ends = self.ends.iter().filter(|(at, _)| *at >= since_ms).count();
        let mut reasons: Vec<(&str, usize)> = Vec::new();
        for (_, reason) in self.ends.iter().filter(|(at, _)| *at >= since_ms) {
            match reasons.iter_mut().find(|(known, _)| known == reason) {
                Some((_, count)) => *count += 1,
                None => reasons.push((reason, 1)),
            }
        }
        reasons.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let head = format!(
            "{ends} ends in {}, up {} on average",
            span(now_ms.saturating_sub(since_ms) as f64 / 1e3),
            span(self.uptime_s)
        );
        let split = reasons.iter().map(|(reason, count)| format!("{count} × {reason}"));
        Finding {
            detector: Detector::CrashLoop,
            object: object.to_owned(),
            cause: Cause::CrashLoop,
            since_ms,
            score: if self.uptime_s < 10.0 { 1.0 } else { 0.8 },
            value: ends as f64,
            baseline: 0.0,
            samples: self.seen,
            evidence: std::iter::once(head).chain(split).take(EVIDENCE_MAX).collect(),
            eta_s: None,
            deploy: false,
        }
    }
}

fn reason(end: &End) -> String {
    match end {
        End::CouldNotSpawn { step, errno } => format!("could not start ({step}, errno {errno})"),
        End::Exited { code } => format!("exit code {code}"),
        End::Signalled { by: SignalSource::OomKiller, .. } => {
            "killed by the kernel for memory".to_owned()
        }
        End::Signalled { signal, core, .. } => {
            format!("signal {signal}{}", if *core { " with a core" } else { "" })
        }
        End::TimedOut { .. } => "out of time".to_owned(),
        End::LimitHit { limit, .. } => format!("limit of {limit}"),
        End::SandboxViolation { what } => format!("sandbox violation ({what})"),
        End::Lost => "lost".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Number of the end at which a loop of so many seconds of uptime is seen.
    fn seen_at(uptime_s: u64, most: u64) -> Option<u64> {
        let mut crash = CrashLoop::default();
        (1..=most).find(|n| {
            crash.end(n * uptime_s * 1_000, uptime_s * 1_000, &End::Exited { code: 1 });
            crash.look("web#1", n * uptime_s * 1_000).is_some()
        })
    }

    #[test]
    fn fast_slow_and_steady_loops_are_seen_and_a_daily_restart_is_not() {
        assert_eq!(seen_at(1, 10), Some(3));
        assert_eq!(seen_at(29, 10), Some(3));
        assert_eq!(seen_at(120, 10), Some(4), "steady");
        assert_eq!(seen_at(500, 10), Some(4));
        assert_eq!(seen_at(86_400, 30), None);
        assert_eq!(seen_at(1_500, 30), None);
    }

    #[test]
    fn reasons_are_split() {
        let mut crash = CrashLoop::default();
        let oom = End::Signalled { signal: 9, core: false, by: SignalSource::OomKiller };
        for (n, end) in [&oom, &End::Exited { code: 3 }, &oom].into_iter().enumerate() {
            crash.end(n as u64 * 1_000, 1_000, end);
        }
        let finding = crash.look("web#1", 3_000).unwrap();
        assert_eq!(
            finding.evidence[1..],
            ["2 × killed by the kernel for memory", "1 × exit code 3"]
        );
    }

    #[test]
    fn it_is_over_after_calm_and_the_next_end_counts_from_one() {
        let mut crash = CrashLoop::default();
        (0..5).for_each(|n| crash.end(n * 1_000, 1_000, &End::Exited { code: 1 }));
        assert!(crash.look("a", 200_000).is_some());
        assert!(crash.look("a", 305_000).is_none());
        crash.end(306_000, 1_000, &End::Exited { code: 1 });
        assert!(crash.look("a", 306_000).is_none());
    }

    #[test]
    fn the_memory_of_ends_is_bounded() {
        let mut crash = CrashLoop::default();
        (0..10_000).for_each(|n| crash.end(n, 1, &End::Lost));
        assert_eq!(crash.ends.len(), ENDS_MAX);
    }
}
