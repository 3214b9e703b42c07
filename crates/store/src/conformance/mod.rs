//! What every backend must do, as a macro over the trait: `conformance!(open)` where `open(dir)` opens a store in a
//! folder, again and again.

pub(crate) mod control;
pub(crate) mod dead;
pub(crate) mod history;
pub(crate) mod model;
pub(crate) mod said;
mod schedules;
pub(crate) mod suite;

use std::sync::Arc;

use bytes::Bytes;
use ganger_core::{Priority, TaskId, Token};

use crate::batch::*;

/// Names of the tests, by module.
macro_rules! conformance {
    ($open:expr) => {
        $crate::conformance::conformance!($open, control;
            a_key_is_held_by_one,
            a_key_may_be_held_for_a_time, a_waiting_holder_is_replaced, last_moments,
            identical_tasks_run_once, a_cache_keeps_what_was_used_last,
            a_result_is_kept_for_its_time, a_waiting_task_moves_to_another_lane
        );
        $crate::conformance::conformance!($open, model; keys_and_inputs_agree_with_a_model);
        $crate::conformance::conformance!($open, history;
            lists_filter_by_kind_tag_time_and_text, words_are_found_behind_the_commits,
            queues_have_bounds_of_their_own
        );
        $crate::conformance::conformance!($open, dead;
            snoozed_attempts_are_told_and_free, a_replay_is_fenced_and_may_change_the_payload,
            dead_letters_are_found, a_purge_is_fenced_and_counted
        );
        $crate::conformance::conformance!($open, said;
            words_are_fenced_and_kept_with_the_end, words_go_with_their_task
        );
        $crate::conformance::conformance!($open, suite;
            life_of_a_task, a_claim_rides_along, stale_words_are_refused, failures_leave_a_history,
            uncharged_return_reuses_the_number, dead_letters_come_back, cancelling,
            keys_add_nothing_twice, due_tasks, refill_goes_forward, pages_meet_every_task_once,
            claims_survive_and_epochs_rise, counts_agree_with_rows, desired_state_and_events,
            large_payloads, pausing, a_fire_happens_once, marks_of_schedules, buckets_are_kept_by_name
        );
    };
    ($open:expr, $part:ident; $($name:ident),+) => {
        $(#[test]
        fn $name() {
            let dir = tempfile::tempdir().unwrap();
            let open = || ($open)(dir.path());
            $crate::conformance::$part::$name(&open);
        })+
    };
}
pub(crate) use conformance;

pub(crate) fn id(n: i64) -> TaskId {
    TaskId::from_raw(n).unwrap()
}

pub(crate) fn q() -> Arc<str> {
    Arc::from("q")
}

pub(crate) fn task(n: i64) -> Enqueue {
    Enqueue {
        id: id(n),
        kind: Some("k".into()),
        priority: Priority::NORMAL,
        run_at_ms: 0,
        payload: Bytes::from(format!("{{\"n\":{n}}}")),
        options: None,
        claim: None,
    }
}

pub(crate) fn push(tasks: Vec<Enqueue>) -> Op {
    Op::Push(Push { req: 0, queue: q(), key: None, fire: None, tasks })
}

pub(crate) fn token(epoch: u32, counter: u64) -> Token {
    Token { epoch, counter }
}

pub(crate) fn claim(n: i64, token: Token, attempt: u32) -> Claim {
    Claim {
        id: id(n),
        queue: q(),
        token,
        attempt,
        worker: "w#1".into(),
        pid: 7,
        at_ms: 1_000,
        started: true,
    }
}

pub(crate) fn outcome(n: i64, token: Token, word: AttemptWord, next: Next) -> Op {
    let error =
        (word != AttemptWord::Completed).then(|| Box::new(AttemptError::new(word.as_str())));
    Op::Outcome(Box::new(Outcome {
        id: id(n),
        queue: q(),
        token,
        started_at_ms: None,
        ended_at_ms: 2_000,
        pid: None,
        word,
        error,
        said: None,
        next,
    }))
}

pub(crate) fn completed(n: i64, token: Token) -> Op {
    outcome(n, token, AttemptWord::Completed, Next::Completed { result: Bytes::from("42") })
}

pub(crate) fn batch(ops: Vec<Op>) -> Batch {
    Batch { ops, ..Batch::default() }
}
