//! The history: filters, bounds of a queue's own, search.

use std::time::Duration;

use ganger_core::ids::TASK_ID_ORIGIN_MS;
use ganger_core::{Priority, TaskState};

use super::*;
use crate::rows::TaskQuery;
use crate::store::{Store, StoreRead};

/// Milliseconds since 1970: the bound on the age of the whole history must not take these tasks.
fn now() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    u64::try_from(now.as_millis()).unwrap()
}

/// A task whose id says that it was pushed at this second.
fn at(second: i64) -> i64 {
    (second * 1_000) << 22
}

fn finish<S: Store>(
    store: &mut S,
    n: i64,
    to: Enqueue,
    word: AttemptWord,
    next: Next,
    ended_ms: u64,
) {
    let held = token(store.epoch(), 1);
    let mut end = outcome(n, held, word, next);
    if let Op::Outcome(outcome) = &mut end {
        outcome.ended_at_ms = ended_ms;
    }
    let applied = store.commit(&[batch(vec![push(vec![to]), Op::Claim(claim(n, held, 1)), end])]);
    assert_eq!(applied.unwrap()[0].refused, []);
}

fn done<S: Store>(store: &mut S, n: i64, ended_ms: u64) {
    let next = Next::Completed { result: Bytes::from("{\"seen\":\"Eiffel\"}") };
    finish(store, n, task(n), AttemptWord::Completed, next, ended_ms);
}

fn settle<S: Store>(store: &mut S) {
    while store.wants_tending() {
        store.tend(true).unwrap();
    }
}

fn found<S: Store>(store: &S, query: &TaskQuery) -> Vec<i64> {
    let mut reader = store.reader().unwrap();
    let mut query = TaskQuery { limit: 2, ..query.clone() };
    let mut ids = Vec::new();
    loop {
        let page = reader.list(&query).unwrap();
        ids.extend(page.tasks.iter().map(|task| task.id.raw()));
        query.after = page.next;
        if page.next.is_none() {
            return ids;
        }
    }
}

pub(crate) fn lists_filter_by_kind_tag_time_and_text<S: Store>(open: &dyn Fn() -> S) {
    let mut store = open();
    for n in 1..=6 {
        let mut new = task(at(n));
        new.kind = Some(if n % 2 == 0 { "even".into() } else { "odd".into() });
        if n == 3 || n == 4 {
            let tags = vec!["blue".into(), format!("n{n}").into()];
            new.options = Some(Box::new(TaskOptions { tags, ..TaskOptions::default() }));
        }
        if n <= 4 {
            let next = Next::Completed { result: Bytes::from("\"100% Done\"") };
            finish(&mut store, at(n), new, AttemptWord::Completed, next, 9);
        } else {
            store.commit(&[batch(vec![push(vec![new])])]).unwrap();
        }
    }
    let ids = |query: TaskQuery| -> Vec<i64> {
        found(&store, &query).into_iter().map(|id| (id >> 22) / 1_000).collect()
    };
    let text = |words: &str| TaskQuery { text: Some(words.into()), ..TaskQuery::default() };
    // Unfinished ones first, oldest first; then finished ones, newest first.
    assert_eq!(ids(TaskQuery::default()), [5, 6, 4, 3, 2, 1]);
    assert_eq!(ids(TaskQuery { kind: Some("even".into()), ..TaskQuery::default() }), [6, 4, 2]);
    assert_eq!(ids(TaskQuery { tag: Some("blue".into()), ..TaskQuery::default() }), [4, 3]);
    assert_eq!(ids(TaskQuery { tag: Some("n3".into()), ..TaskQuery::default() }), [3]);
    assert_eq!(ids(TaskQuery { tag: Some("lue".into()), ..TaskQuery::default() }), [0_i64; 0]);
    let second = |n: u64| Some(TASK_ID_ORIGIN_MS + n * 1_000);
    let between = TaskQuery { since_ms: second(2), until_ms: second(5), ..TaskQuery::default() };
    assert_eq!(ids(between.clone()), [4, 3, 2]);
    assert_eq!(ids(TaskQuery { kind: Some("odd".into()), ..between }), [3]);
    assert_eq!(ids(text("done")), [4, 3, 2, 1]);
    assert_eq!(ids(text("100% blue")), [4, 3]);
    assert_eq!(ids(text("1_0% done")), [0_i64; 0]);
    assert_eq!(ids(text(&format!("\"n\":{}", at(5)))), [5]);
    assert_eq!(
        ids(TaskQuery {
            state: Some(TaskState::Available),
            queue: Some("q".into()),
            ..text("even")
        }),
        [6]
    );
}

pub(crate) fn words_are_found_behind_the_commits<S: Store>(open: &dyn Fn() -> S) {
    let mut store = open();
    store.commit(&[batch(vec![Op::Searchable { queue: q(), on: true }])]).unwrap();
    for n in 1..=5 {
        done(&mut store, n, now());
    }
    finish(
        &mut store,
        6,
        task(6),
        AttemptWord::Error,
        Next::Discarded(DeadReason::Attempts),
        now(),
    );
    settle(&mut store);
    let words = |text: &str| TaskQuery {
        queue: Some("q".into()),
        text: Some(text.into()),
        ..TaskQuery::default()
    };
    assert_eq!(found(&store, &words("eiffel")), [5, 4, 3, 2, 1]);
    assert_eq!(found(&store, &words("seen eif")), [5, 4, 3, 2, 1]);
    assert_eq!(found(&store, &words("iffel")), [0_i64; 0]);
    assert_eq!(found(&store, &words("error")), [6]);
    let state = Some(TaskState::Discarded);
    assert_eq!(found(&store, &TaskQuery { state, ..words("k") }), [6]);
    // What lives again is no longer history, and is found by looking through.
    store
        .commit(&[batch(vec![Op::Retry {
            id: id(6),
            seq: 9,
            attempt: None,
            payload: None,
            req: 0,
        }])])
        .unwrap();
    settle(&mut store);
    assert_eq!(found(&store, &words("error")), [0_i64; 0]);
    assert_eq!(found(&store, &words("\"n\":6")), [6]);
}

pub(crate) fn queues_have_bounds_of_their_own<S: Store>(open: &dyn Fn() -> S) {
    let mut store = open();
    // Finished before the bounds came: counted in later.
    for n in 1..=5 {
        done(&mut store, n, now() + n.unsigned_abs());
    }
    let rows = KeepBounds { rows: Some(3), ..KeepBounds::default() };
    store.commit(&[batch(vec![Op::Keep { queue: q(), dead: false, bounds: rows }])]).unwrap();
    settle(&mut store);
    let completed = TaskQuery { state: Some(TaskState::Completed), ..TaskQuery::default() };
    assert_eq!(found(&store, &completed), [5, 4, 3]);
    for n in 6..=8 {
        done(&mut store, n, now() + n.unsigned_abs());
    }
    settle(&mut store);
    assert_eq!(found(&store, &completed), [8, 7, 6]);
    // Another queue and the dead letters of this one keep all of theirs.
    for n in 20..=25 {
        finish(
            &mut store,
            n,
            task(n),
            AttemptWord::Error,
            Next::Discarded(DeadReason::Attempts),
            now() - 3_600_000,
        );
    }
    settle(&mut store);
    let dead = TaskQuery { state: Some(TaskState::Discarded), ..TaskQuery::default() };
    assert_eq!(found(&store, &dead).len(), 6);
    let one = completed_bytes(&store);
    let bytes = KeepBounds { bytes: Some(2 * one), ..KeepBounds::default() };
    let age = KeepBounds { age: Some(Duration::from_secs(60)), ..KeepBounds::default() };
    store
        .commit(&[batch(vec![
            Op::Keep { queue: q(), dead: false, bounds: bytes },
            Op::Keep { queue: q(), dead: true, bounds: age },
        ])])
        .unwrap();
    settle(&mut store);
    assert_eq!(found(&store, &completed), [8, 7]);
    // They ended an hour ago.
    assert_eq!(found(&store, &dead), [0_i64; 0]);
    assert_eq!(store.letters_pruned(), 6, "completed tasks that went are no dead letters");
    let counts = store.reader().unwrap().queue("q").unwrap().unwrap().counts;
    assert_eq!((counts.get(TaskState::Discarded), counts.get(TaskState::Completed)), (0, 8));
    // One that is brought back is not counted as kept any more.
    finish(
        &mut store,
        30,
        task(30),
        AttemptWord::Error,
        Next::Discarded(DeadReason::Attempts),
        now(),
    );
    let applied = store
        .commit(&[batch(vec![Op::Retry {
            id: id(30),
            seq: 30,
            attempt: None,
            payload: None,
            req: 0,
        }])])
        .unwrap();
    assert_eq!(applied[0].refused, []);
    let (rows, _) = store.reader().unwrap().refill("q", Priority::NORMAL, -1, 9, 1 << 20).unwrap();
    assert_eq!(rows.iter().map(|row| row.id).collect::<Vec<_>>(), [id(30)]);
}

/// What one completed task of this module counts as.
fn completed_bytes<S: Store>(store: &S) -> u64 {
    let row = store.reader().unwrap().task(id(8)).unwrap().unwrap();
    (row.payload.len() + row.result.unwrap().len()) as u64
}
