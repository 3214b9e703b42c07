//! What is said of incidents.

use serde::{Deserialize, Serialize};

/// Body of `POST /incidents/{id}`: what was done about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IncidentChange {
    /// What it is from here on.
    pub state: IncidentWord,
    /// What there is to say; it stands in the audit log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// What people did about an incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IncidentWord {
    /// Nobody looked at it.
    Open,
    /// Somebody knows of it.
    Ack,
    /// It is dealt with.
    Closed,
}
