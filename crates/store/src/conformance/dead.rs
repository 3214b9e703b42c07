//! Free attempts, dead letters: found, brought back, forgotten.

use ganger_core::TaskState;

use super::suite::{check_counts, clean, one, state};
use super::*;
use crate::dead::{DeadCursor, DeadQuery};
use crate::store::{Store, StoreRead};

pub(crate) fn snoozed_attempts_are_told_and_free<S: Store>(open: &dyn Fn() -> S) {
    let mut store = open();
    let held = token(store.epoch(), 1);
    clean(&mut store, vec![push(vec![task(1)]), Op::Claim(claim(1, held, 1))]);
    let later = Next::RetryAt { at_ms: 9_000 };
    clean(&mut store, vec![outcome(1, held, AttemptWord::Snoozed, later)]);
    assert_eq!(state(&store, 1), TaskState::Retryable);
    let due = store.reader().unwrap().due(9_000, 10).unwrap();
    let row = &due.rows[0].row;
    assert_eq!((row.attempt, row.base, row.crashes), (1, 1, 0), "made, and not charged");
    let row = store.reader().unwrap().task(id(1)).unwrap().unwrap();
    assert_eq!(row.attempts[0].outcome, Some(AttemptWord::Snoozed));
    check_counts(&store);
}

pub(crate) fn a_replay_is_fenced_and_may_change_the_payload<S: Store>(open: &dyn Fn() -> S) {
    let mut store = open();
    let (first, second) = (token(store.epoch(), 1), token(store.epoch(), 2));
    clean(&mut store, vec![push(vec![task(1)]), Op::Claim(claim(1, first, 1))]);
    let quarantined = Next::Discarded(DeadReason::Quarantined);
    clean(&mut store, vec![outcome(1, first, AttemptWord::Crash, quarantined.clone())]);
    let row = store.reader().unwrap().task(id(1)).unwrap().unwrap();
    assert_eq!((row.reason, row.crashes), (Some(DeadReason::Quarantined), 1));
    let seq = 5 << 22;
    let replay = |attempt, payload: Option<Vec<u8>>| {
        let payload = payload.map(Into::into);
        vec![Op::Retry { id: id(1), seq, attempt: Some(attempt), payload, req: 3 }]
    };
    let applied = one(&mut store, replay(2, None));
    assert_eq!(applied.refused[0].why, RefusedWhy::Stale(TaskState::Discarded));
    let long = vec![b'1'; 5_000];
    let applied = one(&mut store, replay(1, Some(long.clone())));
    let row = &applied.revived[0].row;
    assert_eq!((row.crashes, row.base, &row.payload[..]), (0, 1, &long[..]));
    let revived_at = row.options.as_ref().and_then(|options| options.revived_at_ms);
    assert_eq!(revived_at, Some(ganger_core::ids::TASK_ID_ORIGIN_MS + 5));
    check_counts(&store);
    // It dies again: another dead letter than the one that was seen before.
    let crash = outcome(1, second, AttemptWord::Crash, quarantined);
    clean(&mut store, vec![Op::Claim(claim(1, second, 2)), crash]);
    let applied = one(&mut store, replay(1, None));
    assert_eq!(applied.refused[0].why, RefusedWhy::Stale(TaskState::Discarded));
    let applied = one(&mut store, replay(2, Some(b"7".to_vec())));
    assert_eq!(applied.revived[0].row.payload, "7");
    let lanes =
        store.reader().unwrap().refill("q", ganger_core::Priority::NORMAL, 0, 9, 99).unwrap();
    assert_eq!((&lanes.0[0].payload[..], lanes.0[0].attempt), (&b"7"[..], 2));
    check_counts(&store);
}

fn die<S: Store>(
    store: &mut S,
    n: i64,
    kind: &str,
    class: &str,
    ended_at_ms: u64,
    why: DeadReason,
) {
    let held = token(store.epoch(), n.unsigned_abs() + 1_000);
    let mut new = task(n);
    new.kind = Some(kind.into());
    let mut end = outcome(n, held, AttemptWord::Error, Next::Discarded(why));
    if let Op::Outcome(outcome) = &mut end {
        outcome.ended_at_ms = ended_at_ms;
        let message = format!("Number {n} is Wrong");
        let class = Some(class.to_owned());
        outcome.error = Some(Box::new(AttemptError { class, ..AttemptError::new(message) }));
    }
    clean(store, vec![push(vec![new]), Op::Claim(claim(n, held, 1)), end]);
}

pub(crate) fn dead_letters_are_found<S: Store>(open: &dyn Fn() -> S) {
    let mut store = open();
    for n in 1..=40_i64 {
        let kind = if n % 2 == 0 { "mail" } else { "image" };
        let class = ["http.Timeout", "http.Refused", "ValueError"][n as usize % 3];
        let why = if n == 7 { DeadReason::Quarantined } else { DeadReason::Attempts };
        die(&mut store, n, kind, class, n.unsigned_abs() * 1_000, why);
    }
    let alive = push(vec![task(100)]);
    clean(&mut store, vec![alive]);
    let mut reader = store.reader().unwrap();
    let mut found = |query: DeadQuery| {
        let mut query = DeadQuery { limit: 3, ..query };
        let mut ids = Vec::new();
        loop {
            let page = reader.dead(&query).unwrap();
            assert!(page.rows.len() <= 3);
            ids.extend(page.rows.iter().map(|row| row.id.raw()));
            let Some(next) = page.next else { return ids };
            query.after = Some(next.to_string().parse().unwrap());
        }
    };
    let all = DeadQuery::default;
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(found(all()), (1..=40).rev().collect::<Vec<_>>());
    assert_eq!(found(DeadQuery { queue: some("q"), ..all() }).len(), 40);
    assert!(found(DeadQuery { queue: some("other"), ..all() }).is_empty());
    assert_eq!(found(DeadQuery { kind: some("mail"), ..all() }).len(), 20);
    let http = DeadQuery { class: some("http.*"), kind: some("im*"), ..all() };
    assert!(found(http).iter().all(|n| n % 2 == 1 && n % 3 != 2));
    assert_eq!(found(DeadQuery { text: some("number 17 is wrong"), ..all() }), [17]);
    assert_eq!(found(DeadQuery { reason: Some(DeadReason::Quarantined), ..all() }), [7]);
    let between = DeadQuery { since_ms: Some(10_000), until_ms: Some(13_000), ..all() };
    assert_eq!(found(between), [12, 11, 10]);
    assert!("x1.2".parse::<DeadCursor>().is_err() && "d1".parse::<DeadCursor>().is_err());
}

pub(crate) fn a_purge_is_fenced_and_counted<S: Store>(open: &dyn Fn() -> S) {
    let mut store = open();
    die(&mut store, 1, "k", "C", 1_000, DeadReason::Attempts);
    clean(&mut store, vec![push(vec![task(2)])]);
    let purge = |n: i64, attempt| vec![Op::Purge { id: id(n), attempt, req: 9 }];
    let why = |applied: Applied| applied.refused.first().map(|refused| refused.why);
    assert_eq!(
        why(one(&mut store, purge(1, Some(2)))),
        Some(RefusedWhy::Stale(TaskState::Discarded))
    );
    let waits = RefusedWhy::State(TaskState::Available);
    assert_eq!(why(one(&mut store, purge(2, None))), Some(waits));
    clean(&mut store, purge(1, Some(1)));
    assert_eq!(why(one(&mut store, purge(1, Some(1)))), Some(RefusedWhy::NotFound));
    assert_eq!(store.reader().unwrap().task(id(1)).unwrap(), None);
    check_counts(&store);
}
