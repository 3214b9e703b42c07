//! Lines of the streams: events and logs.

use ganger_core::{Event, Exit, Stream};
use serde::{Deserialize, Serialize};

use super::{Timestamp, V1};

/// One event, as `events --json` prints it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventLine {
    /// Version of the shape.
    pub v: V1,
    /// Rises by one per event of a state folder.
    pub seq: u64,
    /// When.
    pub ts: Timestamp,
    /// `instance.state`, `instance.exit`, …
    #[serde(rename = "type")]
    pub kind: String,
    /// The service, pool or queue; empty for ganger itself.
    pub name: String,
    /// The instance's slot, where there is one.
    pub slot: Option<u32>,
    /// The state it left.
    pub from: Option<String>,
    /// The state it is in now.
    pub to: Option<String>,
    /// Why.
    pub reason: String,
    /// Of the end of a process: how, and what it used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<Box<Exit>>,
}

impl From<Event> for EventLine {
    fn from(e: Event) -> Self {
        Self {
            v: V1,
            seq: e.seq,
            ts: Timestamp(e.ts_ms),
            kind: e.kind,
            name: e.name,
            slot: e.slot,
            from: e.from,
            to: e.to,
            reason: e.reason,
            exit: e.exit,
        }
    }
}

/// One line that a child said, as `logs --json` prints it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// Version of the shape.
    pub v: V1,
    /// When its bytes were moved from the pipe.
    pub ts: Timestamp,
    /// Who said it.
    pub name: String,
    /// Which place.
    pub slot: u32,
    /// Where it was said.
    pub stream: Stream,
    /// Without the line feed; bytes that are not UTF-8 are replaced.
    pub line: String,
}
