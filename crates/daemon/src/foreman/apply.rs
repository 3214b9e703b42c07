//! Comparing what is with what shall be.

use std::collections::{BTreeMap, BTreeSet};

use ganger_api::{ApiError, Change, ChangeAction, ChangedKey};
use ganger_core::Effect;
use ganger_pool::PoolSpec;
use ganger_supervise::ServiceSpec;

use super::crew::{Crew, Specs};
use super::differ::{difference, hidden};
use crate::config::{Config, Program, find_executable};
use crate::desired::{Desired, Earlier};
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
    let now = new.config.alerting.rules.iter().map(|(name, rule)| (name.as_str(), rule)).collect();
    compare("alert", &old.config.alerting.rules, &now, &mut list, |name, now| {
        old.config.alerting.rules.get(name) == Some(now)
    });
    let now = new.config.alerting.receivers.iter().map(|(name, to)| (name.as_str(), to)).collect();
    compare("notify", &old.config.alerting.receivers, &now, &mut list, |name, now| {
        old.config.alerting.receivers.get(name) == Some(now)
    });
    let now = by_name(&specs.pools, |spec: &PoolSpec| spec.name.as_str());
    compare("pool", &old.config.pools, &now, &mut list, |name, now| {
        Specs::pool(old, name).and_then(Result::ok).as_ref() == Some(now)
    });
    for change in list.iter_mut().filter(|change| change.action == ChangeAction::Change) {
        change.keys = keys(old, new, &change.kind, &change.name);
    }
    list
}

/// What of a thing differs.
fn keys(old: &Desired, new: &Desired, kind: &str, name: &str) -> Vec<ChangedKey> {
    let (before, now) = (&old.config, &new.config);
    match kind {
        "service" => {
            let mut keys = difference(old.service(name), new.service(name));
            let (had, gets) = (old.environment(name), new.environment(name));
            let names: BTreeSet<&String> = had.keys().chain(gets.keys()).collect();
            let differ = names.into_iter().filter(|one| had.get(*one) != gets.get(*one));
            keys.extend(differ.map(|one| hidden(format!("environment.{one}"))));
            keys
        }
        "queue" => difference(before.queues.get(name), now.queues.get(name)),
        "pool" => difference(before.pools.get(name), now.pools.get(name)),
        "schedule" => difference(before.schedules.get(name), now.schedules.get(name)),
        "group" => difference(before.groups.get(name), now.groups.get(name)),
        "alert" => difference(before.alerting.rules.get(name), now.alerting.rules.get(name)),
        // A webhook's secret and the password in a URL are nobody's to read here.
        _ => Vec::new(),
    }
}

/// Adds what the changes mean for services as they are now.
pub(super) async fn effects(
    changes: &mut [Change],
    old: &Desired,
    crew: &Crew,
    specs: &Specs,
) -> Result<(), ApiError> {
    let is_service = |change: &&mut Change| change.kind == "service";
    let mut changed = Vec::new();
    for change in changes.iter_mut().filter(is_service) {
        change.effect = Some(match change.action {
            ChangeAction::Add => Effect::Start,
            ChangeAction::Remove => Effect::Stop,
            ChangeAction::Keep if under_way(old, &change.name) => Effect::Roll,
            ChangeAction::Keep => Effect::Unchanged,
            ChangeAction::Change => {
                changed.extend(specs.services.iter().find(|spec| spec.name == change.name));
                Effect::Adjust
            }
        });
    }
    let names: Vec<String> = changed.iter().map(|spec| spec.name.clone()).collect();
    let planned = crew.plan(changed.into_iter().cloned().collect()).await?;
    let planned: BTreeMap<String, Effect> = names.into_iter().zip(planned).collect();
    for change in changes.iter_mut().filter(is_service) {
        if let Some(effect) = planned.get(&change.name) {
            change.effect = Some(*effect);
        }
    }
    Ok(())
}

fn under_way(desired: &Desired, name: &str) -> bool {
    desired.earlier.get(name).is_some_and(|earlier| earlier.taken_back.is_none())
}

/// The versions that reloads come from, once the new state is applied.
pub(super) fn earlier(
    old: &Desired,
    new: &Desired,
    changes: &[Change],
) -> BTreeMap<String, Earlier> {
    let mut all = BTreeMap::new();
    for (name, effect) in changes.iter().filter_map(|change| Some((&change.name, change.effect?))) {
        // Unchanged: it goes on with the reload that is under way.
        let goes_on = effect == Effect::Unchanged && under_way(old, name);
        if (effect == Effect::Roll || goes_on) && new.config.services.contains_key(name) {
            all.extend(old.running(name).map(|running| (name.clone(), running)));
        }
    }
    all
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
        list.push(Change {
            action,
            kind: kind.to_owned(),
            name: name.to_owned(),
            effect: None,
            keys: Vec::new(),
        });
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
