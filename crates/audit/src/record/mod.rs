//! What is recorded: typed, additive. A reader skips keys it does not know; a missing key means "not known".
//!
//! A run leaves an `intent` before anything is started and an `outcome` when its whole tree is gone, tied by `run`. What was
//! not allowed leaves `denied` alone. There are no fractions anywhere: times are integers with their unit in the name.

mod common;
mod own;
mod runs;

pub use common::{Principal, Program, RunId, Severity};
pub use own::{Own, Recovered, Retired, SegmentStart, Why};
pub use runs::{
    Breach, Degraded, Denied, Ending, Handling, Incident, IncidentState, Intent, Limits, Outcome,
    Usage,
};

use serde::{Deserialize, Serialize};

use crate::text::Text;

/// One thing that happened, as it is handed to [`Log::append`](crate::Log::append).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", content = "body", rename_all = "snake_case")]
pub enum Record {
    /// The executor began to work with this log.
    Started(Started),
    /// The executor ended in order.
    Stopped(Stopped),
    /// A policy came into force.
    PolicyLoaded(PolicyLoaded),
    /// Something is about to be started. On disk before the child is let go.
    Intent(Box<Intent>),
    /// It ended.
    Outcome(Box<Outcome>),
    /// It was not allowed.
    Denied(Box<Denied>),
    /// Something that a person should look at.
    Incident(Box<Incident>),
    /// Somebody dealt with an incident.
    IncidentState(Box<IncidentState>),
}

impl Record {
    /// Names of all, as in `event`.
    pub const EVENTS: [&str; 8] = [
        "denied",
        "incident",
        "incident_state",
        "intent",
        "outcome",
        "policy_loaded",
        "started",
        "stopped",
    ];
}

/// What [`Log::append`](crate::Log::append) takes: a record with the envelope that all records have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Append {
    /// Ties an outcome to its intent; none where there is no run.
    pub run: Option<RunId>,
    /// Who asked; none where ganger itself acts.
    pub principal: Option<Principal>,
    /// What happened.
    pub record: Record,
}

impl Append {
    /// A record of ganger itself.
    #[must_use]
    pub const fn own(record: Record) -> Self {
        Self { run: None, principal: None, record }
    }
}

/// Who writes from here on.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Started {
    /// ganger's version.
    pub version: String,
    /// Process id of the writer.
    pub pid: u32,
    /// The machine's name.
    pub host: String,
    /// Which boot of it (`/proc/sys/kernel/random/boot_id`): `mono` counts from there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boot_id: Option<String>,
    /// The executable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exe: Option<Text>,
}

/// Why the writer ended.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Stopped {
    /// In words.
    pub reason: String,
}

/// A policy came into force, replaced another, or went.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct PolicyLoaded {
    /// Its name.
    pub policy: String,
    /// SHA-256 of its resolved form, hex; none when it went.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// That of the one it replaces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replaces: Option<String>,
    /// The file it stands in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<Text>,
    /// Rules in it.
    pub rules: u64,
    /// The file that its program is pinned to; none where it can't be trusted, so that everything is denied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub program: Option<Program>,
    /// A daemon that began goes on with it: nobody loaded it anew.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub resumed: bool,
    /// What is wrong with it then: `program_changed`, or `not_loaded` where the policy itself is not what was loaded. It denies everything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub doubt: Option<String>,
}

#[cfg(test)]
mod tests;
