//! The one event type: what `ganger events`, the API's stream and the store's event table carry.

use serde::{Deserialize, Serialize};

use crate::end::{End, Usage};

/// Something happened to a named thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Rises by one per event of a state folder; 0 until the store has numbered it.
    pub seq: u64,
    /// Wall-clock time in milliseconds since 1970. Printed as RFC 3339.
    pub ts_ms: u64,
    /// `instance.state`, `instance.exit`, `instance.ready`, `daemon.start`, `task.discarded`, `log.dropped`, …
    #[serde(rename = "type")]
    pub kind: String,
    /// The service, pool or queue; empty for ganger itself.
    pub name: String,
    /// The instance's slot, where there is one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub slot: Option<u32>,
    /// The state it left.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub from: Option<String>,
    /// The state it is in now.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub to: Option<String>,
    /// Why, as a person would say it.
    pub reason: String,
    /// Of the end of a process: what there is to know of it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub exit: Option<Box<Exit>>,
}

/// A process that has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// Its process id.
    pub pid: u32,
    /// How it ended.
    pub end: End,
    /// What it used, without descendants that it did not wait for.
    pub usage: Usage,
}
