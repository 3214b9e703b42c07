//! The task itself: its state and its one loop.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use ganger_core::TaskId;
use ganger_queue::{Engine, IN_FLIGHT_MAX, Now, QueueIx};
use ganger_store::{Settled, Writer};
use ganger_supervise::Told;
use ganger_sys::torture::reach;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use super::requests::ReplyTo;
use super::table::{IdMap, Row};
use super::{DispatchStats, INBOX, Msg, TICK_MAX};
use crate::attempt::Answers;
use crate::tasks::{Ended, StoreReaders};

/// Batches with the writer at a time. One: what arrives during its commit then shares the next. A second one would leave at once
/// with the first message that comes and make the rest wait for two commits (measured: 7 % more CPU per task, not faster).
const OUT_MAX: usize = 1;
const _: () = assert!(OUT_MAX <= IN_FLIGHT_MAX, "the engine keeps track of so many");

/// What a dispatcher is made of.
#[derive(Debug)]
pub(crate) struct DispatcherParts {
    pub engine: Engine,
    pub writer: Writer,
    pub readers: StoreReaders,
    pub told: mpsc::Sender<Told>,
    pub queues: BTreeMap<String, QueueIx>,
}

/// The owner task's state.
#[derive(Debug)]
pub(crate) struct Dispatcher {
    pub(super) engine: Engine,
    pub(super) writer: Writer,
    pub(super) readers: StoreReaders,
    pub(super) told: mpsc::Sender<Told>,
    pub(super) inbox: mpsc::Receiver<Msg>,
    settled: mpsc::Receiver<Settled>,
    settle: mpsc::Sender<Settled>,
    pub(super) reads: JoinSet<ganger_queue::Loaded>,
    pub(super) workers: IdMap<u64, Row>,
    pub(super) replies: IdMap<u64, ReplyTo>,
    pub(super) watchers: IdMap<TaskId, Vec<oneshot::Sender<Ended>>>,
    pub(super) watching: usize,
    pub(super) listeners: IdMap<TaskId, Vec<mpsc::Sender<crate::said::Heard>>>,
    pub(super) empties: Vec<super::empty::EmptyWatch>,
    pub(super) at_rest: Vec<super::load::WorkWatch>,
    /// Queues that take nothing new and are not known to be empty.
    pub(super) drains: Vec<QueueIx>,
    pub(super) streams: IdMap<u64, super::requests::StreamRow>,
    pub(super) in_stream: IdMap<TaskId, u64>,
    /// Every configured queue, by name.
    pub(super) queues: BTreeMap<String, QueueIx>,
    pub(super) next_key: u64,
    /// Answers that no batch carries yet, by worker.
    pub(super) answered: Vec<(u64, Answers)>,
    /// Batches that are with the writer, with the answers they carry.
    pub(super) out: VecDeque<(u64, Vec<(u64, Answers)>)>,
    pub(super) draining: Option<Vec<oneshot::Sender<()>>>,
    pub(super) stats: DispatchStats,
    /// Where the round of [`super::workers`] begins.
    pub(super) turn: usize,
}

impl Dispatcher {
    /// A dispatcher and the way to tell it things.
    pub(crate) fn new(parts: DispatcherParts) -> (Self, mpsc::Sender<Msg>) {
        let (tell, inbox) = mpsc::channel(INBOX);
        // One more than can be out: a send never fails.
        let (settle, settled) = mpsc::channel(IN_FLIGHT_MAX + 1);
        let DispatcherParts { engine, writer, readers, told, queues } = parts;
        let mut dispatcher = Self {
            engine,
            writer,
            readers,
            told,
            inbox,
            settled,
            settle,
            reads: JoinSet::new(),
            workers: IdMap::default(),
            replies: IdMap::default(),
            watchers: IdMap::default(),
            watching: 0,
            listeners: IdMap::default(),
            drains: Vec::new(),
            empties: Vec::new(),
            at_rest: Vec::new(),
            streams: IdMap::default(),
            in_stream: IdMap::default(),
            queues,
            next_key: 0,
            answered: Vec::new(),
            out: VecDeque::new(),
            draining: None,
            stats: DispatchStats::default(),
            turn: 0,
        };
        let drains: Vec<QueueIx> = dispatcher.queues.values().copied().collect();
        drains.into_iter().for_each(|ix| dispatcher.watch_drain(ix));
        (dispatcher, tell)
    }

    /// Runs until every handle is dropped and everything submitted is settled.
    pub(crate) async fn run(mut self) {
        let mut messages = Vec::with_capacity(TICK_MAX);
        loop {
            let due = self.engine.next_deadline();
            tokio::select! {
                biased;
                Some(settled) = self.settled.recv() => self.on_settled(settled),
                Some(loaded) = self.reads.join_next() => self.on_read(loaded),
                n = self.inbox.recv_many(&mut messages, TICK_MAX) => if n == 0 { break },
                () = until(due) => self.engine.tick(now()),
            }
            self.drain(&mut messages);
            self.tick();
        }
        self.engine.save_all_said();
        self.tick();
        while !self.out.is_empty() {
            let Some(settled) = self.settled.recv().await else { break };
            self.on_settled(settled);
            self.tick();
        }
    }

    /// Takes everything else that waits, so that one tick and one commit carry it all.
    fn drain(&mut self, messages: &mut Vec<Msg>) {
        while let Ok(settled) = self.settled.try_recv() {
            self.on_settled(settled);
        }
        while messages.len() < TICK_MAX {
            match self.inbox.try_recv() {
                Ok(msg) => messages.push(msg),
                Err(_) => break,
            }
        }
        for msg in messages.drain(..) {
            self.on_msg(msg);
        }
    }

    fn tick(&mut self) {
        self.stats.ticks += 1;
        self.hand_out();
        reach("dispatch.heard");
        self.submit();
        self.perform();
        if self.recall() {
            self.hand_out();
            self.submit();
            self.perform();
        }
        reach("dispatch.replied");
        for row in self.workers.values_mut() {
            row.deliver();
        }
        self.tell_drained();
        self.tell_empty();
        self.wake_pools();
        self.tell_drained_queues();
    }

    fn submit(&mut self) {
        while self.out.len() < OUT_MAX {
            let Some(batch) = self.engine.flush() else {
                // Nothing waits for a commit, so what was answered is as durable as its queue promises.
                let done = std::mem::take(&mut self.answered);
                self.acknowledge(done);
                return;
            };
            self.out.push_back((batch.no, std::mem::take(&mut self.answered)));
            let settle = self.settle.clone();
            self.writer.submit(batch, move |settled| {
                // The channel has room for all that can be out; closed means that nobody is left to hear it.
                let _ = settle.try_send(settled);
            });
        }
    }

    fn on_settled(&mut self, settled: Settled) {
        let carried = match self.out.iter().position(|(no, _)| *no == settled.batch.no) {
            Some(at) => self.out.remove(at).map(|(_, answers)| answers).unwrap_or_default(),
            None => Vec::new(),
        };
        reach("dispatch.settled");
        if settled.result.is_ok() {
            self.acknowledge(carried);
        } else {
            // The engine puts the outcomes into a later batch; so their answers ride with that one.
            self.answered.splice(0..0, carried);
        }
        self.engine.settled(settled, now());
    }

    fn acknowledge(&mut self, answers: Vec<(u64, Answers)>) {
        for (key, answers) in answers {
            if let Some(row) = self.workers.get_mut(&key) {
                row.out.committed = Some(answers);
            }
        }
    }

    fn on_read(&mut self, loaded: Result<ganger_queue::Loaded, tokio::task::JoinError>) {
        match loaded {
            Ok(loaded) => self.engine.loaded(loaded, now()),
            Err(error) => tracing::error!(%error, "a read for the queue window failed"),
        }
    }
}

/// Both clocks; the monotonic one is tokio's, so that paused time works.
pub(crate) fn now() -> Now {
    Now { at: tokio::time::Instant::now().into_std(), ..Now::real() }
}

/// Sleeps until a moment, or for ever.
pub(crate) async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
