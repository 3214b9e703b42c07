//! What others see of alerts, and how the API says it.

use std::collections::BTreeMap;

use ganger_alert::notify::message;
use ganger_alert::notify::outbox::Entry;
use ganger_alert::{Counts, Labels, Missing, Row, Rule, Silence, StateName};
use ganger_api::{
    AlertRow, AlertRule, AlertUndelivered, Alerts, Seconds, SilenceRow, Timestamp, V1,
};

/// Newest messages that were given up, in an answer.
const DEAD_SHOWN: usize = 20;

/// As of the last evaluation or change.
#[derive(Debug, Clone, Default)]
pub(crate) struct View {
    pub(crate) rows: Vec<Row>,
    pub(crate) rules: Vec<Rule>,
    pub(crate) silences: Vec<Silence>,
    /// Messages that nobody took yet.
    pub(crate) waiting: u64,
    /// Messages that were given up, without their bodies.
    pub(crate) dead: Vec<Entry>,
    pub(crate) counts: Counts,
}

/// The word of a state.
pub(crate) const fn state_word(state: StateName) -> &'static str {
    match state {
        StateName::Inactive => "inactive",
        StateName::Pending => "pending",
        StateName::Firing => "firing",
        StateName::KeepFiring => "keep_firing",
        StateName::Missing => "missing",
        StateName::Resolved => "resolved",
        StateName::Flapping => "flapping",
    }
}

impl View {
    /// `GET /alerts`.
    pub(crate) fn told(&self) -> Alerts {
        let skipped = self.dead.len().saturating_sub(DEAD_SHOWN);
        let undelivered = self.dead.iter().skip(skipped).map(|entry| AlertUndelivered {
            id: entry.id.clone(),
            receiver: entry.receiver.clone(),
            at: Timestamp(entry.born),
            why: entry.error.clone().unwrap_or_default(),
        });
        Alerts {
            v: V1,
            alerts: self.rows.iter().map(row).collect(),
            rules: self.rules.iter().map(|rule| self.rule(rule)).collect(),
            waiting: self.waiting,
            undelivered: undelivered.collect(),
        }
    }

    /// One rule.
    pub(crate) fn rule(&self, rule: &Rule) -> AlertRule {
        let settings = &rule.settings;
        let mut states: BTreeMap<String, u64> = BTreeMap::new();
        for row in self.rows.iter().filter(|row| row.alert.rule == rule.name) {
            *states.entry(state_word(row.state).to_owned()).or_default() += 1;
        }
        AlertRule {
            name: rule.name.clone(),
            when: settings.when.clone(),
            on: rule.subject.to_string(),
            hold: Seconds::from(settings.hold.0),
            severity: settings.severity.clone(),
            notify: settings.notify.clone(),
            missing: match settings.missing {
                Missing::Keep => "keep",
                Missing::Alert => "alert",
                Missing::Ok => "ok",
            }
            .to_owned(),
            states,
        }
    }

    /// `GET /silences`.
    pub(crate) fn silenced(&self) -> Vec<SilenceRow> {
        let now = Timestamp::now().0;
        let rows = self.silences.iter().map(|silence| {
            let covers = |row: &&Row| silence.covers(&row.alert.labels, now);
            SilenceRow {
                id: silence.id.clone(),
                matchers: silence.matchers.iter().cloned().map(String::from).collect(),
                author: silence.author.clone(),
                reason: silence.reason.clone(),
                starts: Timestamp(silence.starts),
                ends: Timestamp(silence.ends),
                alerts: self.rows.iter().filter(covers).count() as u64,
            }
        });
        rows.collect()
    }
}

pub(crate) fn row(row: &Row) -> AlertRow {
    let alert = &row.alert;
    let labels: &Labels = &alert.labels;
    AlertRow {
        rule: alert.rule.clone(),
        object: alert.object.to_string(),
        state: state_word(row.state).to_owned(),
        severity: labels.get("severity").cloned().unwrap_or_default(),
        since: (alert.starts > 0).then_some(Timestamp(alert.starts)),
        value: alert.evidence.as_ref().map(message::evidence),
        summary: alert.summary.clone(),
        labels: labels.clone(),
        fingerprint: format!("{:016x}", alert.fingerprint),
        flap_score: row.flap_score,
        silenced: row.silenced.clone(),
        inhibited: row.inhibited,
        no_data_since: alert.stale.map(Timestamp),
        text: None,
    }
}
