//! What becomes of a task after an attempt: a pure function.
//!
//! ```text
//! Completed ─────────────────────────────────► completed
//! Cancelled, or anything after a cancel ─────► cancelled
//! Released, Snooze (charge nothing) ─────────► back to its place, or later
//! Error that is not retryable ───────────────► discarded
//! Error, Crash, Timeout, Lost ─ attempts left? ─ yes ► after the backoff     no ► discarded
//! ```

use std::time::Duration;

use bytes::Bytes;
use ganger_core::Backoff;
use ganger_store::{AttemptError, AttemptWord};

use super::How;

/// What the decision depends on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Case {
    /// Attempts charged so far, this one included.
    pub(crate) made: u32,
    /// Attempts allowed.
    pub(crate) max: u32,
    pub(crate) backoff: Backoff,
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
    Discarded,
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
pub(crate) fn decide(how: How, case: Case) -> Verdict {
    let (word, error, retryable, wanted) = match how {
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
            (AttemptWord::Error, error, retryable, retry_after)
        }
        How::Crash(error) => (AttemptWord::Crash, error, true, None),
        How::Timeout(error) => (AttemptWord::Timeout, error, true, None),
        How::Lost(error) => (AttemptWord::Lost, error, true, None),
    };
    if case.cancel {
        return cancelled(word, Some(error));
    }
    let then = if !retryable || case.made >= case.max.max(1) {
        Then::Discarded
    } else {
        later(wanted.unwrap_or_else(|| case.backoff.delay(case.made, case.unit)))
    };
    Verdict { word, error: Some(error), then }
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
mod tests {
    use super::*;

    fn case(made: u32) -> Case {
        let backoff = Backoff { jitter: false, ..Backoff::TASK };
        Case { made, max: 3, backoff, cancel: false, unit: 0.5 }
    }

    fn error() -> Box<AttemptError> {
        Box::new(AttemptError::new("no"))
    }

    fn failed(retryable: bool, retry_after: Option<Duration>) -> How {
        How::Error { error: error(), retryable, retry_after }
    }

    #[test]
    fn attempts_end() {
        let then = |how, made| decide(how, case(made)).then;
        assert_eq!(then(How::Crash(error()), 1), Then::After(Duration::from_secs(1)));
        assert_eq!(then(How::Crash(error()), 2), Then::After(Duration::from_secs(2)));
        assert_eq!(then(How::Crash(error()), 3), Then::Discarded);
        assert_eq!(then(failed(false, None), 1), Then::Discarded);
        assert_eq!(then(failed(true, Some(Duration::ZERO)), 1), Then::Again);
        let nine = Duration::from_secs(9);
        assert_eq!(then(failed(true, Some(nine)), 2), Then::After(nine));
        assert_eq!(then(failed(true, Some(nine)), 3), Then::Discarded);
        assert_eq!(then(How::Snooze(nine), 3), Then::After(nine));
        assert_eq!(then(How::Released, 3), Then::Back);
        assert_eq!(then(How::Completed("1".into()), 3), Then::Completed("1".into()));
    }

    #[test]
    fn a_cancel_wins_over_everything_but_success() {
        let open = |how| decide(how, Case { cancel: true, ..case(1) }).then;
        assert_eq!(open(How::Crash(error())), Then::Cancelled);
        assert_eq!(open(How::Released), Then::Cancelled);
        assert_eq!(open(How::Timeout(error())), Then::Cancelled);
        assert_eq!(open(How::Completed("1".into())), Then::Completed("1".into()));
    }
}
