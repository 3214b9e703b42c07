//! Exponential backoff with jitter, as a pure function.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::words::FailureCause;

/// How the wait grows from try to try: `base × factor^(n-1)`, never above `max`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Backoff {
    /// The wait before the second try.
    pub base: Duration,
    /// Growth per further try, at least 1.
    pub factor: f64,
    /// The longest wait.
    pub max: Duration,
    /// Full jitter: the wait is drawn evenly from zero to the computed value.
    pub jitter: bool,
}

impl Backoff {
    /// Services: 200 ms × 2 up to 30 s with full jitter.
    pub const SERVICE: Self = Self {
        base: Duration::from_millis(200),
        factor: 2.0,
        max: Duration::from_secs(30),
        jitter: true,
    };

    /// Tasks: 1 s × 2 up to 10 min with jitter.
    pub const TASK: Self = Self {
        base: Duration::from_secs(1),
        factor: 2.0,
        max: Duration::from_secs(600),
        jitter: true,
    };

    /// The wait after the `failures`-th failure in a row (from 1). `unit` is a random number in `[0, 1)`, drawn by the
    /// caller so that this stays a function.
    #[must_use]
    pub fn delay(&self, failures: u32, unit: f64) -> Duration {
        let exponent = i32::try_from(failures.saturating_sub(1)).unwrap_or(i32::MAX);
        let grown = self.base.as_secs_f64() * self.factor.max(1.0).powi(exponent);
        let capped = grown.min(self.max.as_secs_f64()).max(0.0);
        let jittered = if self.jitter { capped * unit.clamp(0.0, 1.0) } else { capped };
        Duration::from_secs_f64(jittered)
    }
}

/// Other waits for some causes of failure; `None`: the usual one.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct CauseBackoffs {
    /// After an exit code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<Backoff>,
    /// After a signal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signal: Option<Backoff>,
    /// After the end for want of memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oom: Option<Backoff>,
    /// After a failed health check.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health: Option<Backoff>,
    /// After a missing readiness.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_timeout: Option<Backoff>,
    /// After a start that was not possible.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spawn: Option<Backoff>,
}

impl CauseBackoffs {
    /// The waits for one cause.
    #[must_use]
    pub const fn of(&self, cause: FailureCause) -> Option<Backoff> {
        match cause {
            FailureCause::ExitCode => self.exit_code,
            FailureCause::Signal => self.signal,
            FailureCause::Oom => self.oom,
            FailureCause::Health => self.health,
            FailureCause::StartTimeout => self.start_timeout,
            FailureCause::Spawn => self.spawn,
        }
    }

    /// No cause has waits of its own.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn grows_to_the_cap() {
        let plain = Backoff { jitter: false, ..Backoff::SERVICE };
        let waits: Vec<_> = (1..=10).map(|n| plain.delay(n, 0.5).as_millis()).collect();
        assert_eq!(waits, [200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000]);
    }

    proptest! {
        #[test]
        fn never_above_the_cap(n in 0..u32::MAX, unit in 0.0..1.0f64) {
            prop_assert!(Backoff::SERVICE.delay(n, unit) <= Backoff::SERVICE.max);
        }
    }
}
