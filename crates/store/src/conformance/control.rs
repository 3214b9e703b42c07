//! Unique tasks, last moments, cached results, priorities. `model` plays them against a model.

use std::time::Duration;

use ganger_core::TaskState;

use super::*;
use crate::control::*;
use crate::store::{Store, StoreRead as _};

/// Ids that carry their moment: `n` milliseconds after the origin.
fn at(ms: i64) -> i64 {
    ms << 22
}

fn wanting(n: i64, control: Control) -> Enqueue {
    let options = TaskOptions { control: Some(Box::new(control)), ..TaskOptions::default() };
    Enqueue { options: Some(Box::new(options)), ..task(n) }
}

pub(super) fn unique(n: i64, key: &str, until: Until, on_conflict: OnConflict) -> Enqueue {
    let dedupe = Some(Dedupe { key: key.into(), until, on_conflict });
    wanting(n, Control { dedupe, ..Control::default() })
}

pub(super) fn cached(n: i64, key: &str, max_entries: u64) -> Enqueue {
    let ttl = Duration::from_secs(60);
    let cache = Some(Caching { key: key.into(), ttl, max_entries, max_bytes: 1_000 });
    wanting(n, Control { cache, ..Control::default() })
}

pub(super) fn one<S: Store>(store: &mut S, ops: Vec<Op>) -> Applied {
    store.commit(&[batch(ops)]).unwrap().remove(0)
}

pub(super) fn state<S: Store>(store: &S, n: i64) -> Option<TaskState> {
    store.reader().unwrap().task(id(n)).unwrap().map(|task| task.state)
}

pub(super) fn what(applied: &Applied) -> Vec<(usize, What)> {
    applied.special.iter().map(|special| (special.task, special.what.clone())).collect()
}

fn settle(n: i64) -> Op {
    Op::Settle { id: id(n) }
}

/// Claims a task, and lets go of what a start lets go of.
pub(super) fn start<S: Store>(store: &mut S, n: i64) {
    let held = token(store.epoch(), n.unsigned_abs());
    assert_eq!(one(store, vec![Op::Claim(claim(n, held, 1)), settle(n)]).refused, []);
}

pub(super) fn end<S: Store>(store: &mut S, n: i64, next: Next) -> Applied {
    let held = token(store.epoch(), n.unsigned_abs());
    let word = match next {
        Next::Completed { .. } => AttemptWord::Completed,
        _ => AttemptWord::Error,
    };
    let mut ended = outcome(n, held, word, next);
    if let Op::Outcome(outcome) = &mut ended {
        outcome.ended_at_ms = id(n).drawn_at_ms();
    }
    let applied = one(store, vec![ended, settle(n)]);
    assert_eq!(applied.refused, []);
    applied
}

pub(super) fn complete<S: Store>(store: &mut S, n: i64) -> Applied {
    end(store, n, Next::Completed { result: Bytes::from(format!("{n}")) })
}

pub(crate) fn a_key_is_held_by_one<S: Store>(open: &dyn Fn() -> S) {
    let mut store = open();
    let existing = |n, until| unique(n, "a", until, OnConflict::Existing);
    one(&mut store, vec![push(vec![existing(1, Until::Success)])]);
    let again = one(&mut store, vec![push(vec![task(2), existing(3, Until::Success)])]);
    assert_eq!(what(&again), [(1, What::Existing(id(1)))]);
    assert_eq!((state(&store, 2), state(&store, 3)), (Some(TaskState::Available), None));
    let refused = push(vec![task(4), unique(5, "a", Until::Success, OnConflict::Reject)]);
    assert_eq!(what(&one(&mut store, vec![refused])), [(1, What::Rejected(id(1)))]);
    assert_eq!(state(&store, 4), None, "nothing of a refused push is there");
    // Another daemon sees the same, and a start does not let go of it.
    drop(store);
    let mut store = open();
    start(&mut store, 1);
    let again = one(&mut store, vec![push(vec![existing(6, Until::Success)])]);
    assert_eq!(what(&again), [(0, What::Existing(id(1)))]);
    complete(&mut store, 1);
    assert_eq!(what(&one(&mut store, vec![push(vec![existing(7, Until::Start)])])), []);
    start(&mut store, 7);
    assert_eq!(what(&one(&mut store, vec![push(vec![existing(8, Until::Success)])])), []);
    // A cancel lets go as well, without being told to.
    one(&mut store, vec![Op::Cancel { id: id(8), at_ms: 5, req: 0 }]);
    assert_eq!(what(&one(&mut store, vec![push(vec![existing(9, Until::Success)])])), []);
    // A key of the push's own: the ids that stand for it are remembered, not those that never were.
    let keyed = |n| {
        let tasks = vec![existing(n, Until::Success)];
        Op::Push(Push { req: 0, queue: q(), key: Some("k".into()), fire: None, tasks })
    };
    one(&mut store, vec![keyed(10)]);
    let known = one(&mut store, vec![keyed(11)]);
    assert_eq!(known.duplicates, [Duplicate { op: 0, ids: vec![id(9)] }]);
}

pub(crate) fn a_key_may_be_held_for_a_time<S: Store>(open: &dyn Fn() -> S) {
    let mut store = open();
    let timed =
        |ms| unique(at(ms), "a", Until::For(Duration::from_millis(100)), OnConflict::Existing);
    one(&mut store, vec![push(vec![timed(10)])]);
    start(&mut store, at(10));
    complete(&mut store, at(10));
    let again = one(&mut store, vec![push(vec![timed(109)])]);
    assert_eq!(what(&again), [(0, What::Existing(id(at(10))))]);
    assert_eq!(what(&one(&mut store, vec![push(vec![timed(110)])])), []);
}

pub(crate) fn a_waiting_holder_is_replaced<S: Store>(open: &dyn Fn() -> S) {
    let mut store = open();
    let replace = |n| unique(n, "a", Until::Success, OnConflict::Replace);
    one(&mut store, vec![push(vec![replace(1)])]);
    let applied = one(&mut store, vec![push(vec![replace(2)])]);
    assert_eq!((applied.cancelled[0].id, what(&applied)), (id(1), vec![]));
    let old = store.reader().unwrap().task(id(1)).unwrap().unwrap();
    assert_eq!(old.state, TaskState::Cancelled);
    assert_eq!(old.error.unwrap().class.as_deref(), Some("replaced"));
    start(&mut store, 2);
    let applied = one(&mut store, vec![push(vec![replace(3)])]);
    assert_eq!(what(&applied), [(0, What::Rejected(id(2)))], "one that runs is not replaced");
    // Two of one request: the last one stays.
    let applied = one(
        &mut store,
        vec![push(vec![
            unique(4, "b", Until::Success, OnConflict::Replace),
            unique(5, "b", Until::Success, OnConflict::Replace),
        ])],
    );
    assert_eq!(applied.cancelled[0].id, id(4));
    assert_eq!(state(&store, 5), Some(TaskState::Available));
    check(&mut store);
}

pub(crate) fn last_moments<S: Store>(open: &dyn Fn() -> S) {
    let mut store = open();
    let limited = |n, deadline_ms, expires_ms| {
        wanting(n, Control { deadline_ms, expires_ms, ..Control::default() })
    };
    let tasks =
        vec![limited(1, Some(100), None), limited(2, None, Some(50)), limited(3, None, Some(50))];
    one(&mut store, vec![push(tasks)]);
    drop(store);
    let mut store = open();
    let limits = store.reader().unwrap().limits(60, 10).unwrap();
    assert_eq!(limits, Limits { due: vec![(id(2), 50), (id(3), 50)], next_ms: Some(100) });
    start(&mut store, 3);
    let expire = |n, due_ms| Op::Expire { id: id(n), due_ms, at_ms: due_ms };
    let applied = one(&mut store, vec![expire(2, 50), expire(3, 50)]);
    assert_eq!(applied.cancelled.iter().map(|c| c.id).collect::<Vec<_>>(), [id(2)]);
    assert_eq!(state(&store, 3), Some(TaskState::Running), "one that began does not expire");
    assert_eq!(store.reader().unwrap().limits(60, 10).unwrap().due, []);
    // A deadline ends what waits for another attempt.
    start(&mut store, 1);
    end(&mut store, 1, Next::RetryAt { at_ms: 500 });
    one(&mut store, vec![expire(1, 100)]);
    let row = store.reader().unwrap().task(id(1)).unwrap().unwrap();
    assert_eq!(
        (row.state, row.error.unwrap().class.as_deref()),
        (TaskState::Cancelled, Some("deadline"))
    );
    // Brought back by hand it has none.
    one(
        &mut store,
        vec![Op::Retry { id: id(2), seq: 99, attempt: None, payload: None, req: 0 }, expire(2, 50)],
    );
    assert_eq!(state(&store, 2), Some(TaskState::Available));
    check(&mut store);
}

pub(crate) fn identical_tasks_run_once<S: Store>(open: &dyn Fn() -> S) {
    let mut store = open();
    one(&mut store, vec![push(vec![cached(1, "x", 10)])]);
    let applied = one(
        &mut store,
        vec![push(vec![cached(2, "x", 10), cached(3, "x", 10), cached(4, "y", 10)])],
    );
    assert_eq!(what(&applied), [(0, What::Follows(id(1))), (1, What::Follows(id(1)))]);
    assert_eq!(state(&store, 2), Some(TaskState::Scheduled));
    let leaders = |store: &S| {
        let mut reader = store.reader().unwrap();
        [1, 2, 3, 4].map(|n| reader.leader(id(n)).unwrap().map(TaskId::raw))
    };
    assert_eq!(leaders(&store), [None, Some(1), Some(1), None]);
    assert_eq!(
        store.reader().unwrap().due(1 << 50, 10).unwrap().rows,
        [],
        "it is never due by itself"
    );
    start(&mut store, 1);
    let applied = end(&mut store, 1, Next::Discarded(DeadReason::Attempts));
    assert_eq!(
        applied.followed.iter().map(|f| (f.id, f.result.clone())).collect::<Vec<_>>(),
        [(id(2), None)]
    );
    let due = store.reader().unwrap().due(5, 10).unwrap();
    assert_eq!(
        due.rows.iter().map(|due| due.row.id).collect::<Vec<_>>(),
        [id(2)],
        "the oldest takes over"
    );
    assert_eq!(leaders(&store), [None, None, Some(2), None]);
    one(&mut store, vec![Op::Promote { id: id(2), queue: q(), seq: 20 }]);
    start(&mut store, 2);
    let applied = complete(&mut store, 2);
    assert_eq!(applied.followed.iter().map(|f| f.id).collect::<Vec<_>>(), [id(3)]);
    let row = store.reader().unwrap().task(id(3)).unwrap().unwrap();
    assert_eq!((row.state, row.result.as_deref()), (TaskState::Completed, Some(&b"2"[..])));
    assert!(row.control.unwrap().cached && row.attempts.is_empty());
    drop(store);
    let mut store = open();
    let hit = one(&mut store, vec![push(vec![cached(5, "x", 10)])]);
    assert_eq!(what(&hit), [(0, What::Hit(Bytes::from("2")))]);
    assert_eq!(state(&store, 5), Some(TaskState::Completed));
    // Its time is over: it runs.
    let late = one(&mut store, vec![push(vec![cached(at(1_000_000), "x", 10)])]);
    assert_eq!(what(&late), []);
    // A follower that is cancelled leaves the others alone.
    one(
        &mut store,
        vec![push(vec![cached(at(1_000_001), "x", 10), cached(at(1_000_002), "x", 10)])],
    );
    one(&mut store, vec![Op::Cancel { id: id(at(1_000_001)), at_ms: 5, req: 0 }]);
    start(&mut store, at(1_000_000));
    let applied = complete(&mut store, at(1_000_000));
    assert_eq!(applied.followed.iter().map(|f| f.id).collect::<Vec<_>>(), [id(at(1_000_002))]);
    let stats = store.reader().unwrap().cache_stats("q").unwrap();
    assert_eq!((stats.entries, stats.hits, stats.misses, stats.evicted), (1, 5, 3, 0));
    check(&mut store);
}

pub(crate) fn a_cache_keeps_what_was_used_last<S: Store>(open: &dyn Fn() -> S) {
    let mut store = open();
    let run = |store: &mut S, n: i64, key: &str, result: &str| {
        one(store, vec![push(vec![cached(n, key, 2)])]);
        start(store, n);
        end(store, n, Next::Completed { result: Bytes::from(result.to_owned()) });
    };
    run(&mut store, 1, "a", "1");
    run(&mut store, 2, "b", "2");
    assert_eq!(
        what(&one(&mut store, vec![push(vec![cached(3, "a", 2)])])),
        [(0, What::Hit(Bytes::from("1")))]
    );
    run(&mut store, 4, "c", "3");
    assert_eq!(what(&one(&mut store, vec![push(vec![cached(5, "b", 2)])])), [], "used longest ago");
    // Two results of 600 bytes are over 1,000; one of 1,001 is never kept.
    run(&mut store, 6, "d", &"x".repeat(600));
    run(&mut store, 7, "e", &"x".repeat(600));
    run(&mut store, 8, "f", &"x".repeat(1_001));
    let stats = store.reader().unwrap().cache_stats("q").unwrap();
    assert_eq!((stats.entries, stats.bytes), (1, 600));
    assert_eq!(stats.evicted, 4);
    // These tasks ended in 1970: their results have long served their time.
    store.tend(true).unwrap();
    let stats = store.reader().unwrap().cache_stats("q").unwrap();
    assert_eq!((stats.entries, stats.bytes, stats.evicted), (0, 0, 4));
}

pub(crate) fn a_result_is_kept_for_its_time<S: Store>(open: &dyn Fn() -> S) {
    let mut store = open();
    let keep = |ttl| Control { result_ttl: Some(ttl), ..Control::default() };
    // Of this very day, or the tasks themselves would be too old to be kept.
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let today =
        i64::try_from(now.as_millis() as u64 - ganger_core::ids::TASK_ID_ORIGIN_MS).unwrap();
    let (short, long) = (at(today), at(today) + 1);
    let year = Duration::from_secs(365 * 86_400);
    one(
        &mut store,
        vec![push(vec![wanting(short, keep(Duration::ZERO)), wanting(long, keep(year))])],
    );
    for n in [short, long] {
        start(&mut store, n);
        complete(&mut store, n);
    }
    let result = |store: &S, n| store.reader().unwrap().task(id(n)).unwrap().unwrap().result;
    let kept = Some(Bytes::from(long.to_string()));
    assert_eq!((result(&store, short), result(&store, long)), (None, kept.clone()));
    store.tend(true).unwrap();
    assert_eq!((result(&store, short), result(&store, long)), (None, kept));
}

pub(crate) fn a_waiting_task_moves_to_another_lane<S: Store>(open: &dyn Fn() -> S) {
    let mut store = open();
    one(&mut store, vec![push(vec![task(1), task(2)])]);
    let high = |n| Op::Priority { id: id(n), priority: Priority::HIGH, req: 0 };
    let applied = one(&mut store, vec![high(2)]);
    let moved = &applied.revived[0];
    assert_eq!(
        (moved.from, moved.row.priority, moved.row.seq),
        (TaskState::Available, Priority::HIGH, 2)
    );
    assert_eq!(store.reader().unwrap().lanes("q").unwrap(), [Priority::HIGH, Priority::NORMAL]);
    start(&mut store, 1);
    assert_eq!(
        one(&mut store, vec![high(1)]).refused[0].why,
        RefusedWhy::State(TaskState::Running)
    );
    assert_eq!(one(&mut store, vec![high(9)]).refused[0].why, RefusedWhy::NotFound);
}

/// Counters agree with rows.
fn check<S: Store>(store: &mut S) {
    let mut reader = store.reader().unwrap();
    let query = crate::TaskQuery { queue: Some("q".into()), limit: 1_000, ..Default::default() };
    let page = reader.list(&query).unwrap();
    assert!(page.next.is_none(), "more tasks than the check looks at");
    let counts = reader.queue("q").unwrap().unwrap().counts;
    for &state in TaskState::ALL {
        let n = page.tasks.iter().filter(|task| task.state == state).count() as u64;
        assert_eq!(counts.get(state), n, "{state}");
    }
}
