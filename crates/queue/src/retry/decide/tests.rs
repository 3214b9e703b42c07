use ganger_core::task_backoff::{Curve, Jitter, Shape};
use ganger_core::{Backoff, TaskBackoff};

use super::*;
use crate::retry::ClassRule;

const NINE: Duration = Duration::from_secs(9);

fn fixed(seconds: u64) -> TaskBackoff {
    let base = Duration::from_secs(seconds);
    TaskBackoff::Curve(Curve { shape: Shape::Fixed, base, max: base, jitter: Jitter::None })
}

fn rules() -> RetryRules {
    let backoff = Backoff { jitter: false, ..Backoff::TASK }.into();
    RetryRules { max: 3, backoff, ..RetryRules::default() }
}

fn case(rules: &RetryRules, made: u32) -> Case<'_> {
    let age = Duration::from_secs(100);
    Case { rules, options: None, attempt: made, made, crashes: 0, age, cancel: false, unit: 0.5 }
}

fn error() -> Box<AttemptError> {
    Box::new(AttemptError::new("no"))
}

fn of_class(class: &str) -> How {
    let error = Box::new(AttemptError { class: Some(class.into()), ..AttemptError::new("no") });
    How::Error { error, retryable: true, retry_after: None }
}

fn failed(retryable: bool, retry_after: Option<Duration>) -> How {
    How::Error { error: error(), retryable, retry_after }
}

fn dead(reason: DeadReason) -> Then {
    Then::Discarded(reason)
}

#[test]
fn attempts_end() {
    let rules = RetryRules { crash_limit: 0, ..rules() };
    let then = |how, made| decide(how, case(&rules, made)).then;
    assert_eq!(then(How::Crash(error()), 1), Then::After(Duration::from_secs(1)));
    assert_eq!(then(How::Crash(error()), 2), Then::After(Duration::from_secs(2)));
    assert_eq!(then(How::Crash(error()), 3), dead(DeadReason::Attempts));
    assert_eq!(then(failed(false, None), 1), dead(DeadReason::NonRetryable));
    assert_eq!(then(How::Snooze(NINE), 3), Then::After(NINE));
    assert_eq!(then(How::Released, 3), Then::Back);
    assert_eq!(then(How::Completed("1".into()), 3), Then::Completed("1".into()));
}

#[test]
fn a_retry_after_costs_nothing_but_not_for_ever() {
    let rules = rules();
    let snoozed = decide(failed(true, Some(NINE)), case(&rules, 3));
    assert_eq!((snoozed.word, snoozed.then), (AttemptWord::Snoozed, Then::After(NINE)));
    assert!(snoozed.error.is_some(), "it is told why");
    assert_eq!(decide(failed(true, Some(Duration::ZERO)), case(&rules, 1)).then, Then::Again);
    let late = Case { attempt: SNOOZE_FREE_MAX, ..case(&rules, 2) };
    let charged = decide(failed(true, Some(NINE)), late);
    assert_eq!((charged.word, charged.then), (AttemptWord::Error, Then::After(NINE)));
    let over = Case { attempt: SNOOZE_FREE_MAX, ..case(&rules, 3) };
    assert_eq!(decide(failed(true, Some(NINE)), over).then, dead(DeadReason::Attempts));
}

#[test]
fn the_last_crash_allowed_is_the_end() {
    let rules = RetryRules { max: 9, ..rules() };
    let then = |how, crashes| decide(how, Case { crashes, ..case(&rules, crashes + 1) }).then;
    for how in [How::Crash(error()), How::Timeout(error())] {
        assert!(matches!(then(how.clone(), 1), Then::After(_)));
        assert_eq!(then(how, 2), dead(DeadReason::Quarantined));
    }
    for how in [How::Interrupted(error()), How::Lost(error()), failed(true, None)] {
        assert!(matches!(then(how, 8 - 1), Then::After(_)), "not the task's fault");
    }
    let own = TaskOptions { crash_limit: Some(1), ..TaskOptions::default() };
    let strict = Case { options: Some(&own), ..case(&rules, 1) };
    assert_eq!(decide(How::Crash(error()), strict).then, dead(DeadReason::Quarantined));
    // Where both bounds are met, the graver one is told.
    let both = RetryRules { max: 3, ..rules.clone() };
    let third = Case { crashes: 2, ..case(&both, 3) };
    assert_eq!(decide(How::Crash(error()), third).then, dead(DeadReason::Quarantined));
}

#[test]
fn what_may_still_run_is_not_run_again() {
    let rules = rules();
    let stuck = decide(How::Stuck { error: error(), timed_out: true }, case(&rules, 1));
    assert_eq!((stuck.word, stuck.then), (AttemptWord::Timeout, dead(DeadReason::Stuck)));
}

#[test]
fn classes_have_their_own_rules() {
    let retry = |max, backoff| OnClass::Retry { max, backoff };
    let rule = |class: &str, then| ClassRule { class: class.into(), then };
    let classes = vec![
        rule("Validation*", OnClass::Discard),
        rule("ConnectionError", retry(Some(10), Some(fixed(7)))),
        rule("Slow*", retry(None, Some(fixed(8)))),
    ];
    let rules = RetryRules { classes, ..rules() };
    let then = |class, made| decide(of_class(class), case(&rules, made)).then;
    assert_eq!(then("ValidationError", 1), dead(DeadReason::NonRetryable));
    assert_eq!(then("ConnectionError", 9), Then::After(Duration::from_secs(7)));
    assert_eq!(then("ConnectionError", 10), dead(DeadReason::Attempts));
    assert_eq!(then("SlowDown", 2), Then::After(Duration::from_secs(8)));
    assert_eq!(then("SlowDown", 3), dead(DeadReason::Attempts));
    assert_eq!(then("Other", 1), Then::After(Duration::from_secs(1)));
    // What the task says for itself wins.
    let own =
        TaskOptions { max_attempts: Some(2), backoff: Some(fixed(5)), ..TaskOptions::default() };
    let of_task = |made| Case { options: Some(&own), ..case(&rules, made) };
    assert_eq!(
        decide(of_class("ConnectionError"), of_task(1)).then,
        Then::After(Duration::from_secs(5))
    );
    assert_eq!(decide(of_class("ConnectionError"), of_task(2)).then, dead(DeadReason::Attempts));
}

#[test]
fn no_attempt_begins_beyond_the_age() {
    let rules = RetryRules { max_age: Some(Duration::from_secs(105)), ..rules() };
    let then = |how, made| decide(how, case(&rules, made)).then;
    assert_eq!(then(failed(true, None), 2), Then::After(Duration::from_secs(2)));
    assert_eq!(then(failed(true, Some(NINE)), 1), dead(DeadReason::MaxAge));
    let own = TaskOptions { max_age: Some(Duration::from_secs(1)), ..TaskOptions::default() };
    let old = Case { options: Some(&own), ..case(&rules, 1) };
    assert_eq!(decide(failed(true, None), old).then, dead(DeadReason::MaxAge));
}

#[test]
fn a_cancel_wins_over_everything_but_success() {
    let rules = rules();
    let open = |how| decide(how, Case { cancel: true, ..case(&rules, 1) }).then;
    assert_eq!(open(How::Crash(error())), Then::Cancelled);
    assert_eq!(open(How::Released), Then::Cancelled);
    assert_eq!(open(How::Timeout(error())), Then::Cancelled);
    assert_eq!(open(How::Completed("1".into())), Then::Completed("1".into()));
}
