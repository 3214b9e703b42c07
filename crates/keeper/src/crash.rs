//! How soon a helper that ended is started again, as a pure count.

use std::time::Duration;

use ganger_core::{Backoff, End};

use crate::wire::Crash;

/// A helper that lived this long was well.
const WELL: Duration = Duration::from_secs(10);
/// From so many quick failures on the daemon serves its API only.
const API_ONLY: u32 = 5;
const WAIT: Backoff = Backoff {
    base: Duration::from_millis(100),
    factor: 2.0,
    max: Duration::from_secs(5),
    jitter: false,
};

/// Counts quick failures in a row.
#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct Crashes {
    quick: u32,
    last: Option<End>,
}

impl Crashes {
    /// A helper ended after living `lived`. `served` says that it had been ready: being killed from outside after that is no
    /// failure of its own, however soon. Returns how long to wait before the next.
    pub(crate) fn ended(&mut self, lived: Duration, served: bool, end: End) -> Duration {
        const SIGKILL: i32 = 9;
        let killed = matches!(end, End::Signalled { signal: SIGKILL, .. });
        let was_api_only = self.quick >= API_ONLY;
        let well = lived >= WELL || (served && killed);
        // An API-only daemon that ends has had its chance to tell why: the next one tries in earnest.
        self.quick = if well || was_api_only { 0 } else { self.quick + 1 };
        self.last = Some(end);
        WAIT.delay(self.quick.max(1), 0.0)
    }

    /// What the next daemon is to know.
    pub(crate) fn told(&self) -> Option<Crash> {
        let last = self.last.clone()?;
        (self.quick > 0).then_some(Crash {
            quick_failures: self.quick,
            last,
            api_only: self.quick >= API_ONLY,
        })
    }

    pub(crate) fn last(&self) -> Option<End> {
        self.last.clone()
    }
}

#[cfg(test)]
mod tests {
    use ganger_core::SignalSource;

    use super::*;

    const FAILED: End = End::Exited { code: 1 };

    #[test]
    fn five_quick_failures_mean_api_only_and_waits_grow_to_five_seconds() {
        let mut crashes = Crashes::default();
        let soon = Duration::from_millis(5);
        let waits: Vec<u128> =
            (0..4).map(|_| crashes.ended(soon, false, FAILED).as_millis()).collect();
        assert_eq!(waits, [100, 200, 400, 800]);
        assert!(!crashes.told().unwrap().api_only);
        crashes.ended(soon, true, FAILED);
        assert!(crashes.told().unwrap().api_only);
        crashes.ended(soon, true, FAILED);
        assert_eq!(crashes.told(), None);
    }

    #[test]
    fn living_long_or_being_killed_while_serving_is_no_failure() {
        let mut crashes = Crashes::default();
        for _ in 0..20 {
            let by = SignalSource::Unknown;
            let end = End::Signalled { signal: 9, core: false, by };
            let wait = crashes.ended(Duration::from_secs(1), true, end);
            assert_eq!(wait, Duration::from_millis(100));
        }
        assert_eq!(crashes.told(), None);
        crashes.ended(Duration::from_secs(60), true, FAILED);
        assert_eq!((crashes.told(), crashes.last()), (None, Some(FAILED)));
    }
}
