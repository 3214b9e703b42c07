//! A token bucket without a timer: the generic cell rate algorithm (ITU-T I.371) keeps one moment, the one at which the
//! bucket would be full again.

use std::time::Instant;

use super::rules::Rate;

/// See the module. Begins full.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Bucket {
    full_at: Option<Instant>,
    /// When the last token was taken, by this daemon.
    last: Option<Instant>,
}

impl Bucket {
    /// When the next token is there; `None`: now.
    pub(crate) fn next(&self, rate: &Rate, now: Instant) -> Option<Instant> {
        let slack = rate.interval() * (rate.burst.max(1) - 1);
        let full_at = self.full_at?;
        if full_at <= now + slack { None } else { full_at.checked_sub(slack) }
    }

    /// Takes a token; whoever takes one that is not there has asked [`Bucket::next`] wrongly, and waits longer later.
    pub(crate) fn take(&mut self, rate: &Rate, now: Instant) {
        self.full_at = Some(self.full_at.map_or(now, |at| at.max(now)) + rate.interval());
        self.last = Some(now);
    }

    /// Gives one back that was taken then and not used after all. Only while none was taken later: the bucket may have
    /// filled up in between, and the token would be there twice.
    pub(crate) fn give_back(&mut self, rate: &Rate, taken: Instant) {
        if self.last == Some(taken) {
            self.full_at = self.full_at.and_then(|at| at.checked_sub(rate.interval()));
        }
    }

    /// The moment at which it would be full again, if that is to come.
    pub(crate) fn full_at(&self, now: Instant) -> Option<Instant> {
        self.full_at.filter(|at| *at > now)
    }

    /// One of an earlier run. It has at worst no token: a clock that was set must not close it for longer.
    pub(crate) fn restore(&mut self, rate: &Rate, full_at: Instant, now: Instant) {
        self.full_at = Some(full_at.min(now + rate.interval() * rate.burst.max(1)));
    }

    /// True when nothing would be different in a new bucket.
    pub(crate) fn is_full(&self, now: Instant) -> bool {
        self.full_at.is_none_or(|at| at <= now)
    }
}
