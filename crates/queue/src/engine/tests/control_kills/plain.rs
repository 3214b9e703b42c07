//! What the histories have found, each in its shortest form. The model does the looking.

use std::time::Duration;

use ganger_core::TaskState;
use ganger_store::{OnConflict, Until};

use super::scene::{Scene, Wish};
use super::{End, Step};
use crate::control::DedupeKey;

fn play(steps: Vec<Step>) -> Scene {
    let mut scene = Scene::new();
    for step in steps {
        scene.step(step);
    }
    scene
}

fn push(wishes: Vec<Wish>) -> Step {
    Step::Push { queue: 0, wishes, key: None }
}

fn keyed(until: Until, on_conflict: OnConflict) -> Wish {
    let dedupe = Some((DedupeKey::Text("x".into()), until, on_conflict));
    Wish { dedupe, ..Wish::default() }
}

fn cached(ms: u64) -> Wish {
    Wish { cache: Some(ms), ..Wish::default() }
}

const TAKE: Step = Step::Take { n: 2, starts: 2 };

#[test]
fn a_follower_holds_its_key_though_a_worker_was_to_have_it() {
    let key = keyed(Until::Start, OnConflict::Reject);
    let follower = Wish { cache: Some(60), ..key.clone() };
    // Both claims ride along with their pushes; the second is dropped.
    let mut scene = play(vec![push(vec![cached(60)]), push(vec![follower]), TAKE, Step::Quiet]);
    assert_eq!(scene.acked.len(), 2);
    scene.step(push(vec![Wish { payload: 1, ..key }]));
    scene.step(Step::Quiet);
    assert_eq!(scene.acked.len(), 2, "it is refused");
    scene.run_to_the_end();
}

#[test]
fn a_deadline_holds_though_the_daemon_that_told_of_it_died() {
    let late = Wish { deadline: Some(80), ..Wish::default() };
    let mut scene =
        play(vec![push(vec![late]), TAKE, Step::Quiet, Step::Advance { ms: 100 }, Step::Quiet]);
    assert!(scene.held[0].told);
    scene.step(Step::Kill { survive: true, down_ms: 1 });
    assert!(!scene.held[0].told);
    scene.step(Step::Quiet);
    assert!(scene.held[0].told, "the next one tells it again");
    scene.run_to_the_end();
}

#[test]
fn what_comes_back_unused_after_its_expiry_waits_no_more() {
    let late = Wish { expires: Some(30), ..Wish::default() };
    for fail in [false, true] {
        let mut scene = play(vec![
            push(vec![late.clone()]),
            // Into the worker's buffer, where it lies when its moment passes.
            Step::Take { n: 1, starts: 0 },
            Step::Quiet,
            Step::Advance { ms: 60 },
            Step::Quiet,
            Step::Gate { queue: 0, set: crate::GateSet::Pause },
            Step::End { pick: 0, how: End::Crash },
            Step::Flush,
            Step::Commit { n: 1, fail },
            Step::Quiet,
            Step::Advance { ms: 1_100 },
            Step::Quiet,
        ]);
        let ended = scene.ledger.tasks.values().all(|task| task.state == TaskState::Cancelled);
        assert!(ended, "nobody takes it, but its key and its followers must not wait for that");
        scene.run_to_the_end();
    }
}

#[test]
fn those_behind_a_window_that_expires_as_a_whole_run() {
    let late = Wish { expires: Some(30), ..Wish::default() };
    let window = vec![late; crate::engine::lane::WINDOW_MAX];
    let mut scene = play(vec![
        push(window),
        push(vec![Wish::default()]),
        Step::Quiet,
        Step::Advance { ms: 60 },
        Step::Quiet,
        TAKE,
        Step::Quiet,
    ]);
    assert_eq!(scene.held.len(), 1);
    scene.run_to_the_end();
}

#[test]
fn a_task_that_ended_and_came_back_during_a_read_waits_once() {
    let mut scene = play(vec![
        push(vec![Wish::default()]),
        Step::Quiet,
        Step::Kill { survive: false, down_ms: 1 },
        Step::Cancel { pick: 0 },
        Step::Retry { pick: 0 },
        Step::Read,
        Step::Flush,
        Step::Commit { n: 1, fail: false },
        Step::Deliver,
        Step::Load,
        Step::Quiet,
        TAKE,
        Step::Quiet,
    ]);
    assert_eq!(scene.held.len(), 1);
    scene.run_to_the_end();
}

#[test]
fn a_served_result_serves_no_longer_for_it() {
    let long = Wish { cache: Some(100_000), ..keyed(Until::Start, OnConflict::Existing) };
    let mut scene = play(vec![
        push(vec![cached(60)]),
        TAKE,
        Step::Quiet,
        Step::End { pick: 0, how: End::Done },
        // Its claim rides along, so its start is settled though it never starts.
        push(vec![long.clone()]),
        TAKE,
        Step::Quiet,
    ]);
    assert!(scene.held.is_empty(), "it was served");
    scene.step(Step::Advance { ms: 61 });
    scene.step(push(vec![long]));
    scene.step(TAKE);
    scene.step(Step::Quiet);
    assert_eq!(scene.held.len(), 1, "the result is too old");
    scene.run_to_the_end();
}

#[test]
fn a_running_holder_is_not_replaced_by_way_of_its_own_answer() {
    let key = |on_conflict| keyed(Until::Success, on_conflict);
    let mut scene = play(vec![push(vec![key(OnConflict::Reject)]), TAKE, Step::Quiet]);
    scene.step(push(vec![key(OnConflict::Existing), key(OnConflict::Replace)]));
    scene.step(Step::Quiet);
    assert_eq!((scene.acked.len(), scene.ledger.tasks.len()), (1, 1), "all of it is refused");
    scene.run_to_the_end();
}

#[test]
fn who_replaces_one_and_starts_leaves_no_key_behind() {
    let held = keyed(Until::For(Duration::from_secs(60)), OnConflict::Replace);
    let mut scene = play(vec![push(vec![held]), Step::Quiet]);
    let start = keyed(Until::Start, OnConflict::Replace);
    for tasks in 2..4 {
        scene.step(push(vec![start.clone()]));
        scene.step(TAKE);
        scene.step(Step::Quiet);
        assert_eq!((scene.acked.len(), scene.held.len()), (tasks, tasks - 1));
    }
    scene.run_to_the_end();
}
