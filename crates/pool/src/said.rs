//! Reading what attempts say: progress and log lines, of running ones from memory.

use ganger_core::{TaskId, TaskState};
use ganger_store::{Progress, Said, TaskRow};
use tokio::sync::{mpsc, oneshot};

use crate::dispatcher::Msg;
use crate::error::TaskError;
use crate::tasks::Tasks;

/// Messages that wait for a listener: some come per second.
const HEARD: usize = 16;

/// What an attempt said since the last time.
#[derive(Debug, Clone)]
pub struct Heard {
    /// The attempt's number.
    pub attempt: u32,
    /// Only what is new; the numbers of its lines are those of the whole attempt.
    pub said: Said,
}

impl Tasks {
    /// What the attempts of a task say from now on; the channel ends with the task, or with the daemon. What was said before
    /// is in [`Tasks::get`]: listen first, and nothing falls between the two.
    ///
    /// # Errors
    /// Too many listeners, or the daemon goes down.
    pub async fn listen(&self, id: TaskId) -> Result<mpsc::Receiver<Heard>, TaskError> {
        let (to, heard) = mpsc::channel(HEARD);
        self.request(|reply| Msg::Listen { id, to, reply }).await?;
        Ok(heard)
    }

    /// How far running tasks say that they are; those that say nothing are left out.
    ///
    /// # Errors
    /// The daemon goes down.
    pub async fn progress(&self, ids: Vec<TaskId>) -> Result<Vec<(TaskId, Progress)>, TaskError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let (reply, answer) = oneshot::channel();
        self.tell(Msg::Progress { ids, reply }).await?;
        answer.await.map_err(|_| TaskError::ShuttingDown)
    }

    /// What the running attempt of a row has said by now, in place of what was stored of it.
    pub(crate) async fn with_words(&self, mut row: TaskRow) -> Result<TaskRow, TaskError> {
        if row.state != TaskState::Running {
            return Ok(row);
        }
        let (reply, answer) = oneshot::channel();
        self.tell(Msg::Said { id: row.id, reply }).await?;
        let said = answer.await.map_err(|_| TaskError::ShuttingDown)?;
        if let Some((n, said)) = said
            && let Some(attempt) = row.attempts.iter_mut().find(|attempt| attempt.n == n)
        {
            attempt.said = Some(said);
        }
        Ok(row)
    }
}
