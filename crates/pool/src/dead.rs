//! Dead letters: looking, bringing back, forgetting.

use bytes::Bytes;
use ganger_core::{Durability, TaskId, TaskState};
use ganger_queue::{NewTask, PushError};
use ganger_store::{DeadPage, DeadQuery, DeadRow, StoreRead as _, store::PAGE_MAX};
use tokio::sync::oneshot;

use crate::dispatcher::Msg;
use crate::error::TaskError;
use crate::tasks::{Tasks, check_payloads};

/// One death: the task and the attempt that was its last. A task that came back and died again is another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Death {
    /// The task.
    pub id: TaskId,
    /// Only if that is still its last attempt; `None`: whichever it is.
    pub attempt: Option<u32>,
}

/// What becomes of dead letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeadVerb {
    /// Available again, with a fresh budget of attempts and crashes.
    Replay,
    /// Forgotten, with their attempts.
    Purge,
}

impl Tasks {
    /// A page of dead letters. Those of memory queues are found by naming the queue.
    ///
    /// # Errors
    /// No such queue, or the store can't be read.
    pub async fn dead(&self, query: DeadQuery) -> Result<DeadPage, TaskError> {
        if let Some(queue) = &query.queue
            && self.queue(queue).await?.config.durability == Durability::Memory
        {
            let (reply, answer) = oneshot::channel();
            let (state, limit) = (Some(TaskState::Discarded), PAGE_MAX);
            self.tell(Msg::MemoryList { queue: queue.as_str().into(), state, limit, reply })
                .await?;
            let page = answer.await.map_err(|_| TaskError::ShuttingDown)??.unwrap_or_default();
            let rows = page.tasks.into_iter().map(DeadRow::of).filter(|row| query.wants(row));
            return Ok(DeadPage { rows: rows.take(query.limit.max(1)).collect(), next: None });
        }
        Ok(self.readers.run(move |store| store.dead(&query)).await?)
    }

    /// Does the same with dead letters, at most [`PAGE_MAX`] at a time: each is one fenced step, all of them share a commit as
    /// far as they can. The answers stand in the order of the deaths; one that is no dead letter any more is refused alone.
    ///
    /// # Errors
    /// The daemon goes down.
    ///
    /// # Cancel safety
    /// A dropped call may have done it; the fence keeps a repetition from doing it twice.
    pub async fn with_dead(
        &self,
        verb: DeadVerb,
        deaths: &[Death],
    ) -> Result<Vec<Result<(), TaskError>>, TaskError> {
        let mut answers = Vec::with_capacity(deaths.len());
        for death in deaths.iter().take(PAGE_MAX) {
            let Death { id, attempt } = *death;
            let (reply, answer) = oneshot::channel();
            self.tell(match verb {
                DeadVerb::Replay => Msg::Replay { id, attempt, payload: None, reply },
                DeadVerb::Purge => Msg::Purge { id, attempt, reply },
            })
            .await?;
            answers.push(answer);
        }
        let mut done = Vec::with_capacity(answers.len());
        for answer in answers {
            done.push(answer.await.map_err(|_| TaskError::ShuttingDown)?);
        }
        Ok(done)
    }

    /// Brings one back with another payload.
    ///
    /// # Errors
    /// No such dead letter, or the payload is no JSON or longer than its queue takes.
    pub async fn edit(&self, id: TaskId, payload: Bytes) -> Result<(), TaskError> {
        check_payloads(std::slice::from_ref(&NewTask::json(payload.clone())))?;
        let row = self.get(id).await?;
        let max = self.payload_max(&row.queue).await?;
        if payload.len() > max {
            let (queue, len) = (row.queue, payload.len());
            return Err(PushError::PayloadTooLarge { queue, index: 0, len, max }.into());
        }
        let (attempt, payload) = (Some(row.attempt), Some(payload));
        self.request(|reply| Msg::Replay { id, attempt, payload, reply }).await
    }
}
