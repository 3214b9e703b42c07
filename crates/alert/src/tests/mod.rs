//! Tests of the whole: a machine of the tests with values that are functions of time.

mod engine;
mod model;
mod notify;
mod promtool;
mod sending;

use std::collections::BTreeMap;
use std::time::Duration;

use ganger_core::Dur;

use crate::{
    Action, Alerts, Change, Notification, Object, Query, Rule, RuleSettings, Selector, Settings,
    StateName, Time, Values,
};

pub(crate) const SECOND: Time = 1_000;
pub(crate) const MINUTE: Time = 60 * SECOND;
pub(crate) const HOUR: Time = 60 * MINUTE;
/// 2026-11-23 00:00 UTC: times near zero would hide what takes zero for nothing.
pub(crate) const START: Time = 1_795_392_000_000;

type Series = Box<dyn Fn(Time) -> Option<f64>>;

/// Metrics as functions of the time since [`START`].
#[derive(Default)]
pub(crate) struct Machine {
    metrics: BTreeMap<(Object, String), Series>,
}

impl Machine {
    pub(crate) fn with(
        mut self,
        object: Object,
        metric: &str,
        value: impl Fn(Time) -> Option<f64> + 'static,
    ) -> Self {
        self.metrics.insert((object, metric.to_owned()), Box::new(value));
        self
    }
}

impl Values for Machine {
    fn objects(&self, selector: &Selector, _: Time) -> Vec<Object> {
        let objects = self.metrics.keys().map(|(object, _)| object);
        let mut found: Vec<Object> = objects.filter(|o| selector.matches(o)).cloned().collect();
        found.dedup();
        found
    }

    fn value(&self, object: &Object, query: &Query, now: Time) -> Option<f64> {
        self.metrics.get(&(object.clone(), query.metric.clone()))?(now - START)
    }

    fn finding(&self, object: &Object, detector: &str, now: Time) -> Option<f64> {
        self.metrics.get(&(object.clone(), format!("finding:{detector}")))?(now - START)
    }
}

pub(crate) fn web() -> Object {
    Object::new("service", "web")
}

pub(crate) fn secs(n: u64) -> Dur {
    Dur(Duration::from_secs(n))
}

pub(crate) fn rule(when: &str, change: impl FnOnce(&mut RuleSettings)) -> Rule {
    let mut settings = RuleSettings { on: Some("service:web".into()), ..RuleSettings::new(when) };
    change(&mut settings);
    Rule::new("high", settings).unwrap()
}

pub(crate) fn engine(rules: Vec<Rule>) -> Alerts {
    Alerts::new(rules, Settings::default())
}

/// Evaluates from `from` to `to` after [`START`], both included, every `step`.
pub(crate) fn run(
    alerts: &mut Alerts,
    machine: &Machine,
    (from, to, step): (Time, Time, Time),
) -> Vec<Action> {
    let times = (from..=to).step_by(step as usize);
    times.flat_map(|at| alerts.evaluate(START + at, machine)).collect()
}

pub(crate) fn told(actions: &[Action]) -> Vec<&Notification> {
    let told = actions.iter().filter_map(|action| match action {
        Action::Notify(notification) => Some(notification),
        Action::Changed(_) => None,
    });
    told.collect()
}

pub(crate) fn changes(actions: &[Action]) -> Vec<&Change> {
    let changes = actions.iter().filter_map(|action| match action {
        Action::Changed(change) => Some(change),
        Action::Notify(_) => None,
    });
    changes.collect()
}

/// `(seconds after START, state)` of every change.
pub(crate) fn states(actions: &[Action]) -> Vec<(Time, StateName)> {
    changes(actions).into_iter().map(|c| ((c.at - START) / SECOND, c.to)).collect()
}
