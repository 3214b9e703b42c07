//! A record as it is read.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::hash::Hash;
use crate::record::{Own, Principal, Record, RunId};

/// One line, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Number of the record.
    pub seq: u64,
    /// When: RFC 3339, UTC, nanoseconds.
    pub ts: String,
    /// Nanoseconds since that boot.
    pub mono_ns: u64,
    /// Hash of the line before.
    pub prev: Hash,
    /// Which run.
    pub run: Option<RunId>,
    /// Who asked.
    pub principal: Option<Principal>,
    /// What happened.
    pub event: Event,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A record of what ganger does.
    Record(Record),
    /// A record of the log about itself.
    Own(Own),
    /// A record of a newer ganger.
    Other {
        /// `event`
        name: String,
        /// `body`
        body: Value,
    },
}

/// A line is no record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a record of an audit log: {0}")]
pub struct EntryError(pub(crate) String);

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    body: &'a RawValue,
    event: &'a str,
    mono: u64,
    prev: Hash,
    principal: Option<Principal>,
    run: Option<RunId>,
    seq: u64,
    ts: String,
}

impl Entry {
    /// Reads a line, with or without its newline.
    ///
    /// # Errors
    /// It is not a record.
    pub fn read(line: &[u8]) -> Result<Self, EntryError> {
        let failed = |error: serde_json::Error| EntryError(error.to_string());
        let envelope: Envelope<'_> = serde_json::from_slice(line).map_err(failed)?;
        let event = event(&envelope).map_err(failed)?;
        Ok(Self {
            seq: envelope.seq,
            ts: envelope.ts,
            mono_ns: envelope.mono,
            prev: envelope.prev,
            run: envelope.run,
            principal: envelope.principal,
            event,
        })
    }

    /// `event` as it stands in the log.
    #[must_use]
    pub fn name(&self) -> &str {
        match &self.event {
            Event::Record(record) => match record {
                Record::Started(_) => "started",
                Record::Stopped(_) => "stopped",
                Record::PolicyLoaded(_) => "policy_loaded",
                Record::Intent(_) => "intent",
                Record::Outcome(_) => "outcome",
                Record::Denied(_) => "denied",
                Record::Incident(_) => "incident",
                Record::IncidentState(_) => "incident_state",
            },
            Event::Own(own) => match own {
                Own::Segment(_) => "segment",
                Own::Checkpoint { .. } => "checkpoint",
                Own::Recovered(_) => "recovered",
                Own::Retired(_) => "retired",
            },
            Event::Other { name, .. } => name,
        }
    }

    /// The policy concerned.
    #[must_use]
    pub fn policy(&self) -> Option<&str> {
        let Event::Record(record) = &self.event else { return None };
        match record {
            Record::PolicyLoaded(loaded) => Some(&loaded.policy),
            Record::Intent(intent) => Some(&intent.policy),
            Record::Outcome(outcome) => Some(&outcome.policy),
            Record::Denied(denied) => Some(&denied.policy),
            Record::Incident(incident) => incident.policy.as_deref(),
            Record::Started(_) | Record::Stopped(_) | Record::IncidentState(_) => None,
        }
    }

    /// The program concerned, for people.
    #[must_use]
    pub fn program(&self) -> Option<String> {
        let Event::Record(record) = &self.event else { return None };
        match record {
            Record::Intent(intent) => Some(intent.program.path.to_string()),
            Record::Denied(denied) => denied.program.as_ref().map(ToString::to_string),
            Record::Incident(incident) => incident.program.as_ref().map(ToString::to_string),
            _ => None,
        }
    }

    /// `allowed`, `denied`, `ended`, `failed`, `limit` or `incident`; none where nothing was judged.
    #[must_use]
    pub fn verdict(&self) -> Option<&'static str> {
        let Event::Record(record) = &self.event else { return None };
        match record {
            Record::Intent(_) => Some("allowed"),
            Record::Denied(_) => Some("denied"),
            Record::Incident(_) => Some("incident"),
            Record::Outcome(outcome) if outcome.breach.is_some() => Some("limit"),
            Record::Outcome(outcome) => match outcome.end {
                crate::record::Ending::Exited { code: 0 } => Some("ended"),
                _ => Some("failed"),
            },
            _ => None,
        }
    }

    /// Words that [`Entry::verdict`] may give.
    pub const VERDICTS: [&'static str; 6] =
        ["allowed", "denied", "ended", "failed", "limit", "incident"];
}

fn event(envelope: &Envelope<'_>) -> Result<Event, serde_json::Error> {
    let body = envelope.body.get();
    // Adjacently tagged enums don't take raw values, so the tag is put beside the body again.
    let tagged = || format!("{{\"event\":\"{}\",\"body\":{body}}}", envelope.event);
    if Record::EVENTS.contains(&envelope.event) {
        return serde_json::from_str(&tagged()).map(Event::Record);
    }
    if Own::EVENTS.contains(&envelope.event) {
        return serde_json::from_str(&tagged()).map(Event::Own);
    }
    let name = envelope.event.to_owned();
    Ok(Event::Other { name, body: serde_json::from_str(body)? })
}
