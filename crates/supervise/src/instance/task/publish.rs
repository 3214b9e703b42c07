//! What the task says of itself: views, events, answers to tickets.

use std::sync::Arc;

use ganger_core::{BreakerState, InstanceState};
use tokio::time::Instant;

use super::{Goal, Task};
use crate::instance::handle::InstanceNotice;
use crate::instance::outbox::Item;
use crate::instance::record::{breaker_event, ready_event, state_event, view};
use crate::instance::state::State;
use crate::view::{InstanceView, SignsReader};

impl Task {
    /// Says what changed, and answers the tickets that are settled by it.
    pub(super) fn publish(&mut self) {
        let now = Instant::now().into_std();
        let spec = &self.spec;
        let mut new = view(spec.id(), spec.plan.kind, &self.machine, self.child.as_ref(), now);
        new.signs = SignsReader::of(self.board.as_ref());
        if let Some(line) = &self.watch.channel {
            line.show(new.ready);
        }
        let old = self.shown.take();
        let same = old.as_ref().is_some_and(|old| is_same(old, &new));
        let new = if same { old.clone().unwrap_or_else(|| Arc::new(new)) } else { Arc::new(new) };
        self.shown = Some(Arc::clone(&new));
        if !same {
            self.outbox.notice(InstanceNotice::State(Arc::clone(&new)));
            let before = old.as_ref().map_or(InstanceState::Stopped, |old| old.state);
            let moved = match &old {
                Some(old) => old.state != new.state || old.reason != new.reason,
                None => new.state != InstanceState::Stopped,
            };
            if moved {
                self.outbox.tell(Item::Now(Box::new(state_event(before, &new))));
            }
            let breaker = old.as_ref().map_or(BreakerState::Closed, |old| old.breaker);
            if new.breaker != breaker && old.is_some() {
                self.outbox.tell(Item::Now(Box::new(breaker_event(breaker, &new))));
            }
            if new.ready && before != new.state && self.spec.ready.is_some() {
                self.outbox.tell(Item::Now(Box::new(ready_event(spec.id()))));
            }
        }
        self.settle(&new);
    }

    fn settle(&mut self, view: &InstanceView) {
        for (goal, reply) in std::mem::take(&mut self.tickets) {
            match outcome(&goal, self.machine.state(), view) {
                // Who no longer waits needs no answer.
                Some(answer) => drop(reply.send(answer).err()),
                None => self.tickets.push((goal, reply)),
            }
        }
    }
}

fn outcome(goal: &Goal, state: &State, view: &InstanceView) -> Option<Result<(), String>> {
    match (goal, state) {
        (Goal::Up, State::Running { .. } | State::Stopped { completed: true }) => Some(Ok(())),
        (Goal::Up, State::Stopped { .. } | State::Backoff { .. } | State::Failed) => {
            Some(Err(view.reason.clone()))
        }
        (Goal::Down, State::Stopped { .. } | State::Failed) => Some(Ok(())),
        (Goal::Gone, State::Stopped { .. } | State::Failed | State::Backoff { .. }) => Some(Ok(())),
        (Goal::Down | Goal::Gone, State::Starting { .. } | State::Running { .. }) => {
            Some(Err("it was started again meanwhile".into()))
        }
        _ => None,
    }
}

/// Equal but for the next try's wall-clock time, which is computed anew each time.
fn is_same(old: &InstanceView, new: &InstanceView) -> bool {
    old.next_try_ms.is_some() == new.next_try_ms.is_some()
        && *old == InstanceView { next_try_ms: old.next_try_ms, ..new.clone() }
}
