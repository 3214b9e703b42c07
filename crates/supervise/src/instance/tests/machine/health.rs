//! Lost health, requests for time, and what a start waits for.

use std::time::{Duration, Instant};

use ganger_core::{FailureCause, InstanceState};
use proptest::prelude::*;

use super::super::super::state::{Action, EXTEND_MAX, Event, Machine, Stage, State, Then};
use super::{SECOND, World};
use crate::policy::Policy;

impl World {
    /// Lost health ends exactly what runs, or what has started up and is not ready yet; it is a failure of that cause.
    pub(super) fn lose_health(&mut self, event: Event) -> Result<(), TestCaseError> {
        let before = self.machine.state().clone();
        let concerned = match &before {
            State::Running { .. } => true,
            State::Starting { spawned: true, up: true, .. } => {
                self.policy.startup_timeout.is_some()
            }
            _ => false,
        };
        prop_assert_eq!(self.machine.is_live(), concerned);
        self.send(event)?;
        if concerned {
            let failing = matches!(self.machine.state(), State::Stopping { then: Then::Fail, .. });
            prop_assert!(failing && self.signalled);
            prop_assert_eq!(self.machine.cause(), Some(FailureCause::Health));
        } else {
            prop_assert_eq!(&before, self.machine.state());
        }
        Ok(())
    }

    /// A request for time shortens nothing and has a bound.
    pub(super) fn extend(&mut self, time: Duration) -> Result<(), TestCaseError> {
        let before = self.machine.deadline();
        self.send(Event::Extend(time))?;
        let after = self.machine.deadline();
        prop_assert_eq!(before.is_some(), after.is_some());
        prop_assert!(after >= before && after <= before.max(Some(self.now + EXTEND_MAX)));
        Ok(())
    }
}

fn started(policy: Policy, now: Instant) -> Machine {
    let mut machine = Machine::new(policy, "");
    let _spawn = machine.step(Event::Start, now, 0.0);
    assert_eq!(machine.step(Event::Spawned, now, 0.0), [Action::Probe]);
    machine
}

#[test]
fn a_start_up_comes_before_readiness_and_each_has_its_time() {
    let now = Instant::now();
    let startup_timeout = Some(SECOND * 60);
    let policy = Policy { startup_timeout, ready_timeout: Some(SECOND * 5), ..Policy::default() };
    let mut machine = started(policy.clone(), now);
    assert_eq!((machine.stage(), machine.is_live()), (Some(Stage::StartUp), false));
    assert_eq!(machine.deadline(), Some(now + SECOND * 60));
    let later = now + SECOND * 50;
    assert_eq!(machine.step(Event::Ready, later, 0.0), [Action::Probe]);
    assert_eq!((machine.stage(), machine.is_live()), (Some(Stage::Ready), true));
    assert_eq!(machine.deadline(), Some(later + SECOND * 5));
    assert_eq!(machine.step(Event::Ready, later, 0.0), [Action::EndProbe]);
    assert_eq!(machine.word(), InstanceState::Running);

    let mut slow = started(policy, now);
    slow.hear("HTTP 503 from :80/");
    let actions = slow.step(Event::Deadline, now + SECOND * 60, 0.0);
    assert_eq!(actions, [Action::EndProbe, Action::Signal]);
    assert_eq!(slow.reason(), "not started up after 1m; last: HTTP 503 from :80/");
    assert_eq!(slow.cause(), Some(FailureCause::StartTimeout));
}

#[test]
fn a_start_up_alone_ends_in_running() {
    let now = Instant::now();
    let policy = Policy { startup_timeout: Some(SECOND), ..Policy::default() };
    let mut machine = started(policy, now);
    assert_eq!(machine.step(Event::Ready, now, 0.0), [Action::EndProbe]);
    assert_eq!(machine.word(), InstanceState::Running);
}

#[test]
fn a_silent_watchdog_asks_for_a_core_then_for_force() {
    let now = Instant::now();
    let mut machine = started(Policy { ready_timeout: Some(SECOND), ..Policy::default() }, now);
    let _probe_ends = machine.step(Event::Ready, now, 0.0);
    assert_eq!(machine.step(Event::Hung("silent".into()), now, 0.0), [Action::Abort]);
    assert_eq!(machine.step(Event::Extend(SECOND * 20), now, 0.0), []);
    assert_eq!(machine.step(Event::Deadline, now + SECOND * 10, 0.0), [], "it asked for time");
    let forced = machine.step(Event::Deadline, now + SECOND * 20, 0.0);
    assert_eq!(forced, [Action::EndTree]);
}
