//! What a task sets for itself about its retries.

use ganger_core::task_backoff::Jitter;
use ganger_core::{Dur, DurRange};
use serde::{Deserialize, Serialize};

/// `retry` of a task; what is left out is the queue's. The words are those of `[queue.NAME.retry]`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskRetry {
    /// Tries in all, 1 to 1000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<u32>,
    /// The waits between them: `1s..10m`, or one duration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backoff: Option<DurRange>,
    /// How they grow: `fixed`, `linear`, `exponential`, `polynomial`, or another queue's formula by its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub curve: Option<String>,
    /// Growth per try of an exponential curve, 1 to 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub factor: Option<f64>,
    /// Exponent of a polynomial curve, 1 to 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub power: Option<f64>,
    /// What chance does to a wait: `none`, `equal`, `full`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jitter: Option<Jitter>,
    /// No further try would begin later than this after the push.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age: Option<Dur>,
    /// Tries that may end by crash or timeout; 0: no limit but `max`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crash_limit: Option<u32>,
}
