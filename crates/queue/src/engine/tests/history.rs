//! Random histories: pushes, claims, ends, crashes, failed commits and restarts in any order. Nothing acknowledged is
//! lost, nothing runs twice, order holds inside a priority, attempts stay within their maximum.

use std::time::Duration;

use proptest::prelude::*;

use super::world::{World, error};
use crate::How;

#[derive(Debug, Clone)]
enum Step {
    Push { queue: usize, priority: u8, n: usize, delay: bool, key: Option<u8> },
    Take { worker: u64, n: usize, starts: usize },
    Finish { pick: usize, how: u8 },
    Began { pick: usize },
    Cancel { pick: usize },
    Retry { pick: usize },
    Pause { queue: usize, paused: bool },
    Flush,
    Commit { n: usize, fail: bool },
    Deliver,
    Read,
    Load,
    Advance { ms: u64 },
    Crash { worker: u64 },
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let priority = prop_oneof![3 => Just(128u8), 1 => Just(64), 1 => Just(192)];
    let key = prop_oneof![4 => Just(None), 1 => (0..4u8).prop_map(Some)];
    prop_oneof![
        8 => (0..3usize, priority, 1..7usize, prop::bool::weighted(0.15), key).prop_map(
            |(queue, priority, n, delay, key)| Step::Push { queue, priority, n, delay, key }),
        8 => (1..3u64, 1..6usize, 0..6usize)
            .prop_map(|(worker, n, starts)| Step::Take { worker, n, starts }),
        8 => (any::<usize>(), 0..7u8).prop_map(|(pick, how)| Step::Finish { pick, how }),
        2 => any::<usize>().prop_map(|pick| Step::Began { pick }),
        2 => any::<usize>().prop_map(|pick| Step::Cancel { pick }),
        2 => any::<usize>().prop_map(|pick| Step::Retry { pick }),
        1 => (0..3usize, any::<bool>()).prop_map(|(queue, paused)| Step::Pause { queue, paused }),
        8 => Just(Step::Flush),
        8 => (1..3usize, prop::bool::weighted(0.1)).prop_map(|(n, fail)| Step::Commit { n, fail }),
        8 => Just(Step::Deliver),
        5 => Just(Step::Read),
        5 => Just(Step::Load),
        3 => prop_oneof![Just(5u64), Just(600), Just(1_100), Just(40_000)]
            .prop_map(|ms| Step::Advance { ms }),
        1 => (1..3u64).prop_map(|worker| Step::Crash { worker }),
        1 => Just(Step::Restart),
    ]
}

fn how(n: u8) -> How {
    match n {
        0 | 1 => How::Completed("null".into()),
        2 => How::Error { error: error(), retryable: true, retry_after: None },
        3 => How::Error { error: error(), retryable: false, retry_after: None },
        4 => How::Error { error: error(), retryable: true, retry_after: Some(Duration::ZERO) },
        5 => How::Snooze(Duration::from_millis(300)),
        _ => How::Released,
    }
}

fn take_step(world: &mut World, step: Step) {
    match step {
        Step::Push { queue, priority, n, delay, key } => {
            world.push(queue, priority, n, delay, key);
        }
        Step::Take { worker, n, starts } => world.take(worker, n, starts),
        Step::Finish { pick, how: n } => {
            let right = |held: &super::world::Held| held.attempt.payload.clone();
            if n < 2 && !world.held.is_empty() {
                let result = right(&world.held[pick % world.held.len()]);
                world.finish(pick, How::Completed(result));
            } else {
                world.finish(pick, how(n));
            }
        }
        Step::Began { pick } => world.began(pick),
        Step::Cancel { pick } => world.cancel_or_retry(pick, true),
        Step::Retry { pick } => world.cancel_or_retry(pick, false),
        Step::Pause { queue, paused } => world.pause(queue, paused),
        Step::Flush => world.flush(),
        Step::Commit { n, fail } => world.commit(n, fail),
        Step::Deliver => world.deliver(),
        Step::Read => world.read(),
        Step::Load => world.load(),
        Step::Advance { ms } => world.advance(Duration::from_millis(ms)),
        Step::Crash { worker } => world.crash(worker),
        Step::Restart => world.restart(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn promises_hold(steps in prop::collection::vec(step(), 1..160)) {
        let mut world = World::new(false);
        for step in steps {
            take_step(&mut world, step);
        }
        world.settle_all();
    }

    /// The same with limits per queue and key, so that tasks are set aside, and left to the store.
    #[test]
    fn promises_hold_under_limits(steps in prop::collection::vec(step(), 1..160)) {
        let mut world = World::new(true);
        for step in steps {
            take_step(&mut world, step);
        }
        world.settle_all();
    }
}
