//! All rules at work: evaluation, states, groups; what is remembered can be saved and goes on after a restart.

mod reload;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::expr::{Evidence, Truth, Verdict};
use crate::group::{Alert, Group, Notification, Status};
use crate::instance::{Instance, alert};
use crate::labels::Labels;
use crate::rule::Rule;
use crate::silence::{Inhibition, RouteRate, SILENCES_MAX, Silence, SilenceError, Tokens};
use crate::state::{Ended, StateName, Step, Timing, ms};
use crate::values::{Object, Time, Values};

/// Alerts watched at a time, over all rules; more are refused and counted.
pub const INSTANCES_MAX: usize = 10_000;
/// Times between evaluations longer than this were not watched: the daemon was down or the machine slept.
pub const OUTAGE: Duration = Duration::from_secs(120);
/// Version of [`Saved`].
const SAVED_VERSION: u32 = 1;

/// What applies to all rules.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// See [`Inhibition`].
    pub inhibit: Vec<Inhibition>,
    /// How often receivers may be told; those that are not named: [`RouteRate::default`].
    pub rates: BTreeMap<String, RouteRate>,
}

/// Something that happens to alerts from outside.
#[derive(Debug, Clone)]
pub enum Event {
    /// The rules were read anew: alerts of rules that are gone end.
    Rules(Vec<Rule>),
    /// The settings were read anew.
    Settings(Settings),
    /// The object was removed from the configuration: its alerts end.
    Gone(Object),
    /// Somebody wants to be left alone.
    Silence(Silence),
    /// That silence, by its id, is over.
    EndSilence(String),
}

/// A state that changed; for the event log and the list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// When.
    pub at: Time,
    /// The rule.
    pub rule: String,
    /// About what.
    pub object: Object,
    /// The state before.
    pub from: StateName,
    /// The state now; `resolved` and `flapping` as well.
    pub to: StateName,
    /// Why it ended.
    pub ended: Option<Ended>,
    /// The comparison that tells most.
    pub evidence: Option<Evidence>,
}

/// What the owner does.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Record it. When it becomes firing: the time to take log lines and a profile.
    Changed(Change),
    /// Put it into the outbox.
    Notify(Notification),
}

/// What was refused or held back since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counts {
    /// Evaluations of one rule for one object.
    pub evaluated: u64,
    /// Beyond [`INSTANCES_MAX`].
    pub refused: u64,
    /// Flushes that waited for a token of their receiver.
    pub held: u64,
    /// Notifications made.
    pub notified: u64,
}

/// One row of the list of alerts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// As it would be told.
    pub alert: Alert,
    /// Its state.
    pub state: StateName,
    /// Nagios' score, 0 to 1.
    pub flap_score: f64,
    /// The silences that keep it quiet.
    pub silenced: Vec<String>,
    /// A greater alert keeps it quiet.
    pub inhibited: bool,
}

/// Everything that must outlive the daemon; store it as it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Saved {
    v: u32,
    last: Time,
    instances: Vec<(String, Object, Instance)>,
    groups: Vec<(String, Group)>,
    tokens: BTreeMap<String, Tokens>,
    silences: Vec<Silence>,
}

/// Saved by another version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("alerts were saved in form {0}, this program reads {SAVED_VERSION}")]
pub struct SavedVersion(u32);

type Key = (String, Object);

/// See the module. Owned by one task; evaluate it every few seconds.
#[derive(Debug)]
pub struct Alerts {
    rules: Arc<[Rule]>,
    settings: Settings,
    instances: BTreeMap<Key, Instance>,
    groups: BTreeMap<String, Group>,
    tokens: BTreeMap<String, Tokens>,
    silences: BTreeMap<String, Silence>,
    last: Time,
    counts: Counts,
}

impl Alerts {
    /// Nothing has happened yet.
    #[must_use]
    pub fn new(rules: Vec<Rule>, settings: Settings) -> Self {
        let (instances, groups, tokens, silences) = Default::default();
        let (last, counts) = (0, Counts::default());
        let rules = rules.into();
        Self { rules, settings, instances, groups, tokens, silences, last, counts }
    }

    /// Goes on where it was saved. Call [`Alerts::on`] with [`Event::Rules`] afterwards if the rules may have changed since.
    ///
    /// # Errors
    /// It was saved by another version.
    pub fn restore(
        rules: Vec<Rule>,
        settings: Settings,
        saved: Saved,
    ) -> Result<Self, SavedVersion> {
        if saved.v != SAVED_VERSION {
            return Err(SavedVersion(saved.v));
        }
        let mut alerts = Self::new(rules, settings);
        alerts.last = saved.last;
        let keyed = saved.instances.into_iter();
        alerts.instances = keyed.map(|(rule, object, it)| ((rule, object), it)).collect();
        alerts.groups = saved.groups.into_iter().collect();
        alerts.tokens = saved.tokens;
        alerts.silences = saved.silences.into_iter().map(|s| (s.id.clone(), s)).collect();
        Ok(alerts)
    }

    /// What must outlive the daemon. Save it in the commit that takes the notifications of the same evaluation into the outbox.
    #[must_use]
    pub fn save(&self) -> Saved {
        let instances =
            self.instances.iter().map(|((r, o), it)| (r.clone(), o.clone(), it.clone()));
        Saved {
            v: SAVED_VERSION,
            last: self.last,
            instances: instances.collect(),
            groups: self.groups.iter().map(|(key, group)| (key.clone(), group.clone())).collect(),
            tokens: self.tokens.clone(),
            silences: self.silences.values().cloned().collect(),
        }
    }

    /// See [`Counts`].
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Nothing fires, waits or has to be told: [`Alerts::evaluate`] without rules would do nothing.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.instances.is_empty() && self.groups.is_empty() && self.silences.is_empty()
    }

    /// Silences that are not over.
    pub fn silences(&self) -> impl Iterator<Item = &Silence> {
        self.silences.values()
    }

    /// Looks at every rule. A `now` before the last one is taken as the last one.
    pub fn evaluate(&mut self, now: Time, values: &impl Values) -> Vec<Action> {
        let now = now.max(self.last);
        if self.last > 0 && now - self.last > ms(OUTAGE) {
            let unwatched = now - self.last;
            self.instances.values_mut().for_each(|instance| instance.state.shift(unwatched));
        }
        self.last = now;
        self.silences.retain(|_, silence| silence.ends > now);
        let mut actions = Vec::new();
        let rules = Arc::clone(&self.rules);
        for rule in rules.iter() {
            self.rule(rule, values, now, &mut actions);
        }
        self.instances.retain(|_, instance| !instance.is_forgettable());
        self.flush(now, &mut actions);
        actions
    }

    /// Something happened.
    ///
    /// # Errors
    /// A silence that is refused.
    pub fn on(&mut self, event: Event, now: Time) -> Result<Vec<Action>, SilenceError> {
        let now = now.max(self.last);
        let mut actions = Vec::new();
        match event {
            Event::Rules(rules) => self.rules(rules, now, &mut actions),
            Event::Settings(settings) => self.settings = settings,
            Event::Gone(object) => {
                self.end_all(|_, of| *of == object, Ended::Gone, now, &mut actions);
            }
            Event::Silence(silence) => {
                silence.check(now)?;
                let known = self.silences.contains_key(&silence.id);
                if !known && self.silences.len() >= SILENCES_MAX {
                    return Err(SilenceError::TooMany);
                }
                self.silences.insert(silence.id.clone(), silence);
            }
            Event::EndSilence(id) => {
                self.silences.remove(&id);
            }
        }
        Ok(actions)
    }

    /// Every alert that is not merely inactive, as of the last evaluation.
    #[must_use]
    pub fn list(&self) -> Vec<Row> {
        self.rows(self.last)
    }

    /// The same, with the silences of that time.
    #[must_use]
    pub fn rows(&self, now: Time) -> Vec<Row> {
        let now = now.max(self.last);
        let firing = self.firing_labels();
        let rows = self.instances.iter().filter_map(|((name, object), instance)| {
            let rule = self.rules.iter().find(|rule| rule.name == *name)?;
            let state = match instance.flap.since() {
                Some(_) => StateName::Flapping,
                None => instance.state.name(),
            };
            let alert = alert(rule, object, instance, None, now);
            let covers = |silence: &&Silence| silence.covers(&alert.labels, now);
            let silenced = self.silences.values().filter(covers).map(|s| s.id.clone()).collect();
            let inhibited = self.inhibited(&firing, &alert.labels);
            let flap_score = instance.flap.score();
            Some(Row { alert, state, flap_score, silenced, inhibited })
        });
        rows.filter(|row| row.state != StateName::Inactive).collect()
    }

    fn rule(&mut self, rule: &Rule, values: &impl Values, now: Time, actions: &mut Vec<Action>) {
        let present = rule.objects(values, now);
        let there: BTreeSet<&Object> = present.iter().collect();
        let known = self.instances.range((rule.name.clone(), Object::new("", ""))..);
        let known = known.take_while(|((name, _), _)| *name == rule.name);
        let lost: Vec<Object> =
            known.map(|((_, o), _)| o.clone()).filter(|o| !there.contains(o)).collect();
        for object in &present {
            let key = (rule.name.clone(), object.clone());
            let firing = self.instances.get(&key).is_some_and(|it| it.state.is_firing());
            let verdict = rule.verdict(object, firing, values, now);
            self.step(rule, object, &verdict, now, actions);
        }
        for object in &lost {
            let verdict = Verdict { truth: Truth::Missing, evidence: Vec::new() };
            self.step(rule, object, &verdict, now, actions);
        }
    }

    fn step(
        &mut self,
        rule: &Rule,
        object: &Object,
        verdict: &Verdict,
        now: Time,
        actions: &mut Vec<Action>,
    ) {
        self.counts.evaluated += 1;
        let key = (rule.name.clone(), object.clone());
        if !self.instances.contains_key(&key) {
            if verdict.truth == Truth::False {
                return;
            }
            if self.instances.len() >= INSTANCES_MAX {
                self.counts.refused += 1;
                return;
            }
        }
        let instance = self.instances.entry(key).or_default();
        let (from, was) = (instance.state.name(), instance.state.firing_since());
        let timing = Timing {
            hold: rule.settings.hold.0,
            keep_firing: rule.settings.keep_firing.0,
            missing: rule.settings.missing,
        };
        let steps = instance.state.step(&timing, verdict.truth, now);
        if let Some(main) = verdict.main() {
            instance.evidence = Some(main.clone());
        }
        let ended = steps.iter().find_map(|step| match step {
            Step::Resolved(why) => Some(*why),
            _ => None,
        });
        let changed = ended.is_some() || steps.contains(&Step::Fired);
        let flap = instance.flap.note(changed, now);
        if flap == Some(true) {
            instance.starts = was.or(instance.state.firing_since()).unwrap_or(now);
        } else if instance.flap.since().is_none() && steps.contains(&Step::Fired) {
            instance.starts = now;
        }
        let to = match (flap, ended) {
            (Some(true), _) => StateName::Flapping,
            (_, Some(_)) => StateName::Resolved,
            _ => instance.state.name(),
        };
        let evidence = instance.evidence.clone();
        if from != to || changed {
            let (rule, object) = (rule.name.clone(), object.clone());
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
        let stale = steps.iter().any(|step| matches!(step, Step::Stale | Step::CameBack));
        // Ceasing to flap while nothing fires is an end; while it flaps, no single change is told.
        let told = if instance.flap.since().is_some() {
            flap == Some(true)
        } else {
            changed || stale || flap == Some(false)
        };
        if told {
            let alert = alert(rule, object, instance, ended, now);
            self.tell(rule, alert, now);
        }
    }

    /// Into the groups of its receivers.
    fn tell(&mut self, rule: &Rule, alert: Alert, now: Time) {
        let (by, keys) = rule.homes(&alert.labels);
        for (key, receiver) in keys {
            let repeat = rule.settings.repeat.0;
            if alert.status == Status::Firing || self.groups.contains_key(&key) {
                let fresh = || Group::new(receiver.to_owned(), by.clone(), repeat, now);
                self.groups.entry(key).or_insert_with(fresh).update(alert.clone(), repeat);
            }
        }
    }

    fn flush(&mut self, now: Time, actions: &mut Vec<Action>) {
        let firing = self.firing_labels();
        let mut groups = std::mem::take(&mut self.groups);
        groups.retain(|_, group| !group.is_empty());
        for group in groups.values_mut() {
            let mut tokens = self.tokens.get(&group.receiver).copied().unwrap_or_default();
            let rate = self.settings.rates.get(&group.receiver).copied().unwrap_or_default();
            let muted = |alert: &Alert| {
                self.silences.values().any(|silence| silence.covers(&alert.labels, now))
                    || self.inhibited(&firing, &alert.labels)
            };
            match group.flush(muted, (&mut tokens, &rate), now) {
                Ok(Some(notification)) => {
                    self.counts.notified += 1;
                    self.tokens.insert(group.receiver.clone(), tokens);
                    actions.push(Action::Notify(notification));
                }
                Ok(None) => {}
                Err(()) => self.counts.held += 1,
            }
        }
        groups.retain(|_, group| !group.is_empty());
        self.groups = groups;
    }

    /// The labels of what fires, as far as a rule of inhibition may care.
    fn firing_labels(&self) -> Vec<Labels> {
        if self.settings.inhibit.is_empty() {
            return Vec::new();
        }
        let firing = self.instances.iter().filter(|(_, instance)| instance.state.is_firing());
        let labels = firing.filter_map(|((name, object), _)| {
            Some(self.rules.iter().find(|rule| rule.name == *name)?.labels(object))
        });
        let sources = |labels: &Labels| {
            let source = |i: &Inhibition| i.source.iter().all(|m| m.matches(labels));
            self.settings.inhibit.iter().any(source)
        };
        labels.filter(sources).collect()
    }

    fn inhibited(&self, firing: &[Labels], target: &Labels) -> bool {
        let by = |source: &Labels| self.settings.inhibit.iter().any(|i| i.covers(source, target));
        firing.iter().any(by)
    }
}
