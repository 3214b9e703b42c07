//! The report as data: its JSON form, additive.

use ganger_incident::Standing;
use serde::Serialize;

use crate::score::ProfileScore;

/// A period of an audit log.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// 1.
    pub v: u8,
    /// The machine's name, as the log has it.
    pub host: String,
    /// When it was made: RFC 3339.
    pub made: String,
    /// Begin of the period, inclusive.
    pub from: String,
    /// Its end, exclusive.
    pub until: String,
    /// What everything comes to.
    pub totals: Totals,
    /// The period in equal parts, in order.
    pub timeline: Vec<Slot>,
    /// By who asked.
    pub principals: Groups,
    /// By `POLICY/RULE` that decided.
    pub rules: Groups,
    /// By program.
    pub programs: Groups,
    /// Why requests were denied.
    pub reasons: Vec<Count>,
    /// What was denied most.
    pub top_denied: Vec<Refused>,
    /// What a principal ran for the first time since the log begins.
    pub new_programs: Vec<NewProgram>,
    /// What was ended at a limit.
    pub limit_kills: Vec<Kill>,
    /// Layers that were wanted and not to be had.
    pub degraded: Vec<Lacking>,
    /// What the rules of detection found.
    pub incidents: Incidents,
    /// Rules of the stored policies that allowed nothing in the period; none where the policies are not known.
    pub unused_rules: Option<Vec<String>>,
    /// Policies that came, changed or went.
    pub policy_changes: Vec<PolicyChange>,
    /// How much held the runs, by profile.
    pub profiles: Vec<ProfileScore>,
    /// Whether the log is what was written.
    pub log: Integrity,
}

/// Counts of the period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Totals {
    /// Records of all kinds.
    pub records: u64,
    /// Lines that are no record; the log is damaged then.
    pub unreadable: u64,
    /// Runs that were allowed.
    pub runs: u64,
    /// Requests that were denied, without those of the next line.
    pub denied: u64,
    /// Requests that came too often, or while locked out.
    pub limited: u64,
    /// Runs that ended with an error of their own.
    pub failed: u64,
    /// Runs that were ended at a limit.
    pub limit_kills: u64,
    /// Runs that the sandbox ended.
    pub violations: u64,
    /// Runs without a layer that was wanted.
    pub degraded: u64,
    /// Runs of which nobody can say how they ended.
    pub unknown: u64,
    /// Runs that had not ended yet.
    pub running: u64,
}

/// A part of the period.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Slot {
    /// Its begin: RFC 3339.
    pub from: String,
    /// Runs that began.
    pub runs: u64,
    /// Requests that were denied, for whatever reason.
    pub denied: u64,
    /// Runs ended by a limit or by the sandbox.
    pub stopped: u64,
}

/// One line of a table of counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Group {
    /// Whose.
    pub name: String,
    /// Runs that began.
    pub runs: u64,
    /// Requests that were denied.
    pub denied: u64,
    /// Runs that failed by themselves.
    pub failed: u64,
    /// Runs ended by a limit or by the sandbox.
    pub stopped: u64,
}

/// A table of counts: the busiest, those with denials first.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Groups {
    /// The lines.
    pub rows: Vec<Group>,
    /// Lines that are left out.
    pub more: u64,
}

/// How often.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Count {
    /// What.
    pub name: String,
    /// So often.
    pub count: u64,
}

/// Something that was denied, maybe often.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refused {
    /// Who asked.
    pub principal: String,
    /// Of which policy.
    pub policy: String,
    /// The word of the reason.
    pub reason: String,
    /// What was asked for, the last time.
    pub command: String,
    /// Why not, the last time.
    pub message: String,
    /// The line that would allow it, where there is one.
    pub allow: Option<String>,
    /// What that would make it able to do, where it is known for something.
    pub danger: Option<String>,
    /// So often.
    pub count: u64,
    /// The last record of it.
    pub seq: u64,
}

/// The first run of a program by a principal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NewProgram {
    /// When: RFC 3339.
    pub ts: String,
    /// The record.
    pub seq: u64,
    /// Who.
    pub principal: String,
    /// What.
    pub program: String,
    /// By which rule.
    pub rule: String,
}

/// Runs of a policy that were ended at a limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Kill {
    /// The policy.
    pub policy: String,
    /// The limit.
    pub limit: String,
    /// Its value, in its unit, where it was recorded.
    pub allowed: Option<u64>,
    /// The highest use seen.
    pub peak: Option<u64>,
    /// So often.
    pub count: u64,
}

/// A layer that runs of a policy lacked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Lacking {
    /// The policy.
    pub policy: String,
    /// The layer.
    pub what: String,
    /// Why, the last time.
    pub why: String,
    /// So many runs.
    pub runs: u64,
}

/// Incidents of the period, and those that were open before.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Incidents {
    /// By severity, the worst first.
    pub by_severity: Vec<Count>,
    /// By technique of ATT&CK.
    pub by_technique: Vec<Count>,
    /// By what people did about them.
    pub by_state: Vec<Count>,
    /// The worst first.
    pub list: Vec<Standing>,
    /// Incidents that are left out.
    pub more: u64,
}

/// A policy came, changed or went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PolicyChange {
    /// When: RFC 3339.
    pub ts: String,
    /// The record.
    pub seq: u64,
    /// Its name.
    pub policy: String,
    /// What it is now; none: it went.
    pub sha256: Option<String>,
    /// What it was.
    pub replaces: Option<String>,
}

/// What verification said of the whole log, not of the period alone.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Integrity {
    /// It is what was written. None: it was not verified.
    pub ok: Option<bool>,
    /// The first bad place, or why nothing was verified.
    pub finding: Option<String>,
    /// Records in order.
    pub records: u64,
    /// Number of the first.
    pub first: u64,
    /// Number of the last.
    pub last: u64,
    /// Hash of the last: noted elsewhere, it proves everything before it.
    pub hash: String,
    /// Key that the seals verify with.
    pub key: String,
    /// Signed checkpoints.
    pub checkpoints: u64,
    /// Checkpoints of the witness that agree; none: there was no witness to compare with.
    pub witnessed: Option<u64>,
    /// Records at the end that no signature covers yet.
    pub unsigned: u64,
}
