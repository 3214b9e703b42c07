//! A child on its way to its program.
//!
//! ```text
//! begin ──▶ on its way ──exec closes the pipe──▶ runs
//!              ├──it reports step and errno──▶ failed, reaped
//!              └──deadline──▶ killed, reaped by whoever reaps all
//! ```

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use super::{SpawnError, Started, parent};

/// A child between its birth and its program. As a descriptor it is readable, or hung up, when [`wait`](Self::wait) does not
/// wait any more. Dropped, the child goes on without anybody who would know how it went.
#[derive(Debug)]
#[must_use = "a child that nobody waits for is nobody's"]
pub struct Pending {
    pub(super) reader: OwnedFd,
    pub(super) started: Started,
    pub(super) deadline: Instant,
}

impl Pending {
    /// Its process id, good until it is reaped. It may end before anybody has waited for its program.
    #[must_use]
    pub const fn pid(&self) -> u32 {
        self.started.pid
    }

    /// From then on [`wait`](Self::wait) does not wait either, and ends what has not come to its program:
    /// [`EXEC_DEADLINE`](super::EXEC_DEADLINE) after its birth.
    #[must_use]
    pub const fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Waits until its program runs.
    ///
    /// # Errors
    /// As [`Spec::spawn`](super::Spec::spawn).
    pub fn wait(self) -> Result<Started, SpawnError> {
        parent::wait(self, None)
    }
}

impl AsFd for Pending {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }
}
