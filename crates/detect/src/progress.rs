//! Stall and livelock: work is queued and nothing gets done. Only who owns the queue can see it.
//!
//! ```text
//!   done moved, or nothing queued ─▶ fine
//!   queued, done unmoved for the patience, CPU below 5 %                      ─▶ stall
//!   queued, done unmoved for the patience, running or runnable above 80 %     ─▶ livelock
//!   in between                                                                ─▶ stall, and the CPU is told
//! ```
//!
//! The patience follows the work: ten mean gaps between completions and three times the longest lately, at least 30 s. Where nothing was
//! ever done it is five minutes, since nobody knows how long a first task takes.

use serde::{Deserialize, Serialize};

use crate::finding::{Cause, Detector, Finding, span};

/// Shortest patience.
pub const PATIENCE_MIN_S: f64 = 30.0;
/// Patience before anything was done.
pub const PATIENCE_FIRST_S: f64 = 300.0;
/// Below this it sleeps, above that it burns a core.
const ASLEEP: f64 = 0.05;
const BURNING: f64 = 0.8;
/// How much a new gap counts in the mean, and how fast the longest is forgotten, a completion.
const GAP_RATE: f64 = 0.05;
const LONGEST_KEEP: f64 = 0.995;
/// How much a new sample counts in the CPU since the last progress.
const CPU_RATE: f64 = 0.1;

/// What the queue knows of an object's work.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Tasks that wait for it or that it holds.
    pub queued: u64,
    /// Tasks it has ended, ever.
    pub done: u64,
}

/// The detector's state.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Stall {
    done: Option<u64>,
    /// When work was last seen to move, or began to be there.
    moved_ms: u64,
    completions: u64,
    mean_gap_s: f64,
    longest_gap_s: f64,
    cpu: f64,
}

impl Stall {
    /// `cpu` in cores; `waiting` in cores: runnable, but without a CPU.
    pub(crate) fn sample(
        &mut self,
        object: &str,
        now_ms: u64,
        progress: Progress,
        cpu: f64,
        waiting: f64,
    ) -> Option<Finding> {
        let busy = cpu + waiting;
        let Some(before) = self.done.replace(progress.done) else {
            (self.moved_ms, self.cpu) = (now_ms, busy);
            return None;
        };
        if progress.done != before {
            let gap =
                seconds(self.moved_ms, now_ms) / progress.done.saturating_sub(before).max(1) as f64;
            self.gap(gap);
            (self.moved_ms, self.cpu) = (now_ms, busy);
        } else if progress.queued == 0 {
            (self.moved_ms, self.cpu) = (now_ms, busy);
        } else {
            self.cpu += CPU_RATE * (busy - self.cpu);
        }
        let still = seconds(self.moved_ms, now_ms);
        let patience = self.patience();
        (still >= patience).then(|| self.finding(object, progress, still, patience))
    }

    fn gap(&mut self, gap: f64) {
        self.completions += 1;
        let rate = GAP_RATE.max(1.0 / self.completions as f64);
        self.mean_gap_s += rate * (gap - self.mean_gap_s);
        self.longest_gap_s = (self.longest_gap_s * LONGEST_KEEP).max(gap);
    }

    fn patience(&self) -> f64 {
        if self.completions == 0 {
            return PATIENCE_FIRST_S;
        }
        PATIENCE_MIN_S.max(10.0 * self.mean_gap_s).max(3.0 * self.longest_gap_s)
    }

    fn finding(&self, object: &str, progress: Progress, still: f64, patience: f64) -> Finding {
        let detector = if self.cpu >= BURNING { Detector::Livelock } else { Detector::Stall };
        let doing = match self.cpu {
            cpu if cpu < ASLEEP => "it sleeps".to_owned(),
            cpu if cpu >= BURNING => {
                format!("it runs or wants to run {:.0} % of the time", cpu * 100.0)
            }
            cpu => format!("it uses {:.0} % of a core", cpu * 100.0),
        };
        let usual = match self.completions {
            0 => "it never ended a task".to_owned(),
            n => format!("usually one in {} ({n} seen)", span(self.mean_gap_s)),
        };
        Finding {
            detector,
            object: object.to_owned(),
            cause: Cause::NoProgress,
            since_ms: self.moved_ms,
            score: (0.6 + 0.1 * (still / patience)).min(1.0),
            value: still,
            baseline: self.mean_gap_s,
            samples: self.completions,
            evidence: vec![
                format!("{} queued, none done for {}", progress.queued, span(still)),
                usual,
                doing,
            ],
            eta_s: None,
            deploy: false,
        }
    }
}

fn seconds(from_ms: u64, to_ms: u64) -> f64 {
    to_ms.saturating_sub(from_ms) as f64 / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seconds at which a worker that does one task a second until `stops` is found stuck, and as what.
    fn found(stops: u64, cpu: f64, queued: u64) -> Option<(u64, Detector)> {
        let mut stall = Stall::default();
        (0..600).find_map(|second| {
            let progress = Progress { queued, done: second.min(stops) };
            let finding = stall.sample("w#1", second * 1_000, progress, cpu, 0.0)?;
            assert!(!finding.evidence.is_empty() && finding.since_ms == stops * 1_000);
            Some((second, finding.detector))
        })
    }

    #[test]
    fn a_sleeping_and_a_burning_worker_are_told_apart() {
        assert_eq!(found(100, 0.0, 5), Some((130, Detector::Stall)));
        assert_eq!(found(100, 0.99, 5), Some((130, Detector::Livelock)));
    }

    #[test]
    fn an_empty_queue_is_no_stall() {
        assert_eq!(found(100, 0.0, 0), None);
    }

    #[test]
    fn slow_work_gets_more_patience() {
        let mut stall = Stall::default();
        // A task in 50 s: 100 s without one are usual, 600 s are not.
        let at = |second: u64| second.min(5_000) / 50;
        let found = (0..6_000).find(|second| {
            let progress = Progress { queued: 9, done: at(*second) };
            stall.sample("w#1", second * 1_000, progress, 0.5, 0.0).is_some()
        });
        assert_eq!(found, Some(5_500));
    }

    #[test]
    fn the_first_task_may_take_five_minutes() {
        let mut stall = Stall::default();
        let progress = Progress { queued: 1, done: 0 };
        let found = (0..900).find(|s| stall.sample("w#1", s * 1_000, progress, 0.9, 0.0).is_some());
        assert_eq!(found, Some(300));
    }
}
