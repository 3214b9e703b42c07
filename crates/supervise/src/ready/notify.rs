//! Readiness by sd_notify(3): a datagram socket whose name stands in `NOTIFY_SOCKET`.
//!
//! The socket is bound once per instance and held by the keeper, so that nothing sent while the daemon restarts is lost.
//! It lies in the state folder where the child may reach that, else it has an abstract name; either way the kernel's word
//! on the sender's user decides (SO_PASSCRED, unix(7)), since a helper like systemd-notify(1) is gone before its pid
//! could be looked up.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::sync::Arc;

use ganger_core::InstanceId;
use ganger_sandbox::Profile;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use tokio::io::Interest;

use super::Found;

/// sun_path holds 108 bytes with its end (unix(7)), and the child gets the name as it is.
const PATH_MAX: usize = 107;
/// sd_notify(3) sends up to 4 KiB; systemd reads that much as well.
const DATAGRAM_MAX: usize = 4_096;

/// How the names begin under which the keeper holds notify sockets.
pub(crate) const NOTIFY_PREFIX: &str = "notify:";

/// Why there is no notify socket.
#[derive(Debug, thiserror::Error)]
#[error("can't make the notify socket {name} of {id}: {source}")]
pub(crate) struct NotifyError {
    id: InstanceId,
    name: String,
    source: io::Error,
}

pub(crate) struct NotifySocket {
    name: String,
    socket: Arc<tokio::net::UnixDatagram>,
    /// Users that may speak: ganger's own, the child's, root.
    users: [u32; 3],
}

impl NotifySocket {
    /// The name under which the keeper holds it.
    pub(crate) fn held_name(id: &InstanceId) -> String {
        format!("{NOTIFY_PREFIX}{id}")
    }

    /// Makes the socket, or takes on the one a former daemon made.
    pub(crate) fn open(
        run_dir: &Path,
        id: &InstanceId,
        profile: &Profile,
        held: Option<OwnedFd>,
    ) -> Result<Self, NotifyError> {
        let own = rustix::process::geteuid().as_raw();
        let child = profile.identity.as_ref().map_or(own, |identity| identity.uid);
        let path = run_dir.join(format!("{}.{}.notify", id.name, id.slot));
        let path = path.to_string_lossy().into_owned();
        let in_folder = child == own && path.len() <= PATH_MAX;
        let name = if in_folder { path } else { abstract_name(run_dir, id) };
        let open = || -> io::Result<tokio::net::UnixDatagram> {
            let socket = match held {
                Some(fd) => UnixDatagram::from(fd),
                None => bind(&name)?,
            };
            socket.set_nonblocking(true)?;
            rustix::net::sockopt::set_socket_passcred(&socket, true)?;
            tokio::net::UnixDatagram::from_std(socket)
        };
        match open() {
            Ok(socket) => Ok(Self { name, socket: Arc::new(socket), users: [own, child, 0] }),
            Err(source) => Err(NotifyError { id: id.clone(), name, source }),
        }
    }

    /// The value of `NOTIFY_SOCKET`.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// A second descriptor, for the keeper.
    pub(crate) fn to_hold(&self) -> Option<OwnedFd> {
        self.socket.as_fd().try_clone_to_owned().ok()
    }

    /// Drops what an earlier process sent; its tree is gone, so nothing of it can come later.
    pub(crate) fn forget(&self) {
        while let Ok(Some(_)) = receive(&self.socket) {}
    }

    pub(crate) fn listen(&self) -> Listener {
        Listener { socket: Arc::clone(&self.socket), users: self.users }
    }
}

pub(crate) struct Listener {
    socket: Arc<tokio::net::UnixDatagram>,
    users: [u32; 3],
}

impl Listener {
    /// Returns at `READY=1`. Other messages are taken and dropped: MAINPID and WATCHDOG mean nothing here yet.
    pub(super) async fn ready(&mut self) -> Found {
        loop {
            let readable = self.socket.readable().await;
            let taken = readable.and_then(|()| {
                self.socket.try_io(Interest::READABLE, || match receive(&self.socket)? {
                    Some(message) => Ok(message),
                    None => Err(io::ErrorKind::WouldBlock.into()),
                })
            });
            match taken {
                Ok((user, text)) if self.users.contains(&user) => {
                    if text.lines().any(|line| line == "READY=1") {
                        return Found::Ready;
                    }
                }
                Ok((user, _)) => tracing::warn!(user, "notify message of a stranger is dropped"),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => {
                    tracing::error!(%error, "the notify socket broke");
                    return std::future::pending().await;
                }
            }
        }
    }
}

/// One datagram: the sender's user and the text. `None` when none is there.
fn receive(socket: &impl AsFd) -> io::Result<Option<(u32, String)>> {
    let mut bytes = [0; DATAGRAM_MAX];
    // Descriptors that come along are closed by being dropped.
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmCredentials(1), ScmRights(16))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    let got = match recvmsg(socket, &mut [io::IoSliceMut::new(&mut bytes)], &mut control, flags) {
        Ok(got) => got,
        Err(rustix::io::Errno::AGAIN) => return Ok(None),
        Err(errno) => return Err(errno.into()),
    };
    let user = control.drain().find_map(|part| match part {
        RecvAncillaryMessage::ScmCredentials(sender) => Some(sender.uid.as_raw()),
        _ => None,
    });
    let text = String::from_utf8_lossy(&bytes[..got.bytes]).into_owned();
    Ok(Some((user.unwrap_or(u32::MAX), text)))
}

fn bind(name: &str) -> io::Result<UnixDatagram> {
    if let Some(name) = name.strip_prefix('@') {
        return UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(name)?);
    }
    // A file that an earlier daemon left: nobody listens on it, or the keeper would have handed it on.
    match std::fs::remove_file(name) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => UnixDatagram::bind(name),
    }
}

/// Unique to the state folder: two gangers of one user must not take each other's name.
fn abstract_name(run_dir: &Path, id: &InstanceId) -> String {
    let folder = std::fs::metadata(run_dir).map_or(0, |meta| {
        use std::os::unix::fs::MetadataExt;
        meta.ino() ^ meta.dev().rotate_left(32)
    });
    format!("@ganger/{folder:x}/{id}")
}
