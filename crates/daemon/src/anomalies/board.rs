//! What others see of anomalies, and how events and the API say it.

use ganger_api::{Anomalies, Anomaly, Seconds, Timestamp, V1};
use ganger_core::Event;
use ganger_detect::{Cause, Change, Incident};
use serde::{Deserialize, Serialize};

/// All that is open, and what lately was.
#[derive(Debug, Clone, Default)]
pub(crate) struct Board {
    pub(crate) open: Vec<Told>,
    /// The newest first.
    pub(crate) closed: Vec<Told>,
}

/// One anomaly.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Told {
    pub(crate) name: String,
    pub(crate) slot: u32,
    pub(crate) incident: Incident,
}

impl Told {
    pub(super) fn of(name: &str, slot: u32, incident: &Incident) -> Self {
        Self { name: name.to_owned(), slot, incident: incident.clone() }
    }

    pub(crate) fn detector(&self) -> &'static str {
        self.incident.finding.detector.word()
    }

    fn shown(&self) -> Anomaly {
        let Incident { finding, opened_ms, last_ms, closed_ms, returns } = &self.incident;
        Anomaly {
            name: self.name.clone(),
            slot: (self.slot > 0).then_some(self.slot),
            detector: finding.detector.word().to_owned(),
            of: cause(finding.cause).to_owned(),
            score: finding.score,
            value: finding.value,
            baseline: finding.baseline,
            samples: finding.samples,
            evidence: finding.evidence.clone(),
            eta: finding.eta_s.map(Seconds),
            deploy: finding.deploy,
            since: Timestamp(finding.since_ms),
            opened: Timestamp(*opened_ms),
            last: Timestamp(*last_ms),
            closed: closed_ms.map(Timestamp),
            returns: *returns,
        }
    }
}

impl Board {
    /// `GET /anomalies`.
    pub(crate) fn told(&self, all: bool) -> Anomalies {
        let closed = self.closed.iter().filter(|_| all);
        let mut open: Vec<&Told> = self.open.iter().collect();
        open.sort_by(|a, b| b.incident.finding.score.total_cmp(&a.incident.finding.score));
        Anomalies { v: V1, anomalies: open.into_iter().chain(closed).map(Told::shown).collect() }
    }
}

/// What of its object is wrong.
pub(crate) fn of(told: &Told) -> &'static str {
    cause(told.incident.finding.cause)
}

fn cause(cause: Cause) -> &'static str {
    match cause {
        Cause::Unusual(metric) | Cause::Leak(metric) | Cause::Outlier(metric) => metric.word(),
        Cause::NoProgress => "progress",
        Cause::CrashLoop => "ends",
        Cause::Saturated(resource) => resource.word(),
    }
}

/// `anomaly.opened`, `.worse`, `.again`, `.closed`.
pub(super) fn event(name: &str, slot: u32, change: &Change) -> Event {
    let (kind, at_ms) = match change {
        Change::Opened(incident) => ("anomaly.opened", incident.opened_ms),
        Change::Worse(incident) => ("anomaly.worse", incident.last_ms),
        Change::Again(incident) => ("anomaly.again", incident.last_ms),
        Change::Closed(incident) => {
            ("anomaly.closed", incident.closed_ms.unwrap_or(incident.last_ms))
        }
    };
    let finding = &change.incident().finding;
    let facts = finding.evidence.join("; ");
    Event {
        seq: 0,
        ts_ms: at_ms,
        kind: kind.to_owned(),
        name: name.to_owned(),
        slot: (slot > 0).then_some(slot),
        from: None,
        to: None,
        reason: format!("{} of {}: {facts}", finding.detector.word(), cause(finding.cause)),
        exit: None,
    }
}
