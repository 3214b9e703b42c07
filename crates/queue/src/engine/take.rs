//! Claims: a worker gets tasks, and the attempt begins.

use std::cmp::Reverse;
use std::sync::Arc;

use ganger_core::{Priority, TaskId, TaskState, Token};
use ganger_store::{Claim, Op};

use super::lane::Waiting;
use super::{Engine, Finish, How, Now, Phase, QueueIx, Running, Stale, Worker};
use crate::actions::{Attempt, Returned};

impl Engine {
    /// True when [`Engine::take`] would find something in this queue now.
    #[must_use]
    pub fn has_ready(&self, ix: QueueIx) -> bool {
        let row = self.row(ix);
        !row.paused && row.highest_ready().is_some()
    }

    /// When the task became available that is first of its lane and has waited longest, milliseconds since 1970.
    #[must_use]
    pub fn oldest_ready_ms(&self, ix: QueueIx) -> Option<u64> {
        let heads = self.row(ix).lanes().filter_map(super::lane::Lane::head_seq);
        heads.min().and_then(TaskId::from_raw).map(TaskId::drawn_at_ms)
    }

    /// Claims up to `n` tasks of these queues for a worker: highest priority first over all of them, oldest first
    /// inside one priority. The first `starts` begin when they are sent, the others wait in the worker's buffer.
    /// Returns how many there were; they come in [`crate::Actions::send`] after their commit, or in
    /// [`crate::Actions::returned`].
    pub fn take(
        &mut self,
        worker: &Worker,
        queues: &[QueueIx],
        n: usize,
        starts: usize,
        now: Now,
    ) -> usize {
        self.clock = now;
        let mut got = 0;
        while got < n
            && let Some((ix, priority)) = self.best(queues)
            && let Some(waiting) = self.row_mut(ix).pop(priority)
        {
            if let Some(waiting) = self.still_wanted(ix, waiting, now) {
                self.claim(ix, waiting, worker, got < starts, now);
                got += 1;
            }
        }
        if got > 0 {
            for ix in queues {
                self.refill(*ix);
            }
        }
        self.stats.claimed += got as u64;
        got
    }

    /// The queue and priority of the next task.
    fn best(&self, queues: &[QueueIx]) -> Option<(QueueIx, Priority)> {
        if let [ix] = queues {
            let row = self.row(*ix);
            return if row.paused { None } else { Some((*ix, row.highest_ready()?)) };
        }
        queues
            .iter()
            .filter_map(|ix| {
                let row = self.row(*ix);
                let priority = row.highest_ready().filter(|_| !row.paused)?;
                Some((priority, Reverse(row.head_seq(priority)?), *ix))
            })
            .max()
            .map(|(priority, _, ix)| (ix, priority))
    }

    fn claim(&mut self, ix: QueueIx, waiting: Waiting, worker: &Worker, starts: bool, now: Now) {
        let frees = Self::frees_at_start(&waiting);
        let timeout = Self::until_deadline(&waiting, self.timeout(ix, &waiting.row), now);
        let Waiting { mut row, history, birth } = waiting;
        self.counter += 1;
        let token = Token { epoch: self.epoch, counter: self.counter };
        row.attempt += 1;
        let id = row.id;
        let memory = self.row(ix).is_memory();
        if !memory {
            let claim = Claim {
                id,
                queue: Arc::clone(&self.row(ix).name),
                token,
                attempt: row.attempt,
                worker: Arc::clone(&worker.name),
                pid: worker.pid,
                at_ms: now.wall_ms,
                started: starts,
            };
            self.row_mut(ix).claiming += 1;
            let born = birth.filter(|b| b.batch == self.batch.no);
            match born.and_then(|b| Some((self.batch.ops.get_mut(b.op)?, b.task))) {
                Some((Op::Push(push), task)) => push.tasks[task].claim = Some(Box::new(claim)),
                _ => self.batch.ops.push(Op::Claim(claim)),
            }
            if frees {
                self.batch.ops.push(Op::Settle { id });
            }
        }
        let run = Running {
            ix,
            row,
            history,
            token,
            worker: worker.key,
            worker_name: Arc::clone(&worker.name),
            pid: worker.pid,
            phase: Phase::Claiming,
            claimed: memory,
            starts,
            started_at_ms: None,
            cancel: false,
            expired: false,
            timeout,
        };
        self.running.insert(id, run);
        if memory {
            self.row_mut(ix).moved(Some(TaskState::Available), Some(TaskState::Running));
            self.dispatch(id, now);
        }
    }

    /// Sends an attempt whose claim holds.
    pub(super) fn dispatch(&mut self, id: TaskId, now: Now) {
        let Some(run) = self.running.get_mut(&id) else { return };
        run.claimed = true;
        if run.phase != Phase::Claiming {
            return;
        }
        run.phase = Phase::Sent;
        if run.cancel {
            let token = run.token;
            self.actions.returned.push(Returned { worker: run.worker, id, token });
            let ended = self.finish(Finish::new(id, token, How::Cancelled), now);
            debug_assert!(ended.is_ok(), "it was just looked up");
            return;
        }
        if run.starts {
            run.phase = Phase::Started;
            run.started_at_ms = Some(now.wall_ms);
            self.deadlines.push(Reverse((now.at + run.timeout, id, run.token)));
        }
        let attempt = Attempt {
            worker: run.worker,
            id,
            token: run.token,
            queue: Arc::clone(&self.queues[run.ix.0 as usize].name),
            kind: run.row.kind.clone(),
            payload: run.row.payload.clone(),
            n: run.row.attempt,
            priority: run.row.priority,
            timeout: run.timeout,
            started: run.starts,
        };
        self.actions.send.push(attempt);
    }

    /// A buffered attempt began, or a command's process is known now: its clock runs from here. `record` also stores it
    /// (worth a row for long attempts only).
    ///
    /// # Errors
    /// [`Stale`].
    pub fn started(
        &mut self,
        id: TaskId,
        token: Token,
        pid: Option<u32>,
        record: bool,
        now: Now,
    ) -> Result<(), Stale> {
        self.clock = now;
        let found = self.running.get_mut(&id).filter(|r| r.token == token);
        let Some(run) = found.filter(|r| matches!(r.phase, Phase::Sent | Phase::Started)) else {
            return self.stale(id, token);
        };
        let began = run.phase == Phase::Sent;
        if began {
            run.phase = Phase::Started;
            run.started_at_ms = Some(now.wall_ms);
            self.deadlines.push(Reverse((now.at + run.timeout, id, token)));
        }
        run.pid = pid.unwrap_or(run.pid);
        let (ix, at_ms) = (run.ix, run.started_at_ms.unwrap_or(now.wall_ms));
        if record && (began || pid.is_some()) && !self.row(ix).is_memory() {
            self.batch.ops.push(Op::Started { id, token, at_ms, pid });
        }
        Ok(())
    }
}
