//! Pushes of schedules: the fire's row goes where its task goes.

use std::time::Duration;

use ganger_core::{Durability, TaskState};
use ganger_store::{Applied, Duplicate, Fire, Op, Settled};

use crate::actions::Done;
use crate::config::{NewTask, QueueConfig};
use crate::{Engine, EngineOptions, Now, QueueIx, Worker};

fn engine(durability: Durability) -> (Engine, QueueIx, Now) {
    let mut engine = Engine::new(EngineOptions { seed: 1, ..EngineOptions::new(3) });
    let ix = engine.configure("q", QueueConfig { durability, ..QueueConfig::default() });
    (engine, ix, Now::real())
}

fn fire() -> Box<Fire> {
    let schedule = "s".into();
    Box::new(Fire { schedule, fire_ms: 7, made_ms: 8, after_ms: Some(7), task: None, why: None })
}

#[test]
fn a_known_fire_answers_with_its_task_and_gives_the_worker_its_room_back() {
    let (mut engine, ix, now) = engine(Durability::Fsync);
    engine.push_fire(1, ix, fire(), NewTask::json("1"), now).unwrap();
    let worker = Worker { key: 9, name: "w#1".into(), pid: 4711 };
    assert_eq!(engine.take(&worker, &[ix], 1, 1, now), 1);
    let batch = engine.flush().unwrap();
    let [Op::Push(push)] = &batch.ops[..] else { panic!("{:?}", batch.ops) };
    assert_eq!(push.fire.as_deref(), Some(&*fire()));
    assert!(push.tasks[0].claim.is_some(), "the claim rides along");
    let before = ganger_core::TaskId::from_raw(42).unwrap();
    let duplicates = vec![Duplicate { op: 0, ids: vec![before] }];
    let result = Ok(Applied { duplicates, ..Applied::default() });
    engine.settled(Settled { batch, result }, now);
    let actions = engine.actions();
    let done = Done::Pushed { ids: vec![before], duplicate: true, known: Vec::new() };
    assert_eq!(actions.replies[0].result, Ok(done));
    assert_eq!((actions.send.len(), actions.returned.len()), (0, 1));
    assert_eq!(engine.counts(ix).unfinished(), 0);
}

#[test]
fn a_task_in_memory_leaves_a_row_with_its_id() {
    let (mut engine, ix, now) = engine(Durability::Memory);
    engine.push_fire(1, ix, fire(), NewTask::json("1"), now).unwrap();
    let replies = engine.actions().replies;
    let Ok(Done::Pushed { ids, duplicate: false, .. }) = &replies[0].result else {
        panic!("{replies:?}")
    };
    assert_eq!(engine.counts(ix).get(TaskState::Available), 1);
    let batch = engine.flush().unwrap();
    let [Op::Fire(row)] = &batch.ops[..] else { panic!("{:?}", batch.ops) };
    assert_eq!((row.task, row.fire_ms), (Some(ids[0]), 7));
}

#[test]
fn a_fire_is_under_its_queues_rules_like_any_push() {
    let (mut engine, ix, now) = engine(Durability::Fsync);
    let all = crate::Wants { expires_in: Some(Duration::from_secs(5)), ..crate::Wants::default() };
    let rules = crate::ControlRules { all, ..crate::ControlRules::default() };
    let control = Some(Box::new(rules));
    engine.configure("q", QueueConfig { control, ..QueueConfig::default() });
    engine.push_fire(1, ix, fire(), NewTask::json("1"), now).unwrap();
    let batch = engine.flush().unwrap();
    let Some(Op::Push(push)) = batch.ops.iter().find(|op| matches!(op, Op::Push(_))) else {
        panic!("{:?}", batch.ops)
    };
    let control = push.tasks[0].options.as_ref().and_then(|options| options.control.as_ref());
    assert_eq!(control.and_then(|c| c.expires_ms), Some(now.wall_ms + 5_000));
}
