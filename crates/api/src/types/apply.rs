//! `POST /apply`.

use std::collections::BTreeMap;

use ganger_core::Effect;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::V1;

/// A resolved configuration to make real.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ApplyRequest {
    /// `ganger_daemon::config::Config` as JSON.
    pub config: Box<RawValue>,
    /// The environment of the caller: what services inherit that are new or run something else than before.
    pub environment: BTreeMap<String, String>,
    /// Give it to all services and workers, by a restart.
    #[serde(default)]
    pub update_environment: bool,
    /// Only say what would change.
    #[serde(default)]
    pub dry_run: bool,
}

/// What applying changed, or would.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Applied {
    /// Version of the shape.
    pub v: V1,
    /// Ordered by kind and name.
    pub changes: Vec<Change>,
    /// What was applied but won't work, each naming the thing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// One named thing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// What happens to it.
    pub action: ChangeAction,
    /// `service`, `queue` or `pool`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// What that means for a service that is there or comes, as things are now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<Effect>,
    /// Keys of the configuration that differ, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<ChangedKey>,
}

/// One key that differs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChangedKey {
    /// Like `replicas` or `env.PORT`.
    pub key: String,
    /// What it was; absent where it was not there, or is not shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<serde_json::Value>,
    /// What it is to be; absent where it is to be gone, or is not shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<serde_json::Value>,
    /// Values of the environment are not shown: they may be secrets.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hidden: bool,
}

/// What happens to a named thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeAction {
    /// New.
    Add,
    /// Its settings differ; running processes are restarted if they must be.
    Change,
    /// Gone from the configuration.
    Remove,
    /// As it was.
    Keep,
}
