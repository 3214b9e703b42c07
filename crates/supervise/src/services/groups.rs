//! Groups of services: who restarts with whom, and in which order. Pure: no tokio, no I/O.
//!
//! ```text
//!                          a member fails
//!            ┌──────────────────────────────────────┐
//!            ▼                                      │ (another one: joins the run)
//!   at rest ───► halting ──────────────► starting ──┴──► at rest
//!            last member first; the next   first member first; the next when the one before it is
//!            when this one has no process  ready, rests for good, or is optional and in backoff
//! ```
//!
//! The strategies are OTP's (`supervisor(3)`): `one-for-one` touches no other member, `one-for-all` all of them,
//! `rest-for-one` those after the failed one in the list. A group may be a member of a group. A failure concerns the
//! group that holds the member; when it opened the member's breaker, the group has given up and counts as a failed
//! member of the group around it, and so on outwards. A failure of an optional member concerns nobody.
//!
//! What fails has its own backoff and breaker, and nobody after it starts before it: a group whose required member's
//! breaker is open waits for the probe. Those that restart with it are not charged a failure. Who was stopped by a
//! person, has failed for good or is completed stays so.

use std::collections::{BTreeMap, BTreeSet};

use ganger_core::{GroupStrategy, InstanceId};

use crate::spec::GroupSpec;

/// How far a service is, seen from its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Every instance is ready or completed.
    Up,
    /// At least one is on its way or waits for a restart; `late`: it waits after a failure.
    Coming { late: bool },
    /// At least one has failed for good, or its breaker is open (`probes`: it will be tried again).
    Bad { probes: bool },
    /// Its first start waits for a dependency.
    Gated,
    /// Stopped.
    Off,
}

/// Every group, and the restarts under way.
#[derive(Debug, Default)]
pub(super) struct Groups {
    specs: BTreeMap<String, GroupSpec>,
    /// Member to group.
    parent: BTreeMap<String, String>,
    /// By the outermost group.
    runs: BTreeMap<String, Run>,
}

/// A restart under way.
#[derive(Debug, Default)]
struct Run {
    why: String,
    /// The services it concerns, in the order of their starts.
    order: Vec<String>,
    /// Those that are still to be told to make room; the last first.
    halt: Vec<String>,
    /// Instances that are making room.
    leaving: BTreeSet<InstanceId>,
}

impl Groups {
    pub(super) fn new(specs: Vec<GroupSpec>) -> Self {
        let mut parent = BTreeMap::new();
        for spec in &specs {
            for member in &spec.members {
                parent.insert(member.clone(), spec.name.clone());
            }
        }
        let specs = specs.into_iter().map(|spec| (spec.name.clone(), spec)).collect();
        Self { specs, parent, runs: BTreeMap::new() }
    }

    pub(super) fn specs(&self) -> impl Iterator<Item = &GroupSpec> {
        self.specs.values()
    }

    pub(super) fn get(&self, name: &str) -> Option<&GroupSpec> {
        self.specs.get(name)
    }

    /// A restart is under way.
    pub(super) fn is_busy(&self) -> bool {
        !self.runs.is_empty()
    }

    /// The specs are these.
    pub(super) fn are(&self, specs: &[GroupSpec]) -> bool {
        specs.len() == self.specs.len()
            && specs.iter().all(|spec| self.specs.get(&spec.name) == Some(spec))
    }

    /// An instance of a service has failed; `gave_up`: and its breaker is open now.
    pub(super) fn failed(&mut self, service: &str, gave_up: bool, why: &str) {
        let concerned = self.concerned(service, gave_up);
        let Some(root) = self.root(service).filter(|_| !concerned.is_empty()) else { return };
        let line = self.services_of(&root);
        let run = self.runs.entry(root).or_default();
        why.clone_into(&mut run.why);
        let in_order: BTreeSet<String> = run
            .order
            .drain(..)
            .chain(concerned.iter().cloned())
            .chain([service.to_owned()])
            .collect();
        let to_halt: BTreeSet<String> = run.halt.drain(..).chain(concerned).collect();
        run.order = line.iter().filter(|name| in_order.contains(*name)).cloned().collect();
        run.halt = line.into_iter().filter(|name| to_halt.contains(name)).collect();
    }

    /// The services to be told now to make room, each with the reason; their instances are given to
    /// [`leaves`](Self::leaves).
    pub(super) fn next_halt(&mut self) -> Vec<(String, String)> {
        let ready = self.runs.values_mut().filter(|run| run.leaving.is_empty());
        ready.filter_map(|run| Some((run.halt.pop()?, run.why.clone()))).collect()
    }

    /// An instance has been told to make room.
    pub(super) fn leaves(&mut self, id: InstanceId) {
        let run = self.root(&id.name).and_then(|root| self.runs.get_mut(&root));
        if let Some(run) = run {
            run.leaving.insert(id);
        }
    }

    /// It has made room.
    pub(super) fn left(&mut self, id: &InstanceId) {
        self.runs.values_mut().for_each(|run| {
            run.leaving.remove(id);
        });
    }

    /// An instance of the service may start again as far as its groups go.
    pub(super) fn may_start(&self, service: &str, standing: impl Fn(&str) -> Standing) -> bool {
        let run = self.root(service).and_then(|root| self.runs.get(&root));
        let Some(run) = run else { return true };
        let Some(at) = run.order.iter().position(|name| name == service) else { return true };
        run.halt.is_empty()
            && run.leaving.is_empty()
            && run.order[..at].iter().all(|name| !self.awaited(name, standing(name)))
    }

    /// Forgets the restarts that are over; true if there were any.
    pub(super) fn settle(&mut self, standing: impl Fn(&str) -> Standing) -> bool {
        let over = |run: &Run| {
            let open = |name: &String| {
                matches!(standing(name), Standing::Coming { .. } | Standing::Bad { probes: true })
            };
            run.halt.is_empty() && run.leaving.is_empty() && !run.order.iter().any(open)
        };
        let before = self.runs.len();
        self.runs.retain(|_, run| !over(run));
        self.runs.len() < before
    }

    /// Those after it in a restart wait for it.
    fn awaited(&self, service: &str, standing: Standing) -> bool {
        match standing {
            Standing::Up | Standing::Off | Standing::Gated | Standing::Bad { probes: false } => {
                false
            }
            Standing::Coming { late: false } => true,
            Standing::Coming { late: true } | Standing::Bad { probes: true } => {
                !self.is_optional(service)
            }
        }
    }

    /// The services that restart when this one has failed, in no order.
    fn concerned(&self, service: &str, gave_up: bool) -> Vec<String> {
        let mut list = Vec::new();
        let mut child = service;
        while let Some(group) = self.parent.get(child).and_then(|group| self.specs.get(group)) {
            if group.optional.contains(child) {
                break;
            }
            let members = &group.members;
            let from = match group.strategy {
                GroupStrategy::OneForOne => members.len(),
                GroupStrategy::OneForAll => 0,
                GroupStrategy::RestForOne => {
                    members.iter().position(|member| member == child).map_or(0, |at| at + 1)
                }
            };
            members[from..].iter().for_each(|member| self.collect(member, &mut list));
            if !gave_up {
                break;
            }
            child = &group.name;
        }
        list
    }

    /// It, or a group around it, is optional where it stands.
    fn is_optional(&self, service: &str) -> bool {
        let mut child = service;
        while let Some(group) = self.parent.get(child).and_then(|group| self.specs.get(group)) {
            if group.optional.contains(child) {
                return true;
            }
            child = &group.name;
        }
        false
    }

    fn root(&self, service: &str) -> Option<String> {
        let mut group = self.parent.get(service)?;
        while let Some(outer) = self.parent.get(group) {
            group = outer;
        }
        Some(group.clone())
    }

    /// All services below a group, in order.
    pub(super) fn services_of(&self, group: &str) -> Vec<String> {
        let mut list = Vec::new();
        self.collect(group, &mut list);
        list
    }

    fn collect(&self, member: &str, list: &mut Vec<String>) {
        match self.specs.get(member) {
            Some(group) => group.members.iter().for_each(|member| self.collect(member, list)),
            None => list.push(member.to_owned()),
        }
    }
}

/// Something wrong with a group as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupFault {
    /// The group.
    pub group: String,
    /// The member that is wrong; `None`: the group itself.
    pub member: Option<String>,
    /// There is nothing of that member's name.
    pub unknown: bool,
    /// One sentence.
    pub why: String,
}

/// What is wrong with groups as they are written.
#[must_use]
pub fn faults(groups: &[GroupSpec], is_service: impl Fn(&str) -> bool) -> Vec<GroupFault> {
    let names: BTreeSet<&str> = groups.iter().map(|group| group.name.as_str()).collect();
    let (mut wrong, mut holder) = (Vec::new(), BTreeMap::<&str, &str>::new());
    for group in groups {
        let name = group.name.as_str();
        let mut says = |member: Option<&String>, unknown: bool, why: String| {
            wrong.push(GroupFault {
                group: name.to_owned(),
                member: member.cloned(),
                unknown,
                why,
            });
        };
        if is_service(name) {
            says(None, false, format!("`{name}` is the name of a service and of a group"));
        }
        for member in &group.members {
            if !is_service(member) && !names.contains(member.as_str()) {
                says(Some(member), true, format!("there is no service or group `{member}`"));
            } else if let Some(other) = holder.insert(member, name) {
                let why = format!("`{member}` is a member of `{other}` and of `{name}`");
                says(Some(member), false, why);
            }
        }
        for one in group.optional.iter().filter(|one| !group.members.contains(one)) {
            says(Some(one), false, format!("`{one}` is optional but no member"));
        }
    }
    for group in groups {
        let (mut at, mut steps) = (group.name.as_str(), 0);
        while let Some(outer) = holder.get(at).copied() {
            steps += 1;
            if outer == group.name {
                let why = format!("group `{outer}` is a member of itself");
                let (group, member) = (outer.to_owned(), None);
                wrong.push(GroupFault { group, member, unknown: false, why });
            }
            if outer == group.name || steps > groups.len() {
                break;
            }
            at = outer;
        }
    }
    wrong
}

#[cfg(test)]
mod tests;
