//! The handle through which the daemon starts and holds children.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;

use ganger_core::logwire::LogReply;
use ganger_core::{End, InstanceId, SpawnId};
use ganger_keeper::wire::{Offer, Plan, Upgrade};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::child::Child;
use crate::control::{Asked, Born, Control};
use crate::error::{KeeperGone, SpawnError, UpgradeError};
use crate::inherited::Inherited;
use crate::link::Link;
use crate::revive::KeeperLost;
use crate::router::Router;

/// Requests of owners in flight. A thousand instances stopped at once fit; beyond it they wait for each other.
const CONTROLS: usize = 1_024;
/// Notices in flight; behind it the routing task keeps a bounded backlog.
const NOTICES: usize = 256;

/// What the keeper says that belongs to no child.
#[derive(Debug)]
pub enum Notice {
    /// The keeper answers.
    Welcome {
        /// Its wire version.
        version: u32,
        /// Its pid.
        keeper_pid: u32,
    },
    /// The logger dropped bytes or retired a stream.
    Log(LogReply),
    /// A logger runs.
    LoggerStarted {
        /// Its pid.
        pid: u32,
        /// How the one before ended.
        previous: Option<End>,
    },
    /// Bring everything down, then call [`Processes::shutdown`].
    ShutdownAsked {
        /// Who or what asks.
        why: String,
    },
    /// The keeper can't do something nobody waits for.
    Refused {
        /// Its words.
        why: String,
    },
    /// The keeper runs another binary now, and waits for this daemon to end.
    Upgraded(Upgrade),
    /// The keeper is gone. This is the last notice.
    KeeperLost(Box<KeeperLost>),
}

/// What [`Processes::start`] gives.
#[derive(Debug)]
pub struct Startup {
    /// The handle.
    pub processes: Processes,
    /// Children of a former daemon, each with its note and perhaps its exit. Each wants an owner.
    pub adopted: Vec<Child>,
    /// Descriptors held under a name for the daemon, taken once.
    pub held: BTreeMap<String, OwnedFd>,
    /// The API's listening socket.
    pub api: Option<OwnedFd>,
    /// What belongs to no child.
    pub notices: mpsc::Receiver<Notice>,
    /// The routing task; ends after the last notice or when every handle is dropped.
    pub task: JoinHandle<()>,
}

/// Handle to the routing task; cheap to clone.
#[derive(Debug, Clone)]
pub struct Processes {
    control: mpsc::Sender<Control>,
    /// Unbounded, but at most one message per start in flight.
    abandon: mpsc::UnboundedSender<SpawnId>,
}

impl Processes {
    /// Starts the routing task over a link. `epoch` is the store's and makes spawn ids unique within a state folder.
    /// Must be called within a tokio runtime.
    #[must_use]
    pub fn start(link: Link, inherited: Inherited, epoch: u32) -> Startup {
        let (control, asked) = mpsc::channel(CONTROLS);
        let (tell, notices) = mpsc::channel(NOTICES);
        let (abandon, abandoned) = mpsc::unbounded_channel();
        let asked = Asked { control: asked, abandoned };
        let (router, taken) = Router::new(link, inherited, epoch, asked, tell);
        let adopted = taken
            .children
            .into_iter()
            .map(|(instance, blob, born)| Child::new(instance, born, blob, true, control.clone()))
            .collect();
        Startup {
            processes: Self { control, abandon },
            adopted,
            held: taken.held,
            api: taken.api,
            notices,
            task: tokio::spawn(router.run()),
        }
    }

    /// Starts a child. `fds` go with the plan (the first is its stdin for `Stdin::Passed`). The keeper answers every
    /// start under its own deadline.
    ///
    /// # Errors
    /// It was not started, and why; or no keeper.
    ///
    /// # Cancel safety
    /// A dropped wait ends the child as soon as the keeper tells of it: a start nobody waits for leaves nothing running.
    pub async fn spawn(&self, plan: Plan, fds: Vec<OwnedFd>) -> Result<Child, SpawnError> {
        let instance = plan.instance.clone();
        let blob = plan.blob.clone();
        let (reply, answer) = oneshot::channel();
        self.ask(Control::Spawn { plan: Box::new(plan), fds, reply }).await?;
        let mut waiting = Waiting { answer, abandon: &self.abandon };
        let born = (&mut waiting.answer).await.map_err(|_| KeeperGone)??;
        Ok(Child::new(instance, born, blob, false, self.control.clone()))
    }

    /// Has the keeper hold a descriptor under a name through every restart of the daemon; the next daemon finds it in
    /// [`Startup::held`].
    ///
    /// # Errors
    /// No keeper.
    pub async fn hold(&self, name: String, fd: OwnedFd) -> Result<(), KeeperGone> {
        self.ask(Control::Hold { name, fd }).await
    }

    /// Closes a held descriptor.
    ///
    /// # Errors
    /// No keeper.
    pub async fn release(&self, name: String) -> Result<(), KeeperGone> {
        self.ask(Control::Release { name }).await
    }

    /// Drains and closes the log pipes of a slot that is no longer used.
    ///
    /// # Errors
    /// The keeper ended first.
    pub async fn retire_log(&self, instance: &InstanceId) -> Result<(), KeeperGone> {
        let (reply, done) = oneshot::channel();
        let (name, slot) = (instance.name.clone(), instance.slot);
        self.ask(Control::RetireLog { name, slot, reply }).await?;
        done.await.map_err(|_| KeeperGone)
    }

    /// Returns when everything children had written before the call is in the segment files. Calls made while a flush
    /// is under way share the next one.
    ///
    /// # Errors
    /// The keeper ended first.
    pub async fn flush_logs(&self) -> Result<(), KeeperGone> {
        let (reply, done) = oneshot::channel();
        self.ask(Control::FlushLogs { reply }).await?;
        done.await.map_err(|_| KeeperGone)
    }

    /// Tells the keeper (and a waiting systemd) that the daemon serves.
    ///
    /// # Errors
    /// No keeper.
    pub async fn ready(&self) -> Result<(), KeeperGone> {
        self.ask(Control::Ready).await
    }

    /// Asks a binary whether keeper and daemons could go on as it. The keeper has a deadline for its answer.
    ///
    /// # Errors
    /// It can't, and why; or no keeper.
    pub async fn examine(&self, path: String) -> Result<Offer, UpgradeError> {
        let (reply, answer) = oneshot::channel();
        self.ask(Control::Examine { path, reply }).await?;
        answer.await.map_err(|_| KeeperGone)?
    }

    /// Has the keeper go on as the binary that was examined last. Its children, and this link to it, stay. This daemon is
    /// told by [`Notice::Upgraded`] as well, and is to end then.
    ///
    /// # Errors
    /// It stays what it was, and why; or no keeper.
    pub async fn upgrade(&self) -> Result<Upgrade, UpgradeError> {
        let (reply, answer) = oneshot::channel();
        self.ask(Control::Upgrade { reply }).await?;
        answer.await.map_err(|_| KeeperGone)?
    }

    /// Everything is ended: the keeper retires the logs and exits.
    ///
    /// # Errors
    /// No keeper.
    pub async fn shutdown(&self) -> Result<(), KeeperGone> {
        self.ask(Control::Shutdown).await
    }

    async fn ask(&self, control: Control) -> Result<(), KeeperGone> {
        self.control.send(control).await.map_err(|_| KeeperGone)
    }
}

/// A wait for a start. Dropped with the answer unread, it has the child ended.
struct Waiting<'a> {
    answer: oneshot::Receiver<Result<Born, SpawnError>>,
    abandon: &'a mpsc::UnboundedSender<SpawnId>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.answer.close();
        if let Ok(Ok(born)) = self.answer.try_recv() {
            // Fails only without a routing task, and then there is no keeper to ask either.
            let _gone = self.abandon.send(born.id);
        }
    }
}
