//! `GET /stats`, `GET /stats/{name}`: what services, workers and the machine cost over a window.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Seconds, Timestamp, V1};

/// Which window.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StatsQuery {
    /// So many seconds, up to now; 300 when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub range_s: Option<u64>,
    /// Only this slot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slot: Option<u32>,
    /// Only this metric.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metric: Option<String>,
    /// So many equal parts of the window, each with its mean; none when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub points: Option<u32>,
}

/// All objects of which something is known in the window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AllStats {
    /// Version of the shape.
    pub v: V1,
    /// Ordered by name; the machine is `:host` and comes first.
    pub objects: Vec<Stats>,
}

/// One object over the window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stats {
    /// Version of the shape.
    pub v: V1,
    /// The service's or pool's name; `:host` for the machine.
    pub name: String,
    /// Beginning of the window.
    pub from: Timestamp,
    /// Its end.
    pub to: Timestamp,
    /// By metric, over the seconds of all instances: the mean of two instances, not their sum.
    pub series: BTreeMap<String, Figures>,
    /// By instance.
    pub instances: Vec<InstanceStats>,
    /// What happened in the window.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub marks: Vec<StatsMark>,
}

/// One instance over the window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InstanceStats {
    /// Its slot.
    pub slot: u32,
    /// By metric.
    pub series: BTreeMap<String, Figures>,
}

/// A metric over the window. Of what only grows all figures are rates.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// `percent`, `bytes`, `bytes_per_second`, `per_second`, or empty for a number of things.
    pub unit: String,
    /// Seconds of which something is known.
    pub seconds: Seconds,
    /// Mean.
    pub mean: f64,
    /// Standard deviation over the seconds.
    pub stddev: f64,
    /// Least.
    pub min: f64,
    /// Most.
    pub max: f64,
    /// Now; rates over the last five seconds.
    pub last: f64,
    /// Percentiles, within 1 % of the value; absent where the window is so long that only sums are kept.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub percentiles: Option<Percentiles>,
    /// Means of equal parts of the window; null where nothing is known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub graph: Vec<Option<f64>>,
}

/// Below what so many percent of the seconds are.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Percentiles {
    /// 50 %.
    pub p50: f64,
    /// 90 %.
    pub p90: f64,
    /// 95 %.
    pub p95: f64,
    /// 99 %.
    pub p99: f64,
    /// 99.9 %.
    #[serde(rename = "p99.9")]
    pub p999: f64,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StatsMark {
    /// When.
    pub at: Timestamp,
    /// To which slot; absent: to all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<u32>,
    /// `restart`, `deploy`, `oom`, `scale`, `exit`.
    pub what: String,
    /// In words.
    pub text: String,
}
