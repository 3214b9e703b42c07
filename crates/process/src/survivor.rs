//! Waiting for the end of a process that the keeper could not end.

use std::os::fd::OwnedFd;

use ganger_keeper::survivor::is_there;
use ganger_keeper::wire::Survivor;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Returns once the process has ended. Where that can't be seen it never returns: the next daemon looks again. Must be
/// called within a tokio runtime.
pub async fn ended(survivor: &Survivor) {
    let pid = survivor.pid;
    // The pidfd first: what is read after it is about this process.
    let pidfd = match ganger_sys::pidfd::open(pid) {
        Ok(pidfd) if is_there(pid, survivor.birth) => pidfd,
        Ok(_) => return,
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error()) => {
            return;
        }
        Err(error) => return never(pid, error).await,
    };
    watch(pid, pidfd).await;
}

/// Returns once the process that has this number now has ended; at once if there is none. Where that can't be seen it never
/// returns. Must be called within a tokio runtime.
pub async fn end_of(pid: u32) {
    match ganger_sys::pidfd::open(pid) {
        Ok(pidfd) => watch(pid, pidfd).await,
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error()) => {}
        Err(error) => never(pid, error).await,
    }
}

#[expect(
    deprecated,
    reason = "its successor is unsafe for types whose descriptor may change; an OwnedFd's can't"
)]
async fn watch(pid: u32, pidfd: OwnedFd) {
    // Readable once the whole thread group has ended (pidfd_open(2)).
    let watched = AsyncFd::with_interest(pidfd, Interest::READABLE);
    let fd = match watched {
        Ok(fd) => fd,
        Err(error) => return never(pid, error).await,
    };
    if let Err(error) = fd.readable().await {
        never(pid, error).await;
    }
}

async fn never(pid: u32, error: std::io::Error) {
    tracing::error!(pid, %error, "can't watch the end of a process; what waits for it waits for the next daemon");
    std::future::pending::<()>().await;
}
