//! A token bucket without a timer: the generic cell rate algorithm (ITU-T I.371) keeps one moment, the one at which the
//! bucket would be full again. Pure: the caller has the clock.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// The rule of a token bucket: `count` tokens come in `per`, evenly; at most `burst` wait to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rate {
    /// Tokens that come in `per`; at least 1.
    pub count: u32,
    /// The time in which they come; not zero.
    pub per: Duration,
    /// Tokens that may wait; at least 1.
    pub burst: u32,
}

impl Rate {
    /// The time between two tokens.
    #[must_use]
    pub fn interval(&self) -> Duration {
        self.per / self.count.max(1)
    }
}

/// See the module. Begins full.
#[derive(Debug, Clone, Copy, Default)]
pub struct Bucket {
    full_at: Option<Instant>,
    /// When the last token was taken, by this process.
    last: Option<Instant>,
}

impl Bucket {
    /// When the next token is there; `None`: now.
    #[must_use]
    pub fn next(&self, rate: &Rate, now: Instant) -> Option<Instant> {
        let slack = rate.interval() * (rate.burst.max(1) - 1);
        let full_at = self.full_at?;
        if full_at <= now + slack { None } else { full_at.checked_sub(slack) }
    }

    /// Takes a token; whoever takes one that is not there has asked [`Bucket::next`] wrongly, and waits longer later.
    pub fn take(&mut self, rate: &Rate, now: Instant) {
        self.full_at = Some(self.full_at.map_or(now, |at| at.max(now)) + rate.interval());
        self.last = Some(now);
    }

    /// Gives one back that was taken then and not used after all. Only while none was taken later: the bucket may have
    /// filled up in between, and the token would be there twice.
    pub fn give_back(&mut self, rate: &Rate, taken: Instant) {
        if self.last == Some(taken) {
            self.full_at = self.full_at.and_then(|at| at.checked_sub(rate.interval()));
        }
    }

    /// The moment at which it would be full again, if that is to come.
    #[must_use]
    pub fn full_at(&self, now: Instant) -> Option<Instant> {
        self.full_at.filter(|at| *at > now)
    }

    /// One of an earlier run. It has at worst no token: a clock that was set must not close it for longer.
    pub fn restore(&mut self, rate: &Rate, full_at: Instant, now: Instant) {
        self.full_at = Some(full_at.min(now + rate.interval() * rate.burst.max(1)));
    }

    /// True when nothing would be different in a new bucket.
    #[must_use]
    pub fn is_full(&self, now: Instant) -> bool {
        self.full_at.is_none_or(|at| at <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_comes_back_once_and_only_while_none_was_taken_later() {
        let rate = Rate { count: 10, per: Duration::from_secs(1), burst: 2 };
        let (begun, mut bucket) = (Instant::now(), Bucket::default());
        let at = |ms| begun + Duration::from_millis(ms);
        bucket.take(&rate, at(0));
        bucket.take(&rate, at(0));
        assert_eq!(bucket.next(&rate, at(0)), Some(at(100)));
        bucket.give_back(&rate, at(0));
        assert_eq!(bucket.next(&rate, at(0)), None);
        // Refilled meanwhile: the first would be there twice.
        bucket.take(&rate, at(500));
        bucket.give_back(&rate, at(0));
        bucket.take(&rate, at(500));
        assert_eq!(bucket.next(&rate, at(500)), Some(at(600)));
    }
}
