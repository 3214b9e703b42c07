//! What others hold of an instance.

use std::sync::Arc;
use std::time::Duration;

use ganger_core::{InstanceId, SpawnId};
use ganger_keeper::wire::ExitReport;
use ganger_process::Ends;
use tokio::sync::{mpsc, oneshot};

use crate::spec::InstanceSpec;
use crate::view::InstanceView;

/// What an instance's owner task tells its holder, in order.
#[derive(Debug)]
pub enum InstanceNotice {
    /// A process runs: started, or taken over from a former daemon.
    Started {
        /// Which spawn.
        spawn: SpawnId,
        /// Its pid.
        pid: u32,
        /// Wall-clock milliseconds since 1970.
        started_at_ms: u64,
        /// Taken over.
        adopted: bool,
        /// Its channel and pipes (a service's channel with readiness by channel stays with the instance).
        ends: Ends,
    },
    /// It ended and its tree is empty.
    Ended(ExitReport),
    /// State, readiness or reason changed. Superseded ones may be left out.
    State(Arc<InstanceView>),
}

/// Why a ticket did not end well.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TicketError {
    /// It did not come up.
    #[error("{id} did not come up: {reason}")]
    NotUp {
        /// Which.
        id: InstanceId,
        /// Why.
        reason: String,
    },
    /// The owner task is gone: the daemon goes down or has lost its keeper.
    #[error("{id} is no longer supervised by this daemon; ask again in a moment")]
    Gone {
        /// Which.
        id: InstanceId,
    },
}

/// Await it: done. Drop it: done all the same, unseen.
#[derive(Debug)]
pub struct Ticket {
    id: InstanceId,
    answer: oneshot::Receiver<Result<(), String>>,
}

impl Ticket {
    /// Waits until what was asked for is reached.
    ///
    /// # Errors
    /// It can't be reached, and why.
    pub async fn done(self) -> Result<(), TicketError> {
        let Self { id, answer } = self;
        match answer.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(reason)) => Err(TicketError::NotUp { id, reason }),
            Err(_) => Err(TicketError::Gone { id }),
        }
    }
}

/// Answers one ticket.
pub(super) type Reply = oneshot::Sender<Result<(), String>>;

#[derive(Debug)]
pub(super) enum Command {
    Start(Reply),
    Stop(String, Reply),
    Restart(Reply),
    /// Only a process with this pid.
    Renew(u32, Reply),
    Yield(String, Reply),
    /// The new spec holds from the next start; with `true` a living process is replaced.
    Replace(Arc<InstanceSpec>, bool),
    Ready,
    /// How a ping of the process with this pid went.
    Answered(u32, Result<Duration, String>),
}

/// Handle to an instance's owner task; cheap to clone. When the last one is dropped the task ends and its process lives
/// on, for a later daemon to take over.
#[derive(Debug, Clone)]
pub struct InstanceHandle {
    pub(super) id: InstanceId,
    pub(super) commands: mpsc::Sender<Command>,
}

impl InstanceHandle {
    /// Which instance.
    #[must_use]
    pub const fn id(&self) -> &InstanceId {
        &self.id
    }

    /// Wants it up; forgets past failures. Done when it is ready.
    pub async fn start(&self) -> Ticket {
        self.ask(Command::Start).await
    }

    /// Wants it down, for a reason that is shown. Done when its tree is empty.
    pub async fn stop(&self, why: impl Into<String>) -> Ticket {
        let why = why.into();
        self.ask(|reply| Command::Stop(why, reply)).await
    }

    /// Wants a new process in place of the present one. Done when that is ready. A stop under way wins.
    pub async fn restart(&self) -> Ticket {
        self.ask(Command::Restart).await
    }

    /// The same for one process only: nothing happens when it has ended meanwhile, for then its place has what the rules of
    /// restarting say, maybe a new process already.
    pub async fn renew(&self, pid: u32) -> Ticket {
        self.ask(|reply| Command::Renew(pid, reply)).await
    }

    /// Has it make room in a restart of its group, for a reason that is shown: a living process ends, and the instance asks
    /// for a permit to start again. What a person stopped stays so. Done when there is no process.
    pub async fn yield_turn(&self, why: impl Into<String>) -> Ticket {
        let why = why.into();
        self.ask(|reply| Command::Yield(why, reply)).await
    }

    /// Gives it a new spec. With `now` a living process is replaced by one of the new spec, else the next start uses it.
    pub async fn replace(&self, spec: InstanceSpec, now: bool) {
        self.send(Command::Replace(Arc::new(spec), now)).await;
    }

    /// Says that it is ready (a worker's pool that has read its hello).
    pub async fn ready(&self) {
        self.send(Command::Ready).await;
    }

    /// Says how liveness by [`LiveBy::Ping`](crate::spec::LiveBy::Ping) stands of the process with this pid: answered after
    /// so long, or lost, and why. A process that came after it is not concerned.
    pub async fn answered(&self, pid: u32, answer: Result<Duration, String>) {
        self.send(Command::Answered(pid, answer)).await;
    }

    async fn ask(&self, command: impl FnOnce(Reply) -> Command) -> Ticket {
        let (reply, answer) = oneshot::channel();
        self.send(command(reply)).await;
        Ticket { id: self.id.clone(), answer }
    }

    /// A gone task drops the reply, and the ticket says so.
    async fn send(&self, command: Command) {
        drop(self.commands.send(command).await);
    }
}
