//! Comparing what is with what shall be.

use std::collections::BTreeMap;

use ganger_api::{Change, ChangeAction};
use ganger_pool::PoolSpec;
use ganger_supervise::ServiceSpec;

use super::crew::Specs;
use crate::config::{Config, Program, Queue, find_executable};
use crate::environments::Environments;

/// What differs between two configurations with their specs, by kind and name.
pub(super) fn changes(
    (old, old_specs): (&Config, &Specs),
    (new, new_specs): (&Config, &Specs),
) -> Vec<Change> {
    let mut list = Vec::new();
    let services = |specs| by_name(specs, |spec: &ServiceSpec| spec.name.as_str());
    compare("service", &services(&old_specs.services), &services(&new_specs.services), &mut list);
    compare("queue", &queues(old), &queues(new), &mut list);
    let pools = |specs| by_name(specs, |spec: &PoolSpec| spec.name.as_str());
    compare("pool", &pools(&old_specs.pools), &pools(&new_specs.pools), &mut list);
    list
}

fn by_name<S>(specs: &[S], name: impl Fn(&S) -> &str) -> BTreeMap<&str, &S> {
    specs.iter().map(|spec| (name(spec), spec)).collect()
}

fn queues(config: &Config) -> BTreeMap<&str, &Queue> {
    config.queues.iter().map(|(name, queue)| (name.as_str(), queue)).collect()
}

fn compare<T: PartialEq>(
    kind: &str,
    old: &BTreeMap<&str, &T>,
    new: &BTreeMap<&str, &T>,
    list: &mut Vec<Change>,
) {
    let names: std::collections::BTreeSet<_> = old.keys().chain(new.keys()).collect();
    for name in names {
        let action = match (old.get(*name), new.get(*name)) {
            (None, _) => ChangeAction::Add,
            (_, None) => ChangeAction::Remove,
            (Some(old), Some(new)) if old == new => ChangeAction::Keep,
            _ => ChangeAction::Change,
        };
        list.push(Change { action, kind: kind.to_owned(), name: (*name).to_owned() });
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
