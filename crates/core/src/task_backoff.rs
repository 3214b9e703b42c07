//! The waits between the attempts of a task: curves with jitter, and the formulas of other queues by name.
//!
//! ```text
//! fixed        base
//! linear       base × n                  all capped at max, then jitter:
//! exponential  base × factor^(n-1)         none    the wait
//! polynomial   base × n^power              equal   half of it, and up to as much again
//!                                          full    anything from zero up to it
//! sidekiq, faktory, river, oban, graphile: their own curve and their own jitter ([`Formula`])
//! ```
//!
//! A pure function of the number of the failure and of one random number.

mod formula;
mod wire;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Backoff;
pub use formula::Formula;

/// The longest wait of any curve: a year. `n^4` of the thousandth failure would be 31,000 years, which no clock here holds.
pub const WAIT_MAX: Duration = Duration::from_secs(366 * 86_400);

/// How long a task waits after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(from = "wire::Wire", into = "wire::Wire")]
pub enum TaskBackoff {
    /// As another queue does it, to make moving over a change of one word.
    Named(Formula),
    /// A curve of one's own.
    Curve(Curve),
}

/// A curve of one's own.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Curve {
    /// How it grows.
    pub shape: Shape,
    /// The wait after the first failure.
    pub base: Duration,
    /// The longest wait.
    pub max: Duration,
    /// What chance does to it.
    pub jitter: Jitter,
}

/// How waits grow from failure to failure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Shape {
    /// Not at all.
    Fixed,
    /// By `base` each time.
    Linear,
    /// By this factor each time, at least 1.
    Exponential(f64),
    /// With the number of the failure to this power.
    Polynomial(f64),
}

/// What chance does to a wait, so that tasks that failed together do not come back together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Jitter {
    /// Nothing.
    None,
    /// Half of the wait is certain, the other half drawn.
    Equal,
    /// All of it is drawn, from zero up.
    Full,
}

impl TaskBackoff {
    /// 1 s × 2 up to 10 min with full jitter.
    pub const DEFAULT: Self = Self::Curve(Curve {
        shape: Shape::Exponential(2.0),
        base: Duration::from_secs(1),
        max: Duration::from_secs(600),
        jitter: Jitter::Full,
    });

    /// The wait after the `failures`-th failure (from 1) of a task that has `max` attempts in all. `unit` is a random number
    /// in `[0, 1)`, drawn by the caller so that this stays a function.
    #[must_use]
    pub fn delay(&self, failures: u32, max: u32, unit: f64) -> Duration {
        let (n, unit) = (failures.max(1), unit.clamp(0.0, 1.0));
        let seconds = match self {
            Self::Named(formula) => formula.seconds(n, max, unit),
            Self::Curve(curve) => curve.seconds(n, unit),
        };
        // `min` also turns what is not a number into the longest wait.
        Duration::from_secs_f64(seconds.min(WAIT_MAX.as_secs_f64()).max(0.0))
    }
}

impl Curve {
    fn seconds(&self, n: u32, unit: f64) -> f64 {
        let base = self.base.as_secs_f64();
        let grown = match self.shape {
            Shape::Fixed => base,
            Shape::Linear => base * f64::from(n),
            Shape::Exponential(factor) => base * factor.max(1.0).powf(f64::from(n - 1)),
            Shape::Polynomial(power) => base * f64::from(n).powf(power.max(0.0)),
        };
        let capped =
            if self.shape == Shape::Fixed { grown } else { grown.min(self.max.as_secs_f64()) };
        match self.jitter {
            Jitter::None => capped,
            Jitter::Equal => capped / 2.0 * (1.0 + unit),
            Jitter::Full => capped * unit,
        }
    }
}

impl Default for TaskBackoff {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl From<Backoff> for TaskBackoff {
    fn from(backoff: Backoff) -> Self {
        let Backoff { base, factor, max, jitter } = backoff;
        let jitter = if jitter { Jitter::Full } else { Jitter::None };
        Self::Curve(Curve { shape: Shape::Exponential(factor), base, max, jitter })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn waits(shape: Shape, jitter: Jitter, unit: f64) -> Vec<u64> {
        let (base, max) = (Duration::from_secs(2), Duration::from_secs(60));
        let curve = TaskBackoff::Curve(Curve { shape, base, max, jitter });
        (1..=6).map(|n| curve.delay(n, 5, unit).as_secs()).collect()
    }

    #[test]
    fn curves() {
        assert_eq!(waits(Shape::Fixed, Jitter::None, 0.9), [2, 2, 2, 2, 2, 2]);
        assert_eq!(waits(Shape::Linear, Jitter::None, 0.9), [2, 4, 6, 8, 10, 12]);
        assert_eq!(waits(Shape::Exponential(3.0), Jitter::None, 0.9), [2, 6, 18, 54, 60, 60]);
        assert_eq!(waits(Shape::Polynomial(2.0), Jitter::None, 0.9), [2, 8, 18, 32, 50, 60]);
    }

    #[test]
    fn jitter() {
        assert_eq!(waits(Shape::Linear, Jitter::Equal, 0.0), [1, 2, 3, 4, 5, 6]);
        assert_eq!(waits(Shape::Linear, Jitter::Equal, 0.5), [1, 3, 4, 6, 7, 9]);
        assert_eq!(waits(Shape::Linear, Jitter::Full, 0.0), [0; 6]);
        assert_eq!(waits(Shape::Linear, Jitter::Full, 0.5), [1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn what_earlier_versions_stored_reads_as_it_was() {
        let stored = serde_json::to_string(&Backoff::TASK).unwrap();
        let read: TaskBackoff = serde_json::from_str(&stored).unwrap();
        assert_eq!(read, TaskBackoff::DEFAULT);
    }

    #[test]
    fn it_reads_back_as_written() {
        let curve = |shape, jitter| {
            TaskBackoff::Curve(Curve { shape, base: Duration::from_secs(3), max: WAIT_MAX, jitter })
        };
        let all = [
            TaskBackoff::Named(Formula::Oban),
            curve(Shape::Fixed, Jitter::None),
            curve(Shape::Linear, Jitter::Equal),
            curve(Shape::Exponential(1.5), Jitter::Full),
            curve(Shape::Polynomial(2.5), Jitter::None),
        ];
        for backoff in all {
            let text = serde_json::to_string(&backoff).unwrap();
            assert_eq!(serde_json::from_str::<TaskBackoff>(&text).unwrap(), backoff, "{text}");
        }
    }

    proptest! {
        #[test]
        fn never_above_the_caps(n in 0..u32::MAX, max in 0..u32::MAX, unit in 0.0..1.0f64, power in 0.0..20.0f64) {
            let top = Duration::from_secs(90);
            for shape in [Shape::Linear, Shape::Exponential(power), Shape::Polynomial(power)] {
                for jitter in [Jitter::None, Jitter::Equal, Jitter::Full] {
                    let curve = Curve { shape, base: Duration::from_secs(1), max: top, jitter };
                    prop_assert!(TaskBackoff::Curve(curve).delay(n, max, unit) <= top);
                }
            }
            for formula in Formula::ALL {
                prop_assert!(TaskBackoff::Named(*formula).delay(n, max, unit) <= WAIT_MAX);
            }
        }
    }
}
