//! Counting: the log's entries in their order, then the report.

use std::collections::{BTreeMap, HashMap, HashSet};

use ganger_audit::verify;
use ganger_audit::{
    Denied, Ending, Entry, Event, Handling, Intent, Outcome, PolicyLoaded, Record, RunId, Severity,
};
use ganger_incident::{Ledger, Standing, Who};

use crate::groups::{self, Bounded, ByName, ROWS};
use crate::model::{
    Incidents, Integrity, Kill, Lacking, NewProgram, PolicyChange, Refused, Report, Slot, Totals,
};
use crate::score::Held;

/// Runs whose outcome is still to come.
const RUNS_MAX: usize = 100_000;
/// Principals' programs that are remembered to tell what is new; what comes beyond is not told as new.
const PAIRS_MAX: usize = 50_000;
/// Lines of lists that people read one by one.
const LIST_MAX: usize = 100;
/// Characters of a command line that is shown.
const COMMAND_MAX: usize = 200;
/// Parts of the period at most: what a chart shows.
const SLOTS_MAX: u64 = 62;
/// Widths of a part, in milliseconds: 15 minutes, 1, 3, 6, 12 hours, days, weeks, 30 days.
const WIDTHS: [u64; 8] = [
    900_000,
    3_600_000,
    10_800_000,
    21_600_000,
    43_200_000,
    86_400_000,
    604_800_000,
    2_592_000_000,
];

/// What a report is made of besides records.
#[derive(Debug, Default)]
pub struct Around<'a> {
    /// Milliseconds since 1970, now.
    pub now_ms: u64,
    /// What verification said; an error is told in its words.
    pub verified: Option<Result<&'a verify::Report, String>>,
    /// `POLICY` or `POLICY/RULE` of all rules that are stored; none: not known.
    pub rules: Option<Vec<String>>,
    /// Lines that are no record.
    pub unreadable: u64,
}

/// Counts what a period has.
#[derive(Debug)]
pub struct Tally {
    from: String,
    until: String,
    from_ms: u64,
    width_ms: u64,
    host: String,
    totals: Totals,
    slots: Vec<Slot>,
    principals: ByName,
    rules: ByName,
    programs: ByName,
    reasons: BTreeMap<String, u64>,
    denied: Bounded<(String, String, String), Refused>,
    seen: HashSet<(String, String)>,
    new_programs: Vec<NewProgram>,
    kills: Bounded<(String, String), Kill>,
    lacking: Bounded<(String, String), Lacking>,
    policy_changes: Vec<PolicyChange>,
    runs: HashMap<RunId, Begun>,
    held: BTreeMap<String, Held>,
}

/// What an outcome needs to know of its intent.
#[derive(Debug)]
struct Begun {
    principal: String,
    rule: String,
    program: String,
    profile: String,
}

impl Tally {
    /// Of a period, in milliseconds since 1970: from, inclusive, until, exclusive.
    #[must_use]
    pub fn new(from_ms: u64, until_ms: u64) -> Self {
        let span = until_ms.saturating_sub(from_ms).max(1);
        let fits = |width: &&u64| span.div_ceil(**width) <= SLOTS_MAX;
        let width_ms =
            WIDTHS.iter().find(fits).copied().unwrap_or_else(|| span.div_ceil(SLOTS_MAX));
        let slot = |n| Slot { from: stamp(from_ms + n * width_ms), runs: 0, denied: 0, stopped: 0 };
        Self {
            from: stamp(from_ms),
            until: stamp(until_ms),
            from_ms,
            width_ms,
            host: String::new(),
            totals: Totals::default(),
            slots: (0..span.div_ceil(width_ms)).map(slot).collect(),
            principals: ByName::default(),
            rules: ByName::default(),
            programs: ByName::default(),
            reasons: BTreeMap::new(),
            denied: Bounded::default(),
            seen: HashSet::new(),
            new_programs: Vec::new(),
            kills: Bounded::default(),
            lacking: Bounded::default(),
            policy_changes: Vec::new(),
            runs: HashMap::new(),
            held: BTreeMap::new(),
        }
    }

    /// A record, in the log's order, from its first one on.
    pub fn see(&mut self, entry: &Entry) {
        // Times of the log sort as texts do.
        let inside =
            entry.ts.as_str() >= self.from.as_str() && entry.ts.as_str() < self.until.as_str();
        self.totals.records += u64::from(inside);
        let Event::Record(record) = &entry.event else { return };
        match record {
            Record::Started(started) => self.host = cut(&started.host),
            Record::Intent(intent) => self.intent(entry, intent, inside),
            Record::Outcome(outcome) if inside => self.outcome(entry, outcome),
            Record::Outcome(_) if entry.ts < self.from => {
                entry.run.and_then(|run| self.runs.remove(&run));
            }
            Record::Denied(denied) if inside => self.denied(entry, denied),
            Record::PolicyLoaded(loaded) if inside => self.policy(entry, loaded),
            _ => {}
        }
    }

    fn intent(&mut self, entry: &Entry, intent: &Intent, inside: bool) {
        let principal = who(entry);
        let program = intent.program.path.to_string();
        let pair = (principal.clone(), program.clone());
        let new = self.seen.len() < PAIRS_MAX && self.seen.insert(pair);
        if let Some(run) = entry.run.filter(|_| self.runs.len() < RUNS_MAX) {
            let (principal, program) = (principal.clone(), program.clone());
            let (rule, profile) = (intent.rule.clone(), intent.profile.clone());
            self.runs.insert(run, Begun { principal, rule, program, profile });
        }
        if !inside {
            return;
        }
        self.totals.runs += 1;
        if let Some(slot) = self.slot(entry) {
            slot.runs += 1;
        }
        self.principals.at(&principal).runs += 1;
        self.rules.at(&intent.rule).runs += 1;
        self.programs.at(&program).runs += 1;
        if new && self.new_programs.len() < LIST_MAX {
            let (ts, seq, rule) = (entry.ts.clone(), entry.seq, intent.rule.clone());
            self.new_programs.push(NewProgram { ts, seq, principal, program, rule });
        }
    }

    fn denied(&mut self, entry: &Entry, denied: &Denied) {
        let limited = ["rate", "running", "locked_out"].contains(&denied.reason.as_str());
        let total = if limited { &mut self.totals.limited } else { &mut self.totals.denied };
        *total += 1;
        if let Some(slot) = self.slot(entry) {
            slot.denied += 1;
        }
        let principal = who(entry);
        self.principals.at(&principal).denied += 1;
        self.rules.at(denied.rule.as_deref().unwrap_or(&denied.policy)).denied += 1;
        if let Some(program) = &denied.program {
            self.programs.at(&program.to_string()).denied += 1;
        }
        *self.reasons.entry(denied.reason.clone()).or_default() += 1;
        let command = cut(&entry.argv().join(" "));
        let key = (principal.clone(), denied.policy.clone(), denied.reason.clone());
        let one = self.denied.at(key, || Refused {
            principal,
            policy: denied.policy.clone(),
            reason: denied.reason.clone(),
            command: String::new(),
            message: String::new(),
            allow: None,
            danger: None,
            count: 0,
            seq: 0,
        });
        if let Some(one) = one {
            one.count += 1;
            one.seq = entry.seq;
            one.command = command;
            one.message = cut(&denied.message);
            one.allow = denied.allow.as_deref().map(cut);
            one.danger = denied.danger.as_deref().map(cut);
        }
    }

    fn outcome(&mut self, entry: &Entry, outcome: &Outcome) {
        let begun = entry.run.and_then(|run| self.runs.remove(&run));
        let limit = limit_of(outcome);
        let violation = matches!(outcome.end, Ending::SandboxViolation { .. });
        let stopped = limit.is_some() || violation;
        let lost = outcome.end == Ending::Lost;
        let failed = !stopped && !lost && outcome.end != (Ending::Exited { code: 0 });
        let totals = &mut self.totals;
        totals.limit_kills += u64::from(limit.is_some());
        totals.violations += u64::from(violation);
        totals.unknown += u64::from(lost);
        totals.failed += u64::from(failed);
        totals.degraded += u64::from(!outcome.degraded.is_empty());
        if stopped && let Some(slot) = self.slot(entry) {
            slot.stopped += 1;
        }
        if let Some(begun) = &begun {
            for group in [
                self.principals.at(&begun.principal),
                self.rules.at(&begun.rule),
                self.programs.at(&begun.program),
            ] {
                group.failed += u64::from(failed);
                group.stopped += u64::from(stopped);
            }
            // What never ran was held by nothing and needed nothing.
            let spawned = !matches!(outcome.end, Ending::CouldNotSpawn { .. } | Ending::Lost);
            let room = self.held.len() < ROWS || self.held.contains_key(&begun.profile);
            if spawned && room {
                self.held.entry(begun.profile.clone()).or_default().run(&outcome.enforced);
            }
        }
        if let Some(limit) = limit {
            self.killed(outcome, limit);
        }
        for layer in &outcome.degraded {
            let key = (outcome.policy.clone(), layer.what.clone());
            let (policy, what) = key.clone();
            let make = || Lacking { policy, what, why: String::new(), runs: 0 };
            if let Some(one) = self.lacking.at(key, make) {
                one.runs += 1;
                one.why = cut(&layer.why);
            }
        }
    }

    fn killed(&mut self, outcome: &Outcome, limit: &str) {
        let key = (outcome.policy.clone(), limit.to_owned());
        let (policy, limit) = key.clone();
        let make = || Kill { policy, limit, allowed: None, peak: None, count: 0 };
        let Some(one) = self.kills.at(key, make) else { return };
        one.count += 1;
        if let Some(breach) = &outcome.breach {
            one.allowed = Some(breach.allowed);
            one.peak = one.peak.max(Some(breach.peak));
        }
    }

    fn policy(&mut self, entry: &Entry, loaded: &PolicyLoaded) {
        // A daemon that starts loads all of them again.
        if loaded.sha256 == loaded.replaces || self.policy_changes.len() >= LIST_MAX {
            return;
        }
        self.policy_changes.push(PolicyChange {
            ts: entry.ts.clone(),
            seq: entry.seq,
            policy: loaded.policy.clone(),
            sha256: loaded.sha256.clone(),
            replaces: loaded.replaces.clone(),
        });
    }

    fn slot(&mut self, entry: &Entry) -> Option<&mut Slot> {
        let stamp: jiff::Timestamp = entry.ts.parse().ok()?;
        let ms = u64::try_from(stamp.as_millisecond()).ok()?;
        let at = ms.checked_sub(self.from_ms)? / self.width_ms;
        self.slots.get_mut(usize::try_from(at).ok()?)
    }

    /// The report, with the incidents of the ledger: those of the period, and what is still open from before.
    #[must_use]
    pub fn report(self, ledger: &Ledger, around: Around<'_>) -> Report {
        let concerns = |one: &&Standing| {
            one.opened.as_str() < self.until.as_str()
                && (one.last.as_str() >= self.from.as_str() || one.state != Handling::Closed)
        };
        let incidents = incidents(ledger.iter().filter(concerns).cloned().collect());
        let unused = around.rules.map(|rules| {
            let mut unused: Vec<String> =
                rules.into_iter().filter(|rule| !self.rules.ran(rule)).collect();
            unused.sort_unstable();
            unused
        });
        let mut totals = self.totals;
        totals.unreadable = around.unreadable;
        totals.running = self.runs.len() as u64;
        let mut top_denied: Vec<Refused> = self.denied.into_values().collect();
        top_denied.sort_by_key(|one| std::cmp::Reverse((one.count, one.seq)));
        top_denied.truncate(ROWS);
        let mut limit_kills: Vec<Kill> = self.kills.into_values().collect();
        limit_kills
            .sort_by(|a, b| (b.count, &a.policy, &a.limit).cmp(&(a.count, &b.policy, &b.limit)));
        limit_kills.truncate(ROWS);
        let mut degraded: Vec<Lacking> = self.lacking.into_values().collect();
        degraded.sort_by(|a, b| (b.runs, &a.policy, &a.what).cmp(&(a.runs, &b.policy, &b.what)));
        degraded.truncate(ROWS);
        Report {
            v: 1,
            host: self.host,
            made: stamp(around.now_ms),
            from: self.from,
            until: self.until,
            totals,
            timeline: self.slots,
            principals: self.principals.table(),
            rules: self.rules.table(),
            programs: self.programs.table(),
            reasons: groups::sorted(self.reasons.into_iter()),
            top_denied,
            new_programs: self.new_programs,
            limit_kills,
            degraded,
            incidents,
            unused_rules: unused,
            policy_changes: self.policy_changes,
            profiles: self.held.iter().map(|(name, held)| held.score(name)).collect(),
            log: integrity(around.verified),
        }
    }
}

fn incidents(mut list: Vec<Standing>) -> Incidents {
    list.sort_by(|a, b| (b.severity, &b.last).cmp(&(a.severity, &a.last)));
    let by_severity = SEVERITIES
        .iter()
        .map(|(severity, name)| {
            let count = list.iter().filter(|one| one.severity == *severity).count() as u64;
            crate::model::Count { name: (*name).to_owned(), count }
        })
        .collect();
    let by_technique = groups::counts(list.iter().filter_map(|one| one.technique.clone()));
    let by_state = groups::counts(list.iter().map(|one| one.state.as_str().to_owned()));
    let more = list.len().saturating_sub(LIST_MAX) as u64;
    list.truncate(LIST_MAX);
    Incidents { by_severity, by_technique, by_state, list, more }
}

/// The worst first.
const SEVERITIES: [(Severity, &str); 5] = [
    (Severity::Critical, "critical"),
    (Severity::High, "high"),
    (Severity::Medium, "medium"),
    (Severity::Low, "low"),
    (Severity::Info, "info"),
];

pub(crate) fn severity(of: Severity) -> &'static str {
    SEVERITIES.iter().find(|(severity, _)| *severity == of).map_or("info", |(_, name)| name)
}

fn integrity(verified: Option<Result<&verify::Report, String>>) -> Integrity {
    match verified {
        None => Integrity::default(),
        Some(Err(why)) => Integrity { finding: Some(why), ..Integrity::default() },
        Some(Ok(report)) => Integrity {
            ok: Some(report.finding.is_none()),
            finding: report.finding.as_ref().map(ToString::to_string),
            records: report.records,
            first: report.first,
            last: report.last,
            hash: report.hash.map(|hash| hash.to_string()).unwrap_or_default(),
            key: report.key.map(|key| key.to_string()).unwrap_or_default(),
            checkpoints: report.checkpoints,
            witnessed: report.witnessed,
            unsigned: report.unsigned,
        },
    }
}

/// The limit that ended a run.
fn limit_of(outcome: &Outcome) -> Option<&str> {
    match &outcome.end {
        Ending::TimedOut { .. } => Some("wall"),
        Ending::LimitHit { limit, .. } => Some(limit),
        _ => outcome.breach.as_ref().map(|breach| breach.limit.as_str()),
    }
}

fn who(entry: &Entry) -> String {
    entry
        .principal
        .as_ref()
        .map_or_else(|| "(ganger)".to_owned(), |p| cut(&Who::from(p).to_string()))
}

/// Of bounded length, and nothing in it that steers a terminal or turns the direction of text.
fn cut(text: &str) -> String {
    let text = ganger_incident::plain(text);
    if text.chars().count() <= COMMAND_MAX {
        return text;
    }
    text.chars().take(COMMAND_MAX - 1).chain(['…']).collect()
}

/// Milliseconds since 1970 as the log writes times: nine digits of a second, so that texts sort as times do.
pub(crate) fn stamp(ms: u64) -> String {
    let ms = i64::try_from(ms).unwrap_or(i64::MAX);
    let stamp = jiff::Timestamp::from_millisecond(ms).unwrap_or(jiff::Timestamp::MAX);
    format!("{stamp:.9}")
}
