//! Who waits for whom: pure functions over specs and views.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::error::ServiceError;
use crate::spec::{ServiceSpec, Until};
use crate::view::InstanceView;

/// Which services depend on a service.
#[derive(Debug, Default)]
pub(super) struct Dependents(BTreeMap<String, BTreeSet<String>>);

impl Dependents {
    pub(super) fn of<'a>(specs: impl IntoIterator<Item = &'a ServiceSpec>) -> Self {
        let mut map: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for spec in specs {
            for dependency in &spec.depends_on {
                map.entry(dependency.name.clone()).or_default().insert(spec.name.clone());
            }
        }
        Self(map)
    }

    pub(super) fn on(&self, name: &str) -> impl Iterator<Item = &String> {
        self.0.get(name).into_iter().flatten()
    }
}

/// Every dependency exists, and none comes back to itself.
pub(super) fn check(specs: &[ServiceSpec]) -> Result<(), ServiceError> {
    let by_name: BTreeMap<_, _> = specs.iter().map(|spec| (spec.name.as_str(), spec)).collect();
    for spec in specs {
        for dependency in &spec.depends_on {
            if !by_name.contains_key(dependency.name.as_str()) {
                let (name, on) = (spec.name.clone(), dependency.name.clone());
                return Err(ServiceError::UnknownDependency { name, on });
            }
        }
    }
    let mut done = BTreeSet::new();
    specs.iter().try_for_each(|spec| visit(spec, &by_name, &mut done))
}

/// Walks everything below one service, with a stack of its own: a long chain must not end the daemon's.
fn visit<'a>(
    root: &'a ServiceSpec,
    by_name: &BTreeMap<&str, &'a ServiceSpec>,
    done: &mut BTreeSet<&'a str>,
) -> Result<(), ServiceError> {
    let mut path: Vec<(&ServiceSpec, usize)> = vec![(root, 0)];
    while let Some((spec, next)) = path.last_mut() {
        let Some(dependency) = spec.depends_on.get(*next).filter(|_| !done.contains(&*spec.name))
        else {
            done.insert(&spec.name);
            path.pop();
            continue;
        };
        *next += 1;
        let name = dependency.name.as_str();
        if let Some(from) = path.iter().position(|(spec, _)| spec.name == name) {
            let mut circle: Vec<_> = path[from..].iter().map(|(s, _)| s.name.clone()).collect();
            circle.push(name.to_owned());
            return Err(ServiceError::Circle { path: circle });
        }
        if let Some(below) = by_name.get(name) {
            path.push((below, 0));
        }
    }
    Ok(())
}

/// What is asked of a dependency is true of this instance. One that ended well has been started and ready.
pub(super) fn reached(until: Until, view: Option<&Arc<InstanceView>>) -> bool {
    view.is_some_and(|view| {
        view.completed
            || match until {
                Until::Started => view.pid.is_some(),
                Until::Ready => view.ready,
                Until::Completed => false,
            }
    })
}

/// Why a start waits, as a person would say it.
pub(super) fn waits_text(name: &str, until: Until) -> String {
    let what = match until {
        Until::Started => "started",
        Until::Ready => "ready",
        Until::Completed => "completed",
    };
    format!("waits for `{name}` to be {what}")
}
