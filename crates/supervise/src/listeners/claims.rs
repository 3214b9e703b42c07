//! Listeners that programs ask for while they run: the servers of Node clusters. Held like any other, under `cluster:SERVICE:KEY`,
//! as long as the service is there.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use rustix::io::Errno;

use super::address::Address;
use super::open::{self, OpenError, Opened};
use super::spec::{ListenMode, Listening, Socket, claim_name, claim_of, hands_name};
use super::task::{Held, Task};
use super::{ListenError, ListenerView};

/// What a program asks for.
#[derive(Debug)]
pub(crate) struct Claim {
    pub(crate) service: String,
    /// The program's word for it, the same for all its instances.
    pub(crate) key: String,
    pub(crate) address: Address,
    /// Permission bits of a Unix socket's file.
    pub(crate) mode: u32,
}

/// Why it does not get that.
#[derive(Debug)]
pub(crate) struct Unclaimed {
    /// As the kernel counts: what the program sees.
    pub(crate) errno: i32,
    /// For people.
    pub(crate) error: ListenError,
}

impl Unclaimed {
    pub(super) fn nobody() -> Self {
        let error = ListenError("this daemon holds no listeners".into());
        Self { errno: Errno::OPNOTSUPP.raw_os_error(), error }
    }
}

impl From<OpenError> for Unclaimed {
    fn from(error: OpenError) -> Self {
        let errno = match &error {
            OpenError::Taken { .. } | OpenError::InTheWay { .. } => Errno::ADDRINUSE,
            OpenError::Privileged { .. } => Errno::ACCESS,
            OpenError::NotHere { .. } => Errno::ADDRNOTAVAIL,
            OpenError::NoFolder { .. } => Errno::NOENT,
            OpenError::NameTooLong { .. } => Errno::NAMETOOLONG,
            OpenError::System { source, .. } => {
                Errno::from_io_error(source).unwrap_or(Errno::INVAL)
            }
        };
        let error = ListenError(format!("can't listen: {error}"));
        Self { errno: errno.raw_os_error(), error }
    }
}

/// The path in a key of a Unix socket.
pub(super) fn path_of(key: &str) -> Option<&Path> {
    let (path, _) = key.split_once(":-1:-1:")?;
    path.starts_with('/').then(|| Path::new(path))
}

impl Task {
    pub(super) async fn claim(&mut self, claim: Claim) -> Result<OwnedFd, Unclaimed> {
        let name = claim_name(&claim.service, &claim.key);
        let no_copy = |address: &Address, error: io::Error| Unclaimed {
            errno: error.raw_os_error().unwrap_or(0),
            error: ListenError(format!("{address}: no second descriptor of it: {error}")),
        };
        if let Some(held) = self.held.get(&name) {
            return held.fd.try_clone().map_err(|error| no_copy(&claim.address, error));
        }
        let Claim { address, mode, .. } = claim;
        let spec = Socket { address, name: String::new(), mode, owner: None };
        let broke = ListenError(format!("can't listen: {}: its opening broke", spec.address));
        let address = spec.address.clone();
        let opened = tokio::task::spawn_blocking(move || open::open(&spec, false)).await;
        let Opened { fd, file } = match opened {
            Ok(opened) => opened?,
            Err(_) => return Err(Unclaimed { errno: Errno::IO.raw_os_error(), error: broke }),
        };
        let copies = fd.try_clone().and_then(|one| Ok((one, fd.try_clone()?)));
        let (copy, given) = copies.map_err(|error| no_copy(&address, error))?;
        self.held.insert(name.clone(), Held { fd, file });
        // Without a keeper this daemon ends, and all it has goes to the next one anyhow.
        let _gone = self.processes.hold(name, copy).await;
        Ok(given)
    }

    pub(super) fn claimed(&self, service: &str) -> Vec<(String, OwnedFd)> {
        let own = self.held.iter().filter_map(|(name, held)| {
            let (_, key) = claim_of(name).filter(|(of, _)| *of == service)?;
            Some((key.to_owned(), held.fd.try_clone().ok()?))
        });
        own.collect()
    }

    pub(super) async fn hands(&mut self, service: &str, kind: &str) -> io::Result<OwnedFd> {
        let name = hands_name(service, kind);
        if let Some(held) = self.held.get(&name) {
            return held.fd.try_clone();
        }
        let fd = ganger_sys::shared::create("hands")?;
        let (copy, given) = (fd.try_clone()?, fd.try_clone()?);
        self.held.insert(name.clone(), Held { fd, file: None });
        // Without a keeper this daemon ends.
        let _gone = self.processes.hold(name, copy).await;
        Ok(given)
    }

    pub(super) async fn unclaim(&mut self, service: &str, key: &str) {
        let name = claim_name(service, key);
        if let Some(held) = self.held.remove(&name) {
            held.file.iter().for_each(open::File::remove);
            // Without a keeper nothing is held.
            let _gone = self.processes.release(name).await;
        }
    }

    /// Of those that are open, by the sockets' names; two with the same name are told apart by their address.
    pub(super) fn lend(&self, service: &str, listening: &Arc<Listening>) -> Vec<(String, OwnedFd)> {
        let mut lent: Vec<(String, OwnedFd)> = vec![];
        for socket in &listening.sockets {
            let held = self.held.get(&listening.held_name(socket, service, 1));
            let Some(fd) = held.and_then(|held| held.fd.try_clone().ok()) else { continue };
            let twin = lent.iter().any(|(name, _)| *name == socket.name);
            let name = if twin { socket.address.to_string() } else { socket.name.clone() };
            lent.push((name, fd));
        }
        lent
    }

    pub(super) fn look_at_claims(&self, service: &str) -> impl Iterator<Item = ListenerView> {
        self.held.iter().filter_map(move |(name, held)| {
            let (_, key) = claim_of(name).filter(|(of, _)| *of == service)?;
            let local = rustix::net::getsockname(&held.fd).ok();
            let place = local.and_then(|local| std::net::SocketAddr::try_from(local).ok());
            let address = match (place, path_of(key)) {
                (_, Some(path)) => Address::Unix(path.to_owned()),
                (Some(place), None) => Address::of(place, key.contains(":udp")),
                (None, None) => return None,
            };
            let tcp = matches!(address, Address::Tcp(_));
            let queue = || ganger_sys::socket::queue(&held.fd).ok();
            Some(ListenerView {
                address,
                name: key.to_owned(),
                mode: ListenMode::Pass,
                slot: None,
                open: true,
                queue: tcp.then(queue).flatten(),
            })
        })
    }
}
