//! The state machine: an entry in, incidents out.

use std::collections::{HashMap, VecDeque};

use ganger_audit::{
    Entry, Event, Handling, Incident, IncidentState, Own, Principal, Record, RunId, Severity, Text,
};

use crate::LockOut;
use crate::live::{Counted, Hit, Key, Live, Raised};
use crate::memory::{Memory, Who};
use crate::policies::Policies;
use crate::rule::Rule;
use crate::settings::Settings;
use crate::signal::{self, Signal, When};

/// Principals that are remembered: users and tokens of one machine. Beyond it the quietest is forgotten and learned anew.
const PRINCIPALS_MAX: usize = 1_024;
/// Runs whose outcome is still to come; each has a process, so the machine's own bound is lower.
const RUNS_MAX: usize = 8_192;
/// Lock-outs at once; beyond it the one that ends first ends now.
const LOCKED_MAX: usize = 1_024;

/// Finds incidents in the records of a log, given in their order.
#[derive(Debug, Default)]
pub struct Detector {
    settings: Settings,
    people: HashMap<Who, Memory>,
    runs: HashMap<RunId, Text>,
    run_order: VecDeque<RunId>,
    policies: Policies,
    live: Live,
    locked: HashMap<Who, LockOut>,
    boot: Option<String>,
    seq: u64,
    whole: bool,
}

impl Detector {
    /// With these settings and nothing remembered.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { settings, ..Self::default() }
    }

    /// It will see every record of the log, those of the log about itself too: then a number that is missing is tampering.
    #[must_use]
    pub fn of_whole_log(self) -> Self {
        Self { whole: true, ..self }
    }

    /// Other settings from here on.
    pub fn set(&mut self, settings: Settings) {
        self.settings = settings;
    }

    /// The settings.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// A record, as it was written. What is raised is for the caller to record; a record of an incident that comes back
    /// by here changes nothing.
    pub fn see(&mut self, entry: &Entry) -> Vec<Raised> {
        let mut raised = self.gap(entry);
        self.seq = entry.seq;
        match &entry.event {
            Event::Record(record) => {
                let mut more = self.record(entry, record);
                raised.append(&mut more);
            }
            Event::Own(Own::Recovered(left)) if left.head_lost => {
                let message = "the log was opened without its signed head: somebody deleted it";
                raised.extend(self.of_ganger(entry, Signal::now(Rule::AuditTamper, message)));
            }
            Event::Own(_) | Event::Other { .. } => {}
        }
        raised
    }

    /// Something is wrong with the log that its reader found: a line that is no record, a failed verification.
    pub fn fault(&mut self, message: &str) -> Vec<Raised> {
        self.tampered(self.seq, 0, message.to_owned())
    }

    /// Who is locked out, and who was: times that are over stay until something else takes their place.
    #[must_use]
    pub fn locked(&self) -> &HashMap<Who, LockOut> {
        &self.locked
    }

    /// Whether a principal may run nothing, `mono` nanoseconds after boot.
    #[must_use]
    pub fn lock_out(&self, principal: &Principal, mono: u64) -> Option<&LockOut> {
        self.locked.get(&Who::from(principal)).filter(|locked| mono < locked.until_ns)
    }

    fn record(&mut self, entry: &Entry, record: &Record) -> Vec<Raised> {
        match record {
            Record::Started(started) => {
                if self.boot != started.boot_id {
                    self.people.values_mut().for_each(Memory::forget_windows);
                    self.locked.clear();
                }
                self.boot.clone_from(&started.boot_id);
                Vec::new()
            }
            Record::PolicyLoaded(loaded) => {
                let mut signals = Vec::from_iter(self.policies.loaded(loaded, entry.mono_ns));
                signals.extend(signal::of_loaded(loaded));
                let program = loaded.program.as_ref().map(|program| &program.path);
                self.all(entry, signals, Some(&loaded.policy), program)
            }
            Record::Intent(intent) => self.intent(entry, intent),
            Record::Outcome(outcome) => {
                let program = entry.run.and_then(|run| self.runs.remove(&run));
                let mut signals = signal::of_outcome(outcome, program.as_ref());
                signals.extend(self.policies.ran(outcome));
                self.all(entry, signals, Some(&outcome.policy), program.as_ref())
            }
            Record::Denied(denied) => {
                let mut signals = signal::of_denied(denied);
                if !signals.is_empty() {
                    signals.extend(self.unusual(entry));
                }
                self.all(entry, signals, Some(&denied.policy), denied.program.as_ref())
            }
            Record::Incident(incident) => {
                self.restore(entry, incident);
                Vec::new()
            }
            Record::IncidentState(changed) => {
                self.handled(changed, entry.seq);
                Vec::new()
            }
            Record::Stopped(_) => Vec::new(),
        }
    }

    fn intent(&mut self, entry: &Entry, intent: &ganger_audit::Intent) -> Vec<Raised> {
        let program = &intent.program.path;
        if let Some(run) = entry.run {
            self.begun(run, program.clone());
        }
        let mut signals = signal::of_intent(intent);
        signals.extend(self.policies.decided(intent, entry.mono_ns));
        signals.extend(self.unusual(entry));
        let mut raised = self.all(entry, signals, Some(&intent.policy), Some(program));
        let settings = &self.settings;
        let Some(who) = entry.principal.as_ref().map(Who::from) else { return raised };
        let Some(memory) = self.people.get_mut(&who) else { return raised };
        if let Some(new) = memory.runs(program, entry.mono_ns, settings) {
            let severity = new.after_denials.then_some(Severity::Medium);
            let after = if new.after_denials { ", right after several denials" } else { "" };
            let message = format!("ran {program} for the first time{after}");
            let signal = Signal::now(Rule::NewProgram, message);
            raised.extend(self.hit(entry, signal, severity, Some(&intent.policy), Some(program)));
        }
        raised
    }

    fn begun(&mut self, run: RunId, program: Text) {
        if self.runs.insert(run, program).is_none() {
            self.run_order.push_back(run);
        }
        while self.run_order.len() > RUNS_MAX {
            if let Some(oldest) = self.run_order.pop_front() {
                self.runs.remove(&oldest);
            }
        }
    }

    /// What is unusual about who asks. Also makes sure that the principal is remembered.
    fn unusual(&mut self, entry: &Entry) -> Vec<Signal> {
        let Some(principal) = &entry.principal else { return Vec::new() };
        let who = Who::from(principal);
        if !self.people.contains_key(&who) && self.people.len() >= PRINCIPALS_MAX {
            let quietest = self.people.iter().min_by_key(|(_, memory)| memory.last);
            if let Some(quietest) = quietest.map(|(who, _)| who.clone()) {
                self.people.remove(&quietest);
            }
        }
        let memory = self.people.entry(who).or_default();
        memory.last = entry.seq;
        memory.asks(principal, milliseconds(&entry.ts), &self.settings)
    }

    fn all(
        &mut self,
        entry: &Entry,
        signals: Vec<Signal>,
        policy: Option<&str>,
        program: Option<&Text>,
    ) -> Vec<Raised> {
        let one = |signal| self.hit(entry, signal, None, policy, program);
        signals.into_iter().filter_map(one).collect()
    }

    fn of_ganger(&mut self, entry: &Entry, signal: Signal) -> Option<Raised> {
        self.hit(entry, signal, None, entry.policy(), None)
    }

    fn hit(
        &mut self,
        entry: &Entry,
        signal: Signal,
        severity: Option<Severity>,
        policy: Option<&str>,
        program: Option<&Text>,
    ) -> Option<Raised> {
        let rule = signal.rule;
        if self.settings.off.contains(&rule) {
            return None;
        }
        let principal = entry.principal.as_ref();
        let who = principal.map(Who::from);
        let evidence = match signal.when {
            When::Now => vec![entry.seq],
            When::Often(kind) => {
                let memory = self.people.get_mut(who.as_ref()?)?;
                memory.hit(kind, program, (entry.seq, entry.mono_ns), &self.settings)?
            }
        };
        // What is counted over all of a principal's programs is not about one of them.
        let whole = matches!(signal.when, When::Often(kind) if !kind.is_of_program());
        let about = rule.is_about_principal().then(|| who.clone()).flatten();
        let key = Key { rule, who: about, program: program.filter(|_| !whole).cloned() };
        let ms = milliseconds(&entry.ts);
        let severity = severity.or(signal.severity);
        let hit = Hit { key, seq: entry.seq, ms, evidence, signal, severity, policy, principal };
        let Counted { id, severity, mut raised } = self.live.hit(hit)?;
        if let Some(who) = who.filter(|_| rule.blames_principal())
            && self.lock(who, rule, id, severity, entry.mono_ns)
            && let Some(raised) = &mut raised
        {
            raised.incident.action = Some(ganger_audit::words::LOCKED_OUT.to_owned());
        }
        raised
    }

    fn lock(&mut self, who: Who, rule: Rule, incident: String, bad: Severity, mono: u64) -> bool {
        let Some(lock_out) = self.settings.lock_out.filter(|rule| bad >= rule.severity) else {
            return false;
        };
        if self.locked.len() >= LOCKED_MAX && !self.locked.contains_key(&who) {
            let first = self.locked.iter().min_by_key(|(_, locked)| locked.until_ns);
            if let Some(first) = first.map(|(who, _)| who.clone()) {
                self.locked.remove(&first);
            }
        }
        let time = u64::try_from(lock_out.time.0.as_nanos()).unwrap_or(u64::MAX);
        let until_ns = mono.saturating_add(time);
        self.locked.insert(who, LockOut { incident, rule, until_ns });
        true
    }

    fn gap(&mut self, entry: &Entry) -> Vec<Raised> {
        if !self.whole || self.seq == 0 || entry.seq == self.seq + 1 {
            return Vec::new();
        }
        let message = format!("record {} follows record {}", entry.seq, self.seq);
        self.tampered(entry.seq, milliseconds(&entry.ts), message)
    }

    fn tampered(&mut self, seq: u64, ms: u64, message: String) -> Vec<Raised> {
        if self.settings.off.contains(&Rule::AuditTamper) {
            return Vec::new();
        }
        let hit = Hit {
            key: Key { rule: Rule::AuditTamper, who: None, program: None },
            seq,
            ms,
            evidence: vec![seq],
            signal: Signal::now(Rule::AuditTamper, message),
            severity: None,
            policy: None,
            principal: None,
        };
        self.live.hit(hit).and_then(|counted| counted.raised).into_iter().collect()
    }

    fn restore(&mut self, entry: &Entry, incident: &Incident) {
        let Ok(rule) = incident.rule.parse::<Rule>() else { return };
        let who = entry.principal.as_ref().map(Who::from);
        let who = rule.is_about_principal().then_some(who).flatten();
        let key = Key { rule, who, program: incident.program.clone() };
        self.live.restore(key, incident, milliseconds(&entry.ts));
    }

    fn handled(&mut self, changed: &IncidentState, seq: u64) {
        self.live.handled(changed, seq);
        if changed.state == Handling::Closed {
            self.locked.retain(|_, locked| locked.incident != changed.id);
        }
    }
}

/// RFC 3339 as milliseconds since 1970; 0 for what is none.
fn milliseconds(ts: &str) -> u64 {
    let stamp = ts.parse::<jiff::Timestamp>().ok();
    stamp.and_then(|stamp| u64::try_from(stamp.as_millisecond()).ok()).unwrap_or(0)
}
