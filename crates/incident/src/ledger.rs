//! What the log says of incidents: the list that people work on.

use std::collections::{BTreeMap, VecDeque};

use ganger_audit::{Entry, Event, Handling, Incident, Principal, Record, Severity};
use serde::Serialize;

use crate::live::Raised;
use crate::memory::Who;
use crate::plain;
use crate::rule::Rule;

/// Incidents in one list; of more, the oldest are left out and counted.
const STANDING_MAX: usize = 10_000;
/// Notes on one incident; of more, the oldest go.
const NOTES_MAX: usize = 50;

/// One incident as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Standing {
    /// Its id.
    pub id: String,
    /// Id of its rule.
    pub rule: String,
    /// What the rule finds.
    pub title: &'static str,
    /// How bad.
    pub severity: Severity,
    /// Technique of ATT&CK.
    pub technique: Option<String>,
    /// What people did about it.
    pub state: Handling,
    /// Whom it is about.
    pub principal: Option<String>,
    /// The program concerned.
    pub program: Option<String>,
    /// The policy concerned.
    pub policy: Option<String>,
    /// What happened last.
    pub message: String,
    /// How often, as far as it was recorded.
    pub count: u64,
    /// Numbers of the records that show it.
    pub evidence: Vec<u64>,
    /// What was done by itself.
    pub action: Option<String>,
    /// When it was recorded first: RFC 3339.
    pub opened: String,
    /// When it was recorded last.
    pub last: String,
    /// What to do about it.
    pub advice: &'static str,
    /// What people said.
    pub notes: Vec<Note>,
}

/// What somebody did about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Note {
    /// When: RFC 3339.
    pub ts: String,
    /// Who.
    pub by: Option<String>,
    /// What it was from then on.
    pub state: Handling,
    /// In words.
    pub note: Option<String>,
}

/// All incidents of a log, in the order in which they began.
#[derive(Debug, Default)]
pub struct Ledger {
    all: BTreeMap<String, Standing>,
    order: VecDeque<String>,
    left_out: u64,
}

impl Ledger {
    /// A record of the log; those that are not about incidents are passed over.
    pub fn see(&mut self, entry: &Entry) {
        match &entry.event {
            Event::Record(Record::Incident(incident)) => {
                self.put(&entry.ts, entry.principal.as_ref(), incident);
            }
            Event::Record(Record::IncidentState(changed)) => {
                let Some(one) = self.all.get_mut(&changed.id) else { return };
                one.state = changed.state;
                if one.notes.len() >= NOTES_MAX {
                    one.notes.remove(0);
                }
                one.notes.push(Note {
                    ts: entry.ts.clone(),
                    by: entry.principal.as_ref().map(|by| plain(&Who::from(by).to_string())),
                    state: changed.state,
                    note: changed.note.as_deref().map(plain),
                });
            }
            _ => {}
        }
    }

    /// What a [`Detector`](crate::Detector) raised at `ts`, which does not stand in the log.
    pub fn raised(&mut self, ts: &str, raised: &Raised) {
        self.put(ts, raised.principal.as_ref(), &raised.incident);
    }

    fn put(&mut self, ts: &str, principal: Option<&Principal>, incident: &Incident) {
        if let Some(one) = self.all.get_mut(&incident.id) {
            // The rules may be read over a log that has what they found already.
            if incident.count >= one.count {
                one.count = incident.count;
                one.severity = incident.severity;
                one.message = plain(&incident.message);
                one.evidence.clone_from(&incident.evidence);
                ts.clone_into(&mut one.last);
            }
            one.action = incident.action.clone().or(one.action.take());
            return;
        }
        if self.order.len() >= STANDING_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.all.remove(&oldest);
            self.left_out += 1;
        }
        let rule = incident.rule.parse::<Rule>().ok();
        let about = rule.is_none_or(Rule::is_about_principal);
        self.order.push_back(incident.id.clone());
        let one = Standing {
            id: incident.id.clone(),
            rule: incident.rule.clone(),
            title: rule.map_or("a rule of a newer ganger", Rule::title),
            severity: incident.severity,
            technique: incident.technique.clone(),
            state: Handling::Open,
            principal: principal.filter(|_| about).map(|p| plain(&Who::from(p).to_string())),
            program: incident.program.as_ref().map(ToString::to_string),
            policy: incident.policy.clone(),
            message: plain(&incident.message),
            count: incident.count,
            evidence: incident.evidence.clone(),
            action: incident.action.clone(),
            opened: ts.to_owned(),
            last: ts.to_owned(),
            advice: rule.map_or("", Rule::advice),
            notes: Vec::new(),
        };
        self.all.insert(incident.id.clone(), one);
    }

    /// In the order in which they began.
    pub fn iter(&self) -> impl Iterator<Item = &Standing> {
        self.order.iter().filter_map(|id| self.all.get(id))
    }

    /// By its id.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&Standing> {
        self.all.get(id)
    }

    /// How many are left out because there are too many.
    #[must_use]
    pub fn left_out(&self) -> u64 {
        self.left_out
    }
}
