//! `POST /wait`: `queue:Q=empty`, `service:S=ready`, `service:S=reloaded`, `task:ID=done`.

use std::fmt;
use std::str::FromStr;

use ganger_core::TaskId;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{Seconds, V1};

/// Something that becomes true.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WaitCondition {
    /// No task of the queue is open.
    QueueEmpty(String),
    /// Every wanted instance of the service is ready.
    ServiceReady(String),
    /// No reload of the service is under way, and what is configured is what runs.
    ServiceReloaded(String),
    /// The task has ended, well or not.
    TaskDone(TaskId),
}

/// A text that is no condition.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a condition; use queue:NAME=empty, service:NAME=ready, service:NAME=reloaded or task:ID=done"
)]
pub struct WaitConditionError(String);

impl FromStr for WaitCondition {
    type Err = WaitConditionError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let fail = || WaitConditionError(s.to_owned());
        let (noun, rest) = s.split_once(':').ok_or_else(fail)?;
        let (name, state) = rest.rsplit_once('=').ok_or_else(fail)?;
        match (noun, state) {
            _ if name.is_empty() => Err(fail()),
            ("queue", "empty") => Ok(Self::QueueEmpty(name.to_owned())),
            ("service" | "pool", "ready") => Ok(Self::ServiceReady(name.to_owned())),
            ("service", "reloaded") => Ok(Self::ServiceReloaded(name.to_owned())),
            ("task", "done") => name.parse().map(Self::TaskDone).map_err(|_| fail()),
            _ => Err(fail()),
        }
    }
}

impl fmt::Display for WaitCondition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::QueueEmpty(name) => write!(f, "queue:{name}=empty"),
            Self::ServiceReady(name) => write!(f, "service:{name}=ready"),
            Self::ServiceReloaded(name) => write!(f, "service:{name}=reloaded"),
            Self::TaskDone(id) => write!(f, "task:{id}=done"),
        }
    }
}

impl Serialize for WaitCondition {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for WaitCondition {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(de::Error::custom)
    }
}

/// Body of `POST /wait`: answers when all hold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WaitRequest {
    /// All of these.
    pub conditions: Vec<WaitCondition>,
    /// Give up after this; `null` waits for ever.
    #[serde(default)]
    pub timeout_s: Option<Seconds>,
}

/// They hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waited {
    /// Version of the shape.
    pub v: V1,
    /// What was waited for.
    pub met: Vec<WaitCondition>,
}
