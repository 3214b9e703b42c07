//! The default formulas of other queues, as published in their sources.

use crate::words::words;

words! {
    /// Another queue's way of waiting. `n` is the number of the failure from 1, `rand(k)` a whole number from 0 to k-1.
    Formula {
        /// Sidekiq (`job_retry.rb`): `(n-1)^4 + 15 + rand(10 n)` seconds.
        Sidekiq = "sidekiq",
        /// Faktory (`manager/retry.go`): `(n-1)^4 + 15 + n × rand(30)` seconds.
        Faktory = "faktory",
        /// River (`DefaultClientRetryPolicy`): `n^4` seconds, 10 % more or less.
        River = "river",
        /// Oban (`Oban.Worker.backoff/1`): `15 + 2^n` seconds, up to 10 % more; above 20 attempts `n` is scaled down to 20.
        Oban = "oban",
        /// graphile-worker (`fail_job`): `e^min(n, 10)` seconds.
        Graphile = "graphile",
    }
}

/// Oban spreads more attempts than these over the same curve.
const OBAN_ATTEMPTS: f64 = 20.0;
/// Oban's largest exponent.
const OBAN_POWER_MAX: f64 = 100.0;
/// Graphile's largest exponent.
const GRAPHILE_POWER_MAX: u32 = 10;

impl Formula {
    /// Seconds after the `n`-th failure (from 1) of at most `max` attempts.
    pub(super) fn seconds(self, n: u32, max: u32, unit: f64) -> f64 {
        let n_real = f64::from(n);
        let quartic = |n: f64| n.powi(4);
        // rand(k): a whole number below k, also where `unit` is 1.
        let rand = |k: f64| (unit * k).floor().min(k - 1.0);
        match self {
            Self::Sidekiq => quartic(n_real - 1.0) + 15.0 + rand(10.0 * n_real),
            Self::Faktory => quartic(n_real - 1.0) + 15.0 + n_real * rand(30.0),
            Self::River => quartic(n_real) * (0.9 + 0.2 * unit),
            Self::Oban => {
                let max = f64::from(max);
                let scaled = if max <= OBAN_ATTEMPTS {
                    n_real
                } else {
                    (n_real / max * OBAN_ATTEMPTS).round()
                };
                let wait = 15.0 + scaled.min(OBAN_POWER_MAX).exp2();
                wait + (wait * 0.1 * unit).trunc()
            }
            Self::Graphile => f64::from(n.min(GRAPHILE_POWER_MAX)).exp(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TaskBackoff;

    /// Waits in whole seconds after failures 1, 2, 3, 5, 10 and 20.
    fn table(formula: Formula, max: u32, unit: f64) -> [u64; 6] {
        [1, 2, 3, 5, 10, 20].map(|n| TaskBackoff::Named(formula).delay(n, max, unit).as_secs())
    }

    #[test]
    fn sidekiq() {
        // count = n-1: count^4 + 15, and rand(10 (count+1)): 0..9, 0..19, 0..29, 0..49, 0..99, 0..199.
        assert_eq!(table(Formula::Sidekiq, 25, 0.0), [15, 16, 31, 271, 6_576, 130_336]);
        assert_eq!(table(Formula::Sidekiq, 25, 1.0), [24, 35, 60, 320, 6_675, 130_535]);
    }

    #[test]
    fn faktory() {
        // count = n-1: count^4 + 15, and rand(30) × (count+1): 0..29, 0..58, 0..87, 0..145, 0..290, 0..580.
        assert_eq!(table(Formula::Faktory, 25, 0.0), [15, 16, 31, 271, 6_576, 130_336]);
        assert_eq!(table(Formula::Faktory, 25, 1.0), [44, 74, 118, 416, 6_866, 130_916]);
    }

    #[test]
    fn river() {
        // 1 s, 16 s, 1 min 21 s, … 10 min 25 s, …; 10 % more or less.
        assert_eq!(table(Formula::River, 25, 0.5), [1, 16, 81, 625, 10_000, 160_000]);
        assert_eq!(table(Formula::River, 25, 0.0), [0, 14, 72, 562, 9_000, 144_000]);
        assert_eq!(table(Formula::River, 25, 1.0), [1, 17, 89, 687, 11_000, 176_000]);
    }

    #[test]
    fn oban() {
        assert_eq!(table(Formula::Oban, 20, 0.0), [17, 19, 23, 47, 1_039, 1_048_591]);
        assert_eq!(table(Formula::Oban, 20, 1.0), [18, 20, 25, 51, 1_142, 1_153_450]);
        // Of 40 attempts each counts half: exponents 1 (0.5 rounds up), 1, 2 (1.5 rounds up), 3 (2.5), 5, 10.
        assert_eq!(table(Formula::Oban, 40, 0.0), [17, 17, 19, 23, 47, 1_039]);
    }

    #[test]
    fn graphile() {
        assert_eq!(table(Formula::Graphile, 25, 0.0), [2, 7, 20, 148, 22_026, 22_026]);
        assert_eq!(table(Formula::Graphile, 25, 1.0), [2, 7, 20, 148, 22_026, 22_026]);
    }
}
