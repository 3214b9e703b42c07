//! Opening one socket: bound, listening, and with the right file.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with, sockopt,
};

use super::address::{Address, Host, Place};
use super::spec::Socket;
use super::who;

/// Connections that may wait; the kernel takes the smaller of this and net.core.somaxconn, whose default it is.
const BACKLOG: i32 = 4_096;
/// Longest path in a Unix socket address, without its NUL (unix(7)).
const PATH_MAX: usize = 107;
/// Ports below are privileged where the kernel doesn't say (ip(7)).
const PRIVILEGED: u16 = 1_024;

/// Why there is no listener.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpenError {
    #[error("{address} is taken{}: end that, or listen elsewhere", holder(.by))]
    Taken { address: Address, by: Option<String> },
    #[error(
        "{address}: ports below {floor} are root's and ganger runs as uid {uid}: run ganger as root, let it with `setcap cap_net_bind_service=+ep` on its program, or lower the sysctl net.ipv4.ip_unprivileged_port_start"
    )]
    Privileged { address: Address, floor: u16, uid: u32 },
    #[error("{address}: this machine has no such address; `ip address` lists those it has")]
    NotHere { address: Address },
    #[error("{address}: there is no folder {}: make it, or listen elsewhere", folder.display())]
    NoFolder { address: Address, folder: PathBuf },
    #[error("{address}: something that is no socket is in the way; move it, or listen elsewhere")]
    InTheWay { address: Address },
    #[error(
        "{address}: its file's name has {length} bytes, and at most {most} fit into a socket's address: choose a shorter one"
    )]
    NameTooLong { address: Address, length: usize, most: usize },
    #[error("{address}: {step}: {source}")]
    System { address: Address, step: &'static str, source: io::Error },
}

fn holder(by: &Option<String>) -> String {
    by.as_ref().map_or_else(String::new, |by| format!(" by {by}"))
}

/// An open listener, and the file it has made.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) fd: OwnedFd,
    pub(super) file: Option<File>,
}

/// A socket's file, told from one that somebody else puts there later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct File {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl File {
    /// The file of a listener that is at this path now.
    pub(super) fn at(path: &Path) -> Option<Self> {
        let meta = fs::symlink_metadata(path).ok().filter(|meta| meta.file_type().is_socket())?;
        Some(Self { path: path.to_owned(), device: meta.dev(), inode: meta.ino() })
    }

    /// Removes it if it is still the same.
    pub(super) fn remove(&self) {
        if Self::at(&self.path).as_ref() == Some(self)
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "a socket's file stays behind");
        }
    }
}

/// Opens a socket; `share`: of a reuseport group. Looks through /proc when the address is taken: call it where blocking is
/// fine.
pub(super) fn open(spec: &Socket, share: bool) -> Result<Opened, OpenError> {
    let address = &spec.address;
    let opened = match address {
        Address::Tcp(place) => inet(place, SocketType::STREAM, share, address),
        Address::Udp(place) => inet(place, SocketType::DGRAM, share, address),
        Address::Unix(path) => return unix(spec, path),
    };
    Ok(Opened { fd: opened?, file: None })
}

fn system(address: &Address, step: &'static str) -> impl Fn(Errno) -> OpenError {
    move |errno| OpenError::System { address: address.clone(), step, source: errno.into() }
}

fn inet(
    place: &Place,
    kind: SocketType,
    share: bool,
    address: &Address,
) -> Result<OwnedFd, OpenError> {
    let port = place.port;
    let dual = place.host == Host::Any;
    let (family, to) = match place.host {
        Host::Any => (AddressFamily::INET6, SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))),
        Host::Ip(ip) if ip.is_ipv6() => (AddressFamily::INET6, SocketAddr::from((ip, port))),
        Host::Ip(ip) => (AddressFamily::INET, SocketAddr::from((ip, port))),
    };
    let (fd, to) = match socket_with(family, kind, SocketFlags::CLOEXEC, None) {
        // No IPv6 on this machine.
        Err(Errno::AFNOSUPPORT) if dual => {
            let to = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
            (socket_with(AddressFamily::INET, kind, SocketFlags::CLOEXEC, None), to)
        }
        made => (made, to),
    };
    let fd = fd.map_err(system(address, "socket"))?;
    let set = || -> rustix::io::Result<()> {
        if to.is_ipv6() {
            sockopt::set_ipv6_v6only(&fd, !dual)?;
        }
        if kind == SocketType::STREAM {
            // Connections of an earlier listener in TIME_WAIT are not in the way (socket(7)).
            sockopt::set_socket_reuseaddr(&fd, true)?;
        }
        if share { sockopt::set_socket_reuseport(&fd, true) } else { Ok(()) }
    };
    set().map_err(system(address, "setsockopt"))?;
    bind(&fd, &to).map_err(|errno| refused(errno, address, port))?;
    if kind == SocketType::STREAM {
        listen(&fd, BACKLOG).map_err(|errno| refused(errno, address, port))?;
    }
    Ok(fd)
}

fn refused(errno: Errno, address: &Address, port: u16) -> OpenError {
    let address = address.clone();
    match errno {
        Errno::ADDRINUSE => OpenError::Taken { by: who::has(&address), address },
        Errno::ADDRNOTAVAIL => OpenError::NotHere { address },
        Errno::ACCESS if port != 0 => {
            let told = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
            let floor = told.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(PRIVILEGED);
            OpenError::Privileged { address, floor, uid: rustix::process::geteuid().as_raw() }
        }
        errno => OpenError::System { address, step: "bind", source: errno.into() },
    }
}

fn unix(spec: &Socket, path: &Path) -> Result<Opened, OpenError> {
    let address = &spec.address;
    let io = |step| {
        move |source: io::Error| OpenError::System { address: address.clone(), step, source }
    };
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(OpenError::InTheWay { address: address.clone() });
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dir = rustix::fs::open(folder, flags, Mode::empty()).map_err(|errno| match errno {
        Errno::NOENT | Errno::NOTDIR => {
            OpenError::NoFolder { address: address.clone(), folder: folder.to_owned() }
        }
        errno => system(address, "open its folder")(errno),
    })?;
    // A path that is too long for an address is reached through its folder.
    let short = PathBuf::from(format!("/proc/self/fd/{}", dir.as_raw_fd())).join(name);
    let reach = if path.as_os_str().len() > PATH_MAX { short.as_path() } else { path };
    let most = PATH_MAX.saturating_sub(short.as_os_str().len() - name.len());
    if reach.as_os_str().len() > PATH_MAX {
        return Err(OpenError::NameTooLong { address: address.clone(), length: name.len(), most });
    }
    make_way(path, reach, address)?;
    let fd = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None);
    let fd = fd.map_err(system(address, "socket"))?;
    let to = SocketAddrUnix::new(reach).map_err(system(address, "its file's name"))?;
    bind(&fd, &to).map_err(|errno| match errno {
        Errno::ADDRINUSE => OpenError::Taken { address: address.clone(), by: who::has(address) },
        errno => system(address, "bind")(errno),
    })?;
    let file = File::at(path);
    // Nobody can connect before `listen`, so nobody gets in before the permissions are right.
    let ready = permit(spec, path)
        .map_err(io("permissions of its file"))
        .and_then(|()| listen(&fd, BACKLOG).map_err(system(address, "listen")));
    if let Err(error) = ready {
        file.iter().for_each(File::remove);
        return Err(error);
    }
    Ok(Opened { fd, file })
}

/// Removes the file of a listener that is dead; a living one or another file is not touched.
fn make_way(path: &Path, reach: &Path, address: &Address) -> Result<(), OpenError> {
    let Ok(meta) = fs::symlink_metadata(path) else { return Ok(()) };
    if !meta.file_type().is_socket() {
        return Err(OpenError::InTheWay { address: address.clone() });
    }
    match UnixStream::connect(reach) {
        // Nobody listens there any more (connect(2)).
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path)
            .map_err(|source| OpenError::System {
                address: address.clone(),
                step: "remove the file of a dead listener",
                source,
            }),
        _ => Err(OpenError::Taken { address: address.clone(), by: who::has(address) }),
    }
}

/// Gives a Unix socket's file its permissions and owner.
pub(super) fn permit(spec: &Socket, path: &Path) -> io::Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(spec.mode))?;
    match spec.owner {
        Some((user, group)) => std::os::unix::fs::chown(path, Some(user), Some(group)),
        None => Ok(()),
    }
}

/// Where a socket really listens: the port that the kernel chose is known now.
pub(super) fn real(address: &Address, fd: impl AsFd) -> Address {
    let told = rustix::net::getsockname(fd).ok().and_then(|told| SocketAddr::try_from(told).ok());
    match (address, told) {
        (Address::Tcp(place), Some(told)) => Address::Tcp(Place { port: told.port(), ..*place }),
        (Address::Udp(place), Some(told)) => Address::Udp(Place { port: told.port(), ..*place }),
        _ => address.clone(),
    }
}

#[cfg(test)]
mod tests;
