//! Words of attempts: written now and then, handed to the outcome, refused when stale.

use std::time::Duration;

use ganger_core::{Durability, TaskId, Token};
use ganger_store::{Op, Outcome, Said, Settled};

use crate::said::SAVE_EVERY;
use crate::{Engine, EngineOptions, Finish, How, NewTask, Now, QueueConfig, Saying, Worker};

/// An engine with one running attempt of a task.
fn running(durability: Durability) -> (Engine, Now, TaskId, Token) {
    let mut engine = Engine::new(EngineOptions::new(1));
    let now = Now::real();
    let ix = engine.configure("q", QueueConfig { durability, ..QueueConfig::default() });
    engine.push(1, ix, None, vec![NewTask::json("1")], now).unwrap();
    let worker = Worker { key: 1, name: "w#1".into(), pid: 7 };
    assert_eq!(engine.take(&worker, &[ix], 1, 1, now), 1);
    settle(&mut engine, now);
    let attempt = engine.actions().send.remove(0);
    (engine, now, attempt.id, attempt.token)
}

/// The commit of what waits, and what was in it.
fn settle(engine: &mut Engine, now: Now) -> Vec<Op> {
    let Some(batch) = engine.flush() else { return Vec::new() };
    let ops = batch.ops.clone();
    engine.settled(Settled { batch, result: Ok(ganger_store::Applied::default()) }, now);
    ops
}

fn words(lines: &[&str], progress: u32) -> Saying {
    let mut saying = Saying::default();
    saying.progress(&progress.to_string(), None, 1);
    lines.iter().for_each(|line| saying.log(line, 1));
    saying
}

fn texts(said: &Said) -> Vec<&str> {
    said.lines.iter().map(|line| &*line.text).collect()
}

#[test]
fn a_flood_is_one_write_per_interval() {
    let (mut engine, mut now, id, token) = running(Durability::Relaxed);
    let (mut writes, mut said) = (0, 0);
    for _ in 0..40 {
        for n in 0..2_500 {
            assert_eq!(engine.said(id, token, words(&["x"], n % 100), now).unwrap(), (1, said + 1));
            said += 1;
        }
        now = now.plus(Duration::from_millis(250));
        engine.tick(now);
        let ops = settle(&mut engine, now);
        writes += ops.iter().filter(|op| matches!(op, Op::Said { .. })).count();
    }
    // Ten seconds: 100,000 messages, a write each five.
    assert_eq!((said, writes), (100_000, 2));
    let (n, said) = engine.said_by(id).unwrap();
    assert_eq!((n, said.total, said.lines.len()), (1, 100_000, crate::said::LINES_MAX));
}

#[test]
fn a_short_attempt_costs_no_write_of_its_own() {
    let (mut engine, now, id, token) = running(Durability::Relaxed);
    engine.said(id, token, words(&["a"], 50), now).unwrap();
    engine.said(id, token, words(&["b"], 60), now).unwrap();
    assert!(engine.next_deadline().is_some_and(|at| at <= now.at + SAVE_EVERY));
    engine.finish(Finish::new(id, token, How::Crash(super::world::error())), now).unwrap();
    let ops = settle(&mut engine, now);
    let [Op::Outcome(outcome)] = &ops[..] else { panic!("{ops:?}") };
    let Outcome { said: Some(said), .. } = &**outcome else { panic!("{outcome:?}") };
    assert_eq!(
        (texts(said), said.progress.as_ref().unwrap().percent()),
        (vec!["a", "b"], Some(60.0))
    );
    // Nothing is left of it: neither a write nor a timer for one.
    assert_eq!(engine.next_save(), None);
    let late = engine.said(id, token, words(&["late"], 99), now);
    assert!(late.is_err() && engine.said_by(id).is_none());
}

#[test]
fn words_of_another_token_are_stale() {
    let (mut engine, now, id, token) = running(Durability::Relaxed);
    let old = Token { counter: token.counter + 7, ..token };
    assert!(engine.said(id, old, words(&["old"], 1), now).is_err());
    assert_eq!((engine.said_by(id), engine.stats().stale), (None, 1));
    engine.said(id, token, words(&["mine"], 2), now).unwrap();
    assert_eq!(texts(engine.said_by(id).unwrap().1), ["mine"]);
}

#[test]
fn a_failed_write_comes_again_and_a_daemon_that_goes_writes_all() {
    let (mut engine, mut now, id, token) = running(Durability::Relaxed);
    engine.said(id, token, words(&["a"], 1), now).unwrap();
    now = now.plus(SAVE_EVERY);
    engine.tick(now);
    let batch = engine.flush().unwrap();
    let full = ganger_store::StoreError::Busy(1);
    engine.settled(Settled { batch, result: Err(full) }, now);
    now = now.plus(SAVE_EVERY);
    engine.tick(now);
    let ops = settle(&mut engine, now);
    assert!(matches!(&ops[..], [Op::Said { said, .. }] if texts(said) == ["a"]), "{ops:?}");
    // Nothing new: nothing to write.
    engine.save_all_said();
    assert!(engine.flush().is_none());
    engine.said(id, token, words(&["b"], 2), now).unwrap();
    engine.save_all_said();
    let ops = settle(&mut engine, now);
    assert!(matches!(&ops[..], [Op::Said { said, .. }] if texts(said) == ["a", "b"]), "{ops:?}");
}

#[test]
fn tasks_in_memory_keep_their_words_with_their_attempts() {
    let (mut engine, now, id, token) = running(Durability::Memory);
    engine.said(id, token, words(&["a"], 50), now).unwrap();
    assert_eq!(engine.next_save(), None);
    let row = engine.memory_task(id).unwrap();
    assert_eq!(texts(row.attempts[0].said.as_ref().unwrap()), ["a"]);
    engine.finish(Finish::new(id, token, How::Completed("1".into())), now).unwrap();
    let row = engine.memory_task(id).unwrap();
    assert_eq!(texts(row.attempts[0].said.as_ref().unwrap()), ["a"]);
    assert!(engine.flush().is_none_or(|batch| batch.ops.is_empty()));
}
