//! What attempts say: fenced, replaced, kept with their end, gone with the task.

use super::suite::clean;
use super::*;
use crate::rows::AttemptRow;
use crate::said::{Progress, Said, SaidLine};
use crate::store::{Store, StoreRead};

fn words(percent: u32, lines: &[&str]) -> Box<Said> {
    let line = |text: &&str| SaidLine { at_ms: 5, text: (*text).into() };
    Box::new(Said {
        progress: Some(Progress {
            value: percent.to_string().into(),
            message: Some("é \"x\"".into()),
            at_ms: 4,
        }),
        lines: lines.iter().map(line).collect(),
        total: lines.len() as u64 + 3,
        refused: 1,
    })
}

fn attempts<S: Store>(store: &S) -> Vec<AttemptRow> {
    store.reader().unwrap().task(id(1)).unwrap().unwrap().attempts
}

fn ends(mut op: Op, said: Option<Box<Said>>) -> Op {
    if let Op::Outcome(outcome) = &mut op {
        outcome.said = said;
    }
    op
}

pub(crate) fn words_are_fenced_and_kept_with_the_end<S: Store>(open: &dyn Fn() -> S) {
    let mut store = open();
    let (first, second) = (token(store.epoch(), 1), token(store.epoch(), 2));
    let say = |token, said| Op::Said { id: id(1), token, said };
    clean(&mut store, vec![push(vec![task(1)]), Op::Claim(claim(1, first, 1))]);
    assert_eq!(store.reader().unwrap().running().unwrap()[0].said, None);
    clean(&mut store, vec![say(first, words(10, &["a"])), say(first, words(20, &["a", "b"]))]);
    // A next daemon finds them with the claim.
    let running = store.reader().unwrap().running().unwrap();
    assert_eq!(running[0].said, Some(words(20, &["a", "b"])));
    assert_eq!(attempts(&store)[0].said, Some(words(20, &["a", "b"])));
    // A token that is not the task's changes nothing, and is no refusal: its end has been told.
    clean(&mut store, vec![say(second, words(99, &["stale"]))]);
    let crash = outcome(1, first, AttemptWord::Crash, Next::Available { seq: 9 });
    clean(&mut store, vec![ends(crash, Some(words(30, &["a", "b", "c"])))]);
    clean(&mut store, vec![say(first, words(99, &["late"]))]);
    // Released: its number is used again, so its words go.
    clean(&mut store, vec![Op::Claim(claim(1, second, 2)), say(second, words(40, &["d"]))]);
    let released = outcome(1, second, AttemptWord::Released, Next::Available { seq: 10 });
    clean(&mut store, vec![ends(released, Some(words(40, &["d"])))]);
    let third = token(store.epoch(), 3);
    clean(&mut store, vec![Op::Claim(claim(1, third, 2))]);
    let all = attempts(&store);
    assert_eq!((all.len(), &all[0].said), (2, &Some(words(30, &["a", "b", "c"]))));
    assert_eq!(all[1].said, None);
    clean(&mut store, vec![ends(completed(1, third), Some(words(100, &[])))]);
    assert_eq!(attempts(&store)[1].said, Some(words(100, &[])));
}

pub(crate) fn words_go_with_their_task<S: Store>(open: &dyn Fn() -> S) {
    let mut store = open();
    let held = token(store.epoch(), 1);
    let bounds = KeepBounds { bytes: Some(1_000), ..KeepBounds::default() };
    let keep = Op::Keep { queue: q(), dead: true, bounds };
    clean(&mut store, vec![keep, push(vec![task(1)]), Op::Claim(claim(1, held, 1))]);
    let dies = outcome(1, held, AttemptWord::Crash, Next::Discarded(DeadReason::Quarantined));
    clean(&mut store, vec![ends(dies, Some(words(1, &["x".repeat(2_000).as_str()])))]);
    while store.wants_tending() {
        store.tend(true).unwrap();
    }
    // The bound counts what it said.
    assert_eq!(store.reader().unwrap().task(id(1)).unwrap(), None);
    let again = token(store.epoch(), 2);
    clean(&mut store, vec![push(vec![task(1)]), Op::Claim(claim(1, again, 1))]);
    assert_eq!(attempts(&store)[0].said, None);
}
