//! Every attempt is reported once, and what ran is told from what did not.

use std::collections::HashMap;

use std::time::{Duration, Instant};

use bytes::Bytes;
use ganger_core::{Priority, TaskId, Token};
use ganger_queue::{Attempt, How, Now};
use ganger_store::AttemptError;
use proptest::prelude::*;

use super::gone::{Cause, Gone};
use super::load::*;
use crate::attempt::Stop;

const TIMEOUT: Duration = Duration::from_millis(100);
const GRACE: Duration = Duration::from_millis(20);

fn task(raw: i64) -> Attempt {
    Attempt {
        worker: 1,
        id: id(raw),
        token: token(raw),
        n: 1,
        queue: "q".into(),
        kind: None,
        payload: Bytes::from_static(b"1"),
        priority: Priority::NORMAL,
        timeout: TIMEOUT,
        started: false,
    }
}

fn token(raw: i64) -> Token {
    Token { epoch: 1, counter: raw.unsigned_abs() }
}

fn cancel(raw: i64) -> Stop {
    Stop { id: id(raw), token: token(raw), after: None }
}

fn boom() -> Gone {
    Gone { cause: Cause::Crash, error: AttemptError::new("boom") }
}

fn id(raw: i64) -> TaskId {
    TaskId::from_raw(raw).unwrap()
}

fn load(lanes: usize, window: usize) -> Load {
    let mut load = Load::new(Manner { lanes, window, grace: GRACE });
    load.set_pid(7);
    load
}

struct Clock(Instant);

impl Clock {
    fn at(&self, ms: u64) -> Now {
        Now { at: self.0 + Duration::from_millis(ms), wall_ms: ms }
    }
}

fn done() -> How {
    How::Completed(Bytes::from_static(b"0"))
}

#[test]
fn the_next_starts_when_the_one_before_is_answered() {
    let clock = Clock(Instant::now());
    let mut load = load(1, usize::MAX);
    load.take((1..=3).map(task));
    let mut sent = vec![];
    load.send(clock.at(0), |t| {
        sent.push(t.id.raw());
        true
    });
    assert_eq!(sent, [1, 2, 3]);
    assert_eq!(load.deadline(), Some(clock.at(100).at));
    let first = load.answered(id(1), done(), clock.at(90)).unwrap();
    assert_eq!((first.began, first.pid), (Some(clock.at(0)), Some(7)));
    assert_eq!(load.deadline(), Some(clock.at(190).at), "the second began at 90");
    let ended = load.died(&boom());
    assert_eq!(ended[0].how, How::Crash(Box::new(boom().error)));
    assert_eq!((ended[0].began, &ended[1].how), (Some(clock.at(90)), &How::Released));
    assert!(load.is_empty());
}

#[test]
fn a_timeout_is_reported_only_when_the_worker_let_go() {
    let clock = Clock(Instant::now());
    let mut load = load(1, usize::MAX);
    load.take([task(1), task(2)]);
    load.send(clock.at(0), |_| true);
    assert!(load.expire(clock.at(99)).is_empty());
    assert_eq!(load.expire(clock.at(100)), [Expired::Cancel(id(1))]);
    assert_eq!(load.deadline(), Some(clock.at(120).at));
    assert_eq!(load.expire(clock.at(120)), [Expired::Stuck(id(1))]);
    assert!(load.is_stuck() && load.only_condemned_run());
    let ended = load.died(&boom());
    assert!(matches!(&ended[0].how, How::Timeout(e) if e.message == "timed out after 100ms"));
    assert_eq!(ended[1].how, How::Released);

    load.take([task(3)]);
    load.send(clock.at(200), |_| true);
    load.expire(clock.at(300));
    let late = load.answered(id(3), done(), clock.at(301)).unwrap();
    assert!(matches!(late.how, How::Timeout(_)), "a late result does not undo the timeout");
}

#[test]
fn words_belong_to_one_attempt_and_go_with_its_end() {
    let clock = Clock(Instant::now());
    let mut load = load(2, usize::MAX);
    load.take([task(1), task(2), task(3)]);
    assert!(!load.says(id(1), None, |s| s.log("not sent", 0)));
    load.send(clock.at(0), |t| t.id != id(2));
    assert!(load.says(id(1), Some(token(1)), |s| s.log("a", 1)));
    assert!(load.says(id(2), None, |s| s.progress("5", None, 1)));
    // Of an earlier attempt, of nobody's, of what was not sent.
    assert!(!load.says(id(1), Some(token(9)), |s| s.log("stale", 1)));
    assert!(!load.says(id(7), None, |s| s.log("nobody", 1)));
    assert!(!load.says(id(3), None, |s| s.log("not sent", 1)));
    assert!(load.has_words());
    let told = load.take_words();
    let told: Vec<_> = told.iter().map(|(id, _, s)| (id.raw(), s.said().total)).collect();
    assert_eq!(told, [(1, 1), (2, 0)]);
    assert!(!load.has_words() && load.take_words().is_empty());
    // What is not told yet rides with the end, whatever that is.
    load.says(id(1), Some(token(1)), |s| s.log("b", 2));
    load.says(id(2), Some(token(2)), |s| s.log("c", 2));
    let answered = load.answered(id(1), done(), clock.at(3)).unwrap();
    assert_eq!(answered.said.unwrap().said().lines[0].text.as_ref(), "b");
    assert!(!load.says(id(1), Some(token(1)), |s| s.log("late", 4)));
    let ended = load.died(&boom());
    assert_eq!(ended[0].said.as_ref().unwrap().said().lines[0].text.as_ref(), "c");
    assert_eq!((ended[1].id, &ended[1].said), (id(3), &None));
}

#[test]
fn what_may_live_on_is_stuck_whatever_the_verdict() {
    let clock = Clock(Instant::now());
    let stuck = Gone { cause: Cause::Stuck, ..boom() };
    let mut load = load(2, usize::MAX);
    load.take((1..=3).map(task));
    load.send(clock.at(0), |_| true);
    load.stop(Stop { after: Some(TIMEOUT), ..cancel(1) }, clock.at(1));
    let ended: Vec<How> = load.died(&stuck).into_iter().map(|report| report.how).collect();
    let how = |timed_out| How::Stuck { error: Box::new(boom().error), timed_out };
    assert_eq!(ended, [how(true), how(false), How::Released]);
}

#[test]
fn an_end_on_our_account_is_not_the_tasks() {
    use ganger_core::{End, SignalSource};
    use ganger_keeper::wire::ExitReport;
    let exit = |end: End, stuck: Vec<u32>| ExitReport {
        id: ganger_core::SpawnId::new(1, 1),
        instance: ganger_core::InstanceId::new("w", 1),
        pid: 7,
        end,
        usage: ganger_core::Usage::default(),
        at_ms: 0,
        leftovers: 0,
        stuck,
        adopted: false,
    };
    let signalled = |by| End::Signalled { signal: 9, core: false, by };
    for (end, asked, cause) in [
        (signalled(SignalSource::Unknown), true, Cause::Crash),
        (signalled(SignalSource::OomKiller), true, Cause::Crash),
        (signalled(SignalSource::Ganger), false, Cause::Interrupted),
        (End::LimitHit { limit: "memory".into(), peak: 1 }, true, Cause::Crash),
        (End::Exited { code: 1 }, false, Cause::Crash),
        (End::Exited { code: 0 }, true, Cause::Interrupted),
        (End::Lost, false, Cause::Lost),
    ] {
        assert_eq!(Cause::of(&exit(end.clone(), vec![]), asked), cause, "{end:?}");
        assert_eq!(Cause::of(&exit(end, vec![1]), asked), Cause::Stuck);
    }
}

#[test]
fn raw_mode_sends_one_at_a_time_and_takes_back_the_rest() {
    let clock = Clock(Instant::now());
    let mut load = load(1, 1);
    load.take((1..=3).map(task));
    let mut sent = vec![];
    load.send(clock.at(0), |t| {
        sent.push(t.id.raw());
        true
    });
    assert_eq!((sent.as_slice(), load.in_lane()), ([1].as_slice(), Some(id(1))));
    assert!(
        matches!(load.stop(cancel(2), clock.at(1)), Stopped::Reported(r) if r.how == How::Cancelled)
    );
    assert_eq!(load.stop(cancel(1), clock.at(1)), Stopped::Ask);
    assert_eq!(load.stop(cancel(9), clock.at(1)), Stopped::Unknown);
    let stale = Stop { token: token(8), ..cancel(1) };
    assert_eq!(load.stop(stale, clock.at(1)), Stopped::Unknown);
    let back = load.take_back();
    assert_eq!(back.len(), 1);
    assert_eq!((back[0].id, &back[0].how), (id(3), &How::Released));
    assert_eq!(load.answered(id(1), done(), clock.at(3)).unwrap().how, How::Cancelled);
}

#[test]
fn started_overrules_the_order_and_others_are_not_hurt() {
    let clock = Clock(Instant::now());
    let mut load = load(2, usize::MAX);
    load.take((1..=4).map(task));
    load.send(clock.at(0), |_| true);
    load.started(id(4), clock.at(50));
    assert_eq!(load.running(), 3);
    load.expire(clock.at(100));
    load.expire(clock.at(120));
    assert!(load.is_stuck() && !load.only_condemned_run(), "task 4 began later and is innocent");
    load.answered(id(4), done(), clock.at(121)).unwrap();
    assert!(load.only_condemned_run());
}

#[derive(Debug, Clone)]
enum Did {
    Take(u8),
    Send,
    Answer(i64),
    Started(i64),
    Cancel(i64),
    Later(u64),
    TakeBack,
    Die,
}

fn did() -> impl Strategy<Value = Did> {
    prop_oneof![
        (1u8..5).prop_map(Did::Take),
        Just(Did::Send),
        (1i64..40).prop_map(Did::Answer),
        (1i64..40).prop_map(Did::Started),
        (1i64..40).prop_map(Did::Cancel),
        (1u64..150).prop_map(Did::Later),
        Just(Did::TakeBack),
        Just(Did::Die),
    ]
}

proptest! {
    #[test]
    fn nothing_is_lost_or_doubled(lanes in 1usize..4, window in 1usize..6, steps in prop::collection::vec(did(), 1..120)) {
        let clock = Clock(Instant::now());
        let mut load = load(lanes, window);
        let (mut next, mut ms) = (1, 0);
        let mut reports: HashMap<i64, u32> = HashMap::new();
        for step in steps {
            let now = clock.at(ms);
            let got = match step {
                Did::Take(n) => {
                    load.take((next..next + i64::from(n)).map(task));
                    next += i64::from(n);
                    vec![]
                }
                Did::Send => { load.send(now, |_| true); vec![] }
                Did::Answer(n) => load.answered(id(n), done(), now).into_iter().collect(),
                Did::Started(n) => { load.started(id(n), now); vec![] }
                Did::Cancel(n) => match load.stop(cancel(n), now) {
                    Stopped::Reported(report) => vec![*report],
                    _ => vec![],
                },
                Did::Later(by) => { ms += by; load.expire(clock.at(ms)); vec![] }
                Did::TakeBack => load.take_back(),
                Did::Die => load.died(&boom()),
            };
            for report in got {
                *reports.entry(report.id.raw()).or_default() += 1;
                prop_assert!(report.began.is_some() || matches!(report.how, How::Released | How::Cancelled));
            }
            prop_assert!(load.running() <= load.len());
        }
        for report in load.died(&boom()) {
            *reports.entry(report.id.raw()).or_default() += 1;
        }
        prop_assert_eq!(reports.len() as i64, next - 1);
        prop_assert!(reports.values().all(|n| *n == 1));
    }
}
