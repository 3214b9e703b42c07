//! Single rules, looked at by hand.

use std::time::Duration;

use ganger_core::{Durability, Priority, TaskState};
use ganger_store::{AttemptWord, Next, Op, Outcome, StoreError, TaskOptions};

use super::world::{World, error};
use crate::actions::{Done, Failure};
use crate::config::{NewTask, PushError, QueueConfig};
use crate::limits::{Limit, LimitRules};
use crate::{Engine, EngineOptions, Finish, GateSet, How, Lanes, Now, QueueIx, Worker};

fn engine(config: QueueConfig) -> (Engine, QueueIx, Now) {
    let mut engine = Engine::new(EngineOptions { seed: 1, ..EngineOptions::new(3) });
    let ix = engine.configure("q", config);
    (engine, ix, Now::real())
}

fn worker() -> Worker {
    Worker { key: 9, name: "w#1".into(), pid: 4711 }
}

fn memory() -> QueueConfig {
    QueueConfig { durability: Durability::Memory, ..QueueConfig::default() }
}

fn json(n: usize) -> Vec<NewTask> {
    (0..n).map(|n| NewTask::json(n.to_string())).collect()
}

fn outcome(op: &Op) -> &Outcome {
    let Op::Outcome(outcome) = op else { panic!("{op:?} is no outcome") };
    outcome
}

/// Commits a batch as a store would that refuses nothing.
fn commit(engine: &mut Engine, now: Now) -> Vec<Op> {
    let batch = engine.flush().unwrap();
    let ops = batch.ops.clone();
    let result = Ok(ganger_store::Applied::default());
    engine.settled(ganger_store::Settled { batch, result }, now);
    ops
}

#[test]
fn an_idle_workers_claim_rides_with_the_push() {
    let (mut engine, ix, now) = engine(QueueConfig::default());
    engine.push(1, ix, None, json(2), now).unwrap();
    assert_eq!(engine.take(&worker(), &[ix], 1, 1, now), 1);
    assert!(engine.actions().is_empty(), "nothing is told or sent before the commit");
    let batch = engine.flush().unwrap();
    assert!(batch.sync && batch.id_floor.is_some());
    let [Op::Push(push)] = &batch.ops[..] else { panic!("{:?}", batch.ops) };
    let claim = push.tasks[0].claim.as_ref().unwrap();
    assert_eq!((claim.token.epoch, claim.attempt, claim.pid, claim.started), (3, 1, 4711, true));
    assert_eq!(push.tasks[1].claim, None);
    engine.settled(ganger_store::Settled { batch, result: Ok(Default::default()) }, now);
    let actions = engine.actions();
    assert_eq!((actions.replies.len(), actions.send.len()), (1, 1));
    assert_eq!(engine.counts(ix).get(TaskState::Running), 1);
    assert_eq!(engine.counts(ix).get(TaskState::Available), 1);
    // The next claim finds its push committed and goes by itself, without asking for fsync.
    engine.take(&worker(), &[ix], 1, 1, now);
    let batch = engine.flush().unwrap();
    assert!(!batch.sync);
    assert!(matches!(batch.ops[..], [Op::Claim(_)]));
}

#[test]
fn failures_wait_longer_each_time_and_end() {
    let mut config = QueueConfig::default();
    config.retry.backoff =
        ganger_core::Backoff { jitter: false, ..ganger_core::Backoff::TASK }.into();
    config.retry.max = 2;
    let (mut engine, ix, mut now) = engine(config);
    engine.push(1, ix, None, json(1), now).unwrap();
    engine.take(&worker(), &[ix], 1, 1, now);
    commit(&mut engine, now);
    let attempt = engine.actions().send.remove(0);
    let crash = || How::Crash(error());
    engine.finish(Finish::new(attempt.id, attempt.token, crash()), now).unwrap();
    let ops = commit(&mut engine, now);
    assert_eq!(outcome(&ops[0]).word, AttemptWord::Crash);
    assert_eq!(outcome(&ops[0]).next, Next::RetryAt { at_ms: now.wall_ms + 1_000 });
    assert_eq!(engine.next_deadline(), Some(now.at + Duration::from_secs(1)));
    now = now.plus(Duration::from_secs(1));
    engine.tick(now);
    let [read] = &engine.actions().reads[..] else { panic!("one read") };
    assert!(matches!(read, crate::Read::Due { .. }));
    assert_eq!(engine.next_deadline(), None, "nothing polls while the read is under way");
}

#[test]
fn a_started_attempt_has_a_deadline_and_a_buffered_one_has_none() {
    let timeout = Duration::from_secs(5);
    let (mut engine, ix, now) = engine(QueueConfig { timeout, ..memory() });
    engine.push(1, ix, None, json(2), now).unwrap();
    engine.take(&worker(), &[ix], 2, 1, now);
    let send = engine.actions().send;
    assert_eq!(send.iter().map(|a| a.started).collect::<Vec<_>>(), [true, false]);
    assert_eq!(engine.next_deadline(), Some(now.at + timeout));
    let now = now.plus(timeout);
    engine.tick(now);
    let expired = engine.actions().expired;
    assert_eq!((expired[0].id, expired[0].worker, expired[0].after), (send[0].id, 9, timeout));
    assert_eq!(engine.next_deadline(), None, "told once");
    engine.started(send[1].id, send[1].token, Some(12), false, now).unwrap();
    assert_eq!(engine.next_deadline(), Some(now.at + timeout));
    engine.finish(Finish::new(send[1].id, send[1].token, How::Completed("1".into())), now).unwrap();
    assert_eq!(engine.next_deadline(), None);
    assert_eq!(engine.memory_task(send[1].id).unwrap().attempts[0].pid, 12);
}

#[test]
fn a_full_disk_is_told_and_outcomes_go_out_again() {
    let (mut engine, ix, now) = engine(QueueConfig::default());
    engine.push(1, ix, None, json(1), now).unwrap();
    engine.take(&worker(), &[ix], 1, 1, now);
    commit(&mut engine, now);
    let attempt = engine.actions().send.remove(0);
    engine.finish(Finish::new(attempt.id, attempt.token, How::Completed("7".into())), now).unwrap();
    engine.push(2, ix, None, json(3), now).unwrap();
    engine.take(&worker(), &[ix], 1, 1, now);
    let batch = engine.flush().unwrap();
    let full = StoreError::Full("no space".into());
    engine.settled(ganger_store::Settled { batch, result: Err(full.clone()) }, now);
    let actions = engine.actions();
    assert_eq!(actions.replies[0].result, Err(Failure::Store(full)));
    assert_eq!(actions.returned.len(), 1, "the worker has its room back");
    assert!(actions.finished.is_empty(), "a result that is not stored is not told");
    assert!(!engine.has_ready(ix), "refused tasks are gone");
    let refused = engine.push(3, ix, None, json(1), now).unwrap_err();
    assert!(matches!(refused, PushError::StoreFull { .. }), "{refused}");
    assert_eq!(engine.flush(), None, "no hammering on a full disk");
    let later = engine.next_deadline().unwrap();
    let now = now.plus(later - now.at);
    engine.tick(now);
    let ops = commit(&mut engine, now);
    assert!(ops.iter().any(|op| matches!(op, Op::Outcome(o) if o.id == attempt.id)));
    let actions = engine.actions();
    assert_eq!(actions.finished[0].result.as_deref(), Some(&b"7"[..]));
    // The outcome had room, so the next push may try.
    engine.push(4, ix, None, json(1), now).unwrap();
    commit(&mut engine, now);
    assert!(matches!(engine.actions().replies[0].result, Ok(Done::Pushed { .. })));
}

#[test]
fn bounds_refuse_before_anything_is_taken() {
    let (mut engine, ix, now) =
        engine(QueueConfig { payload_max: 10, max_len: Some(3), ..memory() });
    let long = vec![NewTask::json("1"), NewTask::json("12345678901")];
    let refused = engine.push(1, ix, None, long, now).unwrap_err();
    assert!(matches!(refused, PushError::PayloadTooLarge { index: 1, len: 11, max: 10, .. }));
    assert!(refused.to_string().contains("queue `q`"), "{refused}");
    engine.push(2, ix, None, json(2), now).unwrap();
    let refused = engine.push(3, ix, None, json(2), now).unwrap_err();
    assert!(matches!(refused, PushError::QueueFull { len: 2, more: 2, max: 3, .. }), "{refused}");
    assert!(matches!(engine.push(4, ix, None, vec![], now), Err(PushError::Nothing { .. })));
    assert_eq!(engine.counts(ix).get(TaskState::Available), 2);
    assert_eq!(engine.actions().replies.len(), 1);
}

#[test]
fn the_highest_priority_over_all_queues_and_the_oldest_inside_it() {
    let strict = || QueueConfig { lanes: Lanes::Strict, ..memory() };
    let (mut engine, first, now) = engine(strict());
    let second = engine.configure("second", strict());
    for (queue, priority) in [(first, 64), (second, 64), (first, 192), (second, 255), (first, 64)] {
        let task = NewTask { priority: Priority(priority), ..NewTask::json("0") };
        engine.push(1, queue, None, vec![task], now).unwrap();
    }
    engine.take(&worker(), &[second, first], 9, 9, now);
    let order: Vec<_> =
        engine.actions().send.iter().map(|a| (a.queue.to_string(), a.priority.0)).collect();
    let want = [("second", 255), ("q", 192), ("q", 64), ("second", 64), ("q", 64)];
    assert_eq!(order, want.map(|(queue, priority)| (queue.to_owned(), priority)));
}

#[test]
fn bytes_and_age_refuse_and_recover() {
    let config = QueueConfig {
        max_bytes: Some(10),
        max_age: Some(Duration::from_secs(30)),
        ..QueueConfig::default()
    };
    let (mut engine, ix, now) = engine(config);
    engine.push(1, ix, None, vec![NewTask::json("\"123456\"")], now).unwrap();
    let refused = engine.push(2, ix, None, json(3), now).unwrap_err();
    assert!(matches!(refused, PushError::BytesFull { len: 8, more: 3, max: 10, .. }), "{refused}");
    assert!(refused.retry_after().is_some());
    engine.push(3, ix, None, json(1), now).unwrap();
    let later = now.plus(Duration::from_secs(31));
    engine.tick(later);
    commit(&mut engine, later);
    let refused = engine.push(4, ix, None, json(1), later).unwrap_err();
    assert!(matches!(refused, PushError::TooOld { .. }), "{refused}");
    // Whoever is taken waits no longer, and whoever has ended weighs nothing.
    engine.take(&worker(), &[ix], 3, 3, later);
    commit(&mut engine, later);
    for attempt in engine.actions().send {
        let end = Finish::new(attempt.id, attempt.token, How::Completed("1".into()));
        engine.finish(end, later).unwrap();
    }
    commit(&mut engine, later);
    engine.push(5, ix, None, json(9), later).unwrap();
}

#[test]
fn a_draining_queue_finishes_what_it_has() {
    let (mut engine, ix, now) = engine(memory());
    engine.push(1, ix, None, json(1), now).unwrap();
    engine.set_gate(2, ix, GateSet::Drain, false, now);
    let refused = engine.push(3, ix, None, json(1), now).unwrap_err();
    assert!(matches!(refused, PushError::Draining { .. }) && refused.retry_after().is_none());
    assert_eq!(engine.take(&worker(), &[ix], 1, 1, now), 1);
    engine.set_gate(4, ix, GateSet::Resume, false, now);
    engine.push(5, ix, None, json(1), now).unwrap();
}

#[test]
fn a_key_needs_a_limit_per_key() {
    let (mut engine, ix, now) = engine(memory());
    let concurrency_key = Some("acme".into());
    let options = Some(Box::new(ganger_store::TaskOptions {
        concurrency_key,
        ..ganger_store::TaskOptions::default()
    }));
    let task = NewTask { options, ..NewTask::json("1") };
    let refused = engine.push(1, ix, None, vec![task], now).unwrap_err();
    assert!(matches!(refused, PushError::NoKeyLimit { index: 0, .. }), "{refused}");
}

#[test]
fn low_priorities_keep_a_floor_and_their_order() {
    let (mut engine, ix, now) = engine(memory());
    for priority in [192, 128, 64] {
        let tasks = (0..400)
            .map(|n: u32| NewTask { priority: Priority(priority), ..NewTask::json(n.to_string()) });
        engine.push(1, ix, None, tasks.collect(), now).unwrap();
    }
    engine.take(&worker(), &[ix], 400, 400, now);
    let sent = engine.actions().send;
    for (priority, share) in [(192, 320), (128, 60), (64, 20)] {
        let of: Vec<_> = sent.iter().filter(|a| a.priority.0 == priority).collect();
        assert!(of.len().abs_diff(share) <= 1, "{} of {priority}", of.len());
        assert!(of.windows(2).all(|pair| pair[0].id < pair[1].id), "oldest first");
    }
}

#[test]
fn what_a_key_set_aside_keeps_its_order_in_every_lane() {
    let one = Limit { running: Some(1), rate: None };
    let limits = LimitRules { per_key: one, ..LimitRules::default() };
    let lanes = Lanes::Weighted([1, 1, 1]);
    let (mut engine, ix, now) = engine(QueueConfig { lanes, limits, ..memory() });
    let push = |engine: &mut Engine, (n, priority): (usize, Priority)| {
        let concurrency_key = Some("acme".into());
        let options = Some(Box::new(TaskOptions { concurrency_key, ..TaskOptions::default() }));
        let task = NewTask { priority, options, ..NewTask::json(n.to_string()) };
        engine.push(1, ix, None, vec![task], now).unwrap();
    };
    let (low, high) = (Priority::LOW, Priority::HIGH);
    for (n, priority) in [low, low, high, high].into_iter().enumerate() {
        push(&mut engine, (n, priority));
        engine.take(&worker(), &[ix], 9, 9, now);
    }
    // The first runs, the others are set aside; this one is still in its lane when it is that lane's turn.
    push(&mut engine, (4, low));
    let mut order = String::new();
    while let Some(attempt) = engine.actions().send.pop() {
        order.push_str(std::str::from_utf8(&attempt.payload).unwrap());
        let done = Finish::new(attempt.id, attempt.token, How::Completed("1".into()));
        engine.finish(done, now).unwrap();
        engine.take(&worker(), &[ix], 1, 1, now);
    }
    assert_eq!(order, "02134", "the lanes take turns, each from its oldest");
}

#[test]
fn the_time_of_an_earlier_life_passes_by_a_memory_task_that_waits_for_another() {
    let (mut engine, ix, mut now) = engine(memory());
    engine.push(1, ix, None, json(1), now).unwrap();
    let snooze = |engine: &mut Engine, seconds| {
        assert_eq!(engine.take(&worker(), &[ix], 1, 1, now), 1);
        let attempt = engine.actions().send.remove(0);
        let how = How::Snooze(Duration::from_secs(seconds));
        engine.finish(Finish::new(attempt.id, attempt.token, how), now).unwrap();
        attempt.id
    };
    let id = snooze(&mut engine, 1);
    engine.cancel(2, id, now);
    engine.retry(3, id, now);
    snooze(&mut engine, 2);
    for (waits, ready) in [(1, false), (1, true)] {
        now = now.plus(Duration::from_secs(waits));
        engine.tick(now);
        assert!(engine.memory_task(id).is_some(), "it is not lost");
        assert_eq!(engine.has_ready(ix), ready);
    }
}

#[test]
fn memory_tasks_are_known_while_they_wait_run_and_after() {
    let (mut engine, ix, now) = engine(memory());
    engine.push(1, ix, Some("k".into()), json(1), now).unwrap();
    engine.push(2, ix, Some("k".into()), json(1), now).unwrap();
    let replies = engine.actions().replies;
    let Ok(Done::Pushed { ids, duplicate: true, .. }) = &replies[1].result else { panic!() };
    let id = ids[0];
    let state = |engine: &Engine| engine.memory_task(id).unwrap().state;
    assert_eq!(state(&engine), TaskState::Available);
    engine.take(&worker(), &[ix], 1, 1, now);
    let attempt = engine.actions().send.remove(0);
    assert_eq!(state(&engine), TaskState::Running);
    let broken = How::Error { error: error(), retryable: false, retry_after: None };
    engine.finish(Finish::new(id, attempt.token, broken), now).unwrap();
    let finished = engine.actions().finished.remove(0);
    assert_eq!((finished.state, finished.error), (TaskState::Discarded, Some(error())));
    assert_eq!(engine.memory_list(ix, Some(TaskState::Discarded), 9).tasks.len(), 1);
    engine.retry(3, id, now);
    assert_eq!(state(&engine), TaskState::Available);
    engine.cancel(4, id, now);
    assert_eq!(state(&engine), TaskState::Cancelled);
    let replies = engine.actions().replies;
    assert_eq!(replies[0].result, Ok(Done::Retried));
    assert_eq!(replies[1].result, Ok(Done::Cancelled));
    assert_eq!(engine.counts(ix).get(TaskState::Cancelled), 1);
    assert_eq!(engine.counts(ix).unfinished(), 0);
}

#[test]
fn a_paused_queue_hands_out_nothing() {
    let (mut engine, ix, now) = engine(memory());
    engine.push(1, ix, None, json(1), now).unwrap();
    engine.set_gate(2, ix, GateSet::Pause, false, now);
    assert!(engine.is_paused(ix) && !engine.has_ready(ix));
    assert_eq!(engine.take(&worker(), &[ix], 1, 1, now), 0);
    engine.set_gate(3, ix, GateSet::Resume, false, now);
    assert_eq!(engine.take(&worker(), &[ix], 1, 1, now), 1);
}

/// More tasks than the window holds, in three priorities: all come, in order, by reads.
#[test]
fn a_long_lane_is_read_in_parts() {
    let mut world = World::new(false);
    for round in 0..10 {
        world.push(0, [64, 128, 192][round % 3], 12, false, None);
        world.flush();
        world.commit(1, false);
        world.deliver();
    }
    world.settle_all();
    assert!(world.tasks.iter().all(|task| task.finished));
}

/// The engine's clock of due tasks survives a restart.
#[test]
fn scheduled_tasks_are_found_again() {
    let mut world = World::new(false);
    world.push(0, 128, 9, true, None);
    world.flush();
    world.commit(1, false);
    world.restart();
    world.settle_all();
    let reader = &mut world.reader;
    let counts = ganger_store::StoreRead::queue(reader, "a").unwrap().unwrap().counts;
    assert_eq!(counts.get(TaskState::Completed), 9);
}

#[test]
fn dead_letters_of_a_memory_queue_that_go_for_later_ones_are_counted() {
    let (mut engine, ix, now) = engine(QueueConfig { payload_max: 9 << 20, ..memory() });
    let large = || vec![NewTask::json(format!("\"{}\"", "x".repeat(5 << 20)))];
    for n in 1..=4 {
        engine.push(n, ix, None, large(), now).unwrap();
        engine.take(&worker(), &[ix], 1, 1, now);
        let attempt = engine.actions().send.remove(0);
        let how = How::Error { error: error(), retryable: false, retry_after: None };
        engine.finish(Finish::new(attempt.id, attempt.token, how), now).unwrap();
    }
    assert_eq!(engine.memory_list(ix, Some(TaskState::Discarded), 9).tasks.len(), 3);
    assert_eq!(engine.counts(ix).get(TaskState::Discarded), 3, "those that are there");
    let stats = engine.stats();
    assert_eq!((stats.discarded, stats.letters_pruned), (4, 1));
}
