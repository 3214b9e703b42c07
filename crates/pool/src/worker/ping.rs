//! Whether a worker's process still answers: numbered pings on its channel, one under way at a time.
//!
//! ```text
//!            every            pong                     every: missed + 1
//!   idle ───────────► asked ───────► idle      asked ────────────────────► asked ─ missed = failures ─► lost, told once
//! ```
//!
//! Only a process that has shown that it knows pings is held to them: its hello says so, or it has answered one.

use std::time::{Duration, Instant};

use ganger_core::Dur;
use ganger_supervise::{Live, LiveBy};

/// The pings of one process.
#[derive(Debug)]
pub(super) struct Pings {
    every: Duration,
    failures: u32,
    next: Instant,
    /// Number of the newest, and when it was sent.
    sent: u64,
    sent_at: Instant,
    open: bool,
    missed: u32,
    /// It knows pings.
    known: bool,
    lost: bool,
}

/// What is to be done when its time has come.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Due {
    Nothing,
    /// Send this one.
    Send(u64),
    /// It does not answer: the verdict.
    Lost(String),
}

impl Pings {
    /// As a pool's rules say; `None` where they say nothing of pings. `unit` in `[0, 1)` places the first one in the first
    /// interval, so that workers that start together are not asked together.
    pub(super) fn new(rules: Option<&Live>, now: Instant, unit: f64) -> Option<Self> {
        let rules = rules.filter(|rules| rules.by == LiveBy::Ping)?;
        Some(Self {
            every: rules.every,
            failures: rules.failures.max(1),
            next: now + rules.every.mul_f64(unit),
            sent: 0,
            sent_at: now,
            open: false,
            missed: 0,
            known: false,
            lost: false,
        })
    }

    pub(super) const fn due(&self) -> Instant {
        self.next
    }

    /// Its hello says that it answers.
    pub(super) const fn is_known(&mut self) {
        self.known = true;
    }

    /// It is held to its answers.
    pub(super) const fn knows(&self) -> bool {
        self.known
    }

    /// `asks`: the process may be asked at all now.
    pub(super) fn on_time(&mut self, asks: bool, now: Instant) -> Due {
        if now < self.next {
            return Due::Nothing;
        }
        self.next = now + self.every;
        if !asks {
            (self.open, self.missed) = (false, 0);
            return Due::Nothing;
        }
        if !self.open {
            (self.sent, self.sent_at) = (self.sent + 1, now);
            (self.open, self.missed) = (true, 0);
            return Due::Send(self.sent);
        }
        self.missed += 1;
        if self.missed < self.failures || !self.known || self.lost {
            return Due::Nothing;
        }
        self.lost = true;
        let silence = now.saturating_duration_since(self.sent_at).as_secs_f64();
        // To a tenth of a second: timers are not more exact than that on a busy machine.
        let silence = Duration::from_millis((silence * 10.0).round() as u64 * 100);
        Due::Lost(format!("no answer to a ping for {}", Dur(silence)))
    }

    /// An answer; gives how long it took if it is the one that is waited for.
    pub(super) fn on_pong(&mut self, n: u64, now: Instant) -> Option<Duration> {
        if !self.open || n != self.sent {
            return None;
        }
        (self.open, self.missed, self.known) = (false, 0, true);
        Some(now.saturating_duration_since(self.sent_at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn pings(now: Instant) -> Pings {
        let rules = Live { by: LiveBy::Ping, every: SECOND * 5, timeout: SECOND * 5, failures: 3 };
        Pings::new(Some(&rules), now, 0.5).unwrap()
    }

    #[test]
    fn a_silent_one_is_lost_at_the_third_interval_and_once() {
        let now = Instant::now();
        let mut pings = pings(now);
        pings.is_known();
        assert_eq!(pings.due(), now + SECOND * 5 / 2);
        assert_eq!(pings.on_time(true, now), Due::Nothing, "too early");
        let begun = pings.due();
        assert_eq!(pings.on_time(true, begun), Due::Send(1));
        assert_eq!(pings.on_pong(9, begun), None, "another's number");
        for _ in 0..2 {
            assert_eq!(pings.on_time(true, pings.due()), Due::Nothing);
        }
        let lost = Due::Lost("no answer to a ping for 15s".into());
        assert_eq!(pings.on_time(true, pings.due()), lost);
        assert_eq!(pings.on_time(true, pings.due()), Due::Nothing);
    }

    #[test]
    fn an_answer_begins_anew_and_who_never_knew_pings_is_not_held_to_them() {
        let now = Instant::now();
        let mut pings = pings(now);
        for n in 1..50 {
            assert_eq!(
                pings.on_time(true, pings.due()),
                if n == 1 { Due::Send(1) } else { Due::Nothing }
            );
        }
        // A late answer is one, and shows that it knows them.
        assert!(pings.on_pong(1, pings.due()).is_some());
        assert_eq!(pings.on_time(true, pings.due()), Due::Send(2));
        assert_eq!(pings.on_pong(2, pings.sent_at + SECOND), Some(SECOND));
        assert_eq!(pings.on_pong(2, pings.sent_at + SECOND), None, "twice");
        assert_eq!(pings.on_time(false, pings.due()), Due::Nothing, "it is being stopped");
        assert_eq!(pings.on_time(true, pings.due()), Due::Send(3));
        assert!(Pings::new(None, now, 0.0).is_none());
    }
}
