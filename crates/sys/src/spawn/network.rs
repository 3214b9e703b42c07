//! A network namespace that is there before the child, with nothing in it but `lo`, which is down.
//!
//! It belongs to the user namespace of whoever makes it: a child with a user namespace of its own has no right over it, not even
//! between its birth and the loss of its capabilities.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;

/// Of the thread, not of the process's first.
const OWN: &str = "/proc/thread-self/ns/net";
/// How many sockets there are in the thread's network; the file stays that network's (proc_pid_net(5)).
const SOCKETS: &str = "/proc/thread-self/net/sockstat";
/// How that begins where nobody has one, messages in other sockets included; those of the kernel's own are not counted (`sock_inuse_add`).
const NO_SOCKET: &[u8] = b"sockets: used 0\n";

/// A network namespace. It goes when this and all in it are gone.
#[derive(Debug)]
pub struct Network {
    namespace: OwnedFd,
    /// Of the thread that made it.
    home: OwnedFd,
    /// `None` where there is no such file.
    sockets: Option<File>,
}

impl Network {
    /// Makes one, which takes half a millisecond.
    ///
    /// # Errors
    /// EPERM: without CAP_SYS_ADMIN. ENOSPC: there are as many as there may be (user.max_net_namespaces).
    pub fn make() -> io::Result<Self> {
        let home = OwnedFd::from(File::open(OWN)?);
        // Root in a user namespace may leave a network that is not of that namespace, and not come back: that is refused here.
        set(home.as_fd())?;
        // SAFETY: plain numbers; concerns this thread alone.
        if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
            return Err(io::Error::last_os_error());
        }
        let away = Away { home: home.as_fd() };
        let (namespace, sockets) = (File::open(OWN), File::open(SOCKETS).ok());
        drop(away);
        Ok(Self { namespace: namespace?.into(), home, sockets })
    }

    /// No socket of anybody's is in it. False as well where the kernel does not tell.
    #[must_use]
    pub fn is_unused(&self) -> bool {
        let mut start = [0u8; NO_SOCKET.len()];
        let read = self.sockets.as_ref().map(|file| file.read_exact_at(&mut start, 0));
        matches!(read, Some(Ok(()))) && start == NO_SOCKET
    }

    /// This thread is in it, and what it starts, until the value is dropped. To be called in the network in which it was made.
    pub(super) fn enter(&self) -> io::Result<Away<'_>> {
        set(self.namespace.as_fd())?;
        Ok(Away { home: self.home.as_fd() })
    }

    /// The namespace (ioctl_ns(2), setns(2)).
    #[must_use]
    pub fn namespace(&self) -> BorrowedFd<'_> {
        self.namespace.as_fd()
    }
}

/// This thread is in another network.
pub(super) struct Away<'a> {
    home: BorrowedFd<'a>,
}

impl Drop for Away<'_> {
    fn drop(&mut self) {
        if set(self.home).is_err() {
            // Whatever was started from here on would be without a network, and nobody would know why. The right to come back
            // is the one by which it left; only a kernel without memory for the smallest things refuses.
            std::process::abort();
        }
    }
}

fn set(network: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: plain numbers; concerns this thread alone.
    let rc = unsafe { libc::setns(network.as_raw_fd(), libc::CLONE_NEWNET) };
    if rc == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;
    use std::os::unix::net::UnixStream;

    use super::*;

    fn here() -> u64 {
        File::open(OWN).unwrap().metadata().unwrap().ino()
    }

    #[test]
    fn a_thread_comes_home() {
        let home = here();
        let network = match Network::make() {
            Ok(network) => network,
            Err(error) => return println!("skipped: {error}"),
        };
        assert_eq!(here(), home);
        let file = File::from(network.namespace().try_clone_to_owned().unwrap());
        let away = network.enter().unwrap();
        assert_eq!(here(), file.metadata().unwrap().ino());
        let devices = std::fs::read_to_string("/proc/thread-self/net/dev").unwrap();
        assert!(network.is_unused());
        let sockets = UnixStream::pair().unwrap();
        drop(away);
        assert!(!network.is_unused(), "a socket was not seen");
        drop(sockets);
        assert!(network.is_unused());
        assert_eq!(here(), home);
        assert_ne!(file.metadata().unwrap().ino(), home);
        // Two lines of heading, and lo.
        assert_eq!(devices.lines().count(), 3, "{devices}");
    }
}
