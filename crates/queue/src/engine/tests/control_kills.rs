//! Unique keys, last moments, cached results, idempotency keys and gates over the deaths of daemons: whatever is killed
//! when, what was acknowledged stands, and nobody holds what is another's.
//!
//! The store is real, its writer and readers are stepped by hand, so a kill falls before a commit, behind one that nobody
//! heard of, or between any two answers. `ledger` is the model.

mod ending;
mod ledger;
mod plain;
mod scene;

use proptest::prelude::*;

use crate::control::DedupeKey;
use ganger_store::{OnConflict, Until};
use scene::{Scene, Wish};
use std::time::Duration;

/// One thing that happens.
#[derive(Debug, Clone)]
enum Step {
    Push {
        queue: usize,
        wishes: Vec<Wish>,
        key: Option<u8>,
    },
    /// The first `starts` begin at once, the others wait in the worker's buffer.
    Take {
        n: usize,
        starts: usize,
    },
    End {
        pick: usize,
        how: End,
    },
    Cancel {
        pick: usize,
    },
    Retry {
        pick: usize,
    },
    Gate {
        queue: usize,
        set: crate::GateSet,
    },
    Flush,
    Commit {
        n: usize,
        fail: bool,
    },
    Deliver,
    Read,
    Load,
    /// All of the above that is under way comes through.
    Quiet,
    Advance {
        ms: u64,
    },
    /// The daemon is killed; workers are left alive, or are killed with it.
    Kill {
        survive: bool,
        down_ms: u64,
    },
}

/// How an attempt ends. One that was told to stop is cancelled, whatever is drawn, but for `Done`.
#[derive(Debug, Clone, Copy)]
enum End {
    Done,
    Fail,
    Fatal,
    Crash,
    Snooze,
}

fn dedupe() -> impl Strategy<Value = (DedupeKey, Until, OnConflict)> {
    let key = prop_oneof![
        2 => Just(DedupeKey::Payload),
        3 => Just(DedupeKey::Text("x".into())),
    ];
    let until = prop_oneof![
        3 => Just(Until::Start),
        3 => Just(Until::Success),
        1 => Just(Until::For(Duration::from_millis(90))),
    ];
    let conflict = prop_oneof![
        Just(OnConflict::Reject),
        Just(OnConflict::Existing),
        Just(OnConflict::Replace)
    ];
    (key, until, conflict)
}

fn wish() -> impl Strategy<Value = Wish> {
    let often = prop::option::of(dedupe());
    let cache = prop::option::of(prop_oneof![Just(60u64), Just(100_000)]);
    (0..3u8, often, cache, rare([30, 200]), rare([80, 700]), rare([50, 50])).prop_map(
        |(payload, dedupe, cache, expires, deadline, delay)| Wish {
            payload,
            dedupe,
            cache,
            expires,
            deadline,
            delay,
        },
    )
}

fn rare(of: [u64; 2]) -> impl Strategy<Value = Option<u64>> {
    prop::option::weighted(0.2, prop::sample::select(of.to_vec()))
}

fn step() -> impl Strategy<Value = Step> {
    let queue = || prop::bool::weighted(0.2).prop_map(usize::from);
    let gates = vec![
        crate::GateSet::Pause,
        crate::GateSet::Drain,
        crate::GateSet::Resume,
        crate::GateSet::Resume,
        crate::GateSet::Resume,
    ];
    let hows =
        vec![End::Done, End::Done, End::Done, End::Fail, End::Fatal, End::Crash, End::Snooze];
    let pick = || 0..1_000usize;
    prop_oneof![
        8 => (queue(), prop::collection::vec(wish(), 1..4), prop::option::weighted(0.3, 0..3u8))
            .prop_map(|(queue, wishes, key)| Step::Push { queue, wishes, key }),
        6 => (1..4usize, 0..4usize).prop_map(|(n, starts)| Step::Take { n, starts }),
        5 => (pick(), prop::sample::select(hows)).prop_map(|(pick, how)| Step::End { pick, how }),
        2 => pick().prop_map(|pick| Step::Cancel { pick }),
        1 => pick().prop_map(|pick| Step::Retry { pick }),
        1 => (queue(), prop::sample::select(gates)).prop_map(|(queue, set)| Step::Gate { queue, set }),
        5 => Just(Step::Flush),
        5 => (1..4usize, prop::bool::weighted(0.1)).prop_map(|(n, fail)| Step::Commit { n, fail }),
        5 => Just(Step::Deliver),
        2 => Just(Step::Read),
        2 => Just(Step::Load),
        2 => Just(Step::Quiet),
        4 => prop::sample::select(vec![1u64, 25, 60, 1_100]).prop_map(|ms| Step::Advance { ms }),
        2 => (any::<bool>(), prop::sample::select(vec![1u64, 40, 900]))
            .prop_map(|(survive, down_ms)| Step::Kill { survive, down_ms }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 2_000, ..ProptestConfig::with_cases(64) })]
    #[test]
    fn what_was_acknowledged_stands(steps in prop::collection::vec(step(), 1..90)) {
        let mut scene = Scene::new();
        for step in steps {
            scene.step(step);
        }
        scene.run_to_the_end();
    }
}
