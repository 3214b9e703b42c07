//! When the next job may start, and how long one may take.

use std::time::{Duration, Instant};

use crate::room::memory_available;
use crate::{Load, Options};

/// Between two looks at load and memory, of which the kernel sends no word.
pub(super) const LOOK: Duration = Duration::from_millis(250);
/// Times that are kept; more change no median that matters.
const MAX_TIMES: usize = 10_000;
/// Jobs before there is a median.
const LEAST: usize = 3;

/// What holds starts up.
#[derive(Debug)]
pub(super) struct Pace {
    delay: Duration,
    load: Option<Load>,
    memory: Option<u64>,
    /// Not before.
    next: Option<Instant>,
    looked: Option<Instant>,
}

impl Pace {
    pub(super) fn new(options: &Options) -> Self {
        let memory = options.memory_free;
        Self { delay: options.delay, load: options.load, memory, next: None, looked: None }
    }

    pub(super) fn on_start(&mut self, now: Instant) {
        self.next = (!self.delay.is_zero()).then(|| now + self.delay);
    }

    /// A job may start now. Where nothing runs memory is not waited for: nobody else would give it back.
    pub(super) fn has_room(&mut self, now: Instant, running: usize) -> bool {
        if self.next.is_some_and(|next| now < next) {
            return false;
        }
        let short = |most: u64| memory_available().is_some_and(|free| free < most);
        let over =
            self.load.is_some_and(Load::is_over) || (running > 0 && self.memory.is_some_and(short));
        self.looked = over.then_some(now);
        !over
    }

    /// When to ask again.
    pub(super) fn again(&self, now: Instant) -> Option<Instant> {
        let next = self.next.filter(|next| *next > now);
        next.into_iter().chain(self.looked.map(|at| at + LOOK)).max()
    }
}

/// How long jobs took that ended well.
#[derive(Debug, Default)]
pub(super) struct Times {
    sorted: Vec<Duration>,
}

impl Times {
    pub(super) fn add(&mut self, took: Duration) {
        if self.sorted.len() < MAX_TIMES {
            let at = self.sorted.partition_point(|had| *had <= took);
            self.sorted.insert(at, took);
        }
    }

    pub(super) fn median(&self) -> Option<Duration> {
        (self.sorted.len() >= LEAST).then(|| self.sorted[self.sorted.len() / 2])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_needs_three() {
        let mut times = Times::default();
        for ms in [30, 10] {
            times.add(Duration::from_millis(ms));
            assert_eq!(times.median(), None);
        }
        times.add(Duration::from_millis(20));
        assert_eq!(times.median(), Some(Duration::from_millis(20)));
    }

    #[test]
    fn a_delay_holds_up_the_next_start_only() {
        let delay = Duration::from_secs(1);
        let mut pace = Pace { delay, load: None, memory: None, next: None, looked: None };
        let now = Instant::now();
        assert!(pace.has_room(now, 0));
        pace.on_start(now);
        assert!(!pace.has_room(now, 1));
        assert_eq!(pace.again(now), Some(now + delay));
        assert!(pace.has_room(now + delay, 1));
    }

    #[test]
    fn load_and_memory_are_looked_at_again() {
        let all = Some(u64::MAX);
        let mut pace =
            Pace { delay: Duration::ZERO, load: None, memory: all, next: None, looked: None };
        let now = Instant::now();
        assert!(pace.has_room(now, 0), "alone it may");
        assert!(!pace.has_room(now, 1));
        assert_eq!(pace.again(now), Some(now + LOOK));
    }
}
