//! Connections handed over: ganger accepts and gives each to an instance over its channel.
//!
//! ```text
//!                   Primaries (one task: finds the owner)
//! instances ── join, left, drain ──►│                       ┌─► Primary of ganger-ipc ◄──► channels of workers
//! services  ── who serves ─────────►├──► one task per service ┤  (thread `connections`)
//!                                   │                       └─► Listeners: claim, lend
//! instances ◄── Heard: listening, "ready", keys ── (watch) ─┘
//! ```
//!
//! Two kinds ([`Handover`]): programs of Node's `cluster` module, which say themselves where they listen and whose primary ganger is; and any
//! program whose service listens with mode `pass`: each connection is a `net.Socket` in a `NODE_HANDLE` message, and its ACK is the credit.
//!
//! Nothing of it dies with the daemon: the keeper has the listening sockets and our ends of the channels, an instance's note says what it
//! listens on, and numbers of messages begin at the time of day, so that answers to a former primary are known as such. What is accepted is
//! written to a worker before anything else is done: a killed daemon loses the one connection it had in its hands, if any.
//!
//! Owners run on a thread of their own (`lane`), which is there from the first of them on. A service without either pays for none of this.

mod hub;
mod lane;
mod owner;
mod tell;
#[cfg(test)]
mod tests;
mod wish;

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};

use crate::instance::WorkerNote;
use crate::listeners::{Listeners, Listening};
use crate::view::Told;
use hub::{Ask, Hub};
use owner::Order;

/// Requests in flight: starts and ends of instances, and the services' owner.
const ASKS: usize = 64;

/// How connections come to instances over their channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Handover {
    /// Node's cluster protocol: the program says where it listens.
    NodeCluster {
        /// Workers get the listening sockets and accept themselves.
        shared: bool,
    },
    /// What the service listens on; each connection is a message with a socket.
    Sockets,
}

/// What the primary has heard of one worker.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Heard {
    /// A server of it listens.
    pub(crate) listening: bool,
    /// It said `"ready"`.
    pub(crate) ready: bool,
    /// What it listens on; `None` before it is known.
    pub(crate) keys: Option<Vec<String>>,
}

/// An instance's process that is to get connections.
#[derive(Debug)]
pub(crate) struct Join {
    pub(crate) slot: u32,
    pub(crate) pid: u32,
    pub(crate) channel: OwnedFd,
    pub(crate) note: WorkerNote,
    /// Taken over from a former daemon.
    pub(crate) adopted: bool,
    /// Where its service listens, of [`Handover::Sockets`].
    pub(crate) listening: Option<Arc<Listening>>,
    /// What is heard of it.
    pub(crate) heard: watch::Sender<Heard>,
}

/// A service whose connections are handed over.
#[derive(Debug, Clone)]
pub(crate) struct Served {
    pub(crate) service: String,
    pub(crate) handover: Handover,
    pub(crate) listening: Option<Arc<Listening>>,
}

/// Connections of one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connections {
    /// Its slot.
    pub slot: u32,
    /// Whose they are.
    pub pid: u32,
    /// Taken since this daemon is its primary.
    pub taken: u64,
    /// Handed over and not yet taken.
    pub in_flight: u64,
}

/// Handle to all primaries; cheap to clone. The default one has none.
#[derive(Debug, Clone, Default)]
pub struct Primaries(Option<mpsc::Sender<Ask>>);

impl Primaries {
    /// The task that finds the owners. `numbers`: the highest `NODE_UNIQUE_ID` that a worker of a service has.
    pub(crate) fn start(
        listeners: Listeners,
        told: mpsc::Sender<Told>,
        numbers: BTreeMap<String, u32>,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (asks, inbox) = mpsc::channel(ASKS);
        (Self(Some(asks)), Hub::new(listeners, told, numbers).run(inbox))
    }

    /// A number for a service's next worker that none had before it.
    pub(crate) async fn number(&self, service: &str) -> u32 {
        let service = service.to_owned();
        self.ask(|reply| Ask::Number { service, reply }).await.unwrap_or(1)
    }

    /// A process is there and its channel is ours.
    pub(crate) async fn join(&self, service: &str, handover: Handover, join: Join) {
        self.order(service, handover, Order::Join(Box::new(join))).await;
    }

    /// A process has ended.
    pub(crate) async fn left(&self, service: &str, handover: Handover, worker: u32) {
        self.order(service, handover, Order::Left(worker)).await;
    }

    /// A worker is to finish what it has and end.
    pub(crate) async fn drain(&self, service: &str, handover: Handover, worker: u32) {
        self.order(service, handover, Order::Drain(worker)).await;
    }

    /// A worker is asked to end, by a message.
    pub(crate) async fn ask_to_end(&self, service: &str, handover: Handover, worker: u32) {
        self.order(service, handover, Order::AskToEnd(worker)).await;
    }

    /// Processes that may get new connections; the service's others may not.
    pub(crate) async fn steer(&self, service: &str, pids: Vec<u32>) {
        self.tell(Ask::Steer { service: service.to_owned(), pids }).await;
    }

    /// Nothing more is accepted from what a service listens on now: it is about to be somebody else's, for whom its sockets
    /// block. Answered when that is so.
    pub(crate) async fn quit(&self, service: &str) {
        let service = service.to_owned();
        let _none = self.ask(|reply| Ask::Quit { service, reply }).await;
    }

    /// These services are there, with what they listen on now; owners of others end.
    pub(crate) async fn keep(&self, served: Vec<Served>) {
        self.tell(Ask::Keep(served)).await;
    }

    /// The connections of a service's processes, by slot; of all services without a name.
    pub async fn look(&self, service: Option<&str>) -> BTreeMap<String, Vec<Connections>> {
        let service = service.map(str::to_owned);
        self.ask(|reply| Ask::Look { service, reply }).await.unwrap_or_default()
    }

    async fn order(&self, service: &str, handover: Handover, order: Order) {
        self.tell(Ask::Order { service: service.to_owned(), handover, order }).await;
    }

    async fn ask<T>(&self, ask: impl FnOnce(oneshot::Sender<T>) -> Ask) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.tell(ask(reply)).await;
        answer.await.ok()
    }

    async fn tell(&self, ask: Ask) {
        if let Some(asks) = &self.0 {
            // Without it the daemon is on its way out, and the next one has all of it.
            let _gone = asks.send(ask).await;
        }
    }
}
