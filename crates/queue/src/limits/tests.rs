//! Limits against a model: a flat list of tasks, each of which is looked at in order at every claim.

use std::collections::BTreeMap;
use std::time::Duration;

use ganger_core::{Durability, Priority, TaskId, Token};
use ganger_store::TaskOptions;
use proptest::prelude::*;

use super::{Limit, LimitRules, Rate};
use crate::{
    Engine, EngineOptions, Finish, How, Lanes, NewTask, Now, QueueConfig, QueueIx, Worker,
};

/// All rates of the test have this time between two tokens.
const INTERVAL_MS: u64 = 100;

#[derive(Debug, Clone)]
enum Step {
    Push { kind: u8, key: u8, priority: u8 },
    Take { n: usize },
    Finish { pick: usize, released: bool },
    Cancel { pick: usize },
    Advance { ms: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let priority = prop_oneof![3 => Just(128u8), 1 => Just(64), 1 => Just(200)];
    prop_oneof![
        6 => (0..3u8, 0..4u8, priority)
            .prop_map(|(kind, key, priority)| Step::Push { kind, key, priority }),
        4 => (1..4usize).prop_map(|n| Step::Take { n }),
        4 => (any::<usize>(), prop::bool::weighted(0.2))
            .prop_map(|(pick, released)| Step::Finish { pick, released }),
        1 => any::<usize>().prop_map(|pick| Step::Cancel { pick }),
        2 => prop_oneof![Just(30u64), Just(100), Just(1_000)].prop_map(|ms| Step::Advance { ms }),
    ]
}

fn limit() -> impl Strategy<Value = Limit> {
    let rate = (1..4u32).prop_map(|burst| Rate { count: 10, per: Duration::from_secs(1), burst });
    (prop::option::of(1..4u32), prop::option::weighted(0.4, rate))
        .prop_map(|(running, rate)| Limit { running, rate })
}

fn rules() -> impl Strategy<Value = LimitRules> {
    (limit(), limit(), limit(), limit()).prop_map(|(queue, one, two, per_key)| LimitRules {
        queue,
        kinds: [("k1".to_owned(), one), ("k2".to_owned(), two)].into(),
        per_key,
        key: Some("who.key".into()),
    })
}

/// One limit as somebody would write it down: how many run, and how much time is saved up.
#[derive(Debug, Clone)]
struct Plain {
    limit: Limit,
    running: u32,
    credit_ms: u64,
    /// When the last one was taken.
    last_ms: u64,
}

impl Plain {
    fn new(limit: Limit) -> Self {
        let burst = limit.rate.map_or(0, |rate| u64::from(rate.burst));
        Self { limit, running: 0, credit_ms: burst * INTERVAL_MS, last_ms: 0 }
    }

    fn most(&self) -> u64 {
        self.limit.rate.map_or(0, |rate| u64::from(rate.burst) * INTERVAL_MS)
    }

    fn has_room(&self) -> bool {
        self.limit.running.is_none_or(|max| self.running < max)
            && (self.limit.rate.is_none() || self.credit_ms >= INTERVAL_MS)
    }

    fn take(&mut self, now_ms: u64) {
        self.running += 1;
        self.last_ms = now_ms;
        self.credit_ms = self.credit_ms.saturating_sub(INTERVAL_MS);
    }

    fn give(&mut self, credit_ms: u64) {
        self.credit_ms = (self.credit_ms + credit_ms).min(self.most());
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Task {
    id: TaskId,
    kind: u8,
    key: u8,
    priority: u8,
}

struct Model {
    limits: BTreeMap<(u8, u8), Plain>,
    rules: LimitRules,
    waiting: Vec<Task>,
    /// With the time of each claim.
    running: Vec<(Task, Token, u64)>,
}

impl Model {
    /// The limits of a task: of the queue, its kind, its key.
    fn of(&mut self, task: Task) -> Vec<(u8, u8)> {
        let mut all = vec![((0, 0), self.rules.queue)];
        if task.kind > 0 {
            all.push(((1, task.kind), self.rules.kinds[&format!("k{}", task.kind)]));
        }
        if task.key > 0 {
            all.push(((2, task.key), self.rules.per_key));
        }
        for (name, limit) in &all {
            self.limits.entry(*name).or_insert_with(|| Plain::new(*limit));
        }
        all.into_iter().map(|(name, _)| name).collect()
    }

    /// The first of all that may run.
    fn next(&mut self, now_ms: u64) -> Option<Task> {
        self.waiting.sort_by_key(|task| (std::cmp::Reverse(task.priority), task.id));
        let at = (0..self.waiting.len()).find(|at| {
            let names = self.of(self.waiting[*at]);
            names.iter().all(|name| self.limits[name].has_room())
        })?;
        let task = self.waiting.remove(at);
        for name in self.of(task) {
            self.limits.get_mut(&name).unwrap().take(now_ms);
        }
        Some(task)
    }
}

struct Bench {
    engine: Engine,
    ix: QueueIx,
    now: Now,
    model: Model,
}

impl Bench {
    fn new(rules: LimitRules) -> Self {
        let mut engine = Engine::new(EngineOptions::new(1));
        let config = QueueConfig {
            durability: Durability::Memory,
            limits: rules.clone(),
            lanes: Lanes::Strict,
            ..QueueConfig::default()
        };
        let ix = engine.configure("q", config);
        let (limits, waiting, running) = (BTreeMap::new(), Vec::new(), Vec::new());
        Self { engine, ix, now: Now::real(), model: Model { limits, rules, waiting, running } }
    }

    fn push(&mut self, kind: u8, key: u8, priority: u8) {
        let payload = format!(r#"{{"who":{{"key":"t{key}"}}}}"#);
        let task = NewTask {
            kind: (kind > 0).then(|| format!("k{kind}").into()),
            priority: Priority(priority),
            // One key comes as an option, one is in the payload, and 0 is none.
            options: (key == 1 && !self.model.rules.per_key.is_none()).then(|| {
                let concurrency_key = Some("t1".into());
                Box::new(TaskOptions { concurrency_key, ..TaskOptions::default() })
            }),
            ..NewTask::json(if key == 0 { "{}".to_owned() } else { payload })
        };
        self.engine.push(0, self.ix, None, vec![task], self.now).unwrap();
        let reply = self.engine.actions().replies.pop().unwrap();
        let Ok(crate::Done::Pushed { ids, .. }) = reply.result else { panic!("{reply:?}") };
        self.model.waiting.push(Task { id: ids[0], kind, key, priority });
    }

    fn take(&mut self, n: usize) {
        let worker = Worker { key: 1, name: "w#1".into(), pid: 1 };
        let got = self.engine.take(&worker, &[self.ix], n, n, self.now);
        let sent = self.engine.actions().send;
        assert_eq!(got, sent.len());
        let now_ms = self.now.wall_ms;
        for attempt in sent {
            let task = self.model.next(now_ms).expect("nothing may run");
            assert_eq!(task.id, attempt.id, "another one is next");
            self.model.running.push((task, attempt.token, now_ms));
        }
        if got < n {
            let left = self.model.next(now_ms);
            assert_eq!(left, None, "it may run and was not given");
        }
    }

    fn finish(&mut self, pick: usize, released: bool) {
        if self.model.running.is_empty() {
            return;
        }
        let (task, token, taken_ms) = self.model.running.remove(pick % self.model.running.len());
        let how = if released { How::Released } else { How::Completed("1".into()) };
        self.engine.finish(Finish::new(task.id, token, how), self.now).unwrap();
        let _ = self.engine.actions();
        for name in self.model.of(task) {
            let plain = self.model.limits.get_mut(&name).unwrap();
            plain.running -= 1;
            // A token comes back only while none was taken later.
            let back = released && plain.last_ms == taken_ms;
            plain.give(if back { INTERVAL_MS } else { 0 });
        }
        if released {
            self.model.waiting.push(task);
        }
    }

    fn cancel(&mut self, pick: usize) {
        if self.model.waiting.is_empty() {
            return;
        }
        let task = self.model.waiting.remove(pick % self.model.waiting.len());
        self.engine.cancel(0, task.id, self.now);
        assert_eq!(self.engine.actions().finished.len(), 1, "it waited");
    }

    fn advance(&mut self, ms: u64) {
        self.now = self.now.plus(Duration::from_millis(ms));
        self.engine.tick(self.now);
        for plain in self.model.limits.values_mut() {
            plain.give(ms);
        }
    }

    /// Whoever waits for [`Engine::next_deadline`] misses nothing.
    fn check_the_alarm(&mut self) {
        if self.engine.has_ready(self.ix) || self.model.waiting.is_empty() {
            return;
        }
        let (running, tokens) = (!self.model.running.is_empty(), self.engine.next_deadline());
        assert!(running || tokens.is_some(), "tasks wait, nothing runs, and nobody calls");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    /// Never more than allowed, in order among those that may run, and nobody blocked behind another.
    #[test]
    fn as_the_model_says(rules in rules(), steps in prop::collection::vec(step(), 1..120)) {
        let mut bench = Bench::new(rules);
        for step in steps {
            match step {
                Step::Push { kind, key, priority } => bench.push(kind, key, priority),
                Step::Take { n } => bench.take(n),
                Step::Finish { pick, released } => bench.finish(pick, released),
                Step::Cancel { pick } => bench.cancel(pick),
                Step::Advance { ms } => bench.advance(ms),
            }
            bench.check_the_alarm();
        }
    }
}

#[test]
fn new_limits_count_what_runs_and_free_what_waits() {
    let per_key = |running| LimitRules {
        per_key: Limit { running: Some(running), rate: None },
        key: Some("who.key".into()),
        ..LimitRules::default()
    };
    let mut bench = Bench::new(per_key(1));
    for _ in 0..4 {
        bench.push(0, 2, 128);
    }
    bench.take(4);
    assert_eq!(bench.model.running.len(), 1);
    let config = bench.engine.config(bench.ix).unwrap().clone();
    bench.engine.configure("q", QueueConfig { limits: per_key(3), ..config.clone() });
    let worker = Worker { key: 1, name: "w#1".into(), pid: 1 };
    assert_eq!(bench.engine.take(&worker, &[bench.ix], 9, 9, bench.now), 2);
    bench.engine.configure("q", QueueConfig { limits: LimitRules::default(), ..config });
    assert_eq!(bench.engine.take(&worker, &[bench.ix], 9, 9, bench.now), 1);
}
