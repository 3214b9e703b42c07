//! The pure part of liveness: when the next check is due, and how many bad answers in a row are too many.

use std::time::{Duration, Instant};

use ganger_core::Dur;

/// How far a check may move from its time, of an interval: instances that began together drift apart within a few
/// rounds, and nobody sees the difference.
const JITTER: f64 = 0.1;

/// When checks are due and what their answers have come to.
#[derive(Debug, Clone)]
pub(crate) struct Rounds {
    every: Duration,
    failures: u32,
    next: Instant,
    in_row: u32,
    /// When the first bad answer of the present row was asked for.
    since: Option<Instant>,
}

impl Rounds {
    /// The first check comes within the first interval, at a place of `unit` in `[0, 1)`: a thousand instances that start
    /// together are not asked together.
    pub(crate) fn new(every: Duration, failures: u32, now: Instant, unit: f64) -> Self {
        let next = now + every.mul_f64(unit);
        Self { every, failures: failures.max(1), next, in_row: 0, since: None }
    }

    /// When the next check is due.
    pub(crate) const fn next(&self) -> Instant {
        self.next
    }

    /// Bad answers in a row.
    pub(crate) const fn in_row(&self) -> u32 {
        self.in_row
    }

    /// A round without an answer: only the time moves on.
    pub(crate) fn skipped(&mut self, begun: Instant, now: Instant, unit: f64) {
        let near = self.every.mul_f64(1.0 - JITTER / 2.0 + JITTER * unit);
        self.next = (begun + near).max(now);
    }

    /// Takes the answer to the check that was begun at `begun`. `Some` is the verdict: it does not work, and how that was
    /// seen; the next row begins anew.
    pub(crate) fn answered(
        &mut self,
        answer: Result<(), &str>,
        begun: Instant,
        now: Instant,
        unit: f64,
    ) -> Option<String> {
        self.skipped(begun, now, unit);
        let Err(why) = answer else {
            (self.in_row, self.since) = (0, None);
            return None;
        };
        self.in_row = self.in_row.saturating_add(1);
        let since = *self.since.get_or_insert(begun);
        if self.in_row < self.failures {
            return None;
        }
        let (times, took) = (self.in_row, now.saturating_duration_since(since));
        (self.in_row, self.since) = (0, None);
        Some(match times {
            1 => why.to_owned(),
            _ => format!("{why}, {times} times in {}", Dur(rounded(took))),
        })
    }
}

/// To whole seconds, or milliseconds below one: nobody needs more of it.
fn rounded(time: Duration) -> Duration {
    match time.as_secs() {
        0 => Duration::from_millis(u64::try_from(time.as_millis()).unwrap_or(0)),
        _ => Duration::from_secs((time.as_secs_f64()).round() as u64),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_verdict_names_the_last_answer_how_often_and_how_long() {
        let now = Instant::now();
        let mut rounds = Rounds::new(SECOND * 5, 3, now, 0.5);
        assert_eq!(rounds.next(), now + SECOND * 5 / 2);
        let mut at = now;
        for answer in ["no connection", "HTTP 500"] {
            assert_eq!(rounds.answered(Err(answer), at, at + SECOND, 0.5), None);
            assert_eq!(rounds.next(), at + SECOND * 5);
            at = rounds.next();
        }
        let verdict = rounds.answered(Err("HTTP 503 from :3000/"), at, at + SECOND, 0.5);
        assert_eq!(verdict.as_deref(), Some("HTTP 503 from :3000/, 3 times in 11s"));
        assert_eq!(rounds.in_row(), 0, "a new process begins anew");
        let mut one = Rounds::new(SECOND, 1, now, 0.0);
        assert_eq!(one.answered(Err("no"), now, now, 0.0).as_deref(), Some("no"));
    }

    proptest! {
        /// A verdict comes exactly at `failures` bad answers in a row, and checks keep their distance whatever happens.
        #[test]
        fn rounds_agree_with_a_count(
            failures in 1_u32..6,
            answers in prop::collection::vec((any::<bool>(), 0_u64..8_000, 0.0_f64..1.0), 1..200),
        ) {
            let every = SECOND * 2;
            let start = Instant::now();
            let mut rounds = Rounds::new(every, failures, start, 0.3);
            prop_assert!(rounds.next() < start + every);
            let mut row = 0;
            for (good, took, unit) in answers {
                let begun = rounds.next();
                let now = begun + Duration::from_millis(took);
                let answer = if good { Ok(()) } else { Err("bad") };
                let verdict = rounds.answered(answer, begun, now, unit);
                row = if good { 0 } else { row + 1 };
                prop_assert_eq!(verdict.is_some(), row == failures);
                if row == failures {
                    row = 0;
                }
                prop_assert_eq!(rounds.in_row(), row);
                prop_assert!(rounds.next() >= now, "never two at once");
                prop_assert!(rounds.next() >= begun + every.mul_f64(0.94));
                prop_assert!(rounds.next() <= now.max(begun + every.mul_f64(1.06)));
            }
        }
    }
}
