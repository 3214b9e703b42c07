//! The logger process: moves bytes from pipes to segments, and nothing else.
//!
//! One thread around one epoll. Bytes never enter this process: `splice` moves them in the kernel, which takes from the
//! pipe exactly what it wrote to the file, and the file's position is the cursor. A SIGKILL at any moment therefore
//! loses nothing and doubles nothing; the next mover seeks to the end of the last segment and goes on.
//!
//! It owns the segment files (one mover per folder, by flock). It never looks at bytes, never makes a child wait for a
//! disk, never waits for a pipe's end (the keeper holds both ends, so it never comes), and wakes only for something to do.
//!
//! ```text
//! start ─▶ Hello: lock the folder (waits for an older mover to drain) ─▶ serving ─▶ keeper's end closed: drain all, end
//! ```

mod control;
mod obey;
mod pace;
mod segment;
mod serve;
mod shelf;
mod stream;
#[cfg(test)]
mod tests;

use std::fs::{DirBuilder, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::layout::LOCK;

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
    raise_descriptor_limit();
    serve::Mover::new(ctl)?.run()
}

/// Each stream takes a descriptor for its pipe and two while it speaks. Refused is fine: then fewer segments stay open.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

/// Makes the folder and waits for its lock. Whoever holds it drains and exits as soon as its own keeper is gone.
fn lock(dir: &Path) -> io::Result<File> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let mut options = File::options();
    let file = options.write(true).create(true).truncate(false).mode(0o600).open(dir.join(LOCK))?;
    loop {
        match flock(&file, FlockOperation::LockExclusive) {
            Ok(()) => return Ok(file),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
