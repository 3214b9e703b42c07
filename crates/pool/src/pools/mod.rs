//! All pools: which workers there are, and the way to command them.
//!
//! One owner task keeps the table of places (pool, slot) and starts and stops their owner tasks; what happens inside a place is
//! that task's ([`crate::worker`], [`crate::command`]).

mod fence;
mod owner;
mod scaling;
mod takeover;

pub use fence::StuckTask;

use std::sync::Arc;

use ganger_keeper::wire::Survivor;
use ganger_process::Child;
use ganger_supervise::{SlotResume, Snapshot, Surroundings};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use crate::error::PoolError;
use crate::spec::PoolSpec;
use crate::start::Claims;
use crate::tasks::Tasks;

/// Commands of people that may wait.
const COMMANDS: usize = 64;

/// What the pools need from the daemon.
#[derive(Debug)]
pub struct PoolParts {
    /// The dispatcher.
    pub tasks: Tasks,
    /// Claims of earlier epochs, from [`crate::start()`].
    pub claims: Claims,
    /// Every pool.
    pub specs: Vec<PoolSpec>,
    /// Workers and commands of a former daemon whose instance name is a pool's, and those of pools that are gone.
    pub adopted: Vec<Child>,
    /// Processes of an earlier run that the keeper could not end.
    pub survivors: Vec<Survivor>,
    /// Where a former daemon left places without a process.
    pub resumed: Vec<SlotResume>,
    /// What instances share.
    pub around: Surroundings,
}

/// Handle to the pools; cheap to clone. When the last one is dropped the owner task ends, and the processes live on for a next
/// daemon.
#[derive(Debug, Clone)]
pub struct Pools {
    commands: mpsc::Sender<Ask>,
    view: watch::Receiver<Arc<Snapshot>>,
    stuck: watch::Receiver<Arc<Vec<StuckTask>>>,
}

type Answer = oneshot::Sender<Result<(), PoolError>>;

#[derive(Debug)]
enum Ask {
    Apply(Vec<PoolSpec>, Answer),
    Scale { name: String, workers: u32, reply: Answer },
    Act { name: String, slot: Option<u32>, verb: Verb, reply: Answer },
    Shutdown(Answer),
}

/// What is to happen to workers.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Verb {
    Start,
    Stop(String),
    Restart,
}

impl Pools {
    /// Takes over what a former daemon left, then starts every worker. The owner task is a member of `tasks`.
    ///
    /// # Errors
    /// A pool is wrong in itself; nothing was started then.
    pub async fn start(parts: PoolParts, tasks: &mut JoinSet<()>) -> Result<Self, PoolError> {
        for spec in &parts.specs {
            check(spec)?;
        }
        let (commands, asked) = mpsc::channel(COMMANDS);
        let (show, view) = watch::channel(Arc::default());
        let (show_stuck, stuck) = watch::channel(Arc::default());
        let owner = owner::Owner::begin(parts, asked, show, show_stuck).await?;
        tasks.spawn(owner.run());
        Ok(Self { commands, view, stuck })
    }

    /// Every worker of every pool.
    #[must_use]
    pub fn snapshot(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.view.clone()
    }

    /// Attempts that are not run again as long as a process of an earlier run may still run them.
    #[must_use]
    pub fn stuck(&self) -> watch::Receiver<Arc<Vec<StuckTask>>> {
        self.stuck.clone()
    }

    /// These are the pools from now on: new ones start, missing ones end, changed ones are replaced worker by worker once each
    /// has finished what it holds. Returns when the commands are given; the ends take as long as they take.
    ///
    /// # Errors
    /// A pool is wrong in itself; nothing was changed then.
    pub async fn apply(&self, specs: Vec<PoolSpec>) -> Result<(), PoolError> {
        self.ask(|reply| Ask::Apply(specs, reply)).await
    }

    /// Sets the number of workers. Returns when those that go are gone.
    ///
    /// # Errors
    /// No such pool, or too many.
    pub async fn scale(&self, name: &str, workers: u32) -> Result<(), PoolError> {
        let name = name.to_owned();
        self.ask(|reply| Ask::Scale { name, workers, reply }).await
    }

    /// Starts workers that are stopped or have failed: one, or all of a pool. Returns when they are up.
    ///
    /// # Errors
    /// No such pool or worker, or one does not come up.
    pub async fn start_workers(&self, name: &str, slot: Option<u32>) -> Result<(), PoolError> {
        self.act(name, slot, Verb::Start).await
    }

    /// Stops workers once they have finished what they hold, or after their drain time. Returns when their trees are empty.
    ///
    /// # Errors
    /// No such pool or worker.
    pub async fn stop_workers(
        &self,
        name: &str,
        slot: Option<u32>,
        why: &str,
    ) -> Result<(), PoolError> {
        self.act(name, slot, Verb::Stop(why.to_owned())).await
    }

    /// Replaces the processes of workers once they have finished what they hold. Returns when the new ones are up.
    ///
    /// # Errors
    /// No such pool or worker, or one does not come up.
    pub async fn restart_workers(&self, name: &str, slot: Option<u32>) -> Result<(), PoolError> {
        self.act(name, slot, Verb::Restart).await
    }

    /// Nothing is handed out any more; workers finish what they hold, or run out of their drain time, and end. Returns when every
    /// tree is empty.
    ///
    /// # Errors
    /// Another shutdown is ahead of this one.
    pub async fn shutdown(&self) -> Result<(), PoolError> {
        self.ask(Ask::Shutdown).await
    }

    async fn act(&self, name: &str, slot: Option<u32>, verb: Verb) -> Result<(), PoolError> {
        let name = name.to_owned();
        self.ask(|reply| Ask::Act { name, slot, verb, reply }).await
    }

    async fn ask(&self, ask: impl FnOnce(Answer) -> Ask) -> Result<(), PoolError> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(ask(reply)).await.map_err(|_| PoolError::ShuttingDown)?;
        answer.await.map_err(|_| PoolError::ShuttingDown)?
    }
}

#[cfg(test)]
pub(crate) fn gone_for_tests(claims: Claims) -> crate::attempt::FromWorker {
    takeover::gone(claims.0, takeover::UNSEEN)
}

/// What can be said of a pool without starting it.
fn check(spec: &PoolSpec) -> Result<(), PoolError> {
    if spec.workers > crate::spec::WORKERS_MAX {
        let (name, asked) = (spec.name.clone(), spec.workers);
        return Err(PoolError::TooMany { name, asked, max: crate::spec::WORKERS_MAX });
    }
    if spec.protocol == crate::spec::Protocol::Command {
        crate::command::template(spec)?;
    }
    Ok(())
}
