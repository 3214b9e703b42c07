//! `GET /anomalies`: what the detectors think is unusual or wrong.

use serde::{Deserialize, Serialize};

use super::{Seconds, Timestamp, V1};

/// Which.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AnomaliesQuery {
    /// Those that are over too.
    pub all: bool,
}

/// Open ones, the worst first; then those that are over, the newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Anomalies {
    /// Version of the shape.
    pub v: V1,
    /// See above.
    pub anomalies: Vec<Anomaly>,
}

/// One cause of one object, however often it was seen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Anomaly {
    /// The service or pool.
    pub name: String,
    /// Its slot; absent: the pool as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<u32>,
    /// `spike`, `level_shift`, `leak`, `stall`, `livelock`, `crash_loop`, `saturation`, `outlier`.
    pub detector: String,
    /// Of what: `cpu`, `memory`, `fds`, `threads`, `io`, `progress`, `ends`, …
    pub of: String,
    /// How sure and how bad, 0 to 1: below 0.5 worth a note, from 0.8 worth a call.
    pub score: f64,
    /// The value in the unit of what it is of: cores, bytes, bytes a second, things; of no progress seconds.
    pub value: f64,
    /// What it is held against, in the same unit.
    pub baseline: f64,
    /// Samples that the baseline rests on.
    pub samples: u64,
    /// Short facts with numbers, the most telling first.
    pub evidence: Vec<String>,
    /// Until the limit is reached, where that applies.
    #[serde(default, rename = "eta_s", skip_serializing_if = "Option::is_none")]
    pub eta: Option<Seconds>,
    /// It began within five minutes of a reload.
    #[serde(default)]
    pub deploy: bool,
    /// It began then.
    pub since: Timestamp,
    /// It was told then.
    pub opened: Timestamp,
    /// A detector saw it last then.
    pub last: Timestamp,
    /// It is over since then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed: Option<Timestamp>,
    /// How often it came back.
    pub returns: u32,
}
