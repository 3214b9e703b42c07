//! The engine with its store, stepped by hand.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use ganger_core::{Backoff, Durability, TaskId, Token};
use ganger_store::{
    AttemptError, Batch, OnConflict, Settled, SqliteOptions, SqliteReader, SqliteStore, Store as _,
    StoreError, StoreRead as _, Until,
};

use super::ledger::{Ended, Ledger};
use super::{End, Step};
use crate::actions::{Done, Failure, Loaded, Read};
use crate::config::{NewTask, PushError, QueueConfig};
use crate::control::{DedupeKey, DedupeRule, Wants};
use crate::engine::tests::engine_on;
use crate::retry::RetryRules;
use crate::{Engine, EngineOptions, Finish, GateSet, How, Now, QueueIx, Worker};

pub(super) const QUEUES: [(&str, Durability); 2] =
    [("a", Durability::Relaxed), ("b", Durability::Fsync)];

/// A task to be pushed; times in milliseconds.
#[derive(Debug, Clone, Default)]
pub(super) struct Wish {
    pub(super) payload: u8,
    pub(super) dedupe: Option<(DedupeKey, Until, OnConflict)>,
    pub(super) cache: Option<u64>,
    pub(super) expires: Option<u64>,
    pub(super) deadline: Option<u64>,
    pub(super) delay: Option<u64>,
}

/// An attempt with a worker.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) id: TaskId,
    pub(super) token: Token,
    began: bool,
    /// It was told to stop, by this daemon.
    pub(super) told: bool,
}

/// A request without an answer.
#[derive(Debug)]
enum Asked {
    Push { queue: usize, wishes: Vec<Wish>, key: Option<u8> },
    Other,
}

pub(super) struct Scene {
    dir: tempfile::TempDir,
    pub(super) store: Option<(SqliteStore, SqliteReader)>,
    pub(super) engine: Engine,
    pub(super) queues: Vec<QueueIx>,
    pub(super) now: Now,
    pub(super) writing: VecDeque<Batch>,
    pub(super) answers: VecDeque<(Settled, Vec<Ended>)>,
    pub(super) reads: VecDeque<Read>,
    pub(super) loads: VecDeque<Loaded>,
    pub(super) held: Vec<Held>,
    pub(super) ledger: Ledger,
    pub(super) acked: HashSet<TaskId>,
    asked: HashMap<u64, Asked>,
    req: u64,
}

fn worker() -> Worker {
    Worker { key: 1, name: "w#1".into(), pid: 100 }
}

fn error() -> Box<AttemptError> {
    Box::new(AttemptError::new("planned"))
}

fn config(durability: Durability) -> QueueConfig {
    let backoff =
        Backoff { base: Duration::from_millis(20), max: Duration::from_secs(1), ..Backoff::TASK };
    let retry = RetryRules { max: 2, backoff: backoff.into(), ..RetryRules::default() };
    // Far over what a history holds: bytes are counted only where they are bounded.
    QueueConfig { durability, retry, max_bytes: Some(1 << 30), ..QueueConfig::default() }
}

impl Wish {
    fn task(&self, now_ms: u64) -> NewTask {
        let rule = |(key, until, on_conflict)| DedupeRule { key, until, on_conflict };
        let wants = Wants {
            dedupe: self.dedupe.clone().map(rule),
            cache: self.cache.map(Duration::from_millis),
            expires_in: self.expires.map(Duration::from_millis),
            deadline_ms: self.deadline.map(|ms| now_ms + ms),
            ..Wants::default()
        };
        // The longest lies in a row of its own.
        let text = format!("\"{}\"", "p".repeat([1, 20, 1_500][usize::from(self.payload)]));
        NewTask {
            run_at_ms: self.delay.map_or(0, |ms| now_ms + ms),
            wants: Some(Box::new(wants)),
            ..NewTask::json(text)
        }
    }
}

impl Scene {
    pub(super) fn new() -> Self {
        let mut scene = Self {
            dir: tempfile::tempdir().unwrap(),
            store: None,
            engine: Engine::new(EngineOptions::new(1)),
            queues: Vec::new(),
            now: Now::real(),
            writing: VecDeque::new(),
            answers: VecDeque::new(),
            reads: VecDeque::new(),
            loads: VecDeque::new(),
            held: Vec::new(),
            ledger: Ledger::default(),
            acked: HashSet::new(),
            asked: HashMap::new(),
            req: 0,
        };
        scene.start();
        scene
    }

    /// A new engine from what the store says.
    fn start(&mut self) {
        self.store = None;
        let store = SqliteStore::open(SqliteOptions::new(self.dir.path().join("s.db"))).unwrap();
        let mut reader = store.reader().unwrap();
        let queues = QUEUES.map(|(name, durability)| (name, config(durability)));
        (self.engine, self.queues) = engine_on((store.epoch(), &mut reader), queues, self.now);
        let running = reader.running().unwrap();
        assert!(self.engine.resume(running, self.now).is_empty());
        self.store = Some((store, reader));
        self.perform(None);
        // With pushes in between the bytes would be a little off, as documented; here they are exact.
        let (bytes, others) = std::mem::take(&mut self.reads)
            .into_iter()
            .partition(|r| matches!(r, Read::Bytes { .. }));
        self.reads = others;
        let bytes: VecDeque<Read> = bytes;
        for read in bytes {
            let loaded = read.run(self.reader());
            self.engine.loaded(loaded, self.now);
        }
    }

    pub(super) fn reader(&mut self) -> &mut SqliteReader {
        &mut self.store.as_mut().unwrap().1
    }

    pub(super) fn step(&mut self, step: Step) {
        match step {
            Step::Push { queue, wishes, key } => self.push(queue, wishes, key),
            Step::Take { n, starts } => {
                let queues = self.queues.clone();
                self.engine.take(&worker(), &queues, n, starts, self.now);
            }
            Step::End { pick, how } => self.end(pick, how),
            Step::Cancel { pick } => {
                let Some(id) = self.pick(pick) else { return };
                let req = self.ask(Asked::Other);
                self.engine.cancel(req, id, self.now);
            }
            Step::Retry { pick } => {
                let Some(id) = self.pick(pick) else { return };
                let req = self.ask(Asked::Other);
                self.engine.retry(req, id, self.now);
            }
            Step::Gate { queue, set } => self.gate(queue, set),
            Step::Flush => self.writing.extend(self.engine.flush()),
            Step::Commit { n, fail } => return self.commit(n, fail),
            Step::Deliver => return self.deliver(),
            Step::Read => {
                if let Some(read) = self.reads.pop_front() {
                    let loaded = read.run(self.reader());
                    self.loads.push_back(loaded);
                }
            }
            Step::Load => {
                if let Some(loaded) = self.loads.pop_front() {
                    self.engine.loaded(loaded, self.now);
                }
            }
            Step::Quiet => return self.quiet(),
            Step::Advance { ms } => {
                self.now = self.now.plus(Duration::from_millis(ms));
                self.engine.tick(self.now);
            }
            Step::Kill { survive, down_ms } => return self.kill(survive, down_ms),
        }
        self.perform(None);
    }

    pub(super) fn gate(&mut self, queue: usize, set: GateSet) {
        let req = self.ask(Asked::Other);
        self.engine.set_gate(req, self.queues[queue], set, false, self.now);
    }

    fn ask(&mut self, asked: Asked) -> u64 {
        self.req += 1;
        self.asked.insert(self.req, asked);
        self.req
    }

    fn pick(&self, pick: usize) -> Option<TaskId> {
        let len = self.ledger.tasks.len();
        self.ledger.tasks.keys().nth(pick % len.max(1)).copied()
    }

    fn push(&mut self, queue: usize, wishes: Vec<Wish>, key: Option<u8>) {
        let tasks = wishes.iter().map(|wish| wish.task(self.now.wall_ms)).collect();
        let req = self.ask(Asked::Push { queue, wishes, key });
        let key = key.map(|key| key.to_string().into());
        if let Err(refused) = self.engine.push(req, self.queues[queue], key, tasks, self.now) {
            let expected =
                matches!(refused, PushError::StoreFull { .. } | PushError::Draining { .. });
            assert!(expected, "{refused}");
            self.asked.remove(&req);
        }
    }

    /// What waits in the worker's buffer begins.
    pub(super) fn begin_all(&mut self) {
        for held in self.held.iter_mut().filter(|held| !held.began) {
            held.began = true;
            self.engine.started(held.id, held.token, None, true, self.now).unwrap();
        }
        self.perform(None);
    }

    pub(super) fn end(&mut self, pick: usize, how: End) {
        if self.held.is_empty() {
            return;
        }
        let held = self.held.remove(pick % self.held.len());
        let (id, token) = (held.id, held.token);
        if !held.began && !matches!(how, End::Crash) {
            self.engine.started(id, token, None, true, self.now).unwrap();
        }
        let how = match how {
            End::Done => How::Completed(format!("\"{token}\"").into()),
            _ if held.told => How::Cancelled,
            End::Fail => How::Error { error: error(), retryable: true, retry_after: None },
            End::Fatal => How::Error { error: error(), retryable: false, retry_after: None },
            End::Crash if !held.began => How::Released,
            End::Crash => How::Crash(error()),
            End::Snooze => How::Snooze(Duration::from_millis(30)),
        };
        self.engine.finish(Finish::new(id, token, how), self.now).unwrap();
    }

    pub(super) fn commit(&mut self, n: usize, fail: bool) {
        let n = n.min(self.writing.len());
        let group: Vec<Batch> = self.writing.drain(..n).collect();
        if fail {
            for batch in group {
                let result = Err(StoreError::Full("planned".into()));
                self.answers.push_back((Settled { batch, result }, Vec::new()));
            }
            return;
        }
        let applied = self.store.as_mut().unwrap().0.commit(&group).unwrap();
        for (batch, applied) in group.into_iter().zip(applied) {
            let ended = self.ledger.commit(&batch, &applied);
            self.answers.push_back((Settled { batch, result: Ok(applied) }, ended));
        }
    }

    pub(super) fn deliver(&mut self) {
        let Some((settled, ended)) = self.answers.pop_front() else { return };
        self.engine.settled(settled, self.now);
        self.perform(Some(ended));
    }

    /// Everything under way comes through: commits, answers, reads, what is due by now.
    pub(super) fn quiet(&mut self) {
        for _ in 0..1_000 {
            self.writing.extend(self.engine.flush());
            self.commit(usize::MAX, false);
            self.deliver();
            for step in [Step::Read, Step::Load] {
                self.step(step);
            }
            let idle = self.writing.is_empty() && self.answers.is_empty();
            if self.engine.next_deadline().is_some_and(|at| at <= self.now.at) {
                self.engine.tick(self.now);
                self.perform(None);
                continue;
            }
            let stopped = self.engine.hold_until.is_some() || self.engine.batch.is_empty();
            if idle && stopped && self.reads.is_empty() && self.loads.is_empty() {
                return;
            }
        }
        panic!("it does not come to rest");
    }

    /// SIGKILL and a new daemon. What was not committed is gone, what was not heard is not heard.
    fn kill(&mut self, survive: bool, down_ms: u64) {
        self.writing.clear();
        self.answers.clear();
        self.reads.clear();
        self.loads.clear();
        let asked = std::mem::take(&mut self.asked);
        self.now = self.now.plus(Duration::from_millis(down_ms));
        self.start();
        let claims = self.reader().running().unwrap();
        for held in &self.held {
            let known = claims.iter().any(|c| (c.row.id, c.token) == (held.id, held.token));
            assert!(known, "an attempt under way has its claim in the store");
        }
        let held = std::mem::take(&mut self.held);
        for claim in claims {
            let (id, token) = (claim.row.id, claim.token);
            let sent = held.iter().find(|held| held.token == token);
            match sent {
                Some(sent) if survive => {
                    self.engine.adopt(id, token, &worker()).unwrap();
                    // A word to stop that was on its way is gone with the daemon that said it.
                    self.held.push(Held { id, token, began: sent.began, told: false });
                }
                _ => {
                    let how = if sent.is_some() { How::Lost(error()) } else { How::Released };
                    self.engine.finish(Finish::new(id, token, how), self.now).unwrap();
                }
            }
        }
        self.perform(None);
        // Whoever has an idempotency key and no answer asks again.
        for asked in asked.into_values() {
            if let Asked::Push { queue, wishes, key: key @ Some(_) } = asked {
                self.push(queue, wishes, key);
            }
        }
        self.perform(None);
    }

    /// Does what the engine wants. `ended`: what the answer just heard is to be told of.
    pub(super) fn perform(&mut self, ended: Option<Vec<Ended>>) {
        let actions = self.engine.actions();
        self.reads.extend(actions.reads);
        for reply in actions.replies {
            let asked = self.asked.remove(&reply.req).expect("one reply for one request");
            match (asked, reply.result) {
                (Asked::Push { queue, wishes, key }, Ok(Done::Pushed { ids, .. })) => {
                    assert_eq!(ids.len(), if key.is_some() { ids.len() } else { wishes.len() });
                    if let Some(key) = key {
                        let place = (QUEUES[queue].0.into(), key.to_string().into());
                        assert_eq!(self.ledger.keys.get(&place), Some(&ids), "its first answer");
                    }
                    for id in ids {
                        assert!(self.ledger.tasks.contains_key(&id), "task {id} is not stored");
                        self.acked.insert(id);
                    }
                }
                (Asked::Push { .. }, Err(Failure::Refused { .. })) => panic!("no push is a state"),
                _ => {}
            }
        }
        let mut finished: Vec<Ended> =
            actions.finished.into_iter().map(|f| (f.id, f.state, f.result)).collect();
        let mut ended = ended.unwrap_or_default();
        finished.sort_by_key(|(id, ..)| *id);
        ended.sort_by_key(|(id, ..)| *id);
        assert_eq!(finished, ended, "who waits for a task is told of its end, and of no other");
        for attempt in actions.send {
            let task = &self.ledger.tasks[&attempt.id];
            assert_eq!(task.token, Some(attempt.token), "an attempt without a claim was sent");
            let (id, token, began) = (attempt.id, attempt.token, attempt.started);
            self.held.push(Held { id, token, began, told: false });
        }
        let expired = actions.expired.into_iter().map(|e| e.token);
        let cancels = actions.cancels.into_iter().map(|c| c.token);
        for token in expired.chain(cancels) {
            let held = self.held.iter_mut().find(|held| held.token == token);
            held.expect("only an attempt under way is told to stop").told = true;
        }
    }
}
