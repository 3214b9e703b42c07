//! Schedules: the owner task that waits for the next fire and makes it.
//!
//! ```text
//!  alarm (wall clock) ──┐                              ┌─► push with the fire's row ─► dispatcher ─► ONE commit
//!  task before ended  ──┼─► ganger_queue::Schedule ────┼─► row of a fire that waits or is left out ─► writer
//!  people, configuration┘      (pure, one each)        └─► cancel of the task before
//! ```
//!
//! It sleeps until the earliest fire of all schedules; nothing polls. The clock being set rings the alarm too.

mod alarm;
mod owner;
mod steps;
mod telling;
#[cfg(test)]
mod tests;

use std::io;

use ganger_core::TaskId;
use ganger_queue::schedule::{RunRefused, ScheduleConfig, ScheduleView};
use ganger_store::{FireRow, ScheduleRow, StoreError, StoreRead as _, Writer};
use ganger_supervise::Told;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use crate::tasks::{StoreReaders, Tasks};

/// Requests of people that may wait.
const REQUESTS: usize = 64;

/// What schedules need from the daemon.
#[derive(Debug)]
pub struct ScheduleParts {
    /// The dispatcher.
    pub tasks: Tasks,
    /// The store's writer, for fires that push nothing.
    pub writer: Writer,
    /// The store's read side.
    pub readers: StoreReaders,
    /// Where events go. Never waited for.
    pub told: mpsc::Sender<Told>,
    /// Every schedule.
    pub schedules: Vec<(String, ScheduleConfig)>,
}

/// Handle to the schedules; cheap to clone. When the last one is dropped nothing fires any more.
#[derive(Debug, Clone)]
pub struct Schedules {
    requests: mpsc::Sender<Request>,
    readers: StoreReaders,
}

/// A request about schedules failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// No such schedule.
    #[error("there is no schedule `{name}`")]
    Unknown {
        /// What was asked for.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// It can't fire now.
    #[error("schedule `{name}` was not run: {why}")]
    NotRun {
        /// The schedule.
        name: String,
        /// Why.
        why: String,
    },
    /// Nothing could be stored or read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The daemon goes down.
    #[error("the daemon is shutting down: try again when it is back")]
    ShuttingDown,
}

/// One schedule as users see it.
#[derive(Debug, Clone, PartialEq)]
pub struct ScheduleLook {
    /// How it is.
    pub view: ScheduleView,
    /// What the store knows of it.
    pub row: Option<ScheduleRow>,
}

/// What a fire by hand made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fired {
    /// The fire; milliseconds since 1970.
    pub fire_ms: u64,
    /// Its task; `None`: it waits for the one before.
    pub task: Option<TaskId>,
}

type Reply<T> = oneshot::Sender<Result<T, ScheduleError>>;

#[derive(Debug)]
enum Request {
    Configure(Vec<(String, ScheduleConfig)>, Reply<()>),
    Look(Option<String>, Reply<Vec<ScheduleView>>),
    Pause {
        name: String,
        paused: bool,
        reply: Reply<()>,
    },
    Run {
        name: String,
        reply: Reply<Fired>,
    },
    /// Nothing fires from now on; answered when no step is under way.
    Stop(oneshot::Sender<()>),
}

impl Schedules {
    /// Goes on with every schedule where a former daemon left it. The owner task is a member of `tasks`.
    ///
    /// # Errors
    /// The kernel has no timer, or the store can't be read.
    pub async fn start(parts: ScheduleParts, tasks: &mut JoinSet<()>) -> io::Result<Self> {
        let (requests, asked) = mpsc::channel(REQUESTS);
        let handle = Self { requests, readers: parts.readers.clone() };
        let owner = owner::Owner::begin(parts, asked).await?;
        tasks.spawn(owner.run());
        Ok(handle)
    }

    /// Makes the schedules those; others are forgotten with their fires.
    ///
    /// # Errors
    /// Nothing could be read or stored.
    pub async fn configure(
        &self,
        schedules: Vec<(String, ScheduleConfig)>,
    ) -> Result<(), ScheduleError> {
        self.ask(|reply| Request::Configure(schedules, reply)).await
    }

    /// Every schedule, by name.
    ///
    /// # Errors
    /// The store can't be read.
    pub async fn list(&self) -> Result<Vec<ScheduleLook>, ScheduleError> {
        self.look(None).await
    }

    /// One schedule with its newest fires.
    ///
    /// # Errors
    /// No such schedule, or the store can't be read.
    pub async fn get(
        &self,
        name: &str,
        fires: usize,
    ) -> Result<(ScheduleLook, Vec<FireRow>), ScheduleError> {
        let mut looks = self.look(Some(name.to_owned())).await?;
        let look = looks.pop().ok_or(ScheduleError::ShuttingDown)?;
        let name = name.to_owned();
        let fires = self.readers.run(move |store| store.fires(&name, fires)).await?;
        Ok((look, fires))
    }

    /// It fires nothing from now on, also after a restart.
    ///
    /// # Errors
    /// No such schedule, or nothing could be stored.
    pub async fn pause(&self, name: &str) -> Result<(), ScheduleError> {
        let name = name.to_owned();
        self.ask(|reply| Request::Pause { name, paused: true, reply }).await
    }

    /// It fires again. What fell into the pause is not made up for.
    ///
    /// # Errors
    /// No such schedule, or nothing could be stored.
    pub async fn resume(&self, name: &str) -> Result<(), ScheduleError> {
        let name = name.to_owned();
        self.ask(|reply| Request::Pause { name, paused: false, reply }).await
    }

    /// A fire now, by hand, whatever its times say and also while it is paused. Returns when its row is stored.
    ///
    /// # Errors
    /// No such schedule, the task before is unfinished and overlap is `skip`, or its queue refuses the task.
    pub async fn run(&self, name: &str) -> Result<Fired, ScheduleError> {
        let name = name.to_owned();
        self.ask(|reply| Request::Run { name, reply }).await
    }

    /// Nothing fires from now on. Returns when nothing is under way.
    pub async fn stop(&self) {
        let (reply, stopped) = oneshot::channel();
        // An owner that is gone has stopped.
        if self.requests.send(Request::Stop(reply)).await.is_ok() {
            let _ = stopped.await;
        }
    }

    async fn look(&self, name: Option<String>) -> Result<Vec<ScheduleLook>, ScheduleError> {
        let views = self.ask(|reply| Request::Look(name, reply)).await?;
        let mut rows = self.readers.run(|store| store.schedules()).await?;
        let look = |view: ScheduleView| {
            let row = rows.iter().position(|row| row.name == view.name);
            ScheduleLook { view, row: row.map(|at| rows.swap_remove(at)) }
        };
        Ok(views.into_iter().map(look).collect())
    }

    async fn ask<T>(&self, request: impl FnOnce(Reply<T>) -> Request) -> Result<T, ScheduleError> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(request(reply)).await.map_err(|_| ScheduleError::ShuttingDown)?;
        answer.await.map_err(|_| ScheduleError::ShuttingDown)?
    }
}

fn not_run(name: &str, why: RunRefused) -> ScheduleError {
    ScheduleError::NotRun { name: name.to_owned(), why: why.to_string() }
}
