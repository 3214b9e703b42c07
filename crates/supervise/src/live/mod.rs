//! Liveness: whether a running instance still works.
//!
//! Two ways to see it: ganger asks ([`crate::checks`]) at set times, or the process says so by itself before its time is
//! over (the watchdog of sd_notify(3)). The pure counting is `state.rs`.

mod state;

use std::time::Duration;

use ganger_core::Dur;
use tokio::time::{Instant, sleep_until};

use crate::checks::{Answer, Asker, Bad, Check};
use crate::spec::Live as Rules;
use state::Rounds;

/// What became of one round.
#[derive(Debug)]
pub(crate) enum Round {
    /// An answer, to be shown; with the verdict if it was the last straw.
    Answered { answer: Answer, in_row: u32, verdict: Option<String> },
    /// The watchdog was silent too long: the verdict.
    Silent(String),
}

/// The liveness of one living process.
pub(crate) enum Live {
    Asked {
        rounds: Rounds,
        asker: Box<Asker>,
    },
    /// A sign of life is due before `until`.
    Watchdog {
        every: Duration,
        failures: u32,
        until: Instant,
    },
}

impl Live {
    /// Asks by `check`.
    pub(crate) fn asking(rules: &Rules, check: Check) -> Self {
        let now = Instant::now();
        let rounds = Rounds::new(rules.every, rules.failures, now.into_std(), fastrand::f64());
        let first = Instant::from_std(rounds.next());
        let asker = Box::new(Asker::new(check, rules.timeout, first));
        Self::Asked { rounds, asker }
    }

    /// Waits for signs of life; the first is due as late as any.
    pub(crate) fn watchdog(rules: &Rules) -> Self {
        let (every, failures) = (rules.every, rules.failures.max(1));
        Self::Watchdog { every, failures, until: Instant::now() + every * failures }
    }

    /// A sign of life.
    pub(crate) fn alive(&mut self) {
        if let Self::Watchdog { every, failures, until } = self {
            *until = Instant::now() + *every * *failures;
        }
    }

    /// The process wants another interval (`WATCHDOG_USEC`).
    pub(crate) fn set_every(&mut self, new: Duration) {
        if let Self::Watchdog { every, .. } = self {
            *every = new;
        }
        self.alive();
    }

    /// What comes next.
    ///
    /// # Cancel safety
    /// Safe: progress is kept.
    pub(crate) async fn next(&mut self) -> Round {
        match self {
            Self::Asked { rounds, asker } => {
                let answer = asker.next().await;
                let now = (answer.begun + answer.took).into_std();
                let (result, begun) = (&answer.result, answer.begun.into_std());
                let verdict = match result {
                    // What could not be asked changes no count; only the time moves on.
                    Err(Bad::Unasked(_)) => {
                        rounds.skipped(begun, now, fastrand::f64());
                        None
                    }
                    Err(Bad::No(why)) => rounds.answered(Err(why), begun, now, fastrand::f64()),
                    Ok(()) => rounds.answered(Ok(()), begun, now, fastrand::f64()),
                };
                asker.again(Instant::from_std(rounds.next()));
                Round::Answered { answer, in_row: rounds.in_row(), verdict }
            }
            Self::Watchdog { every, failures, until } => {
                sleep_until(*until).await;
                let silence = Dur(*every * *failures);
                // Asked again only if nobody acts on this: the next silence is a new one.
                *until = Instant::now() + *every * *failures;
                Round::Silent(format!("no WATCHDOG=1 for {silence}"))
            }
        }
    }
}
