//! `POST /call`, `POST /publish`, `GET /subscribe`: talking with services over their channels.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Seconds, V1};

/// A request to a service.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CallRequest {
    /// `NAME` (any ready instance) or `NAME#SLOT`.
    pub to: String,
    /// What is asked for.
    #[serde(default)]
    pub kind: String,
    /// Any JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<Box<RawValue>>,
    /// How long to wait for the answer, in seconds. Default: 30.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_s: Option<Seconds>,
}

/// What came of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CallAnswer {
    /// Always 1.
    pub v: V1,
    /// As the service gave it.
    pub result: Box<RawValue>,
}

/// A message to all who subscribed to its topic.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublishRequest {
    /// Which topic.
    pub topic: String,
    /// Any JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<Box<RawValue>>,
}

/// Whom it reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reached {
    /// Always 1.
    pub v: V1,
    /// Subscriptions.
    pub reached: u64,
}

/// Which topics.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubscribeQuery {
    /// Topics, separated by commas; a trailing `*` is for all that begin so.
    pub topics: String,
}

/// One line of a subscription: a message, or how many were dropped before the next.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct TopicLine {
    /// The message's topic; of a gap the subscription's.
    pub topic: String,
    /// Who published it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// What.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<Box<RawValue>>,
    /// So many messages were dropped: the listener was too slow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missed: Option<u64>,
}
