//! What a service listens on, and under which names the keeper holds it.

use ganger_keeper::wire::Plan;
use serde::{Deserialize, Serialize};

use super::address::Address;

/// How the keeper's names of listeners begin.
pub(crate) const LISTEN_PREFIX: &str = "listen:";
/// And of those that the programs of Node clusters asked for: the service's name and the listener's key follow.
const CLAIM_PREFIX: &str = "cluster:";
/// And of the memory in which a connection is noted while it is handed over: the service's name and the kind of handover follow.
const HANDS_PREFIX: &str = "hands:";
/// Before the slot's number in the name and in the path of a socket on trial.
pub(super) const APART: char = '~';
/// The first number under which a child gets them (sd_listen_fds(3)).
const FIRST_FD: u32 = 3;

/// How connections come to instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ListenMode {
    /// All instances have the same sockets and each takes what it can.
    #[default]
    Inherit,
    /// Each instance has sockets of its own; the kernel deals connections to those of the ready ones.
    Reuseport,
    /// ganger accepts and hands each connection to an instance over its channel.
    Pass,
}

impl ListenMode {
    /// Every mode, in the words of the configuration.
    pub const ALL: [Self; 3] = [Self::Inherit, Self::Pass, Self::Reuseport];

    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Inherit => "inherit",
            Self::Reuseport => "reuseport",
            Self::Pass => "pass",
        }
    }
}

/// One socket to listen on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Socket {
    /// Where.
    pub address: Address,
    /// Its name in LISTEN_FDNAMES.
    pub name: String,
    /// Permission bits of a Unix socket's file.
    pub mode: u32,
    /// Owner of a Unix socket's file: user and group; ganger's own when absent.
    pub owner: Option<(u32, u32)>,
}

/// What the instances of a service listen on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Listening {
    /// In the order of their descriptors.
    pub sockets: Vec<Socket>,
    /// How connections come to instances.
    pub mode: ListenMode,
    /// The slot that is on trial: its sockets are its own, and no connection comes to them.
    pub(crate) apart: Option<u32>,
}

impl Listening {
    /// What all slots have alike.
    #[must_use]
    pub const fn new(sockets: Vec<Socket>, mode: ListenMode) -> Self {
        Self { sockets, mode, apart: None }
    }

    /// The same for a slot on trial, where slots would share their sockets.
    pub(crate) fn apart(&self, slot: u32) -> Option<Self> {
        let shares = self.mode == ListenMode::Inherit && self.sockets.iter().any(can_be_apart);
        shares.then(|| Self { apart: Some(slot), ..self.clone() })
    }

    /// The keeper's name of a socket: stable, so that the next daemon, a restart or another service finds it.
    pub(crate) fn held_name(&self, socket: &Socket, service: &str, slot: u32) -> String {
        let name = shared_name(socket, service);
        match (self.mode, self.apart) {
            (ListenMode::Inherit, Some(slot)) => format!("{name}{APART}{slot}"),
            (ListenMode::Inherit | ListenMode::Pass, _) => name,
            (ListenMode::Reuseport, _) => format!("{name}#{slot}"),
        }
    }

    /// Has a plan give a slot its sockets: descriptors from 3 on, LISTEN_FDS and LISTEN_FDNAMES. LISTEN_PID is set where
    /// the child is made, and a channel moves above them.
    pub(crate) fn put_into(&self, plan: &mut Plan, service: &str, slot: u32) {
        if self.mode == ListenMode::Pass {
            return;
        }
        let names: Vec<&str> = self.sockets.iter().map(|socket| socket.name.as_str()).collect();
        plan.env.set("LISTEN_FDS", names.len().to_string());
        plan.env.set("LISTEN_FDNAMES", names.join(":"));
        plan.inherit = (FIRST_FD..)
            .zip(&self.sockets)
            .map(|(number, socket)| (self.held_name(socket, service, slot), number))
            .collect();
    }
}

/// The keeper's name of a socket that all slots have.
pub(super) fn shared_name(socket: &Socket, service: &str) -> String {
    let name = format!("{LISTEN_PREFIX}{}", socket.address);
    // A port that the kernel chooses is a different one for everybody.
    match socket.address.place() {
        Some(place) if place.port == 0 => format!("{name}@{service}"),
        _ => name,
    }
}

/// Datagrams are not dealt out by connection.
pub(super) const fn can_be_apart(socket: &Socket) -> bool {
    matches!(socket.address, Address::Tcp(_) | Address::Unix(_))
}

/// The keeper's name of a listener that a service's program asked for.
pub(crate) fn claim_name(service: &str, key: &str) -> String {
    format!("{CLAIM_PREFIX}{service}:{key}")
}

/// The service and the key of such a name.
pub(crate) fn claim_of(name: &str) -> Option<(&str, &str)> {
    // No service has a colon in its name.
    name.strip_prefix(CLAIM_PREFIX)?.split_once(':')
}

/// What the keeper calls the note of the connection in hand.
pub(crate) fn hands_name(service: &str, kind: &str) -> String {
    format!("{HANDS_PREFIX}{service}:{kind}")
}

/// The service of such a name.
pub(crate) fn hands_of(name: &str) -> Option<&str> {
    Some(name.strip_prefix(HANDS_PREFIX)?.split_once(':')?.0)
}

/// The keeper holds it to be listened on, or for what comes of that.
pub(crate) fn is_listener(name: &str) -> bool {
    [LISTEN_PREFIX, CLAIM_PREFIX, HANDS_PREFIX].iter().any(|prefix| name.starts_with(prefix))
}

/// What can be a name in LISTEN_FDNAMES: they are separated by colons (sd_listen_fds_with_names(3)).
#[must_use]
pub fn is_fd_name(name: &str) -> bool {
    (1..=255).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':')
}
