//! `POST /apply`.

use std::collections::BTreeMap;

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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// What happens to it.
    pub action: ChangeAction,
    /// `service`, `queue` or `pool`.
    pub kind: String,
    /// Its name.
    pub name: String,
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
