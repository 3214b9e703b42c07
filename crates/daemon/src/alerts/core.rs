//! What the owner task holds and uses on a blocking thread: rules' states, the outbox, the files under them.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use ganger_alert::notify::outbox::{Entry, Outcome};
use ganger_alert::notify::{About, Channel, Outbox, message, webhook};
use ganger_alert::{
    Action, Alert, Alerts, Change, Event, Notification, Object, Replayed, Rule, Silence,
    SilenceError, Time, replay,
};
use ganger_logs::LogReader;

use super::facts::about;
use super::look::{Look, Memory, Now, Past};
use super::shelf::Folder;
use crate::config::{Alerting, LOG};
use crate::desired::Desired;

/// The folder in the state folder.
const FOLDER: &str = "alerts";
/// State is written at least so often while anything is not calm, in milliseconds: a daemon that dies loses so much of a pending alert's time.
const SAVE_MS: u64 = 60_000;

/// See the module.
#[derive(Debug)]
pub(super) struct Core {
    alerts: Alerts,
    pub(super) rules: Vec<Rule>,
    channels: BTreeMap<String, Channel>,
    outbox: Outbox<Folder>,
    logs: LogReader,
    memory: Memory,
    saved: Time,
}

impl Core {
    /// Goes on where a former daemon was.
    pub(super) fn open(state_dir: &Path, wanted: &Alerting, now: Time) -> Self {
        let (folder, left) = Folder::open(state_dir.join(FOLDER));
        let (rules, settings) = (wanted.rules(), wanted.settings.clone());
        let fresh = || Alerts::new(rules.clone(), settings.clone());
        let mut alerts = match left.saved {
            Some(saved) => {
                Alerts::restore(rules.clone(), settings.clone(), saved).unwrap_or_else(|error| {
                    tracing::warn!(%error, "alerts begin anew");
                    fresh()
                })
            }
            None => fresh(),
        };
        // The rules may be others than those that were saved with. Only a silence is ever refused.
        drop(alerts.on(Event::Rules(rules.clone()), now));
        let outbox = Outbox::new(folder, left.waiting, left.dead);
        let (channels, memory) = (wanted.receivers.clone(), Memory::default());
        let logs = LogReader::new(state_dir.join("logs"));
        Self { alerts, rules, channels, outbox, logs, memory, saved: 0 }
    }

    /// The configuration is another.
    pub(super) fn wanted(&mut self, old: &Desired, new: &Desired, now: Time) -> Vec<Change> {
        let wanted = &new.config.alerting;
        self.rules = wanted.rules();
        self.channels.clone_from(&wanted.receivers);
        let mut events = vec![Event::Settings(wanted.settings.clone())];
        events.extend(gone(old, new).into_iter().map(Event::Gone));
        events.push(Event::Rules(self.rules.clone()));
        let actions = events.into_iter().flat_map(|event| {
            // Only a silence is ever refused.
            self.alerts.on(event, now).unwrap_or_default()
        });
        let changes = actions.filter_map(|action| match action {
            Action::Changed(change) => Some(change),
            Action::Notify(_) => None,
        });
        let changes = changes.collect();
        self.save(now);
        changes
    }

    /// Looks at all rules. What is to be told is in the outbox before this returns; what is remembered is saved after it.
    pub(super) fn evaluate(&mut self, now: &Now) -> (Vec<Change>, Vec<Notification>) {
        self.memory.note(&self.rules, now);
        let look = Look { now, memory: &self.memory };
        let (mut changes, mut told) = (Vec::new(), Vec::new());
        for action in self.alerts.evaluate(now.at, &look) {
            match action {
                Action::Changed(change) => changes.push(change),
                Action::Notify(notification) => told.push(notification),
            }
        }
        let busy = !self.alerts.list().is_empty();
        let due = busy && now.at.saturating_sub(self.saved) >= SAVE_MS;
        // Notifications are put out by `tell`, which saves.
        if told.is_empty() && (!changes.is_empty() || due) {
            self.save(now.at);
        }
        (changes, told)
    }

    /// Puts notifications out with all that is known.
    pub(super) fn tell(&mut self, told: &[Notification], now: &Now) {
        for notification in told {
            let (receiver, id) = (&notification.receiver, &notification.id);
            let facts = |alert: &Alert| self.about(alert, now);
            let max = match self.channels.get(receiver) {
                Some(Channel::Webhook(webhook)) => webhook.max_alerts,
                Some(Channel::Exec { .. }) => 0,
                Some(Channel::Log {}) => {
                    log(notification, facts);
                    continue;
                }
                None if receiver == LOG => {
                    log(notification, facts);
                    continue;
                }
                None => {
                    tracing::warn!(receiver, id, "nobody is told: the receiver is gone");
                    continue;
                }
            };
            let body = webhook::body(notification, "", max, facts);
            let body = String::from_utf8_lossy(&body).into_owned();
            let kept = self.outbox.push(id, receiver, body, now.at);
            self.kept(kept);
        }
        self.save(now.at);
    }

    /// Something is being told, or may have to be: groups end only when their receivers know.
    pub(super) fn has_left(&self) -> bool {
        !self.alerts.is_quiet()
    }

    /// What is told of each alert of a rule.
    pub(super) fn texts(&self, rule: &str, now: &Now) -> Vec<String> {
        let rows = self.alerts.list().into_iter().filter(|row| row.alert.rule == rule);
        rows.map(|row| message::text(&row.alert, &self.about(&row.alert, now))).collect()
    }

    /// All that is known of an alert.
    pub(super) fn about(&self, alert: &Alert, now: &Now) -> About {
        let rule = self.rules.iter().find(|rule| rule.name == alert.rule);
        about(alert, rule, now, &self.logs)
    }

    /// What a rule would have said.
    pub(super) fn replay(
        rule: Rule,
        now: &Now,
        from: Time,
        step: std::time::Duration,
    ) -> Option<Replayed> {
        let series = now.series.as_ref()?;
        Some(replay(rule, &Past { now, series }, from, now.at, step))
    }

    pub(super) fn silence(&mut self, silence: Silence, now: Time) -> Result<(), SilenceError> {
        self.alerts.on(Event::Silence(silence), now)?;
        self.save(now);
        Ok(())
    }

    /// Ends a silence; false: there is none.
    pub(super) fn expire(&mut self, id: &str, now: Time) -> bool {
        let known = self.alerts.silences().any(|silence| silence.id == id);
        drop(self.alerts.on(Event::EndSilence(id.to_owned()), now));
        if known {
            self.save(now);
        }
        known
    }

    /// What is to be sent now, with how.
    pub(super) fn due(&mut self, now: Time, most: usize) -> Vec<(Entry, Option<Channel>)> {
        let due = self.outbox.due(now, most).into_iter();
        due.map(|entry| {
            let channel = self.channels.get(&entry.receiver).cloned();
            (entry, channel)
        })
        .collect()
    }

    pub(super) fn done(&mut self, entry: &Entry, outcome: Outcome, now: Time) {
        let kept = self.outbox.done(entry, outcome, now, fastrand::f64());
        self.kept(kept);
    }

    /// When the next message is due.
    pub(super) fn next(&self) -> Option<Time> {
        self.outbox.next()
    }

    pub(super) fn view(&self, now: Time) -> super::View {
        super::View {
            rows: self.alerts.rows(now),
            rules: self.rules.clone(),
            silences: self.alerts.silences().cloned().collect(),
            waiting: self.outbox.len() as u64,
            dead: self
                .outbox
                .dead()
                .map(|entry| Entry { body: String::new(), ..entry.clone() })
                .collect(),
            counts: self.alerts.counts(),
        }
    }

    pub(super) fn save(&mut self, now: Time) {
        self.saved = now;
        let saved = self.outbox.shelf().save(&self.alerts.save());
        self.kept(saved);
    }

    fn kept(&self, result: io::Result<()>) {
        if let Err(error) = result {
            tracing::error!(%error, "alerts can't be stored: what is not sent yet is lost with this daemon");
        }
    }
}

/// Objects that the configuration no longer has.
fn gone(old: &Desired, new: &Desired) -> Vec<Object> {
    let (was, is) = (&old.config, &new.config);
    let services = was.services.keys().filter(|name| !is.services.contains_key(*name));
    let pools = was.pools.keys().filter(|name| !is.pools.contains_key(*name));
    let queues = was.queues.keys().filter(|name| !is.queues.contains_key(*name));
    let all = services.map(|name| Object::new("service", name));
    let all = all.chain(pools.map(|name| Object::new("pool", name)));
    all.chain(queues.map(|name| Object::new("queue", name))).collect()
}

fn log(notification: &Notification, about: impl Fn(&Alert) -> About) {
    for alert in &notification.alerts {
        // One line for each alert: what reads logs reads lines.
        let text = message::text(alert, &about(alert));
        let line: Vec<&str> = text.lines().map(str::trim).collect();
        tracing::warn!(target: "alert", id = notification.id, "{}", line.join(" | "));
    }
}
