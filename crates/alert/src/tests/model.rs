//! The state machine against a model that is written from the description, and knows the whole history at once.

use std::time::Duration;

use proptest::prelude::*;

use crate::expr::Truth;
use crate::rule::Missing;
use crate::state::{Phase, State, Step, Timing, ms};
use crate::values::Time;

/// "A condition must hold for `for`; a firing alert ends when it has not held for `keep_firing`." Looks back at every moment.
fn model(history: &[(Time, bool)], timing: &Timing) -> Phase {
    let mut firing: Option<Time> = None;
    for (n, (now, holds)) in history.iter().enumerate() {
        // How long it has been as it is now: back to the last sample that was otherwise.
        let run = history[..=n].iter().rev().take_while(|(_, h)| h == holds).last();
        let age = now - run.expect("the sample itself").0;
        if *holds && firing.is_none() && age >= ms(timing.hold) {
            firing = Some(*now);
        } else if !holds && age >= ms(timing.keep_firing) {
            firing = None;
        }
    }
    let Some((_, holds)) = history.last() else { return Phase::Inactive };
    let run = history.iter().rev().take_while(|(_, h)| h == holds).last().map(|(at, _)| *at);
    match (firing, holds, run) {
        (Some(since), true, _) => Phase::Firing { since },
        (Some(since), false, Some(clear)) => Phase::Keeping { since, clear },
        (None, true, Some(since)) => Phase::Pending { since },
        _ => Phase::Inactive,
    }
}

fn truths() -> impl Strategy<Value = Vec<(u64, Truth)>> {
    let truth =
        prop_oneof![3 => Just(Truth::True), 3 => Just(Truth::False), 1 => Just(Truth::Missing)];
    prop::collection::vec((1u64..20_000, truth), 1..60)
}

fn timing() -> impl Strategy<Value = Timing> {
    let missing = prop_oneof![Just(Missing::Keep), Just(Missing::Alert), Just(Missing::Ok)];
    (0u64..40, 0u64..40, missing).prop_map(|(hold, keep, missing)| Timing {
        hold: Duration::from_secs(hold),
        keep_firing: Duration::from_secs(keep),
        missing,
    })
}

/// The history as the policy for missing data sees it: true, false, or time that was cut out.
fn seen(steps: &[(u64, Truth)], missing: Missing) -> (Vec<(Time, bool)>, u64) {
    let (mut now, mut cut, mut gap) = (1_000_000u64, 0u64, None);
    let mut history = Vec::new();
    for (wait, truth) in steps {
        now += wait;
        let holds = match (truth, missing) {
            (Truth::Missing, Missing::Keep) => {
                gap.get_or_insert(now);
                continue;
            }
            (Truth::Missing, other) => other == Missing::Alert,
            (truth, _) => *truth == Truth::True,
        };
        if let Some(from) = gap.take() {
            cut += now - from;
        }
        history.push((now - cut, holds));
    }
    (history, cut)
}

/// Which word, and for how long it has been waiting.
fn shape(phase: Phase, now: Time) -> (u8, u64) {
    match phase {
        Phase::Inactive => (0, 0),
        Phase::Pending { since } => (1, now.saturating_sub(since)),
        Phase::Firing { .. } => (2, 0),
        Phase::Keeping { clear, .. } => (3, now.saturating_sub(clear)),
    }
}

proptest! {
    #[test]
    fn the_machine_is_the_model(steps in truths(), timing in timing()) {
        let mut state = State::default();
        let mut now = 1_000_000u64;
        for (n, (wait, truth)) in steps.iter().enumerate() {
            now += wait;
            let before = state;
            let said = state.step(&timing, *truth, now);
            let (history, cut) = seen(&steps[..=n], timing.missing);
            let expected = model(&history, &timing);
            if *truth == Truth::Missing && timing.missing == Missing::Keep {
                prop_assert_eq!(state.phase, before.phase, "missing data moves nothing");
            } else {
                let found = shape(state.phase, now);
                prop_assert_eq!(found, shape(expected, now - cut), "step {}", n);
            }
            // What is said is what happened.
            let fires = (before.is_firing(), state.is_firing());
            prop_assert_eq!(said.contains(&Step::Fired), fires == (false, true));
            let resolved = said.iter().any(|step| matches!(step, Step::Resolved(_)));
            prop_assert_eq!(resolved, fires == (true, false), "never a silent end");
            prop_assert_eq!(state.missing.is_some(), *truth == Truth::Missing);
        }
    }

    /// Stored and read back at any moment, it goes on as if nothing had been.
    #[test]
    fn a_restart_changes_nothing(steps in truths(), timing in timing(), at in 0usize..60) {
        let (mut one, mut other) = (State::default(), State::default());
        let mut now = 1_000_000u64;
        for (n, (wait, truth)) in steps.iter().enumerate() {
            now += wait;
            if n == at {
                let json = serde_json::to_string(&other).unwrap();
                other = serde_json::from_str(&json).unwrap();
            }
            prop_assert_eq!(one.step(&timing, *truth, now), other.step(&timing, *truth, now));
        }
        prop_assert_eq!(one, other);
    }
}
