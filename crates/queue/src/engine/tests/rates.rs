//! Rates over the deaths of daemons: whatever is killed when, no window of time sees more starts than rate and burst allow.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use ganger_core::Durability;
use ganger_store::{
    Batch, Settled, SqliteOptions, SqliteReader, SqliteStore, Store as _, StoreRead as _,
    TaskOptions,
};
use proptest::prelude::*;

use super::engine_on;
use crate::config::{NewTask, QueueConfig};
use crate::limits::{Limit, LimitRules, Rate};
use crate::{Engine, EngineOptions, Finish, How, Now, QueueIx, Worker};

const KEYS: u8 = 2;

#[derive(Debug, Clone)]
enum Step {
    Push {
        key: u8,
    },
    Take {
        n: usize,
    },
    Commit,
    /// The daemon dies: before its batch is with the writer, after the commit that nobody heard of, or at rest.
    Kill {
        committed: bool,
        down_ms: u64,
    },
    Advance {
        ms: u64,
    },
    /// The oldest claim comes back unused, or ends.
    End {
        released: bool,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (0..KEYS).prop_map(|key| Step::Push { key }),
        6 => (1..5usize).prop_map(|n| Step::Take { n }),
        5 => Just(Step::Commit),
        2 => (any::<bool>(), prop_oneof![Just(1u64), Just(90), Just(2_000)])
            .prop_map(|(committed, down_ms)| Step::Kill { committed, down_ms }),
        4 => prop_oneof![Just(1u64), Just(40), Just(250)].prop_map(|ms| Step::Advance { ms }),
        3 => prop::bool::weighted(0.3).prop_map(|released| Step::End { released }),
    ]
}

fn rate(burst: u32, per_s: u32) -> Rate {
    Rate { count: per_s, per: Duration::from_secs(1), burst }
}

struct Scene {
    dir: tempfile::TempDir,
    rules: LimitRules,
    store: Option<(SqliteStore, SqliteReader)>,
    engine: Engine,
    ix: QueueIx,
    now: Now,
    writing: Vec<Batch>,
    held: Vec<(ganger_core::TaskId, ganger_core::Token)>,
    sent: HashSet<ganger_core::Token>,
    /// When attempts were sent, by key and for the whole queue (`None`).
    started: BTreeMap<Option<String>, Vec<u64>>,
    req: u64,
}

impl Scene {
    fn new(rules: LimitRules) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut engine = Engine::new(EngineOptions::new(1));
        let ix = engine.configure("q", QueueConfig::default());
        let mut scene = Self {
            dir,
            rules,
            store: None,
            engine,
            ix,
            now: Now::real(),
            writing: Vec::new(),
            held: Vec::new(),
            sent: HashSet::new(),
            started: BTreeMap::new(),
            req: 0,
        };
        scene.start();
        scene
    }

    fn start(&mut self) {
        self.store = None;
        let store = SqliteStore::open(SqliteOptions::new(self.dir.path().join("s.db"))).unwrap();
        let mut reader = store.reader().unwrap();
        let config = QueueConfig {
            durability: Durability::Relaxed,
            limits: self.rules.clone(),
            ..QueueConfig::default()
        };
        let (engine, all) = engine_on((store.epoch(), &mut reader), [("q", config)], self.now);
        (self.engine, self.ix) = (engine, all[0]);
        let running = reader.running().unwrap();
        self.held = running.iter().map(|claim| (claim.row.id, claim.token)).collect();
        assert!(self.engine.resume(running, self.now).is_empty());
        self.store = Some((store, reader));
        self.perform();
    }

    fn perform(&mut self) {
        loop {
            let actions = self.engine.actions();
            for attempt in actions.send {
                let key = String::from_utf8(attempt.payload.to_vec()).unwrap();
                for of in [None, Some(key)] {
                    self.started.entry(of).or_default().push(self.now.wall_ms);
                }
                self.sent.insert(attempt.token);
                self.held.push((attempt.id, attempt.token));
            }
            if actions.reads.is_empty() {
                return;
            }
            for read in actions.reads {
                let loaded = read.run(&mut self.store.as_mut().unwrap().1);
                self.engine.loaded(loaded, self.now);
            }
        }
    }

    fn commit(&mut self, heard: bool) {
        self.writing.extend(self.engine.flush());
        let group = std::mem::take(&mut self.writing);
        let applied = self.store.as_mut().unwrap().0.commit(&group).unwrap();
        for (batch, applied) in group.into_iter().zip(applied) {
            if heard {
                self.engine.settled(Settled { batch, result: Ok(applied) }, self.now);
            }
        }
        if heard {
            self.perform();
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Push { key } => {
                self.req += 1;
                let keyed = !self.rules.per_key.is_none();
                let concurrency_key = keyed.then(|| key.to_string().into());
                let options = TaskOptions { concurrency_key, ..TaskOptions::default() };
                let task =
                    NewTask { options: Some(Box::new(options)), ..NewTask::json(key.to_string()) };
                self.engine.push(self.req, self.ix, None, vec![task], self.now).unwrap();
            }
            Step::Take { n } => {
                let worker = Worker { key: 1, name: "w#1".into(), pid: 100 };
                self.engine.take(&worker, &[self.ix], n, n, self.now);
            }
            Step::Commit => return self.commit(true),
            Step::Kill { committed, down_ms } => {
                if committed {
                    self.commit(false);
                }
                self.writing.clear();
                self.now = self.now.plus(Duration::from_millis(down_ms));
                return self.start();
            }
            Step::Advance { ms } => {
                // A commit's own time is not counted: an attempt begins when it is claimed.
                self.commit(true);
                self.now = self.now.plus(Duration::from_millis(ms));
                self.engine.tick(self.now);
            }
            Step::End { released } if !self.held.is_empty() => {
                let (id, token) = self.held.remove(0);
                // One that was sent has begun; what comes back unused was committed by a daemon that died of it.
                let unused = released && !self.sent.contains(&token);
                let how = if unused { How::Released } else { How::Completed("1".into()) };
                self.engine.finish(Finish::new(id, token, how), self.now).unwrap();
            }
            Step::End { .. } => {}
        }
        self.perform();
    }

    /// The most that began beyond what a rate allows, in any window.
    fn excess(&self, of: Option<&str>, rate: &Rate) -> i64 {
        let Some(at) = self.started.get(&of.map(str::to_owned)) else { return 0 };
        let mut worst = 0;
        for (i, first) in at.iter().enumerate() {
            for (j, last) in at.iter().enumerate().skip(i) {
                let window = u128::from(last - first) * 1_000_000;
                let came = window / rate.interval().as_nanos();
                let allowed = i64::from(rate.burst) + i64::try_from(came).unwrap();
                worst = worst.max((j - i + 1) as i64 - allowed);
            }
        }
        worst
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn no_kill_lets_more_begin(
        steps in prop::collection::vec(step(), 1..120),
        (burst, per_s) in (1..4u32, prop_oneof![Just(2u32), Just(10), Just(30)]),
    ) {
        let (whole, each) = (rate(burst + 1, per_s * 2), rate(burst, per_s));
        let limit = |rate| Limit { running: None, rate: Some(rate) };
        let rules = LimitRules { queue: limit(whole), per_key: limit(each), ..LimitRules::default() };
        let mut scene = Scene::new(rules);
        for step in steps {
            scene.step(step);
        }
        prop_assert!(scene.excess(None, &whole) <= 0, "{:?}", scene.started);
        for key in 0..KEYS {
            prop_assert!(scene.excess(Some(&key.to_string()), &each) <= 0, "{:?}", scene.started);
        }
    }
}

#[test]
fn a_clock_set_back_closes_a_bucket_for_its_own_time_only() {
    let slow = rate(1, 2);
    let rules =
        LimitRules { queue: Limit { running: None, rate: Some(slow) }, ..LimitRules::default() };
    let mut scene = Scene::new(rules);
    for step in [Step::Push { key: 0 }, Step::Push { key: 0 }, Step::Take { n: 1 }, Step::Commit] {
        scene.step(step);
    }
    assert_eq!(scene.started[&None].len(), 1);
    scene.now.wall_ms -= 3_600_000;
    scene.start();
    scene.step(Step::Take { n: 1 });
    scene.step(Step::Commit);
    assert_eq!(scene.started[&None].len(), 1, "the token is still taken");
    scene.step(Step::Advance { ms: 500 });
    scene.step(Step::Take { n: 1 });
    scene.step(Step::Commit);
    assert_eq!(scene.started[&None].len(), 2);
}
