//! What others hold of all services.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use ganger_core::Effect;
use ganger_process::Child;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use super::error::ServiceError;
use super::owner::Owner;
use crate::instance::{Surroundings, Ticket, TicketError};
use crate::listeners::Listeners;
use crate::pass::Primaries;
use crate::spec::{GroupSpec, ServiceSpec};
use crate::view::{Reloads, SlotResume, Snapshot};

/// Requests in flight: people and API clients, each waits for its answer.
const ASKS: usize = 64;

/// What an `apply` did, by service name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Applied {
    /// New ones.
    pub added: Vec<String>,
    /// Their processes are replaced.
    pub replaced: Vec<String>,
    /// Only rules or the number of instances changed.
    pub adjusted: Vec<String>,
    /// They are being stopped and forgotten.
    pub removed: Vec<String>,
    /// Untouched.
    pub unchanged: Vec<String>,
}

/// One ticket for several instances. Await it: all done. Drop it: done all the same, unseen.
#[derive(Debug)]
pub struct GroupTicket(pub(super) Vec<Ticket>);

impl GroupTicket {
    /// Waits for every instance.
    ///
    /// # Errors
    /// The first that did not get there, after all have been waited for.
    pub async fn done(self) -> Result<(), TicketError> {
        let mut result = Ok(());
        for ticket in self.0 {
            let one = ticket.done().await;
            result = result.and(one);
        }
        result
    }
}

/// A reload under way. Await it: done. Drop it: done all the same, unseen.
#[derive(Debug)]
pub enum Reloading {
    /// Instances are replaced one after the other.
    Rolls(oneshot::Receiver<Result<(), String>>),
    /// None was ready, so there was nothing to keep up: all are started anew.
    Restarts(GroupTicket),
}

impl Reloading {
    /// Waits until the new instances serve.
    ///
    /// # Errors
    /// They don't: what runs instead and why.
    pub async fn done(self) -> Result<(), String> {
        match self {
            Self::Rolls(over) => match over.await {
                Ok(result) => result,
                Err(_) => Err("this daemon is going; `ganger ps` shows what runs".to_owned()),
            },
            Self::Restarts(ticket) => ticket.done().await.map_err(|error| error.to_string()),
        }
    }
}

/// Where a former daemon left services.
#[derive(Debug, Clone, Default)]
pub struct Resumed {
    /// Instances without a process.
    pub slots: Vec<SlotResume>,
    /// What reloads that were under way are to bring; the spec that is applied is what runs.
    pub coming: Vec<ServiceSpec>,
}

pub(super) type Answer<T> = oneshot::Sender<Result<T, ServiceError>>;

#[derive(Debug)]
pub(super) enum Ask {
    Apply { specs: Vec<ServiceSpec>, resumed: Resumed, reply: Answer<Applied> },
    Plan { specs: Vec<ServiceSpec>, reply: Answer<Vec<Effect>> },
    Start { name: String, slot: Option<u32>, reply: Answer<GroupTicket> },
    Stop { name: String, slot: Option<u32>, reply: Answer<GroupTicket> },
    Restart { name: String, slot: Option<u32>, reply: Answer<GroupTicket> },
    Reload { name: String, reply: Answer<Reloading> },
    Scale { name: String, replicas: u32, reply: Answer<GroupTicket> },
    Groups { specs: Vec<GroupSpec>, reply: oneshot::Sender<()> },
    Move { specs: Vec<ServiceSpec>, reply: Answer<()> },
    Publish { reply: oneshot::Sender<()> },
    Shutdown { reply: oneshot::Sender<()> },
}

/// What [`Services::start_owner`] gives.
#[derive(Debug)]
pub struct Startup {
    /// The handle.
    pub services: Services,
    /// The newest snapshot, at most every 20 ms.
    pub snapshot: watch::Receiver<Arc<Snapshot>>,
    /// The newest reload of each service.
    pub reloads: watch::Receiver<Reloads>,
    /// What services listen on.
    pub listeners: Listeners,
    /// Who hands connections to instances.
    pub primaries: Primaries,
    /// The owner task; ends when every handle is dropped or the keeper is gone. Processes live on.
    pub task: JoinHandle<()>,
}

/// Handle to the owner task of all services; cheap to clone.
#[derive(Debug, Clone)]
pub struct Services {
    asks: mpsc::Sender<Ask>,
}

impl Services {
    /// Starts the owner task. `adopted` are the services' children of a former daemon; nothing happens to them before the
    /// first `apply`, which ends those it does not name. `held` may hold their notify sockets, which are taken out. Must
    /// be called within a tokio runtime.
    #[must_use]
    pub fn start_owner(
        surroundings: Surroundings,
        adopted: Vec<Child>,
        held: &mut BTreeMap<String, OwnedFd>,
    ) -> Startup {
        let (asks, inbox) = mpsc::channel(ASKS);
        let (owner, snapshot) = Owner::new(surroundings, adopted, held, inbox);
        let (listeners, primaries) =
            (owner.around.listeners.clone(), owner.around.primaries.clone());
        let reloads = owner.reloads.subscribe();
        let (services, task) = (Self { asks }, tokio::spawn(owner.run()));
        Startup { services, snapshot, reloads, listeners, primaries, task }
    }

    /// Makes the services those of `specs`: new ones start, changed ones are replaced, missing ones stop, the rest is
    /// untouched (but a service that a person had stopped starts again unless its spec says `stopped`). `resume` says
    /// where a former daemon left instances without a process. Returns when that is under way, not when all is up.
    ///
    /// # Errors
    /// Dependencies that can't be kept; then nothing is changed.
    pub async fn apply(
        &self,
        specs: Vec<ServiceSpec>,
        resume: Vec<SlotResume>,
    ) -> Result<Applied, ServiceError> {
        self.resume(specs, Resumed { slots: resume, coming: vec![] }).await
    }

    /// As [`apply`](Self::apply), for a daemon that goes on where another one ended. Reloads that were under way go on, if
    /// anything of the service runs; else what was to come starts at once.
    ///
    /// # Errors
    /// Dependencies that can't be kept; then nothing is changed.
    pub async fn resume(
        &self,
        specs: Vec<ServiceSpec>,
        resumed: Resumed,
    ) -> Result<Applied, ServiceError> {
        self.ask(|reply| Ask::Apply { specs, resumed, reply }).await
    }

    /// What `apply` would do to each of these services, as things are now.
    ///
    /// # Errors
    /// The owner task is gone.
    pub async fn plan(&self, specs: Vec<ServiceSpec>) -> Result<Vec<Effect>, ServiceError> {
        self.ask(|reply| Ask::Plan { specs, reply }).await
    }

    /// Opens addresses that services which are there are to move to, before `apply` moves them: nothing is changed but that.
    ///
    /// # Errors
    /// An address can't be had: who has it, and what to do.
    pub async fn move_listeners(&self, specs: Vec<ServiceSpec>) -> Result<(), ServiceError> {
        if specs.is_empty() {
            return Ok(());
        }
        self.ask(|reply| Ask::Move { specs, reply }).await
    }

    /// Makes the groups those of `specs`, which have no [`group_faults`](super::group_faults). Nothing starts or stops by it.
    ///
    /// # Errors
    /// The owner task is gone.
    pub async fn set_groups(&self, specs: Vec<GroupSpec>) -> Result<(), ServiceError> {
        let (reply, done) = oneshot::channel();
        self.asks.send(Ask::Groups { specs, reply }).await.map_err(|_| ServiceError::Gone)?;
        done.await.map_err(|_| ServiceError::Gone)
    }

    /// Starts a service or one of its slots. Past failures are forgotten.
    ///
    /// # Errors
    /// No such service or slot.
    pub async fn start(&self, name: &str, slot: Option<u32>) -> Result<GroupTicket, ServiceError> {
        let name = name.to_owned();
        self.ask(|reply| Ask::Start { name, slot, reply }).await
    }

    /// Stops a service or one of its slots.
    ///
    /// # Errors
    /// No such service or slot.
    pub async fn stop(&self, name: &str, slot: Option<u32>) -> Result<GroupTicket, ServiceError> {
        let name = name.to_owned();
        self.ask(|reply| Ask::Stop { name, slot, reply }).await
    }

    /// Replaces the processes of a service or of one slot. One that does not run is started.
    ///
    /// # Errors
    /// No such service or slot.
    pub async fn restart(
        &self,
        name: &str,
        slot: Option<u32>,
    ) -> Result<GroupTicket, ServiceError> {
        let name = name.to_owned();
        self.ask(|reply| Ask::Restart { name, slot, reply }).await
    }

    /// Replaces the processes of a service one after the other, by its [`Reload`](crate::Reload) rules: new ones are ready
    /// before old ones go. Is a reload under way, that one is meant.
    ///
    /// # Errors
    /// No such service.
    pub async fn reload(&self, name: &str) -> Result<Reloading, ServiceError> {
        let name = name.to_owned();
        self.ask(|reply| Ask::Reload { name, reply }).await
    }

    /// Sets the number of instances: further slots start, the highest stop. The ticket is for those that start or stop.
    ///
    /// # Errors
    /// No such service.
    pub async fn scale(&self, name: &str, replicas: u32) -> Result<GroupTicket, ServiceError> {
        let name = name.to_owned();
        self.ask(|reply| Ask::Scale { name, replicas, reply }).await
    }

    /// Returns when everything that instances have said so far is in the snapshot: who has seen an event or the answer of
    /// a verb and reads after this sees no older state. Cheap; without it a snapshot is up to 20 ms old.
    ///
    /// # Errors
    /// The owner task is gone.
    pub async fn published(&self) -> Result<(), ServiceError> {
        let (reply, done) = oneshot::channel();
        self.asks.send(Ask::Publish { reply }).await.map_err(|_| ServiceError::Gone)?;
        done.await.map_err(|_| ServiceError::Gone)
    }

    /// Stops everything, dependents first. Returns when every tree is empty; what the kernel does not end holds it up,
    /// so give it a deadline. Twice is fine.
    ///
    /// # Errors
    /// The owner task is gone.
    pub async fn shutdown(&self) -> Result<(), ServiceError> {
        let (reply, done) = oneshot::channel();
        self.asks.send(Ask::Shutdown { reply }).await.map_err(|_| ServiceError::Gone)?;
        done.await.map_err(|_| ServiceError::Gone)
    }

    async fn ask<T>(&self, ask: impl FnOnce(Answer<T>) -> Ask) -> Result<T, ServiceError> {
        let (reply, answer) = oneshot::channel();
        self.asks.send(ask(reply)).await.map_err(|_| ServiceError::Gone)?;
        answer.await.map_err(|_| ServiceError::Gone)?
    }
}
