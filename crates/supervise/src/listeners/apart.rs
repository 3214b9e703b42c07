//! Sockets for instances on trial where all have the same ones (mode `inherit`): who has the shared socket also gets connections, and a
//! version that nobody trusts yet must not.
//!
//! TCP: a second socket at the same address, in one reuseport group with the shared one, to which a filter sends everything. Unix: a
//! socket beside the shared one's file. UDP, and what can't be had: the shared one, as if there were no trial.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use rustix::net::sockopt::set_socket_reuseport;

use super::address::Address;
use super::open::{self, OpenError, Opened};
use super::spec::{APART, Socket, can_be_apart, shared_name};
use super::task::Task;
use super::{ListenError, Wanted};

/// Why a slot on trial shares after all.
#[derive(Debug, thiserror::Error)]
enum NotApart {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("connections could not be kept away from it: {0}")]
    Kernel(#[from] io::Error),
    #[error("its opening broke")]
    Broke,
}

/// What the keeper calls the sockets of a service's slots on trial.
pub(super) fn apart_names(wanted: &Wanted) -> impl Iterator<Item = String> {
    let those = wanted.apart.iter().filter_map(|slot| wanted.listening.apart(*slot));
    those.flat_map(|apart| {
        let name = |socket| apart.held_name(socket, &wanted.service, 1);
        apart.sockets.iter().map(name).collect::<Vec<_>>()
    })
}

impl Task {
    /// A socket for the slot on trial. Failing is none: then it shares, and the reload is what it was without a trial.
    pub(super) async fn open_apart(
        &self,
        wanted: &Wanted,
        socket: &Socket,
    ) -> Result<Opened, ListenError> {
        let address = &socket.address;
        let copy = || self.held.get(&shared_name(socket, &wanted.service))?.fd.try_clone().ok();
        let Some(shared) = copy() else {
            return Err(ListenError(format!("{address}: it is not open, so nothing is beside it")));
        };
        let slot = wanted.listening.apart.filter(|_| can_be_apart(socket));
        let (Some(slot), Some(main)) = (slot, copy()) else {
            return Ok(Opened { fd: shared, file: None });
        };
        let spec = socket.clone();
        let opened = tokio::task::spawn_blocking(move || beside(&main, spec, slot)).await;
        opened.unwrap_or(Err(NotApart::Broke)).or_else(|error| {
            tracing::warn!(%error, %address, slot, "no socket of its own for a trial");
            Ok(Opened { fd: shared, file: None })
        })
    }
}

fn beside(main: &OwnedFd, mut spec: Socket, slot: u32) -> Result<Opened, NotApart> {
    if let Address::Unix(path) = &mut spec.address {
        let mut name = std::mem::take(path).into_os_string();
        name.push(format!("{APART}{slot}"));
        *path = PathBuf::from(name);
        return Ok(open::open(&spec, false)?);
    }
    spec.address = open::real(&spec.address, main);
    set_socket_reuseport(main, true).map_err(io::Error::from)?;
    let opened = open::open(&spec, true);
    // The group stays; only nobody else gets into it.
    set_socket_reuseport(main, false).map_err(io::Error::from)?;
    let opened = opened?;
    ganger_sys::socket::steer(&opened.fd, &[0])?;
    Ok(opened)
}
