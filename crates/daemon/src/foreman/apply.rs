//! Comparing what is with what shall be.

use std::collections::{BTreeMap, BTreeSet};

use ganger_api::{Change, ChangeAction};
use ganger_pool::PoolSpec;
use ganger_supervise::ServiceSpec;

use super::crew::Specs;
use crate::config::{Config, Program, find_executable};
use crate::desired::Desired;
use crate::environments::Environments;

/// What differs between two desired states, by kind and name; `specs` is what the new one comes to.
///
/// Specs of the old one are made one at a time: of a thousand services they would be megabytes.
pub(super) fn changes(old: &Desired, new: &Desired, specs: &Specs) -> Vec<Change> {
    let mut list = Vec::new();
    let now = by_name(&specs.services, |spec: &ServiceSpec| spec.name.as_str());
    compare("service", &old.config.services, &now, &mut list, |name, now| {
        // What the machine no longer offers (a removed user) must not keep a new configuration out.
        Specs::service(old, name).and_then(Result::ok).as_ref() == Some(now)
    });
    let now = new.config.queues.iter().map(|(name, queue)| (name.as_str(), queue)).collect();
    compare("queue", &old.config.queues, &now, &mut list, |name, now| {
        old.config.queues.get(name) == Some(now)
    });
    let now = new.config.schedules.iter().map(|(name, s)| (name.as_str(), s)).collect();
    compare("schedule", &old.config.schedules, &now, &mut list, |name, now| {
        old.config.schedules.get(name) == Some(now)
    });
    let now = new.config.groups.iter().map(|(name, group)| (name.as_str(), group)).collect();
    compare("group", &old.config.groups, &now, &mut list, |name, now| {
        old.config.groups.get(name) == Some(now)
    });
    let now = new.config.policies.iter().map(|(name, policy)| (name.as_str(), policy)).collect();
    compare("policy", &old.config.policies, &now, &mut list, |name, now| {
        old.config.policies.get(name) == Some(now)
    });
    let now = by_name(&specs.pools, |spec: &PoolSpec| spec.name.as_str());
    compare("pool", &old.config.pools, &now, &mut list, |name, now| {
        Specs::pool(old, name).and_then(Result::ok).as_ref() == Some(now)
    });
    list
}

fn by_name<S>(specs: &[S], name: impl Fn(&S) -> &str) -> BTreeMap<&str, &S> {
    specs.iter().map(|spec| (name(spec), spec)).collect()
}

fn compare<O, N>(
    kind: &str,
    old: &BTreeMap<String, O>,
    new: &BTreeMap<&str, &N>,
    list: &mut Vec<Change>,
    same: impl Fn(&str, &N) -> bool,
) {
    let names: BTreeSet<&str> = old.keys().map(String::as_str).chain(new.keys().copied()).collect();
    for name in names {
        let action = match new.get(name) {
            Some(_) if !old.contains_key(name) => ChangeAction::Add,
            None => ChangeAction::Remove,
            Some(now) if same(name, now) => ChangeAction::Keep,
            Some(_) => ChangeAction::Change,
        };
        list.push(Change { action, kind: kind.to_owned(), name: name.to_owned() });
    }
}

/// What was applied but can't start as things are now.
pub(super) fn warnings(config: &Config, environments: &Environments) -> Vec<String> {
    let services = config.services.iter().map(|(name, s)| ("service", name, &s.program));
    let pools = config.pools.iter().map(|(name, p)| ("pool", name, &p.program));
    let warn = |(kind, name, program): (&str, &String, &Program)| {
        let first = program.command.first()?;
        let path = environments.of(name);
        let path = program.env.get("PATH").or_else(|| path.get("PATH")).map_or("", String::as_str);
        let why = find_executable(first, &program.cwd, path).err()?;
        Some(format!("{kind} `{name}`: `{first}`: {why}"))
    };
    services.chain(pools).filter_map(warn).collect()
}
