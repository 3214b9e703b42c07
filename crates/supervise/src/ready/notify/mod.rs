//! What a process says by sd_notify(3): a datagram socket whose name stands in `NOTIFY_SOCKET`.
//!
//! The socket is bound once per instance and held by the keeper, so that nothing sent while the daemon restarts is lost.
//! It lies in the state folder where the child may reach that, else it has an abstract name. The kernel says who sent a
//! datagram (SO_PASSCRED, unix(7)): a process outside the instance's tree is a stranger, and nothing it says counts. One
//! that has ended before it could be looked up, as a helper that doesn't wait for its `BARRIER=1` may, is believed if it
//! was the child's user: such a user could end the child as well.
//!
//! `BARRIER=1` comes alone with a descriptor that the sender waits for. Datagrams are taken in order, one after the other
//! is acted on, and descriptors are closed as they come, so there is nothing more to do for it.

mod message;
mod tree;

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::sync::Arc;

use ganger_core::InstanceId;
use ganger_sandbox::Profile;
use ganger_sys::proc;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, recvmsg};
use tokio::io::Interest;

pub(crate) use message::{Message, Watchdog};
pub(crate) use tree::{Belongs, Tree};

/// sun_path holds 108 bytes with its end (unix(7)), and the child gets the name as it is.
const PATH_MAX: usize = 107;
/// sd_notify(3) sends up to 4 KiB; longer ones are read up to here, and one that is longer still is refused.
const DATAGRAM_MAX: usize = 64 << 10;

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

    /// Listens to the tree below this main process.
    pub(crate) fn listen(&self, main: u32) -> Listener {
        Listener { socket: Arc::clone(&self.socket), users: self.users, tree: Tree::of(main) }
    }
}

/// One datagram, judged.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Said {
    Message(Message),
    /// One whose `MAINPID` does not count, and why; the rest of it does.
    WithoutMain(Message, String),
    /// Nothing of it counts, and why.
    Refused(String),
}

pub(crate) struct Listener {
    socket: Arc<tokio::net::UnixDatagram>,
    users: [u32; 3],
    tree: Tree,
}

impl Listener {
    /// The next datagram.
    ///
    /// # Cancel safety
    /// Safe: a datagram that is taken is returned.
    pub(crate) async fn next(&mut self) -> Said {
        loop {
            let readable = self.socket.readable().await;
            let taken = readable.and_then(|()| {
                self.socket.try_io(Interest::READABLE, || match receive(&self.socket)? {
                    Some(datagram) => Ok(datagram),
                    None => Err(io::ErrorKind::WouldBlock.into()),
                })
            });
            match taken {
                Ok(datagram) => return self.judge(datagram),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => {
                    tracing::error!(%error, "the notify socket broke");
                    return std::future::pending().await;
                }
            }
        }
    }

    fn judge(&self, datagram: Datagram) -> Said {
        let Datagram { pid, user, text } = datagram;
        let known = match self.tree.has(pid) {
            Belongs::Yes => true,
            Belongs::Gone => self.users.contains(&user),
            Belongs::No => false,
        };
        if !known {
            let name = proc::name(pid).map_or(String::new(), |name| format!(" ({name})"));
            return Said::Refused(format!(
                "sd_notify message of pid {pid}{name} of user {user}, which is not of its tree"
            ));
        }
        let Some(text) = text else {
            let why = format!("sd_notify message of pid {pid} of more than {DATAGRAM_MAX} bytes");
            return Said::Refused(why);
        };
        let mut message = Message::parse(&text);
        match message.main_pid {
            Some(main) if self.tree.has(main) != Belongs::Yes => {
                message.main_pid = None;
                let why = format!("MAINPID={main}, a process that is not of its tree");
                Said::WithoutMain(message, why)
            }
            _ => Said::Message(message),
        }
    }
}

struct Datagram {
    pid: u32,
    user: u32,
    /// `None`: too long.
    text: Option<String>,
}

/// One datagram. `None` when none is there.
fn receive(socket: &impl AsFd) -> io::Result<Option<Datagram>> {
    let mut bytes = vec![0; DATAGRAM_MAX];
    // Descriptors that come along are closed by being dropped.
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmCredentials(1), ScmRights(16))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    let got = match recvmsg(socket, &mut [io::IoSliceMut::new(&mut bytes)], &mut control, flags) {
        Ok(got) => got,
        Err(rustix::io::Errno::AGAIN) => return Ok(None),
        Err(errno) => return Err(errno.into()),
    };
    // To the end, always: rustix 1.1.6 loses its place in a buffer that is drained in part, and reads the rest of it from
    // where no message begins.
    let mut sender = None;
    for part in control.drain() {
        if let RecvAncillaryMessage::ScmCredentials(credentials) = part {
            sender = Some(credentials);
        }
    }
    let pid = sender.and_then(|sender| u32::try_from(sender.pid.as_raw_pid()).ok());
    let user = sender.map_or(u32::MAX, |sender| sender.uid.as_raw());
    let whole = !got.flags.contains(ReturnFlags::TRUNC);
    let text = whole.then(|| String::from_utf8_lossy(&bytes[..got.bytes]).into_owned());
    Ok(Some(Datagram { pid: pid.unwrap_or(0), user, text }))
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
