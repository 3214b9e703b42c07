//! `GET /alerts`, `GET /alerts/{name}`, `POST /alerts/{name}/test`, `GET /silences`, `POST /silences`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Seconds, Timestamp, V1};

/// All rules, and the alerts of them that are not merely inactive.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alerts {
    /// Version of the shape.
    pub v: V1,
    /// By rule and object.
    pub alerts: Vec<AlertRow>,
    /// By name.
    pub rules: Vec<AlertRule>,
    /// Messages that no receiver took yet.
    pub waiting: u64,
    /// The newest messages that were given up, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub undelivered: Vec<AlertUndelivered>,
}

/// One rule and its alerts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AlertShow {
    /// Version of the shape.
    pub v: V1,
    /// The rule.
    pub rule: AlertRule,
    /// Its alerts, each with its `text`.
    pub alerts: Vec<AlertRow>,
}

/// One rule about one object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AlertRow {
    /// The rule's name.
    pub rule: String,
    /// `service:web`, `queue:images`, `host`, …
    pub object: String,
    /// `pending`, `firing`, `keep_firing`, `missing`, `flapping`; `inactive` is not listed.
    pub state: String,
    /// Of the rule.
    pub severity: String,
    /// It fires since then; absent while it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// `memory = 612 MiB (> 512 MiB)`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// The rule's line.
    pub summary: String,
    /// All of its labels.
    pub labels: BTreeMap<String, String>,
    /// Of the labels, as Alertmanager's: 16 hexadecimal digits.
    pub fingerprint: String,
    /// From 0, calm, to 1.
    pub flap_score: f64,
    /// Silences that keep it quiet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub silenced: Vec<String>,
    /// A greater alert keeps it quiet.
    #[serde(default)]
    pub inhibited: bool,
    /// It fires, and there is no data since then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_data_since: Option<Timestamp>,
    /// All that is known, in a few lines; in `GET /alerts/{name}` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// `[alert.NAME]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AlertRule {
    /// NAME.
    pub name: String,
    /// The condition.
    pub when: String,
    /// What it is about.
    pub on: String,
    /// How long the condition must hold.
    #[serde(rename = "for_s")]
    pub hold: Seconds,
    /// A label.
    pub severity: String,
    /// Who is told.
    pub notify: Vec<String>,
    /// What missing data means: `keep`, `alert`, `ok`.
    pub missing: String,
    /// How many objects are in which state; inactive ones are not counted.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub states: BTreeMap<String, u64>,
}

/// A message that was given up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AlertUndelivered {
    /// Its `Idempotency-Key`.
    pub id: String,
    /// To whom.
    pub receiver: String,
    /// When it was made.
    pub at: Timestamp,
    /// Why the last try failed.
    pub why: String,
}

/// Which past a rule is tried on.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AlertTestRequest {
    /// So many seconds, up to now; a day when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since_s: Option<u64>,
    /// Seconds between two looks; when absent, as many as make at most 10,000 looks, at least 5.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step_s: Option<u64>,
}

/// What a rule would have said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AlertTested {
    /// Version of the shape.
    pub v: V1,
    /// The rule.
    pub name: String,
    /// From then.
    pub from: Timestamp,
    /// Until then.
    pub to: Timestamp,
    /// Between two looks.
    pub step_s: Seconds,
    /// How often it would have fired.
    pub fired: u64,
    /// Messages to each receiver, after grouping, repeats and flap control.
    pub notifications: u64,
    /// The first thousand times.
    pub episodes: Vec<AlertEpisode>,
    /// What of the condition is not kept and was missing all the time: `depth`, `finding(leak)`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_kept: Vec<String>,
}

/// One time that it would have fired.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AlertEpisode {
    /// About what.
    pub object: String,
    /// From then.
    pub from: Timestamp,
    /// Until then; absent: it still would.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// What was read: `cpu = 93.2 % (> 80 %)`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

/// All silences.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Silences {
    /// Version of the shape.
    pub v: V1,
    /// By id.
    pub silences: Vec<SilenceRow>,
}

/// A silence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SilenceRow {
    /// For ending it.
    pub id: String,
    /// `severity=page`, `service=~web.*`: all of them must match.
    pub matchers: Vec<String>,
    /// Who set it.
    pub author: String,
    /// Why.
    pub reason: String,
    /// From then.
    pub starts: Timestamp,
    /// Until then.
    pub ends: Timestamp,
    /// Alerts that it keeps quiet now.
    pub alerts: u64,
}

/// A silence to be set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SilenceRequest {
    /// See [`SilenceRow::matchers`]; at least one.
    pub matchers: Vec<String>,
    /// Why.
    pub reason: String,
    /// For so many seconds from now.
    pub for_s: u64,
}
