//! The tests themselves, one function each.

use std::collections::BTreeSet;

use ganger_core::Event;

use ganger_core::TaskState;

pub(crate) use super::schedules::{a_fire_happens_once, marks_of_schedules};
use super::*;
use crate::rows::{Gate, TaskQuery};
use crate::store::{Store, StoreRead};

pub(super) fn one<S: Store>(store: &mut S, ops: Vec<Op>) -> Applied {
    store.commit(&[batch(ops)]).unwrap().pop().unwrap()
}

pub(super) fn clean<S: Store>(store: &mut S, ops: Vec<Op>) {
    let applied = one(store, ops);
    assert_eq!(applied.refused, []);
    assert_eq!(applied.duplicates, []);
}

pub(super) fn state<S: Store>(store: &S, n: i64) -> TaskState {
    store.reader().unwrap().task(id(n)).unwrap().unwrap().state
}

pub(super) fn check_counts<S: Store>(store: &S) {
    let mut reader = store.reader().unwrap();
    for queue in reader.queues().unwrap() {
        for &state in TaskState::ALL {
            let mut query = TaskQuery {
                queue: Some(queue.name.to_string()),
                state: Some(state),
                limit: 7,
                ..TaskQuery::default()
            };
            let mut n = 0;
            loop {
                let page = reader.list(&query).unwrap();
                assert!(page.tasks.iter().all(|t| t.state == state));
                n += page.tasks.len() as u64;
                query.after = page.next;
                if page.next.is_none() {
                    break;
                }
            }
            assert_eq!(queue.counts.get(state), n, "{state} in {}", queue.name);
        }
    }
}

pub(crate) fn life_of_a_task<S: Store>(open: &dyn Fn() -> S) {
    let mut store = open();
    let held = token(store.epoch(), 1);
    clean(&mut store, vec![push(vec![task(1)])]);
    assert_eq!(state(&store, 1), TaskState::Available);
    clean(&mut store, vec![Op::Claim(claim(1, held, 1))]);
    assert_eq!(state(&store, 1), TaskState::Running);
    let row = store.reader().unwrap().task(id(1)).unwrap().unwrap();
    assert_eq!(row.attempts.len(), 1);
    assert_eq!((row.attempts[0].started_at_ms, row.attempts[0].ended_at_ms), (Some(1_000), None));
    clean(&mut store, vec![completed(1, held)]);
    let row = store.reader().unwrap().task(id(1)).unwrap().unwrap();
    assert_eq!((row.state, row.attempt), (TaskState::Completed, 1));
    assert_eq!(row.result.as_deref(), Some(&b"42"[..]));
    assert_eq!(row.payload, Bytes::from("{\"n\":1}"));
    assert_eq!(row.kind.as_deref(), Some("k"));
    let attempt = &row.attempts[0];
    assert_eq!((attempt.pid, &*attempt.worker), (7, "w#1"));
    assert_eq!((attempt.started_at_ms, attempt.ended_at_ms), (Some(1_000), Some(2_000)));
    assert_eq!(attempt.outcome, Some(AttemptWord::Completed));
    check_counts(&store);
}

pub(crate) fn a_claim_rides_along<S: Store>(open: &dyn Fn() -> S) {
    let mut store = open();
    let held = token(store.epoch(), 1);
    let mut born = task(1);
    born.claim = Some(Box::new(claim(1, held, 1)));
    clean(&mut store, vec![push(vec![born, task(2)])]);
    assert_eq!(state(&store, 1), TaskState::Running);
    assert_eq!(store.reader().unwrap().running().unwrap()[0].token, held);
    clean(&mut store, vec![completed(1, held)]);
    check_counts(&store);
}

pub(crate) fn stale_words_are_refused<S: Store>(open: &dyn Fn() -> S) {
    let mut store = open();
    let (old, new) = (token(store.epoch(), 1), token(store.epoch(), 2));
    clean(&mut store, vec![push(vec![task(1)]), Op::Claim(claim(1, old, 1))]);
    let back = Next::Available { seq: 9 };
    clean(&mut store, vec![outcome(1, old, AttemptWord::Crash, back)]);
    clean(&mut store, vec![Op::Claim(claim(1, new, 2))]);
    let applied = one(
        &mut store,
        vec![
            completed(1, old),
            Op::Started { id: id(1), token: old, at_ms: 5, pid: Some(9) },
            outcome(1, old, AttemptWord::Error, Next::Discarded(DeadReason::Attempts)),
            outcome(1, old, AttemptWord::Released, Next::Available { seq: 10 }),
            Op::Claim(claim(1, new, 3)),
            completed(77, new),
        ],
    );
    let why: Vec<_> = applied.refused.iter().map(|r| (r.op, r.why)).collect();
    let stale = RefusedWhy::Stale(TaskState::Running);
    assert_eq!(
        why,
        [
            (0, stale),
            (1, stale),
            (2, stale),
            (3, stale),
            (4, RefusedWhy::State(TaskState::Running)),
            (5, RefusedWhy::NotFound)
        ]
    );
    clean(&mut store, vec![completed(1, new)]);
    let applied = one(&mut store, vec![completed(1, new)]);
    assert_eq!(applied.refused[0].why, RefusedWhy::Stale(TaskState::Completed));
    let row = store.reader().unwrap().task(id(1)).unwrap().unwrap();
    assert_eq!(row.attempts.iter().map(|a| a.n).collect::<Vec<_>>(), [1, 2]);
    check_counts(&store);
}

pub(crate) fn failures_leave_a_history<S: Store>(open: &dyn Fn() -> S) {
    let mut store = open();
    clean(&mut store, vec![push(vec![task(1)])]);
    for n in 1..=3 {
        let held = token(store.epoch(), u64::from(n));
        clean(&mut store, vec![Op::Claim(claim(1, held, n))]);
        let (word, next) = match n {
            1 => (AttemptWord::Error, Next::RetryAt { at_ms: 5_000 }),
            2 => (AttemptWord::Crash, Next::RetryAt { at_ms: 6_000 }),
            _ => (AttemptWord::Timeout, Next::Discarded(DeadReason::Attempts)),
        };
        clean(&mut store, vec![outcome(1, held, word, next)]);
        if n < 3 {
            assert_eq!(state(&store, 1), TaskState::Retryable);
            let promote = Op::Promote { id: id(1), queue: q(), seq: i64::from(n) + 100 };
            clean(&mut store, vec![promote]);
        }
        check_counts(&store);
    }
    let row = store.reader().unwrap().task(id(1)).unwrap().unwrap();
    assert_eq!((row.state, row.attempt), (TaskState::Discarded, 3));
    let words: Vec<_> = row.attempts.iter().filter_map(|a| a.outcome).collect();
    assert_eq!(words, [AttemptWord::Error, AttemptWord::Crash, AttemptWord::Timeout]);
    assert_eq!(row.error.unwrap().message, "timeout");
    assert_eq!((row.reason, row.crashes), (Some(DeadReason::Attempts), 2));
}

pub(crate) fn uncharged_return_reuses_the_number<S: Store>(open: &dyn Fn() -> S) {
    let mut store = open();
    let (first, second) = (token(store.epoch(), 1), token(store.epoch(), 2));
    clean(&mut store, vec![push(vec![task(1)]), Op::Claim(claim(1, first, 1))]);
    let later = Next::RetryAt { at_ms: 9_000 };
    clean(&mut store, vec![outcome(1, first, AttemptWord::Released, later)]);
    assert_eq!(state(&store, 1), TaskState::Scheduled);
    let due = store.reader().unwrap().due(9_000, 10).unwrap();
    assert_eq!((due.rows[0].row.attempt, due.rows[0].from), (0, TaskState::Scheduled));
    clean(&mut store, vec![Op::Promote { id: id(1), queue: q(), seq: 50 }]);
    clean(&mut store, vec![Op::Claim(claim(1, second, 1)), completed(1, second)]);
    let row = store.reader().unwrap().task(id(1)).unwrap().unwrap();
    assert_eq!(row.attempts.len(), 1);
    check_counts(&store);
}

pub(crate) fn dead_letters_come_back<S: Store>(open: &dyn Fn() -> S) {
    let mut store = open();
    let (first, second) = (token(store.epoch(), 1), token(store.epoch(), 2));
    clean(&mut store, vec![push(vec![task(1)]), Op::Claim(claim(1, first, 1))]);
    clean(
        &mut store,
        vec![outcome(1, first, AttemptWord::Error, Next::Discarded(DeadReason::Attempts))],
    );
    let applied = one(
        &mut store,
        vec![Op::Retry { id: id(1), seq: 60, attempt: None, payload: None, req: 3 }],
    );
    let revived = &applied.revived[0];
    assert_eq!((revived.row.attempt, revived.row.base, revived.row.seq), (1, 1, 60));
    assert_eq!((&*revived.queue, &revived.row.payload[..]), ("q", &b"{\"n\":1}"[..]));
    let applied = one(
        &mut store,
        vec![Op::Retry { id: id(1), seq: 61, attempt: None, payload: None, req: 3 }],
    );
    assert_eq!(applied.refused[0].why, RefusedWhy::State(TaskState::Available));
    clean(&mut store, vec![Op::Claim(claim(1, second, 2)), completed(1, second)]);
    let row = store.reader().unwrap().task(id(1)).unwrap().unwrap();
    assert_eq!(row.attempts.iter().map(|a| a.n).collect::<Vec<_>>(), [1, 2]);
    let applied = one(
        &mut store,
        vec![Op::Retry { id: id(1), seq: 62, attempt: None, payload: None, req: 3 }],
    );
    assert_eq!(applied.refused[0].why, RefusedWhy::State(TaskState::Completed));
    check_counts(&store);
}

pub(crate) fn cancelling<S: Store>(open: &dyn Fn() -> S) {
    let mut store = open();
    let held = token(store.epoch(), 1);
    let mut later = task(2);
    later.run_at_ms = 5_000;
    clean(&mut store, vec![push(vec![task(1), later, task(3)]), Op::Claim(claim(3, held, 1))]);
    let cancel = |n| Op::Cancel { id: id(n), at_ms: 3_000, req: 0 };
    let applied = one(&mut store, vec![cancel(1), cancel(2), cancel(3), cancel(4), cancel(1)]);
    let why: Vec<_> = applied.refused.iter().map(|r| (r.op, r.why)).collect();
    assert_eq!(
        why,
        [
            (2, RefusedWhy::State(TaskState::Running)),
            (3, RefusedWhy::NotFound),
            (4, RefusedWhy::State(TaskState::Cancelled))
        ]
    );
    clean(&mut store, vec![outcome(3, held, AttemptWord::Cancelled, Next::Cancelled)]);
    assert_eq!(store.reader().unwrap().queue("q").unwrap().unwrap().counts.unfinished(), 0);
    check_counts(&store);
}

pub(crate) fn keys_add_nothing_twice<S: Store>(open: &dyn Fn() -> S) {
    let mut store = open();
    let keyed = |tasks| {
        Op::Push(Push { req: 0, queue: q(), key: Some("order-17".into()), fire: None, tasks })
    };
    clean(&mut store, vec![keyed(vec![task(1), task(2)])]);
    let held = token(store.epoch(), 1);
    let applied = one(
        &mut store,
        vec![keyed(vec![task(3), task(4)]), push(vec![task(5)]), Op::Claim(claim(3, held, 1))],
    );
    assert_eq!(applied.duplicates, [Duplicate { op: 0, ids: vec![id(1), id(2)] }]);
    assert_eq!(applied.refused[0].why, RefusedWhy::NotFound);
    let mut reader = store.reader().unwrap();
    assert_eq!(reader.task(id(3)).unwrap(), None);
    assert_eq!(reader.pushed_under("q", "order-17").unwrap(), Some(vec![id(1), id(2)]));
    assert_eq!(reader.pushed_under("q", "order-18").unwrap(), None);
    check_counts(&store);
}

pub(crate) fn due_tasks<S: Store>(open: &dyn Fn() -> S) {
    let mut store = open();
    let at = |n, ms| Enqueue { run_at_ms: ms, ..task(n) };
    clean(&mut store, vec![push(vec![at(1, 300), at(2, 100), at(3, 200), at(4, 900)])]);
    let mut reader = store.reader().unwrap();
    let ids = |due: &crate::Due| due.rows.iter().map(|r| r.row.id.raw()).collect::<Vec<_>>();
    let due = reader.due(300, 2).unwrap();
    assert_eq!((ids(&due), due.next_ms), (vec![2, 3], Some(300)));
    let due = reader.due(300, 9).unwrap();
    assert_eq!((ids(&due), due.next_ms), (vec![2, 3, 1], Some(900)));
    let due = reader.due(50, 9).unwrap();
    assert_eq!((ids(&due), due.next_ms), (vec![], Some(100)));
    clean(&mut store, vec![Op::Promote { id: id(2), queue: q(), seq: 9 }]);
    let applied = one(&mut store, vec![Op::Promote { id: id(2), queue: q(), seq: 10 }]);
    assert_eq!(applied.refused[0].why, RefusedWhy::State(TaskState::Available));
    check_counts(&store);
}

pub(crate) fn refill_goes_forward<S: Store>(open: &dyn Fn() -> S) {
    let mut store = open();
    let mut tasks: Vec<_> = (1..=10).map(task).collect();
    tasks[4].priority = Priority::HIGH;
    clean(&mut store, vec![push(tasks)]);
    let mut reader = store.reader().unwrap();
    assert_eq!(reader.lanes("q").unwrap(), [Priority::HIGH, Priority::NORMAL]);
    let mut read = |after, limit, bytes| {
        let (rows, cut) = reader.refill("q", Priority::NORMAL, after, limit, bytes).unwrap();
        (rows.iter().map(|r| r.seq).collect::<Vec<_>>(), cut)
    };
    assert_eq!(read(-1, 4, 1 << 20), (vec![1, 2, 3, 4], true));
    assert_eq!(read(4, 4, 1 << 20), (vec![6, 7, 8, 9], true));
    assert_eq!(read(9, 4, 1 << 20), (vec![10], false));
    assert_eq!(read(10, 4, 1 << 20), (vec![], false));
    assert_eq!(read(-1, 9, 1), (vec![1], true));
}

pub(crate) fn pages_meet_every_task_once<S: Store>(open: &dyn Fn() -> S) {
    let mut store = open();
    let held = |n: i64| token(1, n.unsigned_abs());
    clean(&mut store, vec![push((1..=50).map(task).collect())]);
    for n in (1..=50).filter(|n| n % 3 == 0) {
        clean(&mut store, vec![Op::Claim(claim(n, held(n), 1)), completed(n, held(n))]);
    }
    let mut reader = store.reader().unwrap();
    let mut query = TaskQuery { limit: 7, ..TaskQuery::default() };
    let mut seen = BTreeSet::new();
    loop {
        let page = reader.list(&query).unwrap();
        for task in &page.tasks {
            assert!(seen.insert(task.id), "{} twice", task.id);
        }
        let Some(next) = page.next else { break };
        query.after = Some(next.to_string().parse().unwrap());
    }
    assert_eq!(seen.len(), 50);
    let other = TaskQuery { queue: Some("other".into()), ..query };
    assert_eq!(reader.list(&other).unwrap().tasks, []);
}

pub(crate) fn claims_survive_and_epochs_rise<S: Store>(open: &dyn Fn() -> S) {
    let mut store = open();
    let first = store.epoch();
    let held = token(first, 1);
    let mut claim = claim(1, held, 1);
    claim.started = false;
    let floor = Batch {
        sync: true,
        ops: vec![push(vec![task(1), task(2)]), Op::Claim(claim)],
        id_floor: Some(id(900)),
        ..Batch::default()
    };
    store.commit(&[floor]).unwrap();
    drop(store);
    let mut store = open();
    assert!(store.epoch() > first);
    let mut reader = store.reader().unwrap();
    assert_eq!(reader.id_floor().unwrap(), Some(id(900)));
    let running = reader.running().unwrap();
    assert_eq!(running.len(), 1);
    assert_eq!(
        (running[0].row.id, running[0].token, running[0].started_at_ms),
        (id(1), held, None)
    );
    assert_eq!((&*running[0].worker, running[0].pid, &*running[0].queue), ("w#1", 7, "q"));
    clean(&mut store, vec![completed(1, held)]);
    check_counts(&store);
}

pub(crate) fn counts_agree_with_rows<S: Store>(open: &dyn Fn() -> S) {
    let mut store = open();
    let mut random = fastrand_like(11);
    let mut counter = 0;
    let mut held = std::collections::HashMap::new();
    for n in 1..=400_i64 {
        let mut new = task(n);
        new.run_at_ms = u64::from(random().is_multiple_of(4)) * 10;
        let mut ops = vec![push(vec![new])];
        for _ in 0..4 {
            let m = i64::from(random() % 40) + (n - 40).max(0) + 1;
            counter += 1;
            let now = token(1, counter);
            let was = held.get(&m).copied().unwrap_or(now);
            let op = match random() % 7 {
                0 | 1 => {
                    let attempt = u32::try_from(counter).unwrap();
                    ops.push(Op::Promote { id: id(m), queue: q(), seq: 10_000 + m });
                    held.entry(m).or_insert(now);
                    Op::Claim(claim(m, held[&m], attempt))
                }
                2 => completed(m, was),
                3 => outcome(m, was, AttemptWord::Released, Next::Available { seq: m }),
                4 => Op::Cancel { id: id(m), at_ms: 1, req: 0 },
                5 => Op::Retry { id: id(m), seq: 20_000 + m, attempt: None, payload: None, req: 0 },
                _ => outcome(m, was, AttemptWord::Crash, Next::RetryAt { at_ms: 1 }),
            };
            ops.push(op);
        }
        one(&mut store, ops);
    }
    check_counts(&store);
}

/// A small generator, so that the suite needs nothing else.
fn fastrand_like(mut seed: u64) -> impl FnMut() -> u32 {
    move || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        u32::try_from(seed >> 33).unwrap()
    }
}

pub(crate) fn desired_state_and_events<S: Store>(open: &dyn Fn() -> S) {
    let mut store = open();
    let desire = |key: &str, value: Option<&str>| Op::Desire {
        key: key.into(),
        value: value.map(|v| v.as_bytes().to_vec()),
    };
    let event = |reason: &str| {
        Op::Event(Box::new(Event {
            seq: 0,
            ts_ms: 5,
            kind: "daemon.start".into(),
            name: "web".into(),
            slot: Some(1),
            from: None,
            to: Some("running".into()),
            reason: reason.into(),
            exit: None,
        }))
    };
    let applied = one(
        &mut store,
        vec![
            desire("a/1", Some("x")),
            desire("a/2", Some("y")),
            desire("b", Some("z")),
            event("one"),
        ],
    );
    assert_eq!(applied.first_event_seq, Some(1));
    clean(&mut store, vec![desire("a/1", Some("w")), desire("b", None)]);
    drop(store);
    let mut store = open();
    let applied = one(&mut store, vec![event("two"), event("three")]);
    assert_eq!(applied.first_event_seq, Some(2));
    let mut reader = store.reader().unwrap();
    assert_eq!(reader.desired("a/1").unwrap().as_deref(), Some(&b"w"[..]));
    assert_eq!(reader.desired("b").unwrap(), None);
    let all = reader.desired_all("a/").unwrap();
    assert_eq!(all, [("a/1".into(), b"w".to_vec()), ("a/2".into(), b"y".to_vec())]);
    let reasons =
        |events: Vec<Event>| events.into_iter().map(|e| (e.seq, e.reason)).collect::<Vec<_>>();
    assert_eq!(reasons(reader.events(1, 9).unwrap()), [(2, "two".into()), (3, "three".into())]);
    assert_eq!(reasons(reader.last_events(2).unwrap()), [(2, "two".into()), (3, "three".into())]);
}

pub(crate) fn large_payloads<S: Store>(open: &dyn Fn() -> S) {
    let mut store = open();
    let held = token(store.epoch(), 1);
    let mut large = task(1);
    large.payload = vec![b'x'; 300_000].into();
    let wanted = large.payload.clone();
    clean(&mut store, vec![push(vec![large]), Op::Claim(claim(1, held, 1))]);
    assert_eq!(store.reader().unwrap().running().unwrap()[0].row.payload, wanted);
    clean(
        &mut store,
        vec![outcome(1, held, AttemptWord::Error, Next::Discarded(DeadReason::Attempts))],
    );
    assert_eq!(store.reader().unwrap().task(id(1)).unwrap().unwrap().payload, wanted);
    let applied = one(
        &mut store,
        vec![Op::Retry { id: id(1), seq: 9, attempt: None, payload: None, req: 0 }],
    );
    assert_eq!(applied.revived[0].row.payload, wanted);
    let (rows, _) = store.reader().unwrap().refill("q", Priority::NORMAL, -1, 5, 1).unwrap();
    assert_eq!(rows[0].payload, wanted);
}

pub(crate) fn pausing<S: Store>(open: &dyn Fn() -> S) {
    let mut store = open();
    let pause = |paused| {
        let gate = Gate { paused, draining: paused, since_ms: Some(7), by_config: paused };
        Op::Gate { queue: q(), gate, req: 0 }
    };
    clean(&mut store, vec![pause(true)]);
    drop(store);
    let mut store = open();
    let gate = store.reader().unwrap().queue("q").unwrap().unwrap().gate;
    assert_eq!(gate, Gate { paused: true, draining: true, since_ms: Some(7), by_config: true });
    clean(&mut store, vec![pause(false)]);
    assert!(!store.reader().unwrap().queue("q").unwrap().unwrap().gate.paused);
    assert_eq!(store.reader().unwrap().queue("nope").unwrap(), None);
}

pub(crate) fn buckets_are_kept_by_name<S: Store>(open: &dyn Fn() -> S) {
    let mut store = open();
    let far = 4_000_000_000_000;
    let put = |rows: &[(&str, u64)]| {
        let full_at = rows.iter().map(|(of, at)| ((*of).into(), *at)).collect();
        batch(vec![Op::Buckets { queue: q(), full_at }])
    };
    store.commit(&[put(&[("", far), ("key/a", far + 1)])]).unwrap();
    store.commit(&[put(&[("key/a", far + 7)])]).unwrap();
    drop(store);
    let store = open();
    let mut reader = store.reader().unwrap();
    let kept = reader.buckets("q").unwrap();
    let kept: Vec<_> = kept.iter().map(|(of, at)| (&**of, *at)).collect();
    assert_eq!(kept, [("", far), ("key/a", far + 7)]);
    assert_eq!(reader.buckets("other").unwrap(), []);
}
