//! Claims: a worker gets tasks, and the attempt begins.

use std::cmp::Reverse;
use std::sync::Arc;

use ganger_core::{TaskId, TaskState, Token};
use ganger_store::{Claim, Op};

use super::lane::Waiting;
use super::row::Pick;
use super::{Engine, Finish, How, Now, Phase, QueueIx, Running, Stale, Worker};
use crate::actions::{Attempt, Returned};
use crate::limits::Demand;
use crate::shares::{LANES, Lanes, lane_of};

impl Engine {
    /// True when [`Engine::take`] would find something in this queue now.
    #[must_use]
    pub fn has_ready(&self, ix: QueueIx) -> bool {
        self.row(ix).next(self.clock.at).is_some()
    }

    /// Claims up to `n` tasks of these queues for a worker: oldest first inside one priority, priorities as the queues'
    /// [`crate::Lanes`] say, and none that a limit forbids. The first `starts` begin when they are sent, the others wait in the worker's buffer.
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
            && let Some((ix, pick)) = self.best(queues)
            && let Some(waiting) = self.row_mut(ix).take_next(&pick, now.at)
        {
            let Some(waiting) = self.still_wanted(ix, waiting, now) else { continue };
            let Some((waiting, demand)) = self.count_or_hold(ix, waiting, now) else { continue };
            if let Some(lane) = pick.turn {
                let row = self.row_mut(ix);
                row.shares.took(lane, &row.weights());
            }
            if let [first, _, ..] = queues {
                let (lane, weights) = (lane_of(pick.priority), self.row(ix).weights());
                self.row_mut(*first).across.took(lane, &weights);
            }
            self.claim(ix, waiting, demand, (worker, got < starts), now);
            got += 1;
        }
        if got > 0 {
            for ix in queues {
                self.refill(*ix);
            }
        }
        self.stats.claimed += got as u64;
        got
    }

    /// The next task and its queue.
    fn best(&self, queues: &[QueueIx]) -> Option<(QueueIx, Pick)> {
        let now = self.clock.at;
        if let [ix] = queues {
            return Some((*ix, self.row(*ix).next(now)?));
        }
        let picks = || queues.iter().filter_map(|ix| Some((*ix, self.row(*ix).next(now)?)));
        let is_strict = |ix: &QueueIx| self.row(*ix).config.lanes == Lanes::Strict;
        let lane = if queues.iter().all(is_strict) {
            None
        } else {
            let mut ready = [false; LANES];
            for (_, pick) in picks() {
                ready[lane_of(pick.priority)] = true;
            }
            self.row(*queues.first()?).across.choose(ready)
        };
        let of_lane =
            |(_, pick): &(QueueIx, Pick)| lane.is_none_or(|l| l == lane_of(pick.priority));
        picks().filter(of_lane).max_by_key(|(_, pick)| (pick.priority, Reverse(pick.seq)))
    }

    fn claim(
        &mut self,
        ix: QueueIx,
        waiting: Waiting,
        demand: Option<Box<Demand>>,
        (worker, starts): (&Worker, bool),
        now: Now,
    ) {
        let frees = Self::frees_at_start(&waiting);
        let timeout = Self::until_deadline(&waiting.row, self.timeout(ix, &waiting.row), now);
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
            demand,
            said: None,
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
