//! Random histories of unique and cached tasks against a small model: what holds a key, who runs, whose result it is.

use std::collections::BTreeMap;

use ganger_core::TaskState;
use proptest::prelude::*;

use super::control::{cached, complete, end, one, start, state, unique, what};
use super::*;
use crate::control::*;
use crate::store::{Store, StoreRead as _};

/// A step of [`keys_and_inputs_agree_with_a_model`].
#[derive(Debug, Clone)]
enum Step {
    Unique { key: u8, until: u8, conflict: u8 },
    Cached { input: u8 },
    Start { pick: u8 },
    Complete { pick: u8 },
    Discard { pick: u8 },
    Cancel { pick: u8 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..2u8, 0..2u8, 0..3u8).prop_map(|(key, until, conflict)| Step::Unique { key, until, conflict }),
        4 => (0..2u8).prop_map(|input| Step::Cached { input }),
        5 => any::<u8>().prop_map(|pick| Step::Start { pick }),
        3 => any::<u8>().prop_map(|pick| Step::Complete { pick }),
        2 => any::<u8>().prop_map(|pick| Step::Discard { pick }),
        2 => any::<u8>().prop_map(|pick| Step::Cancel { pick }),
    ]
}

/// What the model knows of a task that has not ended.
#[derive(Debug, Clone, PartialEq)]
struct Open {
    runs: bool,
    key: Option<(u8, bool)>,
    input: Option<u8>,
    follows: bool,
}

#[derive(Debug, Default)]
struct Model {
    open: BTreeMap<i64, Open>,
    results: BTreeMap<u8, i64>,
    completed: BTreeMap<i64, i64>,
}

impl Model {
    fn holder(&self, key: u8) -> Option<i64> {
        self.open.iter().find(|(_, task)| task.key.is_some_and(|(k, _)| k == key)).map(|(n, _)| *n)
    }

    fn leader(&self, input: u8) -> Option<i64> {
        let mine = |task: &Open| task.input == Some(input) && !task.follows;
        self.open.iter().find(|(_, task)| mine(task)).map(|(n, _)| *n)
    }

    /// A task ends; `result`: completed.
    fn end(&mut self, n: i64, result: bool) {
        let gone = self.open.remove(&n).unwrap();
        if result {
            self.completed.insert(n, n);
        }
        let Some(input) = gone.input.filter(|_| !gone.follows) else { return };
        let followers: Vec<i64> = self
            .open
            .iter()
            .filter(|(_, t)| t.input == Some(input) && t.follows)
            .map(|(n, _)| *n)
            .collect();
        if result {
            self.results.insert(input, n);
            for follower in followers {
                self.open.remove(&follower);
                self.completed.insert(follower, n);
            }
        } else if let Some(heir) = followers.first() {
            self.open.get_mut(heir).unwrap().follows = false;
        }
    }
}

pub(crate) fn keys_and_inputs_agree_with_a_model<S: Store>(open: &dyn Fn() -> S) {
    let (n, store) = (0, open());
    let config =
        ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() };
    let mut runner = proptest::test_runner::TestRunner::new(config);
    // One store for all cases: what a case leaves open is ended, and each has keys and inputs of its own.
    let cell = std::cell::RefCell::new((n, store));
    runner
        .run(&proptest::collection::vec(step(), 1..60), |steps| {
            let mut cell = cell.borrow_mut();
            let (n, store) = &mut *cell;
            play(*n, store, &steps);
            *n += 1_000;
            Ok(())
        })
        .unwrap();
}

fn play<S: Store>(base: i64, store: &mut S, steps: &[Step]) {
    let mut model = Model::default();
    for (n, step) in (base + 1..).zip(steps) {
        let pick = |pick: u8, wanted: &dyn Fn(&Open) -> bool| {
            let all: Vec<i64> =
                model.open.iter().filter(|(_, t)| wanted(t)).map(|(n, _)| *n).collect();
            (!all.is_empty()).then(|| all[usize::from(pick) % all.len()])
        };
        match step {
            Step::Unique { key, until, conflict } => {
                let on_conflict = [OnConflict::Existing, OnConflict::Reject, OnConflict::Replace]
                    [usize::from(*conflict)];
                let until_start = *until == 0;
                let word = if until_start { Until::Start } else { Until::Success };
                let new = unique(n, &format!("{base}/{key}"), word, on_conflict);
                let special = what(&one(store, vec![push(vec![new])]));
                let mine = Open {
                    runs: false,
                    key: Some((*key, until_start)),
                    input: None,
                    follows: false,
                };
                match (model.holder(*key), on_conflict) {
                    (None, _) => {
                        assert_eq!(special, []);
                        model.open.insert(n, mine);
                    }
                    (Some(holder), OnConflict::Existing) => {
                        assert_eq!(special, [(0, What::Existing(id(holder)))]);
                    }
                    (Some(holder), OnConflict::Replace) if !model.open[&holder].runs => {
                        assert_eq!(special, []);
                        model.end(holder, false);
                        model.open.insert(n, mine);
                    }
                    (Some(holder), _) => assert_eq!(special, [(0, What::Rejected(id(holder)))]),
                }
            }
            Step::Cached { input } => {
                let new = cached(n, &format!("{base}/{input}"), 1_000);
                let special = what(&one(store, vec![push(vec![new])]));
                let follows = model.leader(*input);
                let mine = Open {
                    runs: false,
                    key: None,
                    input: Some(*input),
                    follows: follows.is_some(),
                };
                if let Some(result) = model.results.get(input) {
                    assert_eq!(special, [(0, What::Hit(Bytes::from(result.to_string())))]);
                    model.completed.insert(n, *result);
                } else {
                    let wanted: Vec<_> =
                        follows.map(|leader| (0, What::Follows(id(leader)))).into_iter().collect();
                    assert_eq!(special, wanted);
                    model.open.insert(n, mine);
                }
            }
            Step::Start { pick: p } => {
                if let Some(n) = pick(*p, &|t| !t.runs && !t.follows) {
                    if state(store, n) == Some(TaskState::Scheduled) {
                        one(store, vec![Op::Promote { id: id(n), queue: q(), seq: n }]);
                    }
                    start(store, n);
                    let task = model.open.get_mut(&n).unwrap();
                    task.runs = true;
                    task.key = task.key.filter(|(_, until_start)| !until_start);
                }
            }
            Step::Complete { pick: p } => {
                if let Some(n) = pick(*p, &|t| t.runs) {
                    complete(store, n);
                    model.end(n, true);
                }
            }
            Step::Discard { pick: p } => {
                if let Some(n) = pick(*p, &|t| t.runs) {
                    end(store, n, Next::Discarded(DeadReason::Attempts));
                    model.end(n, false);
                }
            }
            Step::Cancel { pick: p } => {
                if let Some(n) = pick(*p, &|t| !t.runs) {
                    one(store, vec![Op::Cancel { id: id(n), at_ms: 5, req: 0 }]);
                    model.end(n, false);
                }
            }
        }
        for (n, result) in &model.completed {
            let row = store.reader().unwrap().task(id(*n)).unwrap().unwrap();
            assert_eq!(row.result, Some(Bytes::from(result.to_string())), "task {n}");
        }
        for (n, task) in &model.open {
            let waits =
                matches!(state(store, *n), Some(TaskState::Available | TaskState::Scheduled));
            assert_eq!(waits, !task.runs, "task {n}: {task:?}");
        }
    }
}
