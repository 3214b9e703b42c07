//! Rules that were read anew, and objects that are gone: alerts end, or move to where their rule now says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Action, Alerts, Change, Key};
use crate::group::{Alert, Status};
use crate::instance::alert;
use crate::rule::Rule;
use crate::state::{Ended, StateName};
use crate::values::{Object, Time};

impl Alerts {
    pub(super) fn rules(&mut self, rules: Vec<Rule>, now: Time, actions: &mut Vec<Action>) {
        let kept: BTreeSet<String> = rules.iter().map(|rule| rule.name.clone()).collect();
        let gone = |name: &str, _: &Object| !kept.contains(name);
        self.end_all(gone, Ended::RuleRemoved, now, actions);
        // An object that the rule was about, and is no more.
        let about: BTreeMap<String, _> =
            rules.iter().map(|rule| (rule.name.clone(), rule.subject.clone())).collect();
        let stray = |name: &str, object: &Object| {
            about.get(name).is_some_and(|subject| !subject.matches(object))
        };
        self.end_all(stray, Ended::Gone, now, actions);
        self.rules = rules.into();
        self.settle(now);
    }

    /// Puts every alert that fires where its rule now says, and ends it where it no longer says so: other labels are another alert to a receiver,
    /// another `group_by` or `notify` another group. Groups are compared with rules as they are, so that it does not matter who had the rules before.
    fn settle(&mut self, now: Time) {
        let rules = Arc::clone(&self.rules);
        let mut homes: BTreeSet<(String, u64)> = BTreeSet::new();
        let mut fires = Vec::new();
        for ((name, object), instance) in &self.instances {
            let Some(rule) = rules.iter().find(|rule| rule.name == *name) else { continue };
            let alert = alert(rule, object, instance, None, now);
            if alert.status == Status::Firing {
                let (_, keys) = rule.homes(&alert.labels);
                homes.extend(keys.into_iter().map(|(key, _)| (key, alert.fingerprint)));
                fires.push((rule, alert));
            }
        }
        for (key, group) in &mut self.groups {
            let stays = |alert: &Alert| homes.contains(&(key.clone(), alert.fingerprint));
            let moved = |alert: &Alert| alert.status == Status::Firing && !stays(alert);
            group.end(moved, Ended::RuleChanged, now);
            // The shortest of those who are told here from now on.
            group.forget_repeat();
        }
        for (rule, alert) in fires {
            self.tell(rule, alert, now);
        }
    }

    /// Ends the alerts of all that are selected, and says so to those who were told of them.
    pub(super) fn end_all(
        &mut self,
        selected: impl Fn(&str, &Object) -> bool,
        why: Ended,
        now: Time,
        actions: &mut Vec<Action>,
    ) {
        let rules = Arc::clone(&self.rules);
        let keys: Vec<Key> = self
            .instances
            .keys()
            .filter(|(name, object)| selected(name, object))
            .cloned()
            .collect();
        for key in keys {
            let Some(mut instance) = self.instances.remove(&key) else { continue };
            let from = instance.state.name();
            let told = instance.state.is_firing() || instance.flap.since().is_some();
            if !told {
                continue;
            }
            (instance.state, instance.flap) = Default::default();
            let (rule, object) = key;
            if let Some(rule) = rules.iter().find(|known| known.name == rule) {
                let alert = alert(rule, &object, &instance, Some(why), now);
                self.tell(rule, alert, now);
            } else {
                self.orphan(&rule, &object, why, now);
            }
            let (to, ended, evidence) = (StateName::Resolved, Some(why), instance.evidence);
            actions.push(Action::Changed(Change {
                at: now,
                rule,
                object,
                from,
                to,
                ended,
                evidence,
            }));
        }
    }

    /// The rule is not known any more: its alerts end wherever they are.
    fn orphan(&mut self, rule: &str, object: &Object, why: Ended, now: Time) {
        for group in self.groups.values_mut() {
            group.end(|alert| alert.rule == rule && alert.object == *object, why, now);
        }
    }
}
