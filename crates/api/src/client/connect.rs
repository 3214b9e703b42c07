//! Reaching the socket: long paths, a daemon that is being restarted, and no daemon at all.

use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep};

use crate::{ApiError, ErrorKind, LOCK_NAME, SOCKET_NAME};

/// `sun_path` holds 108 bytes with the closing NUL (unix(7)).
const SUN_PATH_MAX: usize = 107;
/// Between two tries while a daemon is being restarted: far below what a person notices, far above what it costs.
const RETRY_EVERY: Duration = Duration::from_millis(25);
/// A killed daemon's successor is there within a second.
const LEFT_BEHIND: Duration = Duration::from_secs(3);

/// Connects, trying again for `patience` if a keeper lives.
///
/// # Errors
/// `NoDaemon` with the folder and the way out; at once if nobody holds the lock. Cancel safe.
pub(crate) async fn connect(state_dir: &Path, patience: Duration) -> Result<UnixStream, ApiError> {
    let until = Instant::now() + patience;
    loop {
        let error = match try_connect(state_dir).await {
            Ok(stream) => return Ok(stream),
            Err(error) => error,
        };
        if error.kind() == io::ErrorKind::PermissionDenied {
            return Err(denied(state_dir, &error));
        }
        if !lock_is_held(state_dir) {
            return Err(no_daemon(state_dir, &error));
        }
        if Instant::now() >= until {
            return Err(no_daemon(state_dir, &error)
                .cause(format!("a keeper lives, but no daemon answered within {patience:?}"))
                .hint("`ganger logs ganger` shows what the daemon said last"));
        }
        sleep(RETRY_EVERY).await;
    }
}

/// Connects to a socket by its own path, trying again for a while where a daemon has left it behind: the next one takes its place.
///
/// # Errors
/// `NoDaemon`, `Denied`. Cancel safe.
pub(crate) async fn connect_to(path: &Path, patience: Duration) -> Result<UnixStream, ApiError> {
    let until = Instant::now() + patience.min(LEFT_BEHIND);
    loop {
        let error = match UnixStream::connect(path).await {
            Ok(stream) => return Ok(stream),
            Err(error) => error,
        };
        let path = path.display();
        match error.kind() {
            io::ErrorKind::ConnectionRefused if Instant::now() < until => sleep(RETRY_EVERY).await,
            io::ErrorKind::PermissionDenied => {
                let message = format!("the socket {path} is not for you");
                return Err(ApiError::new(ErrorKind::Denied, message)
                    .cause(error.to_string())
                    .hint("`[server] exec_socket` of the daemon's configuration names the group that may connect"));
            }
            _ => {
                let message = format!("no daemon listens on {path}");
                return Err(ApiError::new(ErrorKind::NoDaemon, message)
                    .cause(error.to_string())
                    .hint("`[server] exec_socket` of a daemon's configuration opens one"));
            }
        }
    }
}

async fn try_connect(state_dir: &Path) -> io::Result<UnixStream> {
    let path = state_dir.join(SOCKET_NAME);
    if path.as_os_str().len() <= SUN_PATH_MAX {
        return UnixStream::connect(path).await;
    }
    // The kernel follows /proc/self/fd/N to the folder, whatever its path's length.
    let dir = rustix::fs::open(
        state_dir,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    UnixStream::connect(format!("/proc/self/fd/{}/{SOCKET_NAME}", dir.as_raw_fd())).await
}

/// Reads /proc/locks instead of trying the lock: a try that succeeds for a moment would make a keeper that is just
/// starting believe in a second one.
pub(crate) fn lock_is_held(state_dir: &Path) -> bool {
    let Ok(meta) = std::fs::metadata(state_dir.join(LOCK_NAME)) else { return false };
    let Ok(locks) = std::fs::read_to_string("/proc/locks") else { return true };
    // `1: FLOCK  ADVISORY  WRITE 711 08:01:131080 0 EOF` (proc(5)). The device is that of the superblock, which is not
    // always st_dev (btrfs, overlay), so only the inode is compared: a wrong match costs patience, never truth.
    locks.lines().any(|line| {
        let mut words = line.split_whitespace();
        words.any(|w| w == "FLOCK")
            && words
                .filter_map(|w| w.rsplit_once(':'))
                .any(|(_, inode)| inode.parse() == Ok(meta.ino()))
    })
}

pub(crate) fn no_daemon(state_dir: &Path, error: &io::Error) -> ApiError {
    ApiError::new(ErrorKind::NoDaemon, format!("no daemon serves {}", state_dir.display()))
        .cause(error.to_string())
        .hint("`ganger up` starts one; `--state-dir DIR` names another state folder")
}

fn denied(state_dir: &Path, error: &io::Error) -> ApiError {
    ApiError::new(
        ErrorKind::Denied,
        format!("the daemon's socket in {} is not yours", state_dir.display()),
    )
    .cause(error.to_string())
    .hint("run this as the user who runs the daemon, or as root")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn without_a_daemon_it_fails_at_once_and_says_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let error = connect(dir.path(), Duration::from_secs(3600)).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::NoDaemon);
        assert!(error.message.contains(&dir.path().display().to_string()));
        assert!(error.hints[0].contains("ganger up"));
    }

    #[test]
    fn a_held_lock_is_seen_without_taking_it() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!lock_is_held(dir.path()));
        let lock = std::fs::File::create(dir.path().join(LOCK_NAME)).unwrap();
        assert!(!lock_is_held(dir.path()));
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
        assert!(lock_is_held(dir.path()));
        drop(lock);
        assert!(!lock_is_held(dir.path()));
    }

    #[tokio::test]
    async fn a_path_longer_than_a_socket_address_is_reached() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("x".repeat(150));
        std::fs::create_dir(&deep).unwrap();
        let fd = rustix::fs::open(&deep, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
        let short = format!("/proc/self/fd/{}/{SOCKET_NAME}", fd.as_raw_fd());
        let listener = tokio::net::UnixListener::bind(short).unwrap();
        let (client, server) =
            tokio::join!(connect(&deep, Duration::from_secs(5)), listener.accept());
        client.unwrap();
        server.unwrap();
    }
}
