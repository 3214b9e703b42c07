//! What is remembered of one rule about one object, and the alert that it makes.

use serde::{Deserialize, Serialize};

use crate::expr::{self, Evidence};
use crate::flap::Flap;
use crate::group::{Alert, Status};
use crate::labels;
use crate::rule::Rule;
use crate::state::{Ended, State};
use crate::values::{Object, Time};

/// One rule about one object.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Instance {
    pub(crate) state: State,
    pub(crate) flap: Flap,
    /// Of the episode, flapping included.
    pub(crate) starts: Time,
    pub(crate) evidence: Option<Evidence>,
}

impl Instance {
    /// Nothing of it is worth remembering.
    pub(crate) fn is_forgettable(&self) -> bool {
        self.state == State::default() && self.flap.is_calm() && self.flap.since().is_none()
    }
}

/// The alert as it is to be told.
pub(crate) fn alert(
    rule: &Rule,
    object: &Object,
    it: &Instance,
    ended: Option<Ended>,
    now: Time,
) -> Alert {
    let labels = rule.labels(object);
    let flapping = it.flap.since();
    let fires = it.state.is_firing() || flapping.is_some();
    let status = if fires { Status::Firing } else { Status::Resolved };
    let resolved = status == Status::Resolved;
    Alert {
        rule: rule.name.clone(),
        object: object.clone(),
        fingerprint: labels::fingerprint(&labels),
        labels,
        status,
        starts: it.starts,
        ends: resolved.then_some(now),
        ended: if resolved { ended.or(Some(Ended::Cleared)) } else { None },
        flapping,
        stale: it.state.missing.filter(|_| it.state.stale && fires),
        evidence: it.evidence.clone(),
        summary: summary(rule, object, it.evidence.as_ref()),
    }
}

fn summary(rule: &Rule, object: &Object, evidence: Option<&Evidence>) -> String {
    let shown = |value: Option<f64>| {
        let unit = evidence.map(|e| e.unit).unwrap_or_default();
        value.map_or("?".to_owned(), |value| expr::number(value, unit))
    };
    let value = shown(evidence.and_then(|e| e.value));
    let threshold = shown(evidence.and_then(|e| e.threshold));
    match &rule.settings.summary {
        Some(text) => text
            .replace("{object}", &object.to_string())
            .replace("{name}", &object.name)
            .replace("{value}", &value)
            .replace("{threshold}", &threshold),
        None => {
            let what = evidence.map_or(rule.settings.when.clone(), |e| e.what.clone());
            format!("{object}: {what} is {value} (limit {threshold})")
        }
    }
}
