//! The engine: what it holds and how it is set up. The rest is split by what happens:
//!
//! - `push`: new tasks · `take`: claims · `finish`: ends of attempts, by the rules in [`crate::retry`]
//! - `settle`: answers of the writer · `failed`: commits that did not happen
//! - `reads`: refills and due tasks · `clock`: deadlines · `request`: cancel, retry, pause
//! - `limited`: limits of queues, and what happens to them
//! - `said`: progress and log lines of attempts
//! - `pressure`: what a queue refuses to take · `memory`: tasks that live here only · `lane`, `row`: the waiting tasks of a queue
//!
//! A durable task's life as the engine sees it:
//!
//! ```text
//! push ─► window or tail ─► Claiming ─(commit)─► Sent ─► Started ─► Ending ─(commit)─► gone, or waiting again
//!                              └─(refused, failed)─► window again, or gone            └─(failed)─► Ending, sent again
//! ```

mod clock;
mod control;
mod dead;
mod failed;
mod finish;
pub(crate) mod lane;
mod limited;
mod memory;
mod pressure;
mod push;
mod reads;
mod request;
pub(crate) mod row;
mod said;
mod settle;
mod take;
#[cfg(test)]
mod tests;
mod told;
mod why;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ganger_core::{Priority, TaskId, TaskIdSource, TaskState, Token};
use ganger_store::{
    AttemptRow, Batch, Counts, Gate, KeepBounds, Op, QueueRow, ReadyRow, RunningRow, StoreError,
};

use crate::actions::Actions;
use crate::config::QueueConfig;
use crate::limits::Demand;
use crate::said::Saying;
use lane::Waiting;
use row::{IdMap, QueueState};
pub use told::{EngineOptions, EngineStats, Finish, GateSet, How, Now, QueueIx, Stale, Worker};

/// Where an attempt is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Its claim is not committed.
    Claiming,
    /// With its worker, not begun.
    Sent,
    /// Running.
    Started,
    /// Its outcome is not committed.
    Ending,
}

/// An attempt under way.
#[derive(Debug)]
struct Running {
    ix: QueueIx,
    row: ReadyRow,
    history: Vec<AttemptRow>,
    token: Token,
    worker: u64,
    worker_name: Arc<str>,
    pid: u32,
    phase: Phase,
    /// Its claim is committed.
    claimed: bool,
    starts: bool,
    started_at_ms: Option<u64>,
    cancel: bool,
    expired: bool,
    timeout: Duration,
    /// What it is counted under, until its end is confirmed; `None` in queues without limits.
    demand: Option<Box<Demand>>,
    /// What it said, where it says anything.
    said: Option<Box<Saying>>,
}

/// A task of a memory queue that waits for its time.
#[derive(Debug)]
struct Parked {
    ix: QueueIx,
    waiting: Waiting,
    run_at_ms: u64,
    state: TaskState,
}

/// The rules. See the crate's documentation for the loop that drives it.
#[derive(Debug)]
pub struct Engine {
    queues: Vec<QueueState>,
    /// Those with limits.
    limited: Vec<QueueIx>,
    names: HashMap<Arc<str>, QueueIx>,
    running: IdMap<Running>,
    /// Due tasks whose promotion is not committed.
    promoting: IdMap<(QueueIx, TaskState, ReadyRow)>,
    /// Tasks taken out of a window by a cancel that is not committed.
    cancelling: IdMap<(QueueIx, Waiting)>,
    parked: IdMap<Parked>,
    parked_due: BinaryHeap<Reverse<(u64, TaskId)>>,
    deadlines: BinaryHeap<Reverse<(Instant, TaskId, Token)>>,
    /// When what attempts said is written next, earliest first.
    saves: VecDeque<(Instant, TaskId, Token)>,
    due: reads::DueReads,
    /// When a task's last moment comes.
    limits: reads::DueReads,
    ids: TaskIdSource,
    last_id: Option<TaskId>,
    epoch: u32,
    counter: u64,
    random: fastrand::Rng,
    batch: Batch,
    in_flight: usize,
    /// Number of the last batch that was answered.
    settled_no: u64,
    /// Outcomes of commits that failed.
    redo: Vec<Op>,
    /// Why the last commit failed, until one succeeds.
    held: Option<StoreError>,
    /// No commit before this moment, after one failed.
    hold_until: Option<Instant>,
    /// Queues whose bytes could not be read.
    bytes_again: Vec<QueueIx>,
    /// Reads that failed are asked for again then.
    reads_again_at: Option<Instant>,
    clock: Now,
    actions: Actions,
    stats: EngineStats,
}

impl Engine {
    /// An engine without queues.
    #[must_use]
    pub fn new(options: EngineOptions) -> Self {
        Self {
            queues: Vec::new(),
            limited: Vec::new(),
            names: HashMap::new(),
            running: IdMap::default(),
            promoting: IdMap::default(),
            cancelling: IdMap::default(),
            parked: IdMap::default(),
            parked_due: BinaryHeap::new(),
            deadlines: BinaryHeap::new(),
            saves: VecDeque::new(),
            due: reads::DueReads::default(),
            limits: reads::DueReads::default(),
            ids: TaskIdSource::new(options.node, options.id_floor),
            last_id: None,
            epoch: options.epoch,
            counter: 0,
            random: fastrand::Rng::with_seed(options.seed),
            batch: Batch { no: 1, ..Batch::default() },
            in_flight: 0,
            settled_no: 0,
            redo: Vec::new(),
            held: None,
            hold_until: None,
            bytes_again: Vec::new(),
            reads_again_at: None,
            clock: Now::real(),
            actions: Actions::default(),
            stats: EngineStats::default(),
        }
    }

    /// Adds a queue or changes its rules. The durability of a queue that exists is not changed while it has unfinished
    /// tasks.
    pub fn configure(&mut self, name: &str, config: QueueConfig) -> QueueIx {
        if let Some(ix) = self.queue(name) {
            let queue = self.row_mut(ix);
            let keeps = queue.config.durability;
            let bounds = queue.config.dead;
            let weighed = queue.config.max_bytes.is_some();
            queue.config = config;
            if queue.unfinished() > 0 {
                queue.config.durability = keeps;
            }
            if queue.config.dead != bounds {
                self.keep_dead(ix);
            }
            self.limit_anew(ix);
            if !weighed {
                self.ask_bytes(ix);
            }
            return ix;
        }
        let ix = QueueIx(u32::try_from(self.queues.len()).unwrap_or(u32::MAX));
        let queue = QueueState::new(name, config);
        self.names.insert(Arc::clone(&queue.name), ix);
        self.queues.push(queue);
        if self.row(ix).config.dead != KeepBounds::default() {
            self.keep_dead(ix);
        }
        self.limit_anew(ix);
        ix
    }

    /// A configured queue by name.
    #[must_use]
    pub fn queue(&self, name: &str) -> Option<QueueIx> {
        self.names.get(name).copied()
    }

    /// What the store knows of a durable queue at start: pause, counts, and the lanes with available tasks. Tasks come
    /// by [`crate::Read`]s.
    pub fn restore(&mut self, ix: QueueIx, row: &QueueRow, lanes: &[Priority]) {
        let below = self.draw().raw();
        let queue = self.row_mut(ix);
        queue.gate = row.gate;
        queue.counts = row.counts;
        for priority in lanes {
            queue.restore_lane(*priority, below);
        }
        if self.row(ix).config.dead == KeepBounds::default() {
            // Of an earlier configuration.
            self.keep_dead(ix);
        }
        self.due.look_now();
        self.limits.look_now();
        self.ask_bytes(ix);
        self.refill(ix);
    }

    /// Claims of earlier epochs at start: the tasks count as running under their old tokens, with worker key 0, until
    /// [`Engine::adopt`] and [`Engine::finish`] say more. Rows of queues that are not configured come back.
    pub fn resume(&mut self, rows: Vec<RunningRow>, now: Now) -> Vec<RunningRow> {
        self.clock = now;
        let mut foreign = Vec::new();
        for claim in rows {
            let Some(ix) = self.queue(&claim.queue).filter(|ix| !self.row(*ix).is_memory()) else {
                foreign.push(claim);
                continue;
            };
            // Its last moment may have been dealt with by a daemon that did not live to see the attempt end.
            let since = Now { wall_ms: claim.started_at_ms.unwrap_or(now.wall_ms), ..now };
            let timeout = Self::until_deadline(&claim.row, self.timeout(ix, &claim.row), since);
            if let Some(began) = claim.started_at_ms {
                let gone = Duration::from_millis(now.wall_ms.saturating_sub(began));
                let at = now.at + timeout.saturating_sub(gone);
                self.deadlines.push(Reverse((at, claim.row.id, claim.token)));
            }
            let running = Running {
                ix,
                token: claim.token,
                worker: 0,
                worker_name: claim.worker,
                pid: claim.pid,
                phase: if claim.started_at_ms.is_some() { Phase::Started } else { Phase::Sent },
                claimed: true,
                starts: false,
                started_at_ms: claim.started_at_ms,
                cancel: false,
                expired: false,
                timeout,
                history: Vec::new(),
                demand: self.count_resumed(ix, &claim.row),
                said: claim.said.map(|said| Box::new(Saying::stored(*said))),
                row: claim.row,
            };
            self.running.insert(running.row.id, running);
        }
        foreign
    }

    /// A resumed attempt lives on at this worker.
    ///
    /// # Errors
    /// [`Stale`].
    pub fn adopt(&mut self, id: TaskId, token: Token, worker: &Worker) -> Result<(), Stale> {
        let Some(run) = self.running.get_mut(&id).filter(|r| r.token == token) else {
            return self.stale(id, token);
        };
        run.worker = worker.key;
        Ok(())
    }

    /// Takes what is to be done.
    #[must_use]
    pub fn actions(&mut self) -> Actions {
        std::mem::take(&mut self.actions)
    }

    /// What must be committed, when there is something and fewer than [`crate::IN_FLIGHT_MAX`] batches are out. After a
    /// failed commit nothing goes out for a second.
    pub fn flush(&mut self) -> Option<Batch> {
        if self.batch.is_empty()
            || self.in_flight >= crate::IN_FLIGHT_MAX
            || self.hold_until.is_some()
        {
            return None;
        }
        let next = Batch { no: self.batch.no + 1, ..Batch::default() };
        let mut batch = std::mem::replace(&mut self.batch, next);
        batch.id_floor = self.last_id.take();
        self.store_buckets(&mut batch);
        self.in_flight += 1;
        Some(batch)
    }

    /// How many tasks of a queue are in each state, with what is on its way to the store.
    #[must_use]
    pub fn counts(&self, ix: QueueIx) -> Counts {
        self.row(ix).live_counts()
    }

    /// Whether a queue hands out nothing.
    #[must_use]
    pub fn is_paused(&self, ix: QueueIx) -> bool {
        self.row(ix).gate.paused
    }

    /// Whether a queue takes tasks and hands them out.
    #[must_use]
    pub fn gate(&self, ix: QueueIx) -> Gate {
        self.row(ix).gate
    }

    /// A queue's name.
    #[must_use]
    pub fn name(&self, ix: QueueIx) -> Arc<str> {
        Arc::clone(&self.row(ix).name)
    }

    /// A queue's rules.
    #[must_use]
    pub fn config(&self, ix: QueueIx) -> Option<&QueueConfig> {
        self.queues.get(ix.0 as usize).map(|queue| &queue.config)
    }

    /// Counts since the engine was made.
    #[must_use]
    pub const fn stats(&self) -> EngineStats {
        self.stats
    }

    fn row(&self, ix: QueueIx) -> &QueueState {
        &self.queues[ix.0 as usize]
    }

    fn row_mut(&mut self, ix: QueueIx) -> &mut QueueState {
        &mut self.queues[ix.0 as usize]
    }

    /// The next id, which is also the next place in a lane.
    fn draw(&mut self) -> TaskId {
        let id = self.ids.next(self.clock.wall_ms);
        self.last_id = Some(id);
        id
    }

    fn timeout(&self, ix: QueueIx, row: &ReadyRow) -> Duration {
        let own = row.options.as_ref().and_then(|options| options.timeout);
        own.unwrap_or(self.row(ix).config.timeout)
    }

    fn stale<T>(&mut self, id: TaskId, token: Token) -> Result<T, Stale> {
        self.stats.stale += 1;
        Err(Stale { id, token })
    }
}
