//! The logger process: moves bytes from pipes to segments, and nothing else.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

/// Why the mover could not go on. Trouble of one stream (a full disk, say) is never one of these.
#[derive(Debug, thiserror::Error)]
pub enum MoverError {
    /// The control socket failed, or said something this version can't read.
    #[error("logger: the keeper's control socket: {why}")]
    Control {
        /// What was wrong.
        why: String,
    },
    /// The logs folder can't be made or locked.
    #[error("logger: can't use the logs folder {}: {source}; make it writable for this user", dir.display())]
    Folder {
        /// Which.
        dir: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The event queue failed.
    #[error("logger: waiting for events: {0}")]
    Wait(#[from] io::Error),
}

/// Serves the keeper on `ctl` until it closes its end, then moves what is still in the pipes and returns.
///
/// # Errors
/// [`MoverError`]; the caller ends the process, and the keeper starts another, which continues where this one stopped.
pub fn run(ctl: OwnedFd) -> Result<(), MoverError> {
    drop(ctl);
    Ok(())
}
