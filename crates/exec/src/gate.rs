//! How often and how many at once: counters by principal and policy, and by program over all principals. Pure: the caller has the clock.
//!
//! The key is who asks, never a connection or a token, so that opening more of either gives nothing. Time is monotonic.
//! Rates are the same token buckets that queues and restarts have ([`Bucket`]).

use std::collections::HashMap;
use std::time::{Duration, Instant};

use ganger_core::{Bucket, Rate};

use crate::left::Start;

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

impl Key {
    /// A user's, of a policy.
    pub(crate) fn of_uid(uid: u32, policy: String) -> Self {
        Self { who: format!("uid:{uid}"), policy }
    }

    /// Everybody's, of a program by its path. No policy has a name with a slash in it.
    pub(crate) fn of_program(path: String) -> Self {
        Self { who: String::new(), policy: path }
    }
}

/// Why there is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    /// So many run already, as many as may.
    Running(u32),
    /// The next may begin after this time.
    Rate(Rate, Duration),
    /// None begins any more: the daemon ends.
    Closed,
}

#[derive(Debug, Default)]
struct Gate {
    bucket: Bucket,
    running: u32,
}

/// What holds for one counter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bound {
    pub(crate) key: Key,
    pub(crate) rate: Option<Rate>,
    pub(crate) running: Option<u32>,
}

/// All counters.
#[derive(Debug, Default)]
pub(crate) struct Gates {
    all: HashMap<Key, Gate>,
    /// Runs of a principal over all policies.
    whole: HashMap<String, u32>,
    /// Starts that a former daemon made, the oldest first; each counter takes its own when it is looked at first.
    past: HashMap<Key, Vec<Instant>>,
}

impl Gates {
    /// Counts what a former daemon started, as of `now`. Which rates hold is known when somebody asks.
    pub(crate) fn remember(&mut self, starts: Vec<Start>, now: Instant) {
        for start in starts {
            // Before the machine's clock began: nothing of this boot is.
            let Some(at) = now.checked_sub(start.age) else { continue };
            let own = Key::of_uid(start.uid, start.policy);
            for key in [own, Key::of_program(start.program)] {
                self.past.entry(key).or_default().push(at);
            }
        }
    }

    /// One more wants to begin; if all of these let it, it is counted in each until [`Gates::leave`]. The first is the principal's own.
    pub(crate) fn enter(&mut self, bounds: &[Bound], now: Instant) -> Result<(), Full> {
        if self.all.len() >= SWEEP {
            self.all.retain(|_, gate| gate.running > 0 || !gate.bucket.is_full(now));
        }
        let Some(own) = bounds.first() else { return Ok(()) };
        let whole = self.whole.get(&own.key.who).copied().unwrap_or(0);
        if whole >= RUNNING_MAX {
            return Err(Full::Running(whole));
        }
        for Bound { key, rate, running } in bounds {
            let past = self.past.remove(key);
            let gate = self.all.entry(key.clone()).or_default();
            if running.is_some_and(|most| gate.running >= most) {
                return Err(Full::Running(gate.running));
            }
            let Some(rate) = rate else { continue };
            past.iter().flatten().for_each(|at| gate.bucket.take(rate, *at));
            if let Some(at) = gate.bucket.next(rate, now) {
                return Err(Full::Rate(*rate, at.saturating_duration_since(now)));
            }
        }
        for Bound { key, rate, .. } in bounds {
            let gate = self.all.entry(key.clone()).or_default();
            gate.running += 1;
            if let Some(rate) = rate {
                gate.bucket.take(rate, now);
            }
        }
        *self.whole.entry(own.key.who.clone()).or_default() += 1;
        Ok(())
    }

    /// One that was counted has ended.
    pub(crate) fn leave(&mut self, key: &Key) {
        if let Some(gate) = self.all.get_mut(key) {
            gate.running = gate.running.saturating_sub(1);
        }
        // Everybody's counters have nobody's name.
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
        Key::of_uid(who.into(), format!("p{policy}"))
    }

    impl Gates {
        fn one(
            &mut self,
            key: &Key,
            rate: Option<Rate>,
            running: Option<u32>,
            now: Instant,
        ) -> Result<(), Full> {
            self.enter(&[Bound { key: key.clone(), rate, running }], now)
        }
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
                match gates.one(&key, Some(rate), Some(most), now) {
                    Ok(()) => {
                        prop_assert!(*runs < most && tokens > 0.999);
                        *runs += 1;
                        own.push(at);
                    }
                    Err(Full::Running(n)) => prop_assert_eq!((n, *runs), (most, most)),
                    Err(Full::Closed) => prop_assert!(false, "gates never close by themselves"),
                    Err(Full::Rate(_, after)) => {
                        prop_assert!(tokens < 1.001 && !after.is_zero());
                        // And then it may.
                        let mut later = Gates::default();
                        std::mem::swap(&mut later, &mut gates);
                        prop_assert!(later.one(&key, Some(rate), None, now + after).is_ok());
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
            assert_eq!(gates.one(&key(1, policy), None, None, now), Ok(()));
        }
        assert_eq!(gates.one(&key(1, 201), None, None, now), Err(Full::Running(RUNNING_MAX)));
        assert_eq!(gates.one(&key(2, 201), None, None, now), Ok(()));
        for n in 0..RUNNING_MAX {
            gates.leave(&key(1, u8::try_from(n % 200).unwrap()));
        }
        for n in 0..SWEEP {
            let key = Key { who: format!("uid:{n}"), policy: "p".into() };
            assert_eq!(gates.one(&key, None, None, now), Ok(()));
            gates.leave(&key);
        }
        assert!(gates.all.len() <= SWEEP && gates.whole.len() == 1);
    }

    #[test]
    fn a_program_has_bounds_over_all_who_run_it() {
        let (mut gates, now) = (Gates::default(), Instant::now());
        let rate = Rate { count: 3, per: Duration::from_secs(60), burst: 3 };
        let bounds = |who, policy| {
            let total =
                Bound { key: Key::of_program("/bin/x".into()), rate: Some(rate), running: Some(2) };
            [Bound { key: key(who, policy), rate: None, running: None }, total]
        };
        assert_eq!(gates.enter(&bounds(1, 1), now), Ok(()));
        assert_eq!(gates.enter(&bounds(2, 2), now), Ok(()));
        assert_eq!(gates.enter(&bounds(3, 1), now), Err(Full::Running(2)));
        // Who was refused by one counter is counted in none.
        assert_eq!(gates.whole.get("uid:3"), None);
        bounds(1, 1).iter().for_each(|bound| gates.leave(&bound.key));
        assert_eq!(gates.enter(&bounds(3, 1), now), Ok(()));
        bounds(3, 1).iter().for_each(|bound| gates.leave(&bound.key));
        let full = gates.enter(&bounds(1, 1), now);
        assert_eq!(full, Err(Full::Rate(rate, Duration::from_secs(20))));
    }

    #[test]
    fn rates_go_on_over_a_restart() {
        let now = Instant::now() + Duration::from_secs(3_600);
        let rate = Rate { count: 3, per: Duration::from_secs(60), burst: 3 };
        let start = |uid, age| Start {
            uid,
            policy: "p1".into(),
            program: "/bin/x".into(),
            age: Duration::from_secs(age),
        };
        let mut gates = Gates::default();
        // The first is long forgotten by now, and of two of three tokens one has come back since.
        gates.remember(vec![start(1, 900), start(1, 30), start(1, 30), start(2, 1)], now);
        assert_eq!(gates.one(&key(1, 1), Some(rate), None, now), Ok(()));
        assert_eq!(gates.one(&key(1, 1), Some(rate), None, now), Ok(()));
        let full = gates.one(&key(1, 1), Some(rate), None, now);
        assert_eq!(full, Err(Full::Rate(rate, Duration::from_secs(10))));
        // Everybody's of the program.
        let total = Key::of_program("/bin/x".into());
        assert_eq!(gates.one(&total, Some(rate), None, now), Ok(()));
        assert!(gates.one(&total, Some(rate), None, now).is_err());
        assert_eq!(gates.past.len(), 1, "what was counted is not kept twice");
    }
}
