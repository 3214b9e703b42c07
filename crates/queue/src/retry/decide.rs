//! What becomes of a task after an attempt: a pure function.
//!
//! ```text
//! Completed ────────────────────────────────────► completed
//! Cancelled, or anything after a cancel ────────► cancelled
//! Released, Snooze (charge nothing) ────────────► back to its place, or later
//! Stuck ────────────────────────────────────────► discarded: stuck (a next attempt might run beside it)
//! Error that is not retryable, or of such a class ► discarded: non_retryable
//! Crash, Timeout: the crash_limit-th ───────────► discarded: quarantined
//! Error with a retry-after ─────────────────────► then, as `snoozed`: recorded, not charged
//! Error, Crash, Timeout, Interrupted, Lost ─ attempts left? ─ no ► discarded: attempts
//!                                              yes, and young enough then? ─ no ► discarded: max_age
//!                                                                            yes ► after the backoff
//! ```

use std::time::Duration;

use bytes::Bytes;
use ganger_store::{AttemptError, AttemptWord, DeadReason, TaskOptions};

use super::{OnClass, RetryRules, SNOOZE_FREE_MAX};
use crate::engine::How;

/// What the decision depends on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Case<'r> {
    /// The queue's rules.
    pub(crate) rules: &'r RetryRules,
    /// What the task sets for itself.
    pub(crate) options: Option<&'r TaskOptions>,
    /// Number of this attempt.
    pub(crate) attempt: u32,
    /// Attempts charged so far, this one included.
    pub(crate) made: u32,
    /// Ends by crash or timeout before this one.
    pub(crate) crashes: u32,
    /// How long ago it was pushed or brought back.
    pub(crate) age: Duration,
    /// A cancel request is open.
    pub(crate) cancel: bool,
    /// A random number in `[0, 1)`.
    pub(crate) unit: f64,
}

/// What becomes of the task.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Then {
    Completed(Bytes),
    /// Available again, behind those that wait.
    Again,
    /// Available again at the place it had.
    Back,
    After(Duration),
    Discarded(DeadReason),
    Cancelled,
}

/// How the attempt is recorded and what becomes of the task.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Verdict {
    pub(crate) word: AttemptWord,
    pub(crate) error: Option<Box<AttemptError>>,
    pub(crate) then: Then,
}

/// Decides.
pub(crate) fn decide(how: How, case: Case<'_>) -> Verdict {
    let (word, error, failure) = match how {
        How::Completed(result) => {
            let then = Then::Completed(result);
            return Verdict { word: AttemptWord::Completed, error: None, then };
        }
        How::Cancelled => return cancelled(AttemptWord::Cancelled, None),
        How::Released | How::Snooze(_) if case.cancel => {
            return cancelled(AttemptWord::Cancelled, None);
        }
        How::Released => return uncharged(Then::Back),
        How::Snooze(wait) => return uncharged(later(wait)),
        How::Error { error, retryable, retry_after } => {
            (AttemptWord::Error, error, Failure::Told { retryable, retry_after })
        }
        How::Crash(error) => (AttemptWord::Crash, error, Failure::Crash),
        How::Timeout(error) => (AttemptWord::Timeout, error, Failure::Crash),
        How::Interrupted(error) => (AttemptWord::Interrupted, error, Failure::Mishap),
        How::Lost(error) => (AttemptWord::Lost, error, Failure::Mishap),
        How::Stuck { error, timed_out } => {
            let word = if timed_out { AttemptWord::Timeout } else { AttemptWord::Crash };
            (word, error, Failure::Stuck)
        }
    };
    if case.cancel {
        return cancelled(word, Some(error));
    }
    let (word, then) = case.fate(word, failure, error.class.as_deref());
    Verdict { word, error: Some(error), then }
}

/// What kind of failure it was.
#[derive(Clone, Copy)]
enum Failure {
    /// The task's own error.
    Told { retryable: bool, retry_after: Option<Duration> },
    /// It took its process or its time along.
    Crash,
    /// Something that does not speak against the task.
    Mishap,
    /// Its process may still be there.
    Stuck,
}

impl Case<'_> {
    fn fate(
        &self,
        word: AttemptWord,
        failure: Failure,
        class: Option<&str>,
    ) -> (AttemptWord, Then) {
        let of_class = match failure {
            Failure::Told { .. } => self.rules.of_class(class),
            _ => None,
        };
        let mut wanted = None;
        match failure {
            Failure::Stuck => return (word, Then::Discarded(DeadReason::Stuck)),
            Failure::Told { retryable, .. } if !retryable || of_class == Some(OnClass::Discard) => {
                return (word, Then::Discarded(DeadReason::NonRetryable));
            }
            Failure::Crash if self.is_last_crash() => {
                return (word, Then::Discarded(DeadReason::Quarantined));
            }
            Failure::Told { retry_after: Some(wait), .. } if self.attempt < SNOOZE_FREE_MAX => {
                return (AttemptWord::Snoozed, self.unless_too_old(wait));
            }
            Failure::Told { retry_after, .. } => wanted = retry_after,
            Failure::Crash | Failure::Mishap => {}
        }
        let (class_max, class_backoff) = match of_class {
            Some(OnClass::Retry { max, backoff }) => (max, backoff),
            _ => (None, None),
        };
        let own_max = self.options.and_then(|options| options.max_attempts);
        let max = own_max.or(class_max).unwrap_or(self.rules.max).max(1);
        if self.made >= max {
            return (word, Then::Discarded(DeadReason::Attempts));
        }
        let own_backoff = self.options.and_then(|options| options.backoff);
        let backoff = own_backoff.or(class_backoff).unwrap_or(self.rules.backoff);
        let wait = wanted.unwrap_or_else(|| backoff.delay(self.made, max, self.unit));
        (word, self.unless_too_old(wait))
    }

    fn is_last_crash(&self) -> bool {
        let own = self.options.and_then(|options| options.crash_limit);
        let limit = own.unwrap_or(self.rules.crash_limit);
        limit > 0 && self.crashes + 1 >= limit
    }

    fn unless_too_old(&self, wait: Duration) -> Then {
        let own = self.options.and_then(|options| options.max_age);
        match own.or(self.rules.max_age) {
            Some(max) if self.age.saturating_add(wait) > max => Then::Discarded(DeadReason::MaxAge),
            _ => later(wait),
        }
    }
}

fn later(wait: Duration) -> Then {
    // Times are stored in milliseconds.
    if wait < Duration::from_millis(1) { Then::Again } else { Then::After(wait) }
}

const fn uncharged(then: Then) -> Verdict {
    Verdict { word: AttemptWord::Released, error: None, then }
}

const fn cancelled(word: AttemptWord, error: Option<Box<AttemptError>>) -> Verdict {
    Verdict { word, error, then: Then::Cancelled }
}

#[cfg(test)]
mod tests;
