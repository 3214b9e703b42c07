//! A push stream: tasks in, finished tasks out, with a bound on what is between.

use std::convert::Infallible;
use std::sync::Arc;

use ganger_core::TaskId;
use ganger_queue::{Finished, NewTask};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use crate::Pushed;
use crate::dispatcher::{Msg, Pushing};
use crate::error::TaskError;
use crate::tasks::check_payloads;

/// Tasks of one stream that may be pushed and not yet taken out as results. At 1 KiB each that is 64 MiB; a client that
/// pushes more and reads nothing is made to wait.
pub const IN_FLIGHT_MAX: usize = 65_536;

/// Most tasks of one [`StreamIn::push`]: a request must never need more room than there can be.
pub const PUSH_MAX: usize = 16_384;

/// The way in. Dropping it leaves what was pushed; the way out ends when all of it has come out.
#[derive(Debug)]
pub struct StreamIn {
    inbox: mpsc::Sender<Msg>,
    queue: Arc<str>,
    key: u64,
    room: Arc<Semaphore>,
    /// Dropped with us: that is how the way out hears of it.
    _open: oneshot::Sender<Infallible>,
}

/// The way out. Dropping it closes the stream; the tasks run on.
#[derive(Debug)]
pub struct StreamOut {
    results: mpsc::Receiver<Vec<Finished>>,
    room: Arc<Semaphore>,
    open: oneshot::Receiver<Infallible>,
    ended: bool,
}

/// The acknowledgement of a [`StreamIn::push`] to come. Await it to know; drop it and nothing changes.
#[derive(Debug)]
pub struct PushTicket(oneshot::Receiver<Result<Pushed, TaskError>>);

pub(crate) fn ends(
    inbox: mpsc::Sender<Msg>,
    queue: Arc<str>,
    key: u64,
    results: mpsc::Receiver<Vec<Finished>>,
) -> (StreamIn, StreamOut) {
    let room = Arc::new(Semaphore::new(IN_FLIGHT_MAX));
    let (open_in, open) = oneshot::channel();
    let way_in = StreamIn { inbox, queue, key, room: Arc::clone(&room), _open: open_in };
    (way_in, StreamOut { results, room, open, ended: false })
}

impl StreamIn {
    /// Hands tasks over, at most [`PUSH_MAX`]. Waits while [`IN_FLIGHT_MAX`] are under way; the acknowledgement is the
    /// ticket's matter, so that pushes follow each other without waiting for commits.
    ///
    /// # Errors
    /// A payload is no JSON, there are too many tasks, or the daemon goes down. Nothing was pushed then.
    pub async fn push(&self, tasks: Vec<NewTask>) -> Result<PushTicket, TaskError> {
        check_payloads(&tasks)?;
        let n = u32::try_from(tasks.len()).unwrap_or(u32::MAX);
        if tasks.len() > PUSH_MAX {
            return Err(TaskError::TooManyAtOnce { got: tasks.len(), max: PUSH_MAX });
        }
        let room = Arc::clone(&self.room).acquire_many_owned(n).await;
        let room = room.map_err(|_| TaskError::ShuttingDown)?;
        let (reply, answer) = oneshot::channel();
        let pushing = Pushing {
            queue: Arc::clone(&self.queue),
            key: None,
            fire: None,
            tasks,
            reply,
            stream: Some((self.key, room)),
        };
        self.inbox.send(Msg::Push(pushing)).await.map_err(|_| TaskError::ShuttingDown)?;
        Ok(PushTicket(answer))
    }
}

impl PushTicket {
    /// The ids in order, when they are acknowledged as the queue's durability says.
    ///
    /// # Errors
    /// As [`crate::Tasks::push`]; nothing of this push was taken then.
    pub async fn ids(self) -> Result<Vec<TaskId>, TaskError> {
        Ok(self.0.await.map_err(|_| TaskError::ShuttingDown)??.ids)
    }
}

impl StreamOut {
    /// The next finished tasks, at least one; `None` when the way in is dropped and everything has come out, or at shutdown.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn next(&mut self) -> Option<Vec<Finished>> {
        loop {
            if self.ended && self.room.available_permits() == IN_FLIGHT_MAX {
                return None;
            }
            tokio::select! {
                biased;
                finished = self.results.recv() => {
                    let finished = finished?;
                    self.room.add_permits(finished.len());
                    // An empty one only says that a push failed and its room is back.
                    if !finished.is_empty() {
                        return Some(finished);
                    }
                }
                _ = &mut self.open, if !self.ended => self.ended = true,
            }
        }
    }
}

/// Room in a stream that a push holds: kept by its tasks when it succeeds, given back when it fails.
pub(crate) type StreamRoom = (u64, OwnedSemaphorePermit);
