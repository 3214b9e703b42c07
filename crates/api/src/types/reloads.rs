//! Rolling reloads, as `ps` and `status` show them.

use ganger_core::ReloadState;
use serde::{Deserialize, Serialize};

use super::Timestamp;

/// The newest reload of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reload {
    /// The service.
    pub name: String,
    /// Where it is.
    pub state: ReloadState,
    /// The version that ran: eight hex digits that change when the process would have to be replaced.
    pub from: String,
    /// The version that is to run; of a reload by hand the same.
    pub to: String,
    /// Instances that serve and are of the new version.
    pub done: u32,
    /// Instances to replace.
    pub of: u32,
    /// Why it goes back, was taken back or was cut short; empty where nothing needs saying.
    pub reason: String,
    /// The configured version does not run: the next `ganger up` tries it again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub differs: bool,
    /// When it began.
    pub began_at: Timestamp,
    /// When it was over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
}
