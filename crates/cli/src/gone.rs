//! Waiting for the keeper to be gone, by its pidfd.

use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use tokio::io::unix::AsyncFd;

use crate::error::CliError;
use crate::link;
use crate::place::Place;

/// After the last child ended the keeper has only logs to retire.
const LAST_WORDS: Duration = Duration::from_secs(15);

/// A keeper that is to end.
#[derive(Debug)]
pub(crate) struct Keeper(Option<OwnedFd>);

impl Keeper {
    /// The keeper of a state folder, as its daemon names it.
    pub(crate) fn of(place: &Place) -> Result<Self, CliError> {
        let status = link::session_at(place, async |client| Ok(client.status().await?))?;
        Ok(Self::with_pid(status.keeper.pid))
    }

    /// The process with this id, if it is there.
    pub(crate) fn with_pid(pid: Option<u32>) -> Self {
        let pid = pid.and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        Self(pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()))
    }

    /// Returns when it has ended; never for one that could not be watched. Cancel safe.
    #[expect(
        deprecated,
        reason = "its successor is unsafe for types whose descriptor may change; an OwnedFd's can't"
    )]
    pub(crate) async fn gone(&self) {
        let Some(pidfd) = &self.0 else { return };
        let watched = pidfd.try_clone().and_then(AsyncFd::new);
        match watched {
            Ok(watched) => drop(watched.readable().await),
            Err(_) => std::future::pending().await,
        }
    }

    /// Becomes readable when it ends.
    pub(crate) fn pidfd(&self) -> Option<&OwnedFd> {
        self.0.as_ref()
    }

    /// Waits until it has ended; false when it still lives after 15 s.
    pub(crate) fn wait_gone(&self) -> bool {
        let Some(pidfd) = &self.0 else { return true };
        let timeout =
            Timespec { tv_sec: i64::try_from(LAST_WORDS.as_secs()).unwrap_or(15), tv_nsec: 0 };
        loop {
            let mut fds = [PollFd::new(pidfd, PollFlags::IN)];
            match poll(&mut fds, Some(&timeout)) {
                Ok(n) => return n > 0,
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return false,
            }
        }
    }
}
