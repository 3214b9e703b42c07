//! Incidents that go on: one for each rule, principal and program.

use std::collections::HashMap;

use ganger_audit::{Handling, Incident, IncidentState, Principal, Severity, Text};

use crate::memory::Who;
use crate::rule::Rule;
use crate::signal::Signal;

/// Incidents that go on at once. Beyond it the quietest are forgotten here; they stand in the log.
const LIVE_MAX: usize = 1_024;
/// Numbers of records that one incident names: the first half shows how it began, the second what was last.
const EVIDENCE_MAX: usize = 32;
/// Characters of a message: it may hold what a caller wrote.
const MESSAGE_MAX: usize = 400;
/// After so long without a hit, the next one is news.
const QUIET_MS: u64 = 86_400_000;

/// What became of an incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It is new.
    Opened,
    /// Its severity rose.
    Worse,
    /// It grew: told at ten, a hundred, …, and after a day of silence.
    Again,
}

/// Something to record and to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Raised {
    /// What became of it.
    pub change: Change,
    /// Whom it is about.
    pub principal: Option<Principal>,
    /// The incident as it is now.
    pub incident: Incident,
}

/// What is one incident.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) rule: Rule,
    pub(crate) who: Option<Who>,
    pub(crate) program: Option<Text>,
}

/// A hit of a rule.
#[derive(Debug)]
pub(crate) struct Hit<'a> {
    pub(crate) key: Key,
    pub(crate) seq: u64,
    pub(crate) ms: u64,
    /// Records of the window that fired; of one that goes on only the last is new.
    pub(crate) evidence: Vec<u64>,
    pub(crate) signal: Signal,
    /// Where it is not the rule's own.
    pub(crate) severity: Option<Severity>,
    pub(crate) policy: Option<&'a str>,
    pub(crate) principal: Option<&'a Principal>,
}

/// What a hit came to.
#[derive(Debug)]
pub(crate) struct Counted {
    pub(crate) id: String,
    pub(crate) severity: Severity,
    pub(crate) raised: Option<Raised>,
}

#[derive(Debug)]
struct One {
    incident: Incident,
    state: Handling,
    last_ms: u64,
    /// The last record that is counted, or that says it is dealt with: a log that is read again tells nothing twice.
    seq: u64,
}

/// All that go on.
#[derive(Debug, Default)]
pub(crate) struct Live {
    all: HashMap<Key, One>,
    /// By id, for what people say of them.
    keys: HashMap<String, Key>,
}

impl Live {
    /// A rule was hit. Gives the incident as it is now, and whether it is to be told; none where the record is counted already.
    pub(crate) fn hit(&mut self, hit: Hit<'_>) -> Option<Counted> {
        let known = self.all.get(&hit.key);
        if known.is_some_and(|one| hit.seq <= one.seq) {
            return None;
        }
        let message: String = hit.signal.message.chars().take(MESSAGE_MAX).collect();
        let Some(one) = self.all.get_mut(&hit.key).filter(|one| one.state != Handling::Closed)
        else {
            return Some(self.open(hit, message));
        };
        one.seq = hit.seq;
        let incident = &mut one.incident;
        incident.count += 1;
        incident.message = message;
        incident.evidence.push(hit.seq);
        if incident.evidence.len() > EVIDENCE_MAX {
            incident.evidence.remove(EVIDENCE_MAX / 2);
        }
        let severity = hit.severity.unwrap_or_else(|| hit.key.rule.severity_at(incident.count));
        let worse = severity > incident.severity;
        incident.severity = incident.severity.max(severity);
        let quiet = hit.ms.saturating_sub(one.last_ms) > QUIET_MS;
        one.last_ms = hit.ms;
        let change = match (worse, quiet || is_round(incident.count)) {
            (true, _) => Some(Change::Worse),
            (false, true) => Some(Change::Again),
            (false, false) => None,
        };
        let raised = change.map(|change| Raised {
            change,
            principal: hit.principal.cloned(),
            incident: incident.clone(),
        });
        Some(Counted { id: incident.id.clone(), severity: incident.severity, raised })
    }

    fn open(&mut self, hit: Hit<'_>, message: String) -> Counted {
        let count = hit.evidence.len() as u64;
        let mut evidence = hit.evidence;
        if evidence.len() > EVIDENCE_MAX {
            evidence.drain(EVIDENCE_MAX / 2..evidence.len() - EVIDENCE_MAX / 2);
        }
        let rule = hit.key.rule;
        let incident = Incident {
            // The record that tripped it is one only, so the same log gives the same id whenever it is read.
            id: format!("{rule}-{}", hit.seq),
            rule: rule.id().to_owned(),
            severity: hit.severity.unwrap_or_else(|| rule.severity_at(count)),
            technique: Some(hit.signal.technique.unwrap_or_else(|| rule.technique()).to_owned()),
            message,
            evidence,
            count,
            policy: hit.policy.map(str::to_owned),
            program: hit.key.program.clone(),
            action: None,
        };
        self.put(hit.key, incident.clone(), hit.ms, hit.seq);
        let (id, severity) = (incident.id.clone(), incident.severity);
        let principal = hit.principal.cloned();
        let raised = Some(Raised { change: Change::Opened, principal, incident });
        Counted { id, severity, raised }
    }

    /// An incident that stands in the log: it goes on from there.
    pub(crate) fn restore(&mut self, key: Key, incident: &Incident, ms: u64) {
        let seq = incident.evidence.last().copied().unwrap_or(0);
        match self.all.get_mut(&key) {
            Some(one) if one.incident.id == incident.id => {
                if incident.count > one.incident.count {
                    one.incident = incident.clone();
                    one.seq = one.seq.max(seq);
                }
            }
            _ => self.put(key, incident.clone(), ms, seq),
        }
    }

    /// Somebody dealt with it.
    pub(crate) fn handled(&mut self, changed: &IncidentState, seq: u64) {
        let key = self.keys.get(&changed.id);
        if let Some(one) = key.and_then(|key| self.all.get_mut(key))
            && one.incident.id == changed.id
        {
            one.state = changed.state;
            one.seq = one.seq.max(seq);
        }
    }

    fn put(&mut self, key: Key, incident: Incident, ms: u64, seq: u64) {
        if self.all.len() >= LIVE_MAX
            && !self.all.contains_key(&key)
            && let Some(quietest) = self
                .all
                .iter()
                .min_by_key(|(_, one)| (one.state != Handling::Closed, one.last_ms))
                .map(|(key, _)| key.clone())
        {
            self.remove(&quietest);
        }
        self.remove(&key);
        self.keys.insert(incident.id.clone(), key.clone());
        self.all.insert(key, One { incident, state: Handling::Open, last_ms: ms, seq });
    }

    fn remove(&mut self, key: &Key) {
        if let Some(one) = self.all.remove(key) {
            self.keys.remove(&one.incident.id);
        }
    }
}

/// 10, 100, 1,000, …
fn is_round(count: u64) -> bool {
    count >= 10 && 10u64.checked_pow(count.ilog10()) == Some(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_attackers_are_too_many_to_remember() {
        let mut live = Live::default();
        for seq in 1..=3 * LIVE_MAX as u64 {
            let principal = Principal { name: format!("p{seq}"), ..Principal::default() };
            let who = Some(Who::from(&principal));
            let counted = live.hit(Hit {
                key: Key { rule: Rule::EnvInjection, who, program: None },
                seq,
                ms: seq,
                evidence: vec![seq],
                signal: Signal::now(Rule::EnvInjection, "x".repeat(9_999)),
                severity: None,
                policy: None,
                principal: Some(&principal),
            });
            let counted = counted.unwrap();
            let raised = counted.raised.unwrap();
            let found = (raised.incident.id, raised.incident.message.len());
            assert_eq!(found, (counted.id, MESSAGE_MAX));
            assert!(live.all.len() <= LIVE_MAX && live.all.len() == live.keys.len());
        }
        let oldest = live.all.values().map(|one| one.last_ms).min();
        assert_eq!(oldest, Some(2 * LIVE_MAX as u64 + 1), "the quietest went first");
    }
}
