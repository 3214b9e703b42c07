//! Waiting for the keeper to be gone, by its pidfd.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use ganger_api::SOCKET_NAME;
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
    /// The keeper of a state folder. One in another pid namespace (a container) is watched by its socket, which it
    /// removes last; its number means nothing here.
    pub(crate) fn of(place: &Place) -> Result<Self, CliError> {
        let status = link::session_at(place, async |client| Ok(client.status().await?))?;
        let pid = status.keeper.pid.filter(|pid| is_keeper_of(*pid, &place.state_dir));
        Ok(match pid {
            Some(pid) => Self::with_pid(Some(pid)),
            None => Self(socket_watch(&place.state_dir.join(SOCKET_NAME)).ok()),
        })
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

/// Its command line says so: `ganger __keeper --state-dir DIR`.
fn is_keeper_of(pid: u32, state_dir: &Path) -> bool {
    let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let mut words = words.split(|byte| *byte == 0);
    words.any(|word| word == b"__keeper")
        && words.any(|word| word == state_dir.as_os_str().as_encoded_bytes())
}

/// Readable once the socket's name is removed: its link count changes (inotify(7), IN_ATTRIB).
fn socket_watch(socket: &Path) -> rustix::io::Result<OwnedFd> {
    use rustix::fs::inotify;
    let watch = inotify::init(inotify::CreateFlags::CLOEXEC)?;
    inotify::add_watch(
        &watch,
        socket,
        inotify::WatchFlags::ATTRIB | inotify::WatchFlags::DELETE_SELF,
    )?;
    Ok(watch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_removed_socket_is_an_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let _socket = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let keeper = Keeper(Some(socket_watch(&path).unwrap()));
        std::fs::remove_file(&path).unwrap();
        assert!(keeper.wait_gone());
        assert!(!is_keeper_of(std::process::id(), dir.path()));
    }
}
