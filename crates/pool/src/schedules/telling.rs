//! How often a schedule is told of: every fire has its row, but the history of events belongs to everybody.

use std::time::{Duration, Instant};

/// Events a schedule may tell at once.
const BURST: u32 = 60;
/// How long it takes until it may tell one more. A schedule of every second then fills a seventieth of the history in a day.
const REFILL: Duration = Duration::from_secs(60);

/// A token bucket that counts what it kept quiet.
#[derive(Debug)]
pub(super) struct Telling {
    left: u32,
    since: Instant,
    untold: u64,
}

impl Telling {
    pub(super) const fn new(now: Instant) -> Self {
        Self { left: BURST, since: now, untold: 0 }
    }

    /// Whether one more may be told, and how many were not since the last one that was.
    pub(super) fn may(&mut self, now: Instant) -> Option<u64> {
        let gained = now.saturating_duration_since(self.since).as_secs() / REFILL.as_secs();
        if gained > 0 {
            let gained = u32::try_from(gained).unwrap_or(BURST);
            self.left = self.left.saturating_add(gained).min(BURST);
            self.since = now;
        }
        if self.left == 0 {
            self.untold += 1;
            return None;
        }
        self.left -= 1;
        Some(std::mem::take(&mut self.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fast_schedule_is_told_of_once_a_minute_and_a_slow_one_always() {
        let start = Instant::now();
        let second = |n| start + Duration::from_secs(n);
        let mut fast = Telling::new(start);
        let told: Vec<_> = (0..600).filter_map(|n| fast.may(second(n))).collect();
        assert_eq!(told.len(), 60 + 9);
        assert_eq!(told.last(), Some(&59));
        let mut slow = Telling::new(start);
        assert!((0..600).all(|n| slow.may(second(n * 60)) == Some(0)));
    }
}
