//! Listeners: opened once by the daemon, held by the keeper under stable names, given to instances as descriptors.
//!
//! ```text
//! apply ── open ──► socket ── hold ──► keeper        start ── ensure ──► (opened if it could not be before) ──► spawn
//!   └─ afterwards: what no service has any more is released, a Unix socket's file removed
//! daemon dies ──► the next finds what is held; nothing was closed        service dies ──► connections wait in the queue
//! ```
//!
//! One owner task has them all. It never waits for a service: an address that can't be had fails the start of the
//! instances that want it, with their backoff, and nobody else's. In mode `reuseport` each slot has its own socket, and a
//! filter deals connections to those of the ready slots: a dead one's gets no new connection, and those in its queue wait
//! for its restart. For services that start on demand it waits until a socket is readable, and says so.

mod address;
mod apart;
mod claims;
mod net;
mod open;
mod spec;
mod task;
#[cfg(test)]
mod tests;
mod who;

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use ganger_process::Processes;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

pub use address::{Address, AddressError, Host, Place};
pub(crate) use claims::Claim;
pub(crate) use net::has_connections;
pub(crate) use spec::is_listener;
pub use spec::{ListenMode, Listening, Socket, is_fd_name};

pub(crate) use claims::Unclaimed;
use task::{Ask, Task};

/// Requests in flight: starts of instances that listen, and the services' owner.
const ASKS: usize = 64;
/// Knocks in flight: one per service at most waits for the services' owner.
const KNOCKS: usize = 64;

/// What a service listens on.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) service: String,
    pub(crate) listening: Arc<Listening>,
    /// How many slots have sockets of their own in mode `reuseport`.
    pub(crate) slots: u32,
    /// Its program asks for listeners itself: what it has claimed stays.
    pub(crate) claims: bool,
    /// Slots on trial, which have sockets of their own meanwhile.
    pub(crate) apart: Vec<u32>,
}

impl Wanted {
    /// Connections go through the daemon's hands.
    fn hands_over(&self) -> bool {
        self.claims || self.listening.mode == ListenMode::Pass
    }
}

/// One listener as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerView {
    /// Where it really listens: with the port that the kernel chose.
    pub address: Address,
    /// Its name in LISTEN_FDNAMES.
    pub name: String,
    /// How connections come to instances.
    pub mode: ListenMode,
    /// The slot that alone has it.
    pub slot: Option<u32>,
    /// It is open and held.
    pub open: bool,
    /// Connections that wait to be accepted, and how many may; TCP only.
    pub queue: Option<(u32, u32)>,
}

/// Why an address could not be had, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ListenError(String);

/// Handle to the owner of all listeners; cheap to clone. The default one has none and wants none.
#[derive(Debug, Clone, Default)]
pub struct Listeners(Option<mpsc::Sender<Ask>>);

impl Listeners {
    /// The owner's task, with the listeners that a former daemon had the keeper hold; the receiver gets the names of watched
    /// services for which a connection waits.
    pub(crate) fn start(
        processes: Processes,
        held: &mut BTreeMap<String, OwnedFd>,
    ) -> (Self, impl Future<Output = ()> + Send + 'static, mpsc::Receiver<String>) {
        let (asks, inbox) = mpsc::channel(ASKS);
        let (knock, knocks) = mpsc::channel(KNOCKS);
        let held = held.extract_if(.., |name, _| is_listener(name)).collect();
        (Self(Some(asks)), Task::new(processes, held, knock).run(inbox), knocks)
    }

    /// Sees to it that a slot's listeners are open and held before it starts.
    pub(crate) async fn ensure(
        &self,
        listening: Arc<Listening>,
        service: &str,
        slot: u32,
    ) -> Result<(), ListenError> {
        let service = service.to_owned();
        let answer = self.ask(|reply| Ask::Ensure { listening, service, slot, reply }).await;
        answer.unwrap_or_else(|| Err(ListenError("this daemon holds no listeners".into())))
    }

    /// Opens what is not open yet; what could not be is given with its service.
    pub(crate) async fn open(&self, wanted: Vec<Wanted>) -> Vec<(String, ListenError)> {
        self.ask(|reply| Ask::Open { wanted, reply }).await.unwrap_or_default()
    }

    /// Closes what is in none of these.
    pub(crate) async fn keep(&self, wanted: Vec<Wanted>) {
        self.ask(|reply| Ask::Keep { wanted, reply }).await.unwrap_or_default();
    }

    /// Has new connections of a service go to the sockets of these slots (mode `reuseport`).
    pub(crate) async fn steer(&self, service: &str, slots: Vec<u32>) {
        self.tell(Ask::Steer { service: service.to_owned(), slots }).await;
    }

    /// Waits, from a time on, for a connection to a service.
    pub(crate) async fn watch(&self, service: &str, from: Instant) {
        self.tell(Ask::Watch { service: service.to_owned(), from }).await;
    }

    /// Waits for none any more.
    pub(crate) async fn unwatch(&self, service: &str) {
        self.tell(Ask::Unwatch { service: service.to_owned() }).await;
    }

    /// A listener that a service's program asks for, under a key of its own: opened now, or before and held since.
    pub(crate) async fn claim(&self, claim: Claim) -> Result<OwnedFd, Unclaimed> {
        let answer = self.ask(|reply| Ask::Claim { claim, reply }).await;
        answer.unwrap_or_else(|| Err(Unclaimed::nobody()))
    }

    /// What a service's program has claimed, by key: a former daemon had it held.
    pub(crate) async fn claimed(&self, service: &str) -> Vec<(String, OwnedFd)> {
        let service = service.to_owned();
        self.ask(|reply| Ask::Claimed { service, reply }).await.unwrap_or_default()
    }

    /// Memory in which the connection is noted that is being handed over to a service: what a former daemon left there is there.
    /// `None` where there is none to be had.
    pub(crate) async fn hands(&self, service: &str, kind: &'static str) -> Option<OwnedFd> {
        let service = service.to_owned();
        self.ask(|reply| Ask::Hands { service, kind, reply }).await.flatten()
    }

    /// Closes a listener that was claimed.
    pub(crate) async fn unclaim(&self, service: &str, key: &str) {
        self.tell(Ask::Unclaim { service: service.to_owned(), key: key.to_owned() }).await;
    }

    /// The open sockets of a service whose connections are accepted here, by the keeper's names, with their names.
    pub(crate) async fn lend(
        &self,
        service: &str,
        listening: Arc<Listening>,
    ) -> Vec<(String, OwnedFd)> {
        let service = service.to_owned();
        self.ask(|reply| Ask::Lend { service, listening, reply }).await.unwrap_or_default()
    }

    /// The listeners of a service, in the order in which they are configured.
    pub async fn look(&self, service: &str) -> Vec<ListenerView> {
        let service = service.to_owned();
        self.ask(|reply| Ask::Look { service, reply }).await.unwrap_or_default()
    }

    /// `None` without an owner: then nothing listens.
    async fn ask<T>(&self, ask: impl FnOnce(oneshot::Sender<T>) -> Ask) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.tell(ask(reply)).await;
        answer.await.ok()
    }

    async fn tell(&self, ask: Ask) {
        if let Some(asks) = &self.0 {
            // Without its owner nothing listens, and the keeper that it went with is gone too.
            let _gone = asks.send(ask).await;
        }
    }
}
