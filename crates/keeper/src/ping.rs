//! Whether the daemon still answers, as a pure clock.

use std::time::{Duration, Instant};

/// Between pings.
const EVERY: Duration = Duration::from_secs(10);
/// Unanswered pings after which the daemon is aborted.
const MISSES: u32 = 3;
/// From SIGABRT, or from a closed socket, to the next step.
const GRACE: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(crate) struct Ping {
    sent: u64,
    missed: u32,
    next: Instant,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Pinging,
    /// It closed its socket or doesn't read: aborted next.
    Ending,
    Aborted,
}

/// What is to be done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    Nothing,
    Ping(u64),
    Abort,
    Kill,
}

impl Ping {
    pub(crate) fn new(now: Instant) -> Self {
        Self { sent: 0, missed: 0, next: now + EVERY, stage: Stage::Pinging }
    }

    /// A new daemon runs.
    pub(crate) fn restart(&mut self, now: Instant) {
        *self = Self { sent: self.sent, ..Self::new(now) };
    }

    pub(crate) const fn next(&self) -> Instant {
        self.next
    }

    pub(crate) const fn answered(&mut self, n: u64) {
        if n == self.sent {
            self.missed = 0;
        }
    }

    /// It is about to end by itself; ended by force if it doesn't.
    pub(crate) fn expect_end(&mut self, now: Instant) {
        if self.stage == Stage::Pinging {
            self.stage = Stage::Ending;
            self.next = now + GRACE;
        }
    }

    pub(crate) fn abort(&mut self, now: Instant) {
        self.stage = Stage::Ending;
        self.next = now;
    }

    pub(crate) fn due(&mut self, now: Instant) -> Due {
        if now < self.next {
            return Due::Nothing;
        }
        self.next = now + GRACE;
        match self.stage {
            Stage::Pinging if self.missed < MISSES => {
                self.missed += 1;
                self.sent += 1;
                self.next = now + EVERY;
                Due::Ping(self.sent)
            }
            Stage::Pinging | Stage::Ending => {
                self.stage = Stage::Aborted;
                Due::Abort
            }
            Stage::Aborted => Due::Kill,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_misses_abort_and_an_answer_forgives() {
        let mut now = Instant::now();
        let mut ping = Ping::new(now);
        assert_eq!(ping.due(now), Due::Nothing);
        let mut step = |ping: &mut Ping, by| {
            now += by;
            ping.due(now)
        };
        assert_eq!(step(&mut ping, EVERY), Due::Ping(1));
        assert_eq!(step(&mut ping, EVERY), Due::Ping(2));
        ping.answered(2);
        for n in 3..6 {
            assert_eq!(step(&mut ping, EVERY), Due::Ping(n));
        }
        assert_eq!(step(&mut ping, EVERY), Due::Abort);
        assert_eq!(step(&mut ping, GRACE), Due::Kill);
    }
}
