//! What users ask: pushes, cancels, looks, watches and streams.

use std::sync::Arc;

use ganger_core::{Durability, TaskId, TaskState};
use ganger_queue::{Done, Failure, Finished, QueueIx, Reply};
use ganger_store::{CacheStats, Page, QueueRow, TaskRow};
use tokio::sync::{mpsc, oneshot};

use super::run::{Dispatcher, now};
use super::{Msg, Pushing, WATCHERS_MAX};
use crate::bulk::{Group, GroupAnswers};
use crate::error::TaskError;
use crate::stream::StreamRoom;
use crate::tasks::{Ended, Pushed, QueueLook};
use crate::why::{Facts, WorkerFact};

/// Who waits for the engine's answer to a request.
#[derive(Debug)]
pub(super) enum ReplyTo {
    Push { reply: oneshot::Sender<Result<Pushed, TaskError>>, stream: Option<StreamRoom> },
    Plain(oneshot::Sender<Result<(), TaskError>>),
}

/// One open stream.
#[derive(Debug)]
pub(super) struct StreamRow {
    pub results: mpsc::Sender<Vec<Finished>>,
    /// What goes out at the end of the tick.
    pub out: Vec<Finished>,
}

impl Dispatcher {
    pub(super) fn on_msg(&mut self, msg: Msg) {
        match msg {
            Msg::Worker(note) => self.on_worker(note),
            Msg::Push(push) => self.on_push(push),
            Msg::PushAll { queue, groups, reply } => {
                answer(reply, self.on_push_all(&queue, groups));
            }
            Msg::Cancel { id, reply } => {
                let req = self.expect(ReplyTo::Plain(reply));
                self.engine.cancel(req, id, now());
            }
            Msg::Priority { id, priority, reply } => {
                let req = self.expect(ReplyTo::Plain(reply));
                self.engine.reprioritise(req, id, priority, now());
            }
            Msg::Retry { id, reply } => {
                let req = self.expect(ReplyTo::Plain(reply));
                self.engine.retry(req, id, now());
            }
            Msg::Replay { id, attempt, payload, reply } => {
                let req = self.expect(ReplyTo::Plain(reply));
                self.engine.replay(req, id, attempt, payload, now());
            }
            Msg::Purge { id, attempt, reply } => {
                let req = self.expect(ReplyTo::Plain(reply));
                self.engine.purge(req, id, attempt);
            }
            Msg::Gate { queue, set, by_config, reply } => match self.queue_ix(&queue) {
                Ok(ix) => {
                    let req = self.expect(ReplyTo::Plain(reply));
                    self.engine.set_gate(req, ix, set, by_config, now());
                    self.watch_drain(ix);
                }
                Err(error) => answer(reply, Err(error)),
            },
            Msg::Configure { queues, reply } => {
                for (name, config) in queues {
                    let ix = self.engine.configure(&name, config);
                    self.queues.insert(name, ix);
                }
                self.resolve_queues();
                answer(reply, Ok(()));
            }
            Msg::Watch { id, reply } => self.on_watch(id, reply),
            Msg::WatchEmpty { queue, reply } => self.on_watch_empty(&queue, reply),
            Msg::OpenStream { queue, results, reply } => {
                let opened = self.queue_ix(&queue).map(|_| self.open_stream(results));
                answer(reply, opened);
            }
            Msg::MemoryTask { id, reply } => {
                let _ = reply.send(self.engine.memory_task(id).map(Box::new));
            }
            Msg::MemoryList { queue, state, limit, reply } => {
                answer(reply, self.memory_list(&queue, state, limit));
            }
            Msg::Look { queue, reply } => answer(reply, self.look(queue.as_deref())),
            Msg::Why { task, leader, reply } => {
                drop(reply.send(self.why(&task, leader.as_deref())));
            }
            Msg::Said { id, reply } => {
                let said = self.engine.said_by(id).map(|(n, said)| (n, Box::new(said.clone())));
                drop(reply.send(said));
            }
            Msg::Progress { ids, reply } => drop(reply.send(self.progress_of(&ids))),
            Msg::Listen { id, to, reply } => self.on_listen(id, to, reply),
            Msg::Stats { reply } => {
                let _ = reply.send(self.figures());
            }
            Msg::PoolLoad { pool, queues, reply } => {
                let _ = reply.send(self.pool_load(&pool, &queues));
            }
            Msg::WatchWork { queues, reply } => self.watch_work(queues, reply),
            Msg::Join(joining) => self.on_join(joining),
            Msg::Leave { key } => self.on_leave(key),
            Msg::Retarget { key, queues, lanes } => {
                if let Some(row) = self.workers.get_mut(&key) {
                    (row.queue_names, row.lanes) = (queues, lanes);
                }
                self.resolve_queues();
            }
            Msg::Adopt { key, attempts } => self.on_adopt(key, &attempts),
            Msg::Drain { reply } => self.draining.get_or_insert_default().push(reply),
        }
    }

    fn expect(&mut self, reply: ReplyTo) -> u64 {
        self.next_key += 1;
        self.replies.insert(self.next_key, reply);
        self.next_key
    }

    pub(super) fn queue_ix(&self, name: &str) -> Result<QueueIx, TaskError> {
        self.engine.queue(name).ok_or_else(|| TaskError::NoQueue(name.to_owned()))
    }

    fn on_push(&mut self, push: Pushing) {
        let Pushing { queue, key, fire, mut tasks, reply, stream } = push;
        let ix = match self.queue_ix(&queue) {
            Ok(ix) => ix,
            Err(error) => return self.push_failed(reply, stream, error),
        };
        let req = self.expect(ReplyTo::Push { reply, stream });
        let pushed = match fire {
            None => self.engine.push(req, ix, key, tasks, now()),
            Some(fire) => {
                let task = tasks.pop().unwrap_or_default();
                self.engine.push_fire(req, ix, fire, task, now())
            }
        };
        if let Err(error) = pushed
            && let Some(ReplyTo::Push { reply, stream }) = self.replies.remove(&req)
        {
            self.push_failed(reply, stream, error.into());
        }
    }

    /// One message is one tick's, and so all of it is in one batch.
    fn on_push_all(
        &mut self,
        queue: &Arc<str>,
        groups: Vec<Group>,
    ) -> Result<GroupAnswers, TaskError> {
        let ix = self.queue_ix(queue)?;
        let n = groups.iter().map(|group| group.tasks.len()).sum();
        self.engine.may_push(ix, n, groups.iter().flat_map(|group| &group.tasks))?;
        let push = |Group { key, tasks }: Group| {
            let (reply, answer) = oneshot::channel();
            let queue = Arc::clone(queue);
            self.on_push(Pushing { queue, key, fire: None, tasks, reply, stream: None });
            answer
        };
        Ok(groups.into_iter().map(push).collect())
    }

    fn push_failed(
        &mut self,
        reply: oneshot::Sender<Result<Pushed, TaskError>>,
        stream: Option<StreamRoom>,
        error: TaskError,
    ) {
        if let Some((key, room)) = stream {
            drop(room);
            if let Some(row) = self.streams.get(&key) {
                // Wakes the way out: it may wait for this room only.
                let _ = row.results.try_send(Vec::new());
            }
        }
        let _ = reply.send(Err(error));
    }

    /// The engine's answer to a request.
    pub(super) fn on_reply(&mut self, reply: Reply) {
        match self.replies.remove(&reply.req) {
            Some(ReplyTo::Plain(to)) => answer(to, reply.result.map(|_| ()).map_err(explain)),
            Some(ReplyTo::Push { reply: to, stream }) => match reply.result {
                Ok(Done::Pushed { ids, duplicate, known }) => {
                    if let Some((key, room)) = stream {
                        room.forget();
                        self.in_stream.extend(ids.iter().map(|id| (*id, key)));
                        self.not_streamed(key, &ids, &known);
                    }
                    let _ = to.send(Ok(Pushed { ids, duplicate, known }));
                }
                Ok(other) => tracing::error!(?other, "a push was answered with something else"),
                Err(failure) => self.push_failed(to, stream, explain(failure)),
            },
            None => {}
        }
    }

    /// Tasks of a stream that were there already may have ended long ago: the stream hears at once that they are not its
    /// own.
    fn not_streamed(&mut self, key: u64, ids: &[TaskId], known: &[usize]) {
        let Some(row) = self.streams.get_mut(&key) else { return };
        for id in known.iter().filter_map(|at| ids.get(*at)) {
            self.in_stream.remove(id);
            let why = format!("not pushed: task {id} holds its key");
            row.out.push(Finished {
                id: *id,
                queue: "".into(),
                state: TaskState::Cancelled,
                result: None,
                error: Some(Box::new(ganger_store::AttemptError::of("not_unique", why))),
                reason: None,
                attempt: 0,
            });
        }
    }

    fn on_watch(&mut self, id: TaskId, reply: oneshot::Sender<Ended>) {
        if self.watching >= WATCHERS_MAX {
            self.forget_gone_watchers();
        }
        if self.watching >= WATCHERS_MAX {
            let _ = reply.send(Err(TaskError::TooManyWaiters(WATCHERS_MAX)));
            return;
        }
        self.watching += 1;
        self.watchers.entry(id).or_default().push(reply);
    }

    fn forget_gone_watchers(&mut self) {
        self.watchers.retain(|_, waiting| {
            waiting.retain(|w| !w.is_closed());
            !waiting.is_empty()
        });
        self.watching = self.watchers.values().map(Vec::len).sum();
    }

    fn open_stream(&mut self, results: mpsc::Sender<Vec<Finished>>) -> u64 {
        self.streams.retain(|_, row| !row.results.is_closed());
        self.next_key += 1;
        self.streams.insert(self.next_key, StreamRow { results, out: Vec::new() });
        self.next_key
    }

    fn memory_list(
        &self,
        queue: &str,
        state: Option<TaskState>,
        limit: usize,
    ) -> Result<Option<Page>, TaskError> {
        let ix = self.queue_ix(queue)?;
        Ok(self.is_memory(ix).then(|| self.engine.memory_list(ix, state, limit)))
    }

    fn is_memory(&self, ix: QueueIx) -> bool {
        self.engine.config(ix).is_some_and(|c| c.durability == Durability::Memory)
    }

    fn why(&self, task: &TaskRow, leader: Option<&TaskRow>) -> Facts {
        // A queue that is no longer configured hands out nothing, and no pool takes from it.
        let Some(ix) = self.engine.queue(&task.queue) else { return Facts::default() };
        let takers = self.workers.values().filter(|row| row.queues.contains(&ix) && !row.leaving);
        let workers: Vec<WorkerFact> = takers
            .map(|row| WorkerFact {
                name: row.worker.name.clone(),
                free: row.free() > 0,
                lanes: row.lanes,
                holds: self.engine.held_by(row.worker.key),
            })
            .collect();
        let now = now();
        let held = workers.iter().filter_map(|worker| self.engine.eta(ix, &worker.holds, now));
        Facts {
            queue: match leader {
                Some(leader) => vec![self.engine.follows(ix, leader, now)],
                None => self.engine.why(ix, task, now),
            },
            eta: held.min(),
            service: self.engine.service_time(ix),
            going_down: self.draining.is_some(),
            workers,
        }
    }

    fn look(&self, queue: Option<&str>) -> Result<Vec<QueueLook>, TaskError> {
        let all = match queue {
            Some(name) => vec![self.queue_ix(name)?],
            None => self.queues.values().copied().collect(),
        };
        Ok(all.into_iter().filter_map(|ix| self.look_at(ix)).collect())
    }

    fn look_at(&self, ix: QueueIx) -> Option<QueueLook> {
        let config = self.engine.config(ix)?.clone();
        let row = QueueRow {
            name: self.engine.name(ix),
            gate: self.engine.gate(ix),
            counts: self.engine.counts(ix),
        };
        let oldest_ms = self.engine.oldest_waiting_ms(ix);
        Some(QueueLook { row, config, oldest_ms, cache: CacheStats::default() })
    }
}

fn explain(failure: Failure) -> TaskError {
    match failure {
        Failure::Refused { id, why: ganger_store::RefusedWhy::NotFound } => TaskError::NoTask(id),
        other => TaskError::Failed(other),
    }
}

/// Somebody who went away does not want the answer.
fn answer<T>(to: oneshot::Sender<Result<T, TaskError>>, result: Result<T, TaskError>) {
    let _ = to.send(result);
}
