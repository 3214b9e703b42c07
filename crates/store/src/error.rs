//! What can go wrong with the store, and what to do.

use std::path::PathBuf;

/// A store could not be opened.
#[derive(Debug, Clone, thiserror::Error)]
pub enum OpenError {
    /// Opening or preparing failed.
    #[error("cannot open the state database {}: {step}: {source}", path.display())]
    Failed {
        /// The file.
        path: PathBuf,
        /// What was being done.
        step: &'static str,
        /// Why.
        source: StoreError,
    },
    /// A setting did not take.
    #[error("the state database {} does not accept {setting}: it answers `{got}`; is it on a network or overlay file system?", path.display())]
    Setting {
        /// The file.
        path: PathBuf,
        /// The setting.
        setting: &'static str,
        /// What it is instead.
        got: String,
    },
    /// Written by a newer ganger.
    #[error("the state database {} has schema {found}, this ganger knows up to {known}; run the newer ganger", path.display())]
    TooNew {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: u32,
        /// Ours.
        known: u32,
    },
    /// Another process has it open, so what an earlier crash left in the log can't be brought home.
    #[error("the state database {} is in use by another process: end it, then try again", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
}

/// A commit or read failed. Nothing of the batch was committed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// No space left. The store goes on when there is space again.
    #[error(
        "the disk is full, nothing was stored: free space on the file system of the state folder ({0})"
    )]
    Full(String),
    /// The file or its file system is read-only. The store goes on when it is writable again.
    #[error(
        "the state database is read-only, nothing was stored: make the state folder writable ({0})"
    )]
    ReadOnly(String),
    /// An fsync or write failed: what is on disk is unknown, so nothing more is stored until a restart has checked it.
    #[error(
        "the store stopped after an I/O error and refuses everything until the daemon is restarted: {0}; look at the disk (dmesg), then run `ganger daemon` again"
    )]
    Poisoned(String),
    /// A reader holds the write-ahead log, which has come to its bound: nothing new is taken until it lets go.
    #[error(
        "the state database's write-ahead log has come to {} MiB (the most is {} MiB) because a reader holds it: {}; pushes are refused until that reader ends", bytes >> 20, max >> 20,
        if holders.is_empty() { "`fuser` on the state folder's state.db-shm names it" } else { holders }
    )]
    LogFull {
        /// Its size.
        bytes: u64,
        /// The bound.
        max: u64,
        /// Processes that hold it, when the kernel tells.
        holders: String,
    },
    /// More batches wait than the bound: the submitter should wait for an answer first.
    #[error("the store's waiting line is full ({0} batches)")]
    Busy(usize),
    /// The writer was closed.
    #[error("the store is closed")]
    Closed,
    /// SQLite said something else.
    #[error("the store failed at {step}: {why}")]
    Other {
        /// What was being done.
        step: &'static str,
        /// SQLite's words.
        why: String,
    },
}

impl StoreError {
    /// True when the same batch may be tried again later.
    #[must_use]
    pub const fn is_passing(&self) -> bool {
        matches!(self, Self::Full(_) | Self::ReadOnly(_) | Self::LogFull { .. } | Self::Busy(_))
    }
}
