//! Why a sandbox can't be put up.

use std::io;

use super::Wall;
use crate::closure::ClosureError;

/// A sandbox that is refused.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// A layer that is required and not to be had.
    #[error(
        "layer `{}` is required and not to be had: {why}; {fix}, or say layers = {{ {} = \"prefer\" }}",
        wall.as_str(), wall.as_str()
    )]
    Missing {
        /// Which.
        wall: Wall,
        /// Why.
        why: String,
        /// What to do.
        fix: &'static str,
    },
    /// A path that it is to show can't be shown.
    #[error("path {path}: {why}")]
    Path {
        /// Which.
        path: String,
        /// Why, and what to do.
        why: String,
    },
    /// What the program needs can't be told.
    #[error(transparent)]
    Closure(#[from] ClosureError),
    /// The program is another file than the one that was decided about.
    #[error("{path} is not the file that was decided about any more: decide again")]
    OtherProgram {
        /// Its path.
        path: String,
    },
}

impl SandboxError {
    pub(super) fn path(path: impl Into<String>, error: &io::Error) -> Self {
        let why = match error.raw_os_error() {
            Some(code) if code == rustix::io::Errno::XDEV.raw_os_error() => {
                "it leads out of its folder".to_owned()
            }
            Some(code) if code == rustix::io::Errno::LOOP.raw_os_error() => {
                "there is a symbolic link in it, which is not followed here".to_owned()
            }
            _ => error.to_string(),
        };
        Self::Path { path: path.into(), why }
    }
}
