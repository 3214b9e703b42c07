//! `[group.NAME]`.

use std::collections::BTreeMap;

use ganger_core::GroupStrategy;
use ganger_supervise::GroupSpec;
use ganger_supervise::services::GroupFault;
use serde::{Deserialize, Serialize};

use super::model::Config;
use super::walk::{At, Named, Walk};
use super::{raw, words};

/// Services and groups that fail together and are seen together.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// What the failure of one member means for the others.
    pub strategy: GroupStrategy,
    /// In the order in which they start again.
    pub members: Vec<String>,
    /// Those whose failure touches no other.
    #[serde(default)]
    pub optional: Vec<String>,
}

pub(super) fn resolve(group: &raw::Group) -> Group {
    let names = |list: Option<&Vec<At<String>>>| {
        list.into_iter().flatten().map(|at| at.value.clone()).collect()
    };
    Group {
        strategy: group.strategy.get().map(|word| word.0).unwrap_or_default(),
        members: names(group.members.get()),
        optional: names(group.optional.get()),
    }
}

/// Groups as supervision has them.
pub(crate) fn specs(groups: &BTreeMap<String, Group>) -> Vec<GroupSpec> {
    let spec = |(name, group): (&String, &Group)| GroupSpec {
        name: name.clone(),
        strategy: group.strategy,
        members: group.members.clone(),
        optional: group.optional.iter().cloned().collect(),
    };
    groups.iter().map(spec).collect()
}

/// What only shows when the whole is known.
pub(super) fn faults(config: &Config) -> Vec<GroupFault> {
    let is_service = |name: &str| config.services.contains_key(name);
    ganger_supervise::services::group_faults(&specs(&config.groups), is_service)
}

/// Reports them where they are written.
pub(super) fn check(groups: Option<&Named<raw::Group>>, config: &Config, walk: &mut Walk<'_>) {
    let written: Vec<_> = groups.into_iter().flat_map(|named| &named.0).collect();
    for fault in faults(config) {
        let Some((at, group)) = written.iter().find(|(at, _)| at.value == fault.group) else {
            continue;
        };
        let keys = [&group.value.members, &group.value.optional];
        let mut names = keys.into_iter().filter_map(|key| key.get()).flatten();
        let place = fault.member.and_then(|member| names.find(|one| one.value == member));
        let span = place.map_or_else(|| at.span.clone(), |one| one.span.clone());
        let known = config.services.keys().chain(config.groups.keys()).map(String::as_str);
        let near = place.filter(|_| fault.unknown);
        let near = near.and_then(|one| words::nearest(&one.value, known));
        let diagnostic = walk.error(span, fault.why);
        if let Some(near) = near {
            diagnostic.label(format!("did you mean `{near}`?"));
        }
    }
    for (at, group) in written {
        if group.value.members.get().is_none_or(Vec::is_empty) {
            let span = group.value.members.span().unwrap_or_else(|| at.span.clone());
            walk.error(span, format!("group `{}` has no members", at.value))
                .help("members = [\"SERVICE\", \"GROUP\"]".into());
        }
    }
}
