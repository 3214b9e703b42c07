//! Why a keeper can't run.

use std::io;
use std::path::PathBuf;

/// A keeper that can't start or go on.
#[derive(Debug, thiserror::Error)]
pub enum KeeperError {
    /// The state folder or a file in it.
    #[error("state folder: {path}: {source}; is the disk full, read-only, or another user's?", path = path.display())]
    State {
        /// Which path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another keeper or daemon holds the state folder.
    #[error("{path} is in use by another ganger: `ganger status` shows it, `ganger down` ends it", path = path.display())]
    Locked {
        /// The state folder.
        path: PathBuf,
    },
    /// The state id file holds something else.
    #[error("{path} holds no state id ({text:?}); restore it, or remove it when nothing of this state runs", path = path.display())]
    StateId {
        /// The file.
        path: PathBuf,
        /// What it holds.
        text: String,
    },
    /// The table of the keeper before this one.
    #[error("the table to take over: {why}")]
    Adopt {
        /// Why.
        why: String,
    },
    /// What the program before this one wrote down.
    #[error("the keeper's state to go on from: {why}")]
    Resume {
        /// Why.
        why: String,
    },
    /// A kernel facility everything stands on.
    #[error("{what}: {source}")]
    Kernel {
        /// Which.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
}

impl KeeperError {
    pub(crate) fn kernel(what: &'static str) -> impl Fn(io::Error) -> Self {
        move |source| Self::Kernel { what, source }
    }
}
