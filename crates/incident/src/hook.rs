//! Who is told of an incident: a description only. Whoever holds a [`Detector`](crate::Detector) calls it.

use ganger_audit::Severity;
use serde::{Deserialize, Serialize};

use crate::live::{Change, Raised};

/// Who is told, from which severity on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    /// How.
    pub target: Target,
    /// Incidents at least this bad.
    pub severity: Severity,
}

/// How somebody is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// A program with its arguments, started without a shell; the incident is one line of JSON on its standard input, so
    /// that nothing an attacker chose is ever an argument.
    Command(Vec<String>),
    /// An address that the incident is posted to as JSON.
    Url(String),
}

impl Hook {
    /// Whether this is worth telling: when it begins and when it gets worse, not each time it grows.
    #[must_use]
    pub fn wants(&self, raised: &Raised) -> bool {
        raised.change != Change::Again && raised.incident.severity >= self.severity
    }
}
