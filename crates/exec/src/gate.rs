//! How often and how many at once: counters by principal and policy. Pure: the caller has the clock.
//!
//! The key is who asks, never a connection or a token, so that opening more of either gives nothing. Time is monotonic.
//! Rates are the same token buckets that queues and restarts have ([`Bucket`]).

use std::collections::HashMap;
use std::time::{Duration, Instant};

use ganger_core::{Bucket, Rate};

/// Runs of one principal at once, over all policies: far more than a person or a script has, far less than the keeper bears.
pub(crate) const RUNNING_MAX: u32 = 256;
/// Counters that say nothing any more are swept once so many are kept.
const SWEEP: usize = 1_024;

/// Whose counter, of which policy.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    /// `uid:1000`, `token:ci`.
    pub(crate) who: String,
    /// The policy's name.
    pub(crate) policy: String,
}

/// Why there is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    /// So many run already, as many as may.
    Running(u32),
    /// The next may begin after this time.
    Rate(Rate, Duration),
}

#[derive(Debug, Default)]
struct Gate {
    bucket: Bucket,
    running: u32,
}

/// All counters.
#[derive(Debug, Default)]
pub(crate) struct Gates {
    all: HashMap<Key, Gate>,
    /// Runs of a principal over all policies.
    whole: HashMap<String, u32>,
}

impl Gates {
    /// One more wants to begin; if it may, it is counted until [`Gates::leave`].
    pub(crate) fn enter(
        &mut self,
        key: &Key,
        rate: Option<Rate>,
        running: Option<u32>,
        now: Instant,
    ) -> Result<(), Full> {
        if self.all.len() >= SWEEP {
            self.all.retain(|_, gate| gate.running > 0 || !gate.bucket.is_full(now));
        }
        let whole = self.whole.get(&key.who).copied().unwrap_or(0);
        if whole >= RUNNING_MAX {
            return Err(Full::Running(whole));
        }
        let gate = self.all.entry(key.clone()).or_default();
        if running.is_some_and(|most| gate.running >= most) {
            return Err(Full::Running(gate.running));
        }
        if let Some(rate) = rate {
            if let Some(at) = gate.bucket.next(&rate, now) {
                return Err(Full::Rate(rate, at.saturating_duration_since(now)));
            }
            gate.bucket.take(&rate, now);
        }
        gate.running += 1;
        *self.whole.entry(key.who.clone()).or_default() += 1;
        Ok(())
    }

    /// One that was counted has ended.
    pub(crate) fn leave(&mut self, key: &Key) {
        if let Some(gate) = self.all.get_mut(key) {
            gate.running = gate.running.saturating_sub(1);
        }
        if let Some(whole) = self.whole.get_mut(&key.who) {
            *whole = whole.saturating_sub(1);
            if *whole == 0 {
                self.whole.remove(&key.who);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(who: u8, policy: u8) -> Key {
        Key { who: format!("uid:{who}"), policy: format!("p{policy}") }
    }

    proptest! {
        /// Against a model that keeps every start and every run: never more at once than may, never more in any window than
        /// the bucket gives, and never refused while both have room.
        #[test]
        fn no_more_than_may(
            burst in 1u32..5, most in 1u32..4,
            steps in prop::collection::vec((0u8..2, 0u8..2, 0u64..400, any::<bool>()), 0..120),
        ) {
            let rate = Rate { count: 10, per: Duration::from_secs(1), burst };
            let (begun, mut now) = (Instant::now(), Instant::now());
            let mut gates = Gates::default();
            let mut running: HashMap<Key, u32> = HashMap::new();
            let mut starts: HashMap<Key, Vec<Duration>> = HashMap::new();
            for (who, policy, wait, ends) in steps {
                now += Duration::from_millis(wait);
                let key = key(who, policy);
                let runs = running.entry(key.clone()).or_default();
                if ends && *runs > 0 {
                    *runs -= 1;
                    gates.leave(&key);
                    continue;
                }
                let at = now - begun;
                let own = starts.entry(key.clone()).or_default();
                // Tokens by counting: full at first, one more each 100 ms, at most `burst`.
                let mut tokens = f64::from(burst);
                let mut last = Duration::ZERO;
                for start in own.iter() {
                    tokens = (tokens + (*start - last).as_secs_f64() * 10.0).min(f64::from(burst)) - 1.0;
                    last = *start;
                }
                tokens = (tokens + (at - last).as_secs_f64() * 10.0).min(f64::from(burst));
                match gates.enter(&key, Some(rate), Some(most), now) {
                    Ok(()) => {
                        prop_assert!(*runs < most && tokens > 0.999);
                        *runs += 1;
                        own.push(at);
                    }
                    Err(Full::Running(n)) => prop_assert_eq!((n, *runs), (most, most)),
                    Err(Full::Rate(_, after)) => {
                        prop_assert!(tokens < 1.001 && !after.is_zero());
                        // And then it may.
                        let mut later = Gates { all: HashMap::new(), whole: HashMap::new() };
                        std::mem::swap(&mut later, &mut gates);
                        prop_assert!(later.enter(&key, Some(rate), None, now + after).is_ok());
                        later.leave(&key);
                        own.push(at + after);
                        now += after;
                        gates = later;
                    }
                }
            }
        }
    }

    #[test]
    fn a_principal_has_a_bound_over_all_policies_and_counters_are_forgotten() {
        let (mut gates, now) = (Gates::default(), Instant::now());
        for n in 0..RUNNING_MAX {
            let policy = u8::try_from(n % 200).unwrap();
            assert_eq!(gates.enter(&key(1, policy), None, None, now), Ok(()));
        }
        assert_eq!(gates.enter(&key(1, 201), None, None, now), Err(Full::Running(RUNNING_MAX)));
        assert_eq!(gates.enter(&key(2, 201), None, None, now), Ok(()));
        for n in 0..RUNNING_MAX {
            gates.leave(&key(1, u8::try_from(n % 200).unwrap()));
        }
        for n in 0..SWEEP {
            let key = Key { who: format!("uid:{n}"), policy: "p".into() };
            assert_eq!(gates.enter(&key, None, None, now), Ok(()));
            gates.leave(&key);
        }
        assert!(gates.all.len() <= SWEEP && gates.whole.len() == 1);
    }
}
