//! A world around the engine: the real store, a writer and readers whose every step is taken by hand, two workers, and
//! a model that remembers what was promised.

mod ending;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use ganger_core::{Backoff, Durability, Priority, TaskId, Token};
use ganger_store::{
    AttemptError, Batch, Settled, SqliteOptions, SqliteReader, SqliteStore, Store, StoreError,
    StoreRead, TaskOptions,
};

use crate::actions::{Attempt, Done, Loaded, Read};
use crate::config::{NewTask, PushError, QueueConfig};
use crate::engine::tests::engine_on;
use crate::limits::{Limit, LimitRules, Rate};
use crate::retry::RetryRules;
use crate::{Engine, EngineOptions, Finish, GateSet, How, Now, QueueIx, Worker};
use std::time::Duration;

pub(super) const MAX_ATTEMPTS: u32 = 3;
pub(super) const QUEUES: [(&str, Durability); 3] =
    [("a", Durability::Relaxed), ("b", Durability::Relaxed), ("m", Durability::Memory)];

/// What the model knows of a task; its number is its payload.
#[derive(Debug, Default, Clone)]
pub(super) struct Known {
    pub(super) queue: usize,
    pub(super) priority: u8,
    pub(super) id: Option<TaskId>,
    pub(super) acked: bool,
    pub(super) live: Option<Token>,
    pub(super) last_token: Option<Token>,
    pub(super) retries: u32,
    /// Ends that cost nothing.
    pub(super) snoozes: u32,
    pub(super) finished: bool,
    /// Something happened that legally changes its place.
    pub(super) disturbed: bool,
    pub(super) daemon: u32,
}

#[derive(Debug, Clone)]
pub(super) struct Held {
    pub(super) attempt: Attempt,
    pub(super) began: bool,
}

pub(super) struct World {
    dir: tempfile::TempDir,
    store: Option<SqliteStore>,
    pub(super) reader: SqliteReader,
    pub(super) engine: Engine,
    pub(super) queues: Vec<QueueIx>,
    pub(super) now: Now,
    pub(super) writing: VecDeque<Batch>,
    pub(super) answers: VecDeque<Settled>,
    pub(super) reads: VecDeque<Read>,
    pub(super) loads: VecDeque<Loaded>,
    pub(super) held: Vec<Held>,
    pub(super) tasks: Vec<Known>,
    pub(super) by_id: HashMap<TaskId, usize>,
    returned: HashSet<TaskId>,
    requests: BTreeMap<u64, Request>,
    next_req: u64,
    /// Last fresh task sent per queue and priority.
    order: HashMap<(usize, u8, usize), TaskId>,
    /// Every queue has limits.
    limited: bool,
    pub(super) daemon: u32,
}

#[derive(Debug, Clone)]
enum Request {
    Push(Vec<usize>),
    Other,
}

fn worker(key: u64) -> Worker {
    Worker { key, name: format!("w#{key}").into(), pid: 100 }
}

/// How many keys tasks have, and how many of one key may run.
pub(super) const KEYS: usize = 3;
pub(super) const PER_KEY: u32 = 2;

fn limits() -> LimitRules {
    let rate = Rate { count: 100, per: Duration::from_secs(1), burst: 3 };
    LimitRules {
        queue: Limit { running: Some(5), rate: Some(rate) },
        per_key: Limit { running: Some(PER_KEY), rate: None },
        ..LimitRules::default()
    }
}

fn config(durability: Durability, limited: bool) -> QueueConfig {
    let backoff =
        Backoff { base: Duration::from_millis(20), max: Duration::from_secs(1), ..Backoff::TASK };
    let retry = RetryRules { max: MAX_ATTEMPTS, backoff: backoff.into(), ..RetryRules::default() };
    let timeout = Duration::from_secs(60);
    let limits = if limited { limits() } else { LimitRules::default() };
    QueueConfig { durability, retry, timeout, limits, ..QueueConfig::default() }
}

pub(super) fn error() -> Box<AttemptError> {
    Box::new(AttemptError::new("planned"))
}

impl World {
    pub(super) fn new(limited: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(SqliteOptions::new(dir.path().join("state.db"))).unwrap();
        let reader = store.reader().unwrap();
        let mut world = Self {
            dir,
            store: Some(store),
            reader,
            engine: Engine::new(EngineOptions::new(1)),
            queues: Vec::new(),
            now: Now::real(),
            writing: VecDeque::new(),
            answers: VecDeque::new(),
            reads: VecDeque::new(),
            loads: VecDeque::new(),
            held: Vec::new(),
            tasks: Vec::new(),
            by_id: HashMap::new(),
            returned: HashSet::new(),
            requests: BTreeMap::new(),
            next_req: 0,
            order: HashMap::new(),
            limited,
            daemon: 0,
        };
        world.start();
        world
    }

    /// A new engine from what the store says.
    fn start(&mut self) {
        let epoch = self.store.as_ref().unwrap().epoch();
        let limited = self.limited;
        let queues = QUEUES.map(|(name, durability)| (name, config(durability, limited)));
        (self.engine, self.queues) = engine_on((epoch, &mut self.reader), queues, self.now);
        let running = self.reader.running().unwrap();
        assert!(self.engine.resume(running, self.now).is_empty());
        self.perform();
    }

    /// SIGKILL and a new daemon: what was not committed is gone, what was not heard is not heard.
    pub(super) fn restart(&mut self) {
        self.writing.clear();
        self.answers.clear();
        self.reads.clear();
        self.loads.clear();
        self.requests.clear();
        self.daemon += 1;
        // Starting takes time. What was never stored (memory tasks) is kept apart by the clock alone.
        self.now = self.now.plus(Duration::from_millis(2));
        self.store = None;
        let options = SqliteOptions::new(self.dir.path().join("state.db"));
        // The reader is an open connection too; a real daemon's died with it.
        let memory = SqliteOptions::new(self.dir.path().join("other.db"));
        self.reader = SqliteStore::open(memory).unwrap().reader().unwrap();
        self.store = Some(SqliteStore::open(options).unwrap());
        self.reader = self.store.as_ref().unwrap().reader().unwrap();
        self.start();
        let claims = self.reader.running().unwrap();
        let held = std::mem::take(&mut self.held);
        for held in held {
            let (id, token) = (held.attempt.id, held.attempt.token);
            let known = self.by_id[&id];
            if QUEUES[self.tasks[known].queue].1 == Durability::Memory {
                self.tasks[known].live = None;
                continue;
            }
            let name = worker(held.attempt.worker);
            assert!(
                claims.iter().any(|c| c.row.id == id && c.token == token)
                    || self.engine.adopt(id, token, &name).is_err(),
                "an attempt under way has its claim in the store"
            );
            if self.engine.adopt(id, token, &name).is_ok() {
                self.held.push(held);
            } else {
                self.tasks[known].live = None;
            }
        }
        // Claims that were never sent: no worker has them.
        for claim in claims {
            let number = self.number(&claim.row.payload);
            self.learn(number, claim.row.id);
            self.tasks[number].disturbed = true;
            let sent = self.held.iter().any(|h| h.attempt.token == claim.token);
            if !sent {
                let lost = Finish::new(claim.row.id, claim.token, How::Released);
                self.engine.finish(lost, self.now).unwrap();
            }
        }
        self.perform();
    }

    pub(super) fn push(
        &mut self,
        queue: usize,
        priority: u8,
        n: usize,
        delay: bool,
        key: Option<u8>,
    ) {
        let mut tasks = Vec::new();
        let mut numbers = Vec::new();
        for _ in 0..n {
            let number = self.tasks.len();
            let daemon = self.daemon;
            self.tasks.push(Known {
                queue,
                priority,
                disturbed: delay,
                daemon,
                ..Known::default()
            });
            let run_at_ms = if delay { self.now.wall_ms + 500 } else { 0 };
            let priority = Priority(priority);
            let options = self.limited.then(|| {
                let concurrency_key = Some((number % KEYS).to_string().into());
                Box::new(TaskOptions { concurrency_key, ..TaskOptions::default() })
            });
            let json = NewTask::json(number.to_string());
            tasks.push(NewTask { priority, run_at_ms, options, ..json });
            numbers.push(number);
        }
        let req = self.request(Request::Push(numbers));
        let key = key.map(|key| format!("key-{key}").into());
        if let Err(refused) = self.engine.push(req, self.queues[queue], key, tasks, self.now) {
            assert!(matches!(refused, PushError::StoreFull { .. }), "{refused}");
            self.requests.remove(&req);
        }
        self.perform();
    }

    fn request(&mut self, request: Request) -> u64 {
        self.next_req += 1;
        self.requests.insert(self.next_req, request);
        self.next_req
    }

    pub(super) fn take(&mut self, key: u64, n: usize, starts: usize) {
        let queues = self.queues.clone();
        self.engine.take(&worker(key), &queues, n, starts, self.now);
        self.perform();
    }

    pub(super) fn finish(&mut self, pick: usize, how: How) {
        if self.held.is_empty() {
            return;
        }
        let held = self.held.remove(pick % self.held.len());
        self.end(&held, how);
    }

    pub(super) fn end(&mut self, held: &Held, how: How) {
        let known = self.by_id[&held.attempt.id];
        assert_eq!(self.tasks[known].live, Some(held.attempt.token));
        self.tasks[known].live = None;
        self.tasks[known].disturbed = true;
        let free = matches!(how, How::Error { retryable: true, retry_after: Some(_), .. });
        self.tasks[known].snoozes += u32::from(free);
        let finish = Finish::new(held.attempt.id, held.attempt.token, how);
        self.engine.finish(finish.clone(), self.now).unwrap();
        self.engine.finish(finish, self.now).expect_err("an attempt ends once");
        self.perform();
    }

    pub(super) fn crash(&mut self, key: u64) {
        let (gone, stay) =
            std::mem::take(&mut self.held).into_iter().partition(|h| h.attempt.worker == key);
        self.held = stay;
        for held in gone {
            let how = if held.began { How::Crash(error()) } else { How::Released };
            self.end(&held, how);
        }
    }

    pub(super) fn began(&mut self, pick: usize) {
        if self.held.is_empty() {
            return;
        }
        let pick = pick % self.held.len();
        self.held[pick].began = true;
        let (id, token) = (self.held[pick].attempt.id, self.held[pick].attempt.token);
        self.engine.started(id, token, None, true, self.now).unwrap();
        self.perform();
    }

    pub(super) fn cancel_or_retry(&mut self, pick: usize, cancel: bool) {
        let ids: Vec<TaskId> = self.tasks.iter().filter_map(|t| t.id).collect();
        if ids.is_empty() {
            return;
        }
        let id = ids[pick % ids.len()];
        let req = self.request(Request::Other);
        let known = self.by_id[&id];
        self.tasks[known].disturbed = true;
        if cancel {
            self.engine.cancel(req, id, self.now);
        } else {
            self.tasks[known].retries += 1;
            self.engine.retry(req, id, self.now);
        }
        self.perform();
    }

    pub(super) fn pause(&mut self, queue: usize, paused: bool) {
        let req = self.request(Request::Other);
        let set = if paused { GateSet::Pause } else { GateSet::Resume };
        self.engine.set_gate(req, self.queues[queue], set, false, self.now);
        self.perform();
    }

    pub(super) fn flush(&mut self) {
        if let Some(batch) = self.engine.flush() {
            self.writing.push_back(batch);
        }
    }

    /// The writer takes up to `n` batches as one group.
    pub(super) fn commit(&mut self, n: usize, fail: bool) {
        let n = n.min(self.writing.len());
        let group: Vec<Batch> = self.writing.drain(..n).collect();
        if fail {
            for batch in group {
                let result = Err(StoreError::Full("planned".into()));
                self.answers.push_back(Settled { batch, result });
            }
            return;
        }
        let applied = self.store.as_mut().unwrap().commit(&group).unwrap();
        for (batch, applied) in group.into_iter().zip(applied) {
            self.answers.push_back(Settled { batch, result: Ok(applied) });
        }
    }

    pub(super) fn deliver(&mut self) {
        if let Some(settled) = self.answers.pop_front() {
            self.engine.settled(settled, self.now);
            self.perform();
        }
    }

    pub(super) fn read(&mut self) {
        if let Some(read) = self.reads.pop_front() {
            self.loads.push_back(read.run(&mut self.reader));
        }
    }

    pub(super) fn load(&mut self) {
        if let Some(loaded) = self.loads.pop_front() {
            self.engine.loaded(loaded, self.now);
            self.perform();
        }
    }

    pub(super) fn advance(&mut self, by: Duration) {
        self.now = self.now.plus(by);
        self.engine.tick(self.now);
        self.perform();
    }

    fn number(&self, payload: &[u8]) -> usize {
        let number: usize = std::str::from_utf8(payload).unwrap().parse().unwrap();
        assert!(number < self.tasks.len());
        number
    }

    fn learn(&mut self, number: usize, id: TaskId) {
        let known = &mut self.tasks[number];
        assert!(known.id.is_none_or(|was| was == id), "one task, one id");
        known.id = Some(id);
        known.disturbed |= self.returned.contains(&id);
        let before = self.by_id.insert(id, number);
        assert!(before.is_none_or(|n| n == number), "an id was used twice");
    }

    /// Does what the engine wants, and checks it against the promises.
    fn perform(&mut self) {
        let actions = self.engine.actions();
        self.reads.extend(actions.reads);
        for returned in actions.returned {
            match self.by_id.get(&returned.id) {
                Some(number) => self.tasks[*number].disturbed = true,
                // Its push was never answered; `learn` will say which task it is.
                None => drop(self.returned.insert(returned.id)),
            }
        }
        for reply in actions.replies {
            let request = self.requests.remove(&reply.req).expect("one reply for one request");
            if let (Request::Push(numbers), Ok(Done::Pushed { ids, duplicate: false, .. })) =
                (request, reply.result)
            {
                for (number, id) in numbers.into_iter().zip(ids) {
                    self.learn(number, id);
                    self.tasks[number].acked = true;
                }
            }
        }
        // Before what is sent: one commit can cancel a task, bring it back and claim it.
        for finished in actions.finished {
            let known = self.by_id.get(&finished.id).map(|n| &mut self.tasks[*n]);
            if let Some(known) = known {
                assert!(!known.finished || known.retries > 0, "a task ends once");
                // Cancelled, brought back and sent again in one go: the lists do not say in which order.
                let again = known.live.is_some() && known.retries > 0;
                assert!(known.live.is_none() || again, "it ended while an attempt ran");
                known.finished = !again;
            }
        }
        for attempt in actions.send {
            self.sent(attempt);
        }
        for expired in actions.expired {
            let at = self.held.iter().position(|h| h.attempt.token == expired.token).unwrap();
            let held = self.held.remove(at);
            assert!(held.began);
            self.end(&held, How::Timeout(error()));
        }
        for cancel in actions.cancels {
            let at = self.held.iter().position(|h| h.attempt.token == cancel.token).unwrap();
            let held = self.held.remove(at);
            self.end(&held, How::Cancelled);
        }
    }

    fn sent(&mut self, attempt: Attempt) {
        let number = self.number(&attempt.payload);
        self.learn(number, attempt.id);
        let known = &mut self.tasks[number];
        assert_eq!(known.live, None, "task {} runs twice", attempt.id);
        assert!(!known.finished || known.retries > 0, "a finished task was sent");
        assert!(known.last_token < Some(attempt.token), "tokens rise");
        let most = MAX_ATTEMPTS * (1 + known.retries) + known.snoozes;
        assert!(attempt.n <= most, "too many attempts");
        assert_eq!(QUEUES[known.queue].0, &*attempt.queue);
        if !known.disturbed {
            let lane = (known.queue, known.priority, if self.limited { number % KEYS } else { 0 });
            let last = self.order.insert(lane, attempt.id);
            assert!(last < Some(attempt.id), "out of order inside its priority");
        }
        known.disturbed = true;
        known.live = Some(attempt.token);
        known.last_token = Some(attempt.token);
        let began = attempt.started;
        let queue = known.queue;
        self.held.push(Held { attempt, began });
        if self.limited {
            let same = |at: usize| self.tasks[at].queue == queue && self.tasks[at].live.is_some();
            let of_key = (number % KEYS..self.tasks.len()).step_by(KEYS).filter(|at| same(*at));
            assert!(of_key.count() <= PER_KEY as usize, "more of a key than allowed");
        }
    }
}
