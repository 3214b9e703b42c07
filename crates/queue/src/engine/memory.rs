//! Tasks of memory queues: they live here only, unfinished and the last finished ones.

use std::sync::Arc;

use ganger_core::{TaskId, TaskState};
use ganger_store::{AttemptRow, Page, ReadyRow, TaskRow};

use super::lane::Waiting;
use super::row::DoneTask;
use super::{Engine, Parked, QueueIx, Running};
use std::cmp::Reverse;

impl Engine {
    /// A task of a memory queue waits for its time.
    pub(super) fn park(&mut self, ix: QueueIx, waiting: Waiting, run_at_ms: u64, state: TaskState) {
        let id = waiting.row.id;
        self.row_mut(ix).moved(None, Some(state));
        self.parked_due.push(Reverse((run_at_ms, id)));
        self.parked.insert(id, Parked { ix, waiting, run_at_ms, state });
    }

    /// A task of a memory queue, unfinished or among the last finished ones. Durable tasks: ask the store.
    #[must_use]
    pub fn memory_task(&self, id: TaskId) -> Option<TaskRow> {
        if let Some(run) = self.running.get(&id).filter(|r| self.row(r.ix).is_memory()) {
            return Some(self.running_row(run));
        }
        if let Some(parked) = self.parked.get(&id) {
            return Some(self.parked_row(parked));
        }
        self.queues.iter().filter(|queue| queue.is_memory()).find_map(|queue| {
            if let Some(done) = queue.done(id) {
                return Some(done_row(&queue.name, done));
            }
            let waiting = queue.waiting().find(|w| w.row.id == id)?;
            Some(waiting_row(&queue.name, waiting))
        })
    }

    /// Tasks of a memory queue: unfinished ones first, then the last finished ones, newest first.
    #[must_use]
    pub fn memory_list(&self, ix: QueueIx, state: Option<TaskState>, limit: usize) -> Page {
        let queue = self.row(ix);
        let wanted = |s: TaskState| state.is_none_or(|state| state == s);
        let mut tasks: Vec<TaskRow> = Vec::new();
        if wanted(TaskState::Running) {
            let running = self.running.values().filter(|r| r.ix == ix);
            tasks.extend(running.map(|run| self.running_row(run)).take(limit));
        }
        if wanted(TaskState::Available) {
            let waiting = queue.waiting();
            let room = limit.saturating_sub(tasks.len());
            tasks.extend(waiting.take(room).map(|w| waiting_row(&queue.name, w)));
        }
        let parked = self.parked.values().filter(|p| p.ix == ix && wanted(p.state));
        let room = limit.saturating_sub(tasks.len());
        tasks.extend(parked.take(room).map(|p| self.parked_row(p)));
        tasks.sort_by_key(|task| task.id);
        let room = limit.saturating_sub(tasks.len());
        let done = queue.all_done().filter(|done| wanted(done.state));
        tasks.extend(done.take(room).map(|d| done_row(&queue.name, d)));
        Page { tasks, next: None }
    }

    /// When the task became available that waits longest of those in memory: of a memory queue all, of a durable queue the
    /// first ones. Milliseconds since 1970.
    #[must_use]
    pub fn oldest_waiting_ms(&self, ix: QueueIx) -> Option<u64> {
        self.row(ix).oldest_ms()
    }

    fn running_row(&self, run: &Running) -> TaskRow {
        let queue = &self.row(run.ix).name;
        let mut row = task_row(queue, &run.row, &run.history, TaskState::Running);
        row.attempts.push(AttemptRow {
            n: run.row.attempt,
            worker: Arc::clone(&run.worker_name),
            pid: run.pid,
            started_at_ms: run.started_at_ms,
            ended_at_ms: None,
            outcome: None,
            error: None,
            said: run.said.as_ref().map(|saying| Box::new(saying.said().clone())),
        });
        row
    }

    fn parked_row(&self, parked: &Parked) -> TaskRow {
        let queue = &self.row(parked.ix).name;
        let waiting = &parked.waiting;
        TaskRow {
            run_at_ms: Some(parked.run_at_ms),
            ..task_row(queue, &waiting.row, &waiting.history, parked.state)
        }
    }
}

fn waiting_row(queue: &Arc<str>, waiting: &Waiting) -> TaskRow {
    task_row(queue, &waiting.row, &waiting.history, TaskState::Available)
}

fn done_row(queue: &Arc<str>, done: &DoneTask) -> TaskRow {
    TaskRow {
        ended_at_ms: Some(done.ended_at_ms),
        result: done.result.clone(),
        error: done.error.as_deref().cloned(),
        reason: done.reason,
        ..task_row(queue, &done.row, &done.history, done.state)
    }
}

fn task_row(queue: &Arc<str>, row: &ReadyRow, history: &[AttemptRow], state: TaskState) -> TaskRow {
    let error = match state {
        TaskState::Completed => None,
        _ => history.iter().rev().find_map(|attempt| attempt.error.clone()),
    };
    TaskRow {
        id: row.id,
        queue: Arc::clone(queue),
        kind: row.kind.clone(),
        state,
        priority: row.priority,
        payload: row.payload.clone(),
        run_at_ms: None,
        ended_at_ms: None,
        result: None,
        error,
        reason: None,
        crashes: row.crashes,
        tags: row.options.as_ref().map_or_else(Vec::new, |options| options.tags.clone()),
        attempt: row.attempt,
        control: row.options.as_ref().and_then(|options| options.control.clone()),
        attempts: history.to_vec(),
    }
}
