//! Who is told of an incident: a description only. Whoever holds a [`Detector`](crate::Detector) calls it.

use ganger_audit::Severity;
use serde::{Deserialize, Serialize};

use crate::live::{Change, Raised};

/// Who is told, from which severity on: a program, which makes a mail, a page or a call of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    /// A program by its absolute path, and its arguments; no shell. The incident is one line of JSON on its standard input, so
    /// that nothing an attacker chose is ever an argument.
    pub command: Vec<String>,
    /// Incidents at least this bad.
    pub severity: Severity,
}

impl Hook {
    /// Whether this is worth telling: when it begins and when it gets worse, not each time it grows.
    #[must_use]
    pub fn wants(&self, raised: &Raised) -> bool {
        raised.change != Change::Again && raised.incident.severity >= self.severity
    }
}
