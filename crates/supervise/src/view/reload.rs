//! What others see of rolling reloads.

use std::collections::BTreeMap;
use std::sync::Arc;

use ganger_core::ReloadState;

/// The newest reload of each service that this daemon has seen one of, by name.
pub type Reloads = Arc<BTreeMap<String, Arc<ReloadView>>>;

/// One reload at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReloadView {
    /// Larger than that of any reload before it.
    pub number: u64,
    /// The version that ran: changes when the process would have to be replaced.
    pub from: String,
    /// The version that is to run; that of a reload by hand is the same.
    pub to: String,
    /// Where it is.
    pub state: ReloadState,
    /// Instances that serve and are of the new version.
    pub done: u32,
    /// Instances to replace.
    pub of: u32,
    /// Why it goes back, was taken back or was cut short; empty where nothing needs saying.
    pub reason: String,
    /// Wall-clock milliseconds since 1970 of its beginning.
    pub began_ms: u64,
    /// And of its end.
    pub ended_ms: Option<u64>,
}
