//! `ganger store backup|restore|check|vacuum --json`.

use serde::{Deserialize, Serialize};

use super::V1;

/// A backup that was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreBackup {
    /// Version of the shape.
    pub v: V1,
    /// Absolute path of the backup.
    pub file: String,
    /// Its bytes.
    pub bytes: u64,
    /// Unfinished tasks in it.
    pub unfinished: u64,
    /// Finished tasks in it.
    pub finished: u64,
}

/// A backup that was put in place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreRestore {
    /// Version of the shape.
    pub v: V1,
    /// Absolute path of the state database.
    pub file: String,
    /// Where the former one is kept; absent when there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aside: Option<String>,
    /// Unfinished tasks now there.
    pub unfinished: u64,
    /// Finished tasks now there.
    pub finished: u64,
    /// The fencing epoch the next daemon begins above.
    pub epoch: u32,
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreCheck {
    /// Version of the shape.
    pub v: V1,
    /// Absolute path of the state database.
    pub file: String,
    /// Nothing is wrong.
    pub ok: bool,
    /// Bytes of the file.
    pub bytes: u64,
    /// Of these, bytes that hold nothing.
    pub free_bytes: u64,
    /// Bytes of the write-ahead log's file.
    pub log_bytes: u64,
    /// Unfinished tasks.
    pub unfinished: u64,
    /// Finished tasks.
    pub finished: u64,
    /// What is wrong, worst first.
    pub problems: Vec<StoreProblem>,
}

/// One thing that is wrong with the state database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreProblem {
    /// What, where, how many.
    pub what: String,
    /// `restore`, `reindex` or `recount`.
    pub remedy: String,
    /// What to do.
    pub fix: String,
}

/// What a vacuum gave back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreVacuum {
    /// Version of the shape.
    pub v: V1,
    /// Bytes before.
    pub before: u64,
    /// Bytes now.
    pub after: u64,
}
