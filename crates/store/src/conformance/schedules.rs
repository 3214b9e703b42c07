//! Schedules: marks and fires.

use super::*;
use crate::store::{Store, StoreRead as _};

fn fire(fire_ms: u64, after_ms: Option<u64>, why: Option<&str>) -> Fire {
    let why = why.map(Into::into);
    Fire { schedule: "nightly".into(), fire_ms, made_ms: fire_ms + 3, after_ms, task: None, why }
}

fn fired(n: i64, fire: Fire) -> Op {
    Op::Push(Push {
        req: 0,
        queue: q(),
        key: None,
        fire: Some(Box::new(fire)),
        tasks: vec![task(n)],
    })
}

fn mark(after_ms: impl Into<Option<u64>>, paused: bool) -> Op {
    let after_ms = after_ms.into();
    let mark = ScheduleMark { plan: "@hourly UTC".into(), after_ms, paused, config_paused: false };
    Op::Schedule { name: "nightly".into(), mark: Some(Box::new(mark)) }
}

fn commit<S: Store>(store: &mut S, ops: Vec<Op>) -> Applied {
    store.commit(&[Batch::synced(ops)]).unwrap().remove(0)
}

pub(crate) fn a_fire_happens_once<S: Store>(open: &dyn Fn() -> S) {
    let mut store = open();
    commit(&mut store, vec![mark(50, false)]);
    let applied = commit(&mut store, vec![fired(1, fire(100, Some(100), None))]);
    assert!(applied.duplicates.is_empty());
    let again = commit(&mut store, vec![fired(2, fire(100, Some(100), None)), push(vec![task(3)])]);
    assert_eq!(again.duplicates, [Duplicate { op: 0, ids: vec![id(1)] }]);
    // A word that comes late does not take the task away.
    commit(&mut store, vec![Op::Fire(Box::new(fire(100, None, Some("late"))))]);
    drop(store);
    let mut reader = open().reader().unwrap();
    assert_eq!(reader.task(id(2)).unwrap(), None);
    assert_eq!(reader.queue("q").unwrap().unwrap().counts.unfinished(), 2);
    let row = FireRow { fire_ms: 100, made_ms: 103, task: Some(id(1)), why: None };
    assert_eq!(reader.fires("nightly", 9).unwrap(), [row]);
    let row = reader.schedules().unwrap().remove(0);
    assert_eq!(
        (row.mark.after_ms, row.task, row.last_fire_ms),
        (Some(100), Some(id(1)), Some(100))
    );
    assert_eq!((row.fired, row.skipped, row.held), (1, 0, vec![]));
}

pub(crate) fn marks_of_schedules<S: Store>(open: &dyn Fn() -> S) {
    let mut store = open();
    let waits = |at| Op::Fire(Box::new(fire(at, Some(at), None)));
    let skipped = |at, after| Op::Fire(Box::new(fire(at, after, Some("because"))));
    commit(&mut store, vec![mark(50, false), waits(100), waits(200), skipped(300, Some(300))]);
    let row = store.reader().unwrap().schedules().unwrap().remove(0);
    assert_eq!((row.held, row.mark.after_ms, row.skipped), (vec![100, 200], Some(300), 1));
    // The first gets its task, the second is left out; neither moves the mark back.
    commit(&mut store, vec![fired(1, fire(100, None, None)), skipped(200, None)]);
    commit(&mut store, vec![mark(400, true)]);
    let mut reader = store.reader().unwrap();
    let row = reader.schedules().unwrap().remove(0);
    assert_eq!((row.held, row.fired, row.skipped), (vec![], 1, 2));
    assert_eq!((row.mark.after_ms, row.mark.paused), (Some(400), true));
    commit(&mut store, vec![mark(None, false)]);
    assert_eq!(reader.schedules().unwrap()[0].mark.after_ms, Some(400));
    let whys: Vec<_> = reader.fires("nightly", 2).unwrap().into_iter().map(|f| f.why).collect();
    assert_eq!(whys, [Some("because".to_owned()), Some("because".to_owned())]);
    // What waits is never dropped with the old ones.
    commit(&mut store, vec![waits(500)]);
    commit(&mut store, (1_000..2_500).map(|at| skipped(at, Some(at))).collect());
    let row = store.reader().unwrap().schedules().unwrap().remove(0);
    assert_eq!(row.held, [500]);
    let kept = store.reader().unwrap().fires("nightly", 1_000).unwrap();
    assert_eq!(kept.last().unwrap().fire_ms, 1_500);
    commit(&mut store, vec![Op::Schedule { name: "nightly".into(), mark: None }]);
    let mut reader = store.reader().unwrap();
    assert_eq!(
        (reader.schedules().unwrap().len(), reader.fires("nightly", 9).unwrap().len()),
        (0, 0)
    );
}
