//! `POST /upgrade` and `GET /upgrade`.

use serde::{Deserialize, Serialize};

use super::{Timestamp, V1};

/// Which binary to go on as.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpgradeRequest {
    /// Its absolute path.
    pub binary: String,
    /// Only ask it whether it can.
    #[serde(default)]
    pub dry_run: bool,
}

/// The old daemon's last answer: the keeper runs the binary, and the new daemon follows. It answers whoever connects from
/// here on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpgradeStarted {
    /// Version of the shape.
    pub v: V1,
    /// Version of the answering daemon.
    pub from: String,
    /// Version of the binary.
    pub to: String,
    /// The store's schema is migrated by the new daemon, and the old binary can't go back.
    #[serde(default)]
    pub migrates: bool,
    /// What happened; absent after a dry run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upgrade: Option<Upgrade>,
}

/// The last upgrade of this ganger since its keeper started, as the answering daemon knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpgradeReport {
    /// Version of the shape.
    pub v: V1,
    /// Version of the answering daemon.
    pub version: String,
    /// Process id of the answering daemon.
    pub daemon_pid: u32,
    /// Absent when there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<Upgrade>,
}

/// One upgrade.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upgrade {
    /// The version before.
    pub from: String,
    /// The version after.
    pub to: String,
    /// When the keeper was replaced.
    pub at: Timestamp,
    /// For how many microseconds the keeper heard and did nothing.
    pub keeper_gap_us: u64,
    /// Processes of services and workers that went through it.
    pub children: u32,
    /// Why the old version's daemon is back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
}
