//! Groups at work: failures become restarts of others, wishes for a start wait for their turn, states are told.

use std::collections::BTreeMap;

use ganger_core::{BreakerState, Event, GroupState, InstanceId, InstanceState};

use super::groups::{Groups, Standing};
use super::owner::Owner;
use super::service::Service;
use crate::instance::wall_ms;
use crate::permit::Ask;
use crate::spec::GroupSpec;
use crate::view::GroupView;

impl Owner {
    /// Other groups. Restarts of the old ones that are under way end: who waits for a turn has it.
    pub(super) async fn set_groups(&mut self, specs: Vec<GroupSpec>) {
        if !self.groups.are(&specs) {
            self.groups = Groups::new(specs);
            self.take_turns().await;
            self.publisher.touch();
        }
    }

    /// An instance wants to start again after a failure, or after it made room.
    pub(super) async fn on_wish(&mut self, ask: Ask) {
        // Its failure may be news here: the wish and the view take different ways.
        self.on_failures(&ask.id, ask.crashes, ask.gave_up);
        self.wishes.insert(ask.id.clone(), ask);
        self.take_turns().await;
    }

    /// Notes how many failures an instance has had; a further one concerns its group.
    pub(super) fn on_failures(&mut self, id: &InstanceId, crashes: u64, gave_up: bool) {
        let slot = self.services.get_mut(&id.name).and_then(|s| s.slots.get_mut(&id.slot));
        let Some(slot) = slot.filter(|slot| slot.crashes < crashes && !slot.surge) else { return };
        slot.crashes = crashes;
        if self.going_down.is_none() {
            let what = if gave_up { "gave up" } else { "failed" };
            self.groups.failed(&id.name, gave_up, &format!("restarts with its group: {id} {what}"));
        }
    }

    /// Whatever may happen now: members make room, wishes go on to the budget.
    pub(super) async fn take_turns(&mut self) {
        self.halt().await;
        self.wishes.retain(|_, ask| !ask.is_void());
        let services = &self.services;
        let standing = |name: &str| standing(services.get(name));
        self.groups.settle(standing);
        let free: Vec<InstanceId> = self
            .wishes
            .keys()
            .filter(|id| self.groups.may_start(&id.name, standing))
            .cloned()
            .collect();
        for id in free {
            if let Some(ask) = self.wishes.remove(&id) {
                self.budget.pass(ask).await;
            }
        }
    }

    /// Tells the next members to make room. One without instances has made room already.
    async fn halt(&mut self) {
        loop {
            let next = self.groups.next_halt();
            if next.is_empty() {
                return;
            }
            for (name, why) in next {
                let Some(service) = self.services.get(&name).filter(|s| s.leaving.is_none()) else {
                    continue;
                };
                for slot in service.slots.values().filter(|slot| !slot.leaving && !slot.waiting) {
                    let id = slot.handle.id().clone();
                    let ticket = slot.handle.yield_turn(&*why).await;
                    self.groups.leaves(id.clone());
                    self.rooms.spawn(async move {
                        // Started again by a person meanwhile: that is no longer the group's.
                        let _overruled = ticket.done().await;
                        id
                    });
                }
            }
        }
    }

    /// An instance has made room.
    pub(super) async fn on_room(&mut self, id: InstanceId) {
        self.groups.left(&id);
        // Its view says that it has no process; it was sent before the ticket was answered.
        self.hear().await;
        self.take_turns().await;
    }

    /// How every group is now; what has changed is told.
    pub(super) fn look_at_groups(&mut self) -> Vec<GroupView> {
        let mut known = BTreeMap::new();
        for spec in self.groups.specs() {
            self.group_standing(&spec.name, &mut known);
        }
        let views: Vec<GroupView> = known.into_values().collect();
        let published = self.publisher.published();
        for view in &views {
            let old = published.groups.iter().find(|old| old.name == view.name);
            let before = old.map(|old| old.state);
            if before == Some(view.state) {
                continue;
            }
            let event = Event {
                seq: 0,
                ts_ms: wall_ms(),
                kind: "group.state".to_owned(),
                name: view.name.clone(),
                slot: None,
                from: before.map(|state| state.to_string()),
                to: Some(view.state.to_string()),
                reason: view.reason.clone(),
                exit: None,
            };
            self.tell_event(event);
        }
        views
    }

    fn group_standing(&self, name: &str, known: &mut BTreeMap<String, GroupView>) -> Standing {
        let Some(spec) = self.groups.get(name) else { return standing(self.services.get(name)) };
        let (mut state, mut reason) = (GroupState::Running, String::new());
        let mut all_off = !spec.members.is_empty();
        for member in &spec.members {
            let is = self.group_standing(member, known);
            let inner = known.get(member).map(|group| group.state);
            all_off &= is == Standing::Off;
            let optional = spec.optional.contains(member);
            let (worse, what) = match is {
                Standing::Up if inner == Some(GroupState::Degraded) => {
                    (GroupState::Degraded, "is degraded")
                }
                Standing::Up => continue,
                Standing::Bad { probes: true } if !optional => {
                    (GroupState::Failed, "has an open breaker")
                }
                Standing::Bad { .. } if !optional => (GroupState::Failed, "has failed"),
                Standing::Coming { .. } | Standing::Gated if !optional => {
                    (GroupState::Starting, "is on its way")
                }
                Standing::Bad { probes: true } => (GroupState::Degraded, "has an open breaker"),
                Standing::Bad { .. } => (GroupState::Degraded, "has failed"),
                Standing::Coming { .. } | Standing::Gated => {
                    (GroupState::Degraded, "is on its way")
                }
                Standing::Off => (GroupState::Degraded, "is stopped"),
            };
            if rank(worse) > rank(state) {
                let kind = if optional { "optional " } else { "" };
                (state, reason) = (worse, format!("{kind}`{member}` {what}"));
            }
        }
        if all_off {
            (state, reason) = (GroupState::Stopped, String::new());
        }
        let members = spec.members.iter().map(|m| (m.clone(), spec.optional.contains(m)));
        let (name, strategy, members) = (spec.name.clone(), spec.strategy, members.collect());
        known.insert(name.clone(), GroupView { name, strategy, state, reason, members });
        match state {
            GroupState::Running | GroupState::Degraded => Standing::Up,
            GroupState::Starting => Standing::Coming { late: false },
            GroupState::Failed => Standing::Bad { probes: false },
            GroupState::Stopped => Standing::Off,
        }
    }
}

const fn rank(state: GroupState) -> u8 {
    match state {
        GroupState::Running => 0,
        GroupState::Stopped => 1,
        GroupState::Degraded => 2,
        GroupState::Starting => 3,
        GroupState::Failed => 4,
    }
}

/// How far a service is. One that is not there keeps nobody waiting.
fn standing(service: Option<&Service>) -> Standing {
    let Some(service) = service.filter(|service| service.leaving.is_none()) else {
        return Standing::Off;
    };
    let (mut worst, mut off, mut slots) = (Standing::Up, 0, 0);
    for slot in service.slots.values().filter(|slot| !slot.leaving && !slot.surge) {
        slots += 1;
        let one = match &slot.view {
            _ if slot.dozing => Standing::Up,
            _ if slot.waiting => Standing::Gated,
            None => Standing::Coming { late: false },
            Some(view) if view.ready || view.completed => Standing::Up,
            Some(view) => match view.state {
                InstanceState::Stopped => Standing::Off,
                InstanceState::Failed => Standing::Bad { probes: false },
                InstanceState::Backoff if view.breaker == BreakerState::Open => {
                    Standing::Bad { probes: true }
                }
                InstanceState::Backoff => Standing::Coming { late: view.failures > 0 },
                InstanceState::Starting | InstanceState::Running | InstanceState::Stopping => {
                    Standing::Coming { late: false }
                }
            },
        };
        off += u32::from(one == Standing::Off);
        worst = worse(worst, one);
    }
    if slots > 0 && off == slots { Standing::Off } else { worst }
}

fn worse(a: Standing, b: Standing) -> Standing {
    let rank = |standing: Standing| match standing {
        Standing::Up => 0,
        Standing::Off => 1,
        Standing::Gated => 2,
        Standing::Coming { late: false } => 2,
        Standing::Coming { late: true } => 3,
        Standing::Bad { probes: true } => 4,
        Standing::Bad { probes: false } => 5,
    };
    if rank(b) > rank(a) { b } else { a }
}

#[cfg(test)]
mod tests;
