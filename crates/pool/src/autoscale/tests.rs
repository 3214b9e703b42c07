use proptest::prelude::*;

use super::*;

const RULES: Autoscale = Autoscale {
    min: 0,
    max: 10,
    target: Duration::from_secs(2),
    cool_down: Duration::from_secs(20),
};

/// A queue and a pool whose workers come up at once: fluid, half a second at a time.
struct Simulation {
    scaler: Scaler,
    now: Instant,
    workers: u32,
    waiting: f64,
    busy: f64,
    done: f64,
    history: Vec<u32>,
}

impl Simulation {
    fn new(rules: Autoscale) -> Self {
        let (now, workers) = (Instant::now(), rules.min);
        let scaler = Scaler::new(rules, 1);
        Self { scaler, now, workers, waiting: 0.0, busy: 0.0, done: 0.0, history: Vec::new() }
    }

    /// Tasks arrive at this rate and take so long, for so many looks.
    fn run(&mut self, rate: f64, service: f64, looks: usize) {
        let step = LOOK.as_secs_f64();
        for _ in 0..looks {
            self.now += LOOK;
            self.waiting += rate * step;
            let could = f64::from(self.workers) * step / service;
            let served = self.waiting.min(could);
            self.waiting -= served;
            self.done += served;
            self.busy = served * service / step;
            let oldest = if rate > 0.0 { self.waiting / rate.max(0.1) } else { self.waiting };
            let load = PoolLoad {
                waiting: self.waiting as u64,
                oldest: Duration::from_secs_f64(oldest),
                busy: self.busy.round() as u32,
                lanes: self.workers,
                done: self.done as u64,
                busy_slots: vec![],
            };
            self.workers = self.scaler.look(&load, self.workers, self.now);
            self.history.push(self.workers);
        }
    }

    fn turns(&self) -> usize {
        let mut turns = 0;
        let mut up = None;
        for pair in self.history.windows(2) {
            if pair[0] != pair[1] {
                let rises = pair[1] > pair[0];
                turns += usize::from(up == Some(!rises));
                up = Some(rises);
            }
        }
        turns
    }
}

#[test]
fn it_grows_to_the_load_and_goes_back_to_nothing() {
    let mut s = Simulation::new(RULES);
    s.run(40.0, 0.1, 40);
    assert!((4..=7).contains(&s.workers), "40/s of 100 ms need 4: {:?}", s.history);
    assert!(s.waiting < 80.0, "the target is two seconds: {}", s.waiting);
    let before = s.workers;
    s.run(0.0, 0.1, 30);
    assert_eq!(s.workers, before, "nobody goes within the cool-down");
    s.run(0.0, 0.1, 20);
    assert_eq!(s.workers, 0);
}

#[test]
fn what_waits_for_a_limit_and_not_for_a_worker_adds_none() {
    let mut scaler = Scaler::new(RULES, 1);
    let mut now = Instant::now();
    let load = PoolLoad {
        waiting: 1000,
        oldest: Duration::from_secs(600),
        busy: 1,
        lanes: 3,
        ..PoolLoad::default()
    };
    for _ in 0..100 {
        now += LOOK;
        assert!(scaler.look(&load, 3, now) <= 3);
    }
}

#[test]
fn long_tasks_get_a_worker_each_and_never_more() {
    let mut scaler = Scaler::new(RULES, 1);
    let (mut now, mut workers) = (Instant::now(), 0);
    for _ in 0..20 {
        now += LOOK;
        let busy = workers.min(4);
        let waiting = u64::from(4 - busy);
        let load = PoolLoad {
            waiting,
            oldest: Duration::from_secs(1),
            busy,
            lanes: workers,
            ..PoolLoad::default()
        };
        workers = scaler.look(&load, workers, now);
    }
    assert!((4..=5).contains(&workers), "four tasks that don't end: {workers}");
}

#[test]
fn a_pool_with_a_floor_rests_there() {
    let rules = Autoscale { min: 2, ..RULES };
    let mut s = Simulation::new(rules);
    s.run(0.0, 0.1, 10);
    assert_eq!(s.workers, 2);
    assert!(s.scaler.at_rest(&PoolLoad::default(), 2));
    assert!(!s.scaler.at_rest(&PoolLoad { waiting: 1, ..PoolLoad::default() }, 2));
}

proptest! {
    /// An even load makes it turn at most once: up to what it needs, then down to it.
    #[test]
    fn an_even_load_does_not_make_it_flap(rate in 0.5f64..80.0, service in 0.01f64..0.2, min in 0u32..3) {
        let rules = Autoscale { min, max: 20, ..RULES };
        let mut s = Simulation::new(rules);
        s.run(rate, service, 600);
        prop_assert!(s.turns() <= 1, "{} turns: {:?}", s.turns(), s.history);
        let needed = rate * service;
        prop_assert!(f64::from(s.workers) + 0.5 >= needed, "{} for {needed}", s.workers);
        prop_assert!(f64::from(s.workers) <= f64::from(min).max(needed / UTILISATION + 3.0), "{} for {needed}", s.workers);
        prop_assert!(s.waiting <= rate * 4.0 + 2.0, "{} wait", s.waiting);
    }

    /// Whatever it is shown, it stays within its bounds, and shrinks only after the cool-down.
    #[test]
    fn bounds_hold(looks in prop::collection::vec((0u64..5000, 0u32..12, 0u64..400), 1..200)) {
        let rules = Autoscale { min: 1, ..RULES };
        let mut scaler = Scaler::new(rules, 1);
        let (mut now, mut workers, mut done) = (Instant::now(), 1, 0);
        let mut grown_at = now;
        for (waiting, busy, ended) in looks {
            now += LOOK;
            done += ended;
            let busy = busy.min(workers);
            let load = PoolLoad { waiting, busy, lanes: workers, done, ..PoolLoad::default() };
            let wanted = scaler.look(&load, workers, now);
            prop_assert!((rules.min..=rules.max).contains(&wanted));
            if wanted > workers {
                grown_at = now;
            } else if wanted < workers {
                prop_assert!(now - grown_at >= rules.cool_down, "shrunk too early");
            }
            workers = wanted;
        }
    }
}
