//! What can go wrong with writing a log, and what to do.

use std::path::PathBuf;

use crate::verify::Finding;

/// A log could not be opened, or a record could not be appended. Nothing was acknowledged.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AuditError {
    /// An earlier write failed: nothing is accepted, so nothing may be run, until the log is opened again.
    #[error(
        "the audit log is down since {why}; nothing may run unrecorded: mend that, then open the log again"
    )]
    Down {
        /// The failure that took it down.
        why: String,
    },
    /// A file of the log or of its witness could not be written or read.
    #[error("the audit log failed at {step} {}: {why}; look at space and rights of the folder (`df`, `ls -ld`)", path.display())]
    Io {
        /// What was being done.
        step: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        why: String,
    },
    /// Another process writes this log.
    #[error("another process writes the audit log {}: end it first", path.display())]
    Locked {
        /// The folder.
        path: PathBuf,
    },
    /// What is there is not what was written: nothing is appended to a log that was tampered with.
    #[error("the audit log {} is not as it was written: {finding}; keep it as evidence (move the folder away) and a new log begins", path.display())]
    Altered {
        /// The folder.
        path: PathBuf,
        /// The first place.
        finding: Box<Finding>,
    },
    /// The log is there and its key is not, or is another's.
    #[error("the key {} does not belong to the audit log: {why}; put the right one back, or move the log away and a new one begins", path.display())]
    Key {
        /// The key file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The record is too long for a line.
    #[error(
        "a record of {bytes} bytes is longer than the {max} that a line may have: the command line is too long to be recorded, so it may not run"
    )]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The bound.
        max: usize,
    },
    /// The record can't be written in the log's form.
    #[error("a record has no form in the audit log: {0}")]
    Form(String),
    /// The disk takes too long. The record may yet reach it, but nobody may count on it.
    #[error(
        "the audit log did not answer within {0}: the disk is too slow or hangs (`dmesg`, `iostat`)"
    )]
    Slow(ganger_core::Dur),
    /// The log was closed.
    #[error("the audit log is closed")]
    Closed,
}

impl AuditError {
    pub(crate) fn io<E: std::fmt::Display>(
        step: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(E) -> Self {
        let path = path.into();
        move |why| Self::Io { step, path, why: why.to_string() }
    }
}
