//! The handle to tasks: push, wait, look, cancel, retry.

use std::sync::Arc;
use std::time::Duration;

use ganger_core::{Durability, TaskId, TaskState};
use ganger_queue::{GateSet, NewTask, QueueConfig};
use ganger_store::{
    CacheStats, Fire, Page, QueueRow, Readers, SqliteReader, StoreRead as _, TaskQuery, TaskRow,
};
use tokio::sync::{mpsc, oneshot};

use crate::dispatcher::{Msg, Pushing};
use crate::error::TaskError;
use crate::stream::{self, StreamIn, StreamOut};

/// The read side of the store as everything here uses it.
pub type StoreReaders = Readers<SqliteReader>;

/// Handle to the dispatcher; cheap to clone.
#[derive(Debug, Clone)]
pub struct Tasks {
    pub(crate) inbox: mpsc::Sender<Msg>,
    pub(crate) readers: StoreReaders,
}

/// What a push made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// The tasks' ids in the order of the request.
    pub ids: Vec<TaskId>,
    /// The idempotency key was known: nothing was added, the ids are those of the first request.
    pub duplicate: bool,
    /// Which of the ids (by their place) are tasks that were there already and hold the key of the one pushed.
    pub known: Vec<usize>,
}

/// One queue as users see it.
#[derive(Debug, Clone, PartialEq)]
pub struct QueueLook {
    /// Name, pause and counts.
    pub row: QueueRow,
    /// Its rules.
    pub config: QueueConfig,
    /// When the task became available that waits longest; milliseconds since 1970.
    pub oldest_ms: Option<u64>,
    /// What its result cache holds and did.
    pub cache: CacheStats,
}

/// A task and what is known of why it does not run.
#[derive(Debug, Clone)]
pub struct WhyTask {
    /// The task.
    pub task: TaskRow,
    /// What queue and workers say.
    pub facts: crate::why::Facts,
}

impl Tasks {
    /// Pushes tasks; returns when they are acknowledged as the queue's durability says. All or none.
    ///
    /// # Errors
    /// No such queue, a payload that is too large or no JSON, a full queue, or nothing could be stored.
    ///
    /// # Cancel safety
    /// A dropped call may have pushed; repeat it with the same `key` to be sure.
    pub async fn push(
        &self,
        queue: &str,
        key: Option<&str>,
        tasks: Vec<NewTask>,
    ) -> Result<Pushed, TaskError> {
        check_payloads(&tasks)?;
        let (reply, answer) = oneshot::channel();
        let key = key.map(Into::into);
        let pushing = Pushing { queue: queue.into(), key, fire: None, tasks, reply, stream: None };
        self.tell(Msg::Push(pushing)).await?;
        answer.await.map_err(|_| TaskError::ShuttingDown)?
    }

    /// Pushes the task of a schedule's fire, in one commit with the fire's row. `duplicate`: that fire has its task already.
    ///
    /// # Errors
    /// As [`Self::push`].
    pub(crate) async fn push_fire(
        &self,
        queue: &Arc<str>,
        fire: Fire,
        task: NewTask,
    ) -> Result<Pushed, TaskError> {
        let tasks = vec![task];
        check_payloads(&tasks)?;
        let (reply, answer) = oneshot::channel();
        let (queue, fire) = (Arc::clone(queue), Some(Box::new(fire)));
        self.tell(Msg::Push(Pushing { queue, key: None, fire, tasks, reply, stream: None }))
            .await?;
        answer.await.map_err(|_| TaskError::ShuttingDown)?
    }

    /// Opens a duplex stream: tasks go in in batches, finished ones come out as they complete.
    ///
    /// # Errors
    /// No such queue.
    pub async fn push_stream(&self, queue: &str) -> Result<(StreamIn, StreamOut), TaskError> {
        let queue: Arc<str> = queue.into();
        let (reply, answer) = oneshot::channel();
        let (results_to, results) = mpsc::channel(stream::IN_FLIGHT_MAX);
        self.tell(Msg::OpenStream { queue: Arc::clone(&queue), results: results_to, reply })
            .await?;
        let key = answer.await.map_err(|_| TaskError::ShuttingDown)??;
        Ok(stream::ends(self.inbox.clone(), queue, key, results))
    }

    /// Waits until a task has ended. `None`: no limit.
    ///
    /// # Errors
    /// No such task, too many waiters, or the time is over; the task goes on.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn wait(&self, id: TaskId, timeout: Option<Duration>) -> Result<TaskRow, TaskError> {
        let (reply, ended) = oneshot::channel();
        self.tell(Msg::Watch { id, reply }).await?;
        // The watch is set before the look, so that no end can fall between the two.
        let row = self.get(id).await?;
        if row.state.is_final() {
            return Ok(row);
        }
        let waited = async {
            match timeout {
                Some(limit) => tokio::time::timeout(limit, ended).await.map_err(|_| limit),
                None => Ok(ended.await),
            }
        };
        match waited.await {
            Ok(Ok(told)) => {
                told?;
                self.get(id).await
            }
            Ok(Err(_)) => Err(TaskError::ShuttingDown),
            Err(limit) => {
                let state = self.get(id).await?.state;
                Err(TaskError::WaitTimeout { id, after: ganger_core::Dur(limit), state })
            }
        }
    }

    /// Waits until no task of a queue is unfinished, and that is stored.
    ///
    /// # Errors
    /// No such queue, or too many waiters.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn wait_empty(&self, queue: &str) -> Result<(), TaskError> {
        let queue = queue.into();
        self.request(|reply| Msg::WatchEmpty { queue, reply }).await
    }

    /// One task with its attempts.
    ///
    /// # Errors
    /// No such task, or the store can't be read.
    pub async fn get(&self, id: TaskId) -> Result<TaskRow, TaskError> {
        let (reply, answer) = oneshot::channel();
        self.tell(Msg::MemoryTask { id, reply }).await?;
        if let Some(row) = answer.await.map_err(|_| TaskError::ShuttingDown)? {
            return Ok(*row);
        }
        let row = self.readers.run(move |r| r.task(id)).await?.ok_or(TaskError::NoTask(id))?;
        self.with_words(row).await
    }

    /// Why a task does not run, as far as queues and workers know; [`crate::why::causes`] adds the pools.
    ///
    /// # Errors
    /// No such task, or the store can't be read.
    pub async fn why(&self, id: TaskId) -> Result<WhyTask, TaskError> {
        // Read before the task: one that waits no more by then was let go of in the commit that ended its leader.
        let leader = self.readers.run(move |r| r.leader(id)?.map_or(Ok(None), |id| r.task(id)));
        let leader = leader.await?.filter(|leader| leader.ended_at_ms.is_none());
        let task = self.get(id).await?;
        let leader = leader.filter(|_| task.state == TaskState::Scheduled).map(Box::new);
        let (reply, answer) = oneshot::channel();
        self.tell(Msg::Why { task: Box::new(task.clone()), leader, reply }).await?;
        let facts = answer.await.map_err(|_| TaskError::ShuttingDown)?;
        Ok(WhyTask { task, facts })
    }

    /// A page of tasks.
    ///
    /// # Errors
    /// No such queue, or the store can't be read.
    pub async fn list(&self, query: TaskQuery) -> Result<Page, TaskError> {
        if let Some(queue) = &query.queue {
            let (reply, answer) = oneshot::channel();
            let ask = Msg::MemoryList {
                queue: queue.as_str().into(),
                state: query.state,
                limit: query.limit,
                reply,
            };
            self.tell(ask).await?;
            if let Some(page) = answer.await.map_err(|_| TaskError::ShuttingDown)?? {
                return Ok(page);
            }
        }
        Ok(self.readers.run(move |r| r.list(&query)).await?)
    }

    /// One queue with its counts.
    ///
    /// # Errors
    /// No such queue, or the store can't be read.
    pub async fn queue(&self, name: &str) -> Result<QueueLook, TaskError> {
        let looks = self.look(Some(name.into())).await?;
        looks.into_iter().next().ok_or_else(|| TaskError::NoQueue(name.to_owned()))
    }

    /// Every configured queue with its counts, by name.
    ///
    /// # Errors
    /// The store can't be read.
    pub async fn queues(&self) -> Result<Vec<QueueLook>, TaskError> {
        self.look(None).await
    }

    async fn look(&self, queue: Option<Arc<str>>) -> Result<Vec<QueueLook>, TaskError> {
        let (reply, answer) = oneshot::channel();
        self.tell(Msg::Look { queue, reply }).await?;
        let mut looks = answer.await.map_err(|_| TaskError::ShuttingDown)??;
        let read = move |r: &mut SqliteReader| {
            let durable = |look: &&mut QueueLook| look.config.durability != Durability::Memory;
            for look in looks.iter_mut().filter(durable) {
                if let Some(stored) = r.queue(&look.row.name)? {
                    look.row.counts = stored.counts;
                }
                look.oldest_ms = r.oldest_available_ms(&look.row.name)?;
                look.cache = r.cache_stats(&look.row.name)?;
            }
            Ok(looks)
        };
        Ok(self.readers.run(read).await?)
    }

    /// A task shall not run. Returns when that is stored; for a running one when its worker is told (wait for its end with
    /// [`Self::wait`]).
    ///
    /// # Errors
    /// No such task, or it has ended.
    pub async fn cancel(&self, id: TaskId) -> Result<(), TaskError> {
        self.request(|reply| Msg::Cancel { id, reply }).await
    }

    /// A task that waits gets another priority.
    ///
    /// # Errors
    /// No such task, or it runs or has ended.
    pub async fn reprioritise(
        &self,
        id: TaskId,
        priority: ganger_core::Priority,
    ) -> Result<(), TaskError> {
        self.request(|reply| Msg::Priority { id, priority, reply }).await
    }

    /// A discarded or cancelled task gets a fresh budget of attempts.
    ///
    /// # Errors
    /// No such task, or it is in another state.
    pub async fn retry(&self, id: TaskId) -> Result<(), TaskError> {
        self.request(|reply| Msg::Retry { id, reply }).await
    }

    /// Sets a queue's gate: pause, drain or resume. It stays so over restarts. `by_config`: the configuration says so, not a
    /// person.
    ///
    /// # Errors
    /// No such queue, or nothing could be stored.
    pub async fn gate(&self, queue: &str, set: GateSet, by_config: bool) -> Result<(), TaskError> {
        let queue = queue.into();
        self.request(|reply| Msg::Gate { queue, set, by_config, reply }).await
    }

    /// The queue takes tasks but hands none out.
    ///
    /// # Errors
    /// As [`Tasks::gate`].
    pub async fn pause(&self, queue: &str) -> Result<(), TaskError> {
        self.gate(queue, GateSet::Pause, false).await
    }

    /// The queue takes tasks and hands them out.
    ///
    /// # Errors
    /// As [`Tasks::gate`].
    pub async fn resume(&self, queue: &str) -> Result<(), TaskError> {
        self.gate(queue, GateSet::Resume, false).await
    }

    /// Sets the rules of queues; those not named stay as they are.
    ///
    /// # Errors
    /// The daemon goes down.
    pub async fn configure(&self, queues: Vec<(String, QueueConfig)>) -> Result<(), TaskError> {
        self.request(|reply| Msg::Configure { queues, reply }).await
    }

    /// Figures for metrics.
    ///
    /// # Errors
    /// The daemon goes down.
    pub async fn stats(&self) -> Result<crate::DispatchStats, TaskError> {
        let (reply, answer) = oneshot::channel();
        self.tell(Msg::Stats { reply }).await?;
        answer.await.map_err(|_| TaskError::ShuttingDown)
    }

    pub(crate) async fn request(
        &self,
        msg: impl FnOnce(oneshot::Sender<Result<(), TaskError>>) -> Msg,
    ) -> Result<(), TaskError> {
        let (reply, answer) = oneshot::channel();
        self.tell(msg(reply)).await?;
        answer.await.map_err(|_| TaskError::ShuttingDown)?
    }

    pub(crate) async fn tell(&self, msg: Msg) -> Result<(), TaskError> {
        self.inbox.send(msg).await.map_err(|_| TaskError::ShuttingDown)
    }
}

/// Every payload must be JSON before it is acknowledged: no worker could be given another.
pub(crate) fn check_payloads<'a>(
    tasks: impl IntoIterator<Item = &'a NewTask>,
) -> Result<(), TaskError> {
    for (index, task) in tasks.into_iter().enumerate() {
        if let Err(error) = serde_json::from_slice::<&serde_json::value::RawValue>(&task.payload) {
            return Err(TaskError::NotJson { index, why: error.to_string() });
        }
    }
    Ok(())
}

/// What a watcher gets: how the task ended, or why nobody may watch.
pub(crate) type Ended = Result<TaskState, TaskError>;
