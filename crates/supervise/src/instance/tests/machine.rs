//! The machine against a model written from its description, driven by random events.

mod health;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use ganger_core::{Backoff, BreakerState, CauseBackoffs, FailureCause, InstanceState};
use proptest::prelude::*;

use super::super::state::{Action, EXTEND_MAX, Event, Machine, State, Then, Waiting};
use crate::policy::{Policy, Restart, StartLimit};

const SECOND: Duration = Duration::from_secs(1);

/// What the world does next. The world is honest: it only does what a keeper could do.
#[derive(Debug, Clone)]
enum Move {
    Start,
    Stop,
    Restart,
    /// The keeper answers the oldest open request, well or not.
    Answer {
        well: bool,
    },
    /// The living child ends.
    End {
        success: bool,
    },
    /// Its health check fails.
    Unhealthy,
    /// Its watchdog is silent.
    Hung,
    /// It asks for time.
    Extend(Duration),
    /// Its group restarts.
    Yield,
    /// The permit that is asked for is given; one that is not asked for is none.
    Permit,
    Ready,
    /// Time passes; every deadline on the way is met.
    Wait(Duration),
    /// A deadline that is not due.
    Early,
    TreeEnded {
        stuck: bool,
    },
}

fn moves() -> impl Strategy<Value = Move> {
    prop_oneof![
        2 => Just(Move::Start),
        2 => Just(Move::Stop),
        2 => Just(Move::Restart),
        8 => prop::bool::weighted(0.8).prop_map(|well| Move::Answer { well }),
        6 => prop::bool::weighted(0.2).prop_map(|success| Move::End { success }),
        1 => Just(Move::Unhealthy),
        1 => Just(Move::Hung),
        1 => (0u64..100_000).prop_map(|ms| Move::Extend(Duration::from_millis(ms))),
        2 => Just(Move::Yield),
        8 => Just(Move::Permit),
        3 => Just(Move::Ready),
        6 => (0u64..40_000).prop_map(|ms| Move::Wait(Duration::from_millis(ms))),
        1 => Just(Move::Early),
        1 => any::<bool>().prop_map(|stuck| Move::TreeEnded { stuck }),
    ]
}

fn policies() -> impl Strategy<Value = Policy> {
    let restart = prop_oneof![
        4 => Just(Restart::OnFailure),
        3 => Just(Restart::Always),
        1 => Just(Restart::Never)
    ];
    let limit = prop::option::weighted(0.8, (1u32..6, 1u64..90)).prop_map(|limit| {
        limit.map(|(max, within)| StartLimit {
            max,
            within: SECOND * u32::try_from(within).unwrap(),
            breaker: SECOND * 60,
        })
    });
    let seconds = || prop::option::of((1u32..40).prop_map(|s| SECOND * s));
    (restart, limit, prop::bool::ANY, seconds(), seconds(), seconds()).prop_map(
        |(restart, start_limit, zero, ready_timeout, startup_timeout, drain)| Policy {
            restart,
            backoff: if zero {
                Backoff { base: Duration::ZERO, ..Backoff::SERVICE }
            } else {
                Backoff::SERVICE
            },
            backoff_by: CauseBackoffs { oom: Some(Backoff::TASK), ..CauseBackoffs::default() },
            healthy_after: None,
            start_limit,
            stop_timeout: SECOND * 10,
            drain,
            ready_timeout,
            startup_timeout,
        },
    )
}

/// The world as the keeper sees it, and what a person last wanted.
struct World {
    machine: Machine,
    policy: Policy,
    now: Instant,
    /// A start without answer.
    asked: bool,
    alive: bool,
    /// A person's last word is stop: no start may follow.
    stopped: bool,
    /// Automatic restarts that were no breaker probe.
    automatic: VecDeque<Instant>,
    signalled: bool,
    /// It was told to finish, then.
    drained: Option<Instant>,
    /// When the running child became so, and how long its start-up took.
    up: Option<(Instant, Duration)>,
}

impl World {
    fn new(policy: Policy) -> Self {
        Self {
            machine: Machine::new(policy.clone(), ""),
            policy,
            now: Instant::now(),
            asked: false,
            alive: false,
            stopped: true,
            automatic: VecDeque::new(),
            signalled: false,
            drained: None,
            up: None,
        }
    }

    fn send(&mut self, event: Event) -> Result<(), TestCaseError> {
        let (before, state) = (self.machine.restarts(), self.machine.state().clone());
        let (breaker, crashes) = (self.machine.breaker(), self.machine.crashes());
        let waiting = match state {
            State::Backoff { waiting, .. } => Some(waiting),
            _ => None,
        };
        let by_person = matches!(event, Event::Start | Event::Restart)
            || matches!(state, State::Stopping { then: Then::Start, .. });
        let unit = 0.5;
        let actions = self.machine.step(event.clone(), self.now, unit);
        for action in actions {
            match action {
                Action::Spawn => {
                    prop_assert!(!self.asked && !self.alive, "a second copy");
                    prop_assert!(!self.stopped, "started after a stop");
                    self.asked = true;
                    self.signalled = false;
                    self.drained = None;
                    if by_person {
                        self.automatic.clear();
                    } else {
                        prop_assert_eq!(&event, &Event::Permitted, "without a permit");
                        prop_assert!(self.machine.restarts() > before);
                    }
                    if !by_person && waiting == Some(Waiting::Retry) {
                        self.automatic.push_back(self.now);
                        self.check_limit()?;
                    }
                }
                Action::Ask => prop_assert!(self.machine.asks()),
                Action::Drain => {
                    prop_assert!(self.alive && !self.signalled && self.drained.is_none());
                    prop_assert!(matches!(state, State::Running { .. }), "it has nothing yet");
                    self.drained = Some(self.now);
                }
                Action::Signal | Action::Abort => {
                    prop_assert!(self.alive, "a signal to nobody");
                    let time = self.drained.zip(self.policy.drain);
                    prop_assert!(time.is_none_or(|(at, drain)| self.now >= at + drain));
                    prop_assert!(!self.signalled, "asked politely twice");
                    self.signalled = true;
                }
                Action::EndTree => {
                    prop_assert!(self.alive && self.signalled, "force before asking");
                }
                Action::Probe => prop_assert!(self.alive),
                Action::EndProbe => {}
            }
        }
        self.check_breaker(&event, &state, breaker, self.machine.crashes() > crashes)?;
        self.up = match self.machine.state() {
            State::Running { since, startup } => Some((*since, *startup)),
            _ => None,
        };
        self.agree()
    }

    /// The breaker moves exactly as its drawing says.
    fn check_breaker(
        &mut self,
        event: &Event,
        before: &State,
        was: BreakerState,
        failed: bool,
    ) -> Result<(), TestCaseError> {
        use BreakerState::{Closed, HalfOpen, Open};
        let is = self.machine.breaker();
        let healthy = self.up.is_some_and(|(since, startup)| {
            self.now.duration_since(since) >= Policy::stable_after(startup)
        });
        if healthy && was != Closed {
            self.automatic.clear();
        }
        if failed {
            let trial = was != Closed && !healthy;
            let full = self.policy.start_limit.is_some_and(|limit| {
                let now = self.now;
                self.automatic.retain(|at| now.duration_since(*at) < limit.within);
                self.automatic.len() >= limit.max as usize
            });
            let opens = self.policy.start_limit.is_some() && (trial || full);
            prop_assert_eq!(is, if opens { Open } else { Closed }, "after a failure");
            let open_wait =
                matches!(self.machine.state(), State::Backoff { waiting: Waiting::Breaker, .. });
            prop_assert_eq!(opens, open_wait);
            return Ok(());
        }
        let by_hand = matches!(event, Event::Start | Event::Restart | Event::Stop(_))
            || matches!(before, State::Stopping { then: Then::Start | Then::Stop, .. });
        let rests = matches!(self.machine.state(), State::Stopped { .. } | State::Failed);
        match (was, is) {
            (Closed, Closed) | (Open, Open) => {}
            (HalfOpen, HalfOpen) => prop_assert!(!healthy || *event != Event::Deadline),
            (Open, HalfOpen) => prop_assert_eq!(event, &Event::Permitted),
            (HalfOpen, Closed) => prop_assert!(by_hand || rests || healthy),
            (Open, Closed) => prop_assert!(by_hand),
            (Closed, Open | HalfOpen) | (HalfOpen, Open) => {
                return Err(TestCaseError::fail(format!("{was} to {is} by {event:?}")));
            }
        }
        Ok(())
    }

    fn check_limit(&mut self) -> Result<(), TestCaseError> {
        let Some(limit) = self.policy.start_limit else { return Ok(()) };
        let now = self.now;
        self.automatic.retain(|at| now.duration_since(*at) < limit.within);
        prop_assert!(self.automatic.len() <= limit.max as usize, "more restarts than allowed");
        Ok(())
    }

    /// What the machine believes is what is so.
    fn agree(&self) -> Result<(), TestCaseError> {
        prop_assert_eq!(self.machine.has_process(), self.asked || self.alive);
        let word = self.machine.word();
        if word == InstanceState::Running {
            prop_assert!(self.alive);
        }
        if matches!(word, InstanceState::Backoff | InstanceState::Stopping) {
            let ends = self.machine.deadline().is_some() || self.machine.asks();
            prop_assert!(ends || self.asked, "a wait without an end");
        }
        if self.stopped {
            let over = matches!(
                word,
                InstanceState::Stopped | InstanceState::Stopping | InstanceState::Failed
            );
            prop_assert!(over, "{} after a stop", word);
        }
        Ok(())
    }

    fn play(&mut self, next: Move) -> Result<(), TestCaseError> {
        match next {
            Move::Start => {
                self.stopped = false;
                self.send(Event::Start)
            }
            Move::Stop => {
                self.stopped = true;
                self.send(Event::Stop("on request".into()))
            }
            Move::Restart => {
                let stop_wins =
                    matches!(self.machine.state(), State::Stopping { then: Then::Stop, .. });
                self.stopped &= stop_wins;
                self.send(Event::Restart)
            }
            Move::Answer { well } if self.asked => {
                self.asked = false;
                self.alive = well;
                let why = || Event::CouldNotSpawn("execve: No such file".into());
                self.send(if well { Event::Spawned } else { why() })
            }
            Move::End { success } if self.alive => {
                self.alive = false;
                let how = format!("exited with code {}", i32::from(!success));
                let cause = FailureCause::ExitCode;
                self.send(Event::Exited { success, cause, how, stuck: vec![] })
            }
            Move::Unhealthy => self.lose_health(Event::Unhealthy("no answer".into())),
            Move::Hung => self.lose_health(Event::Hung("silent".into())),
            Move::Extend(time) => self.extend(time),
            Move::Yield => self.send(Event::Yield("its group restarts".into())),
            Move::Permit if self.machine.asks() => self.send(Event::Permitted),
            Move::Ready => self.send(Event::Ready),
            Move::Wait(time) => self.wait(time),
            Move::Early => {
                let before = self.machine.state().clone();
                if self.machine.deadline().is_none_or(|at| at > self.now) {
                    self.send(Event::Deadline)?;
                    prop_assert_eq!(&before, self.machine.state());
                }
                Ok(())
            }
            Move::TreeEnded { stuck } if self.alive => {
                self.send(Event::TreeEnded(if stuck { vec![7] } else { vec![] }))
            }
            Move::Answer { .. } | Move::End { .. } | Move::TreeEnded { .. } | Move::Permit => {
                Ok(())
            }
        }
    }

    fn wait(&mut self, time: Duration) -> Result<(), TestCaseError> {
        let end = self.now + time;
        while let Some(at) = self.machine.deadline().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.send(Event::Deadline)?;
        }
        self.now = end;
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_rules_hold(policy in policies(), story in prop::collection::vec(moves(), 1..120)) {
        let mut world = World::new(policy);
        for next in story {
            world.play(next)?;
        }
    }

    #[test]
    fn a_stop_ends_every_story(policy in policies(), story in prop::collection::vec(moves(), 0..60)) {
        let mut world = World::new(policy);
        for next in story {
            world.play(next)?;
        }
        world.play(Move::Stop)?;
        world.play(Move::Answer { well: true })?;
        world.wait(EXTEND_MAX + SECOND * 51)?;
        if world.alive {
            prop_assert!(world.signalled);
            world.play(Move::End { success: false })?;
        }
        prop_assert!(!world.machine.has_process());
        world.wait(SECOND * 600)?;
        prop_assert!(!world.machine.has_process(), "came back by itself");
    }
}

fn failing(policy: Policy) -> World {
    let mut world = World::new(policy);
    world.play(Move::Start).unwrap();
    world.play(Move::Answer { well: true }).unwrap();
    world
}

/// Ends it and gives how long it then waits; zero when it was started again at once.
fn crash(world: &mut World) -> Duration {
    world.play(Move::End { success: false }).unwrap();
    let wait = world.machine.deadline().map_or(Duration::ZERO, |at| at - world.now);
    world.wait(wait).unwrap();
    world.play(Move::Permit).unwrap();
    world.play(Move::Answer { well: true }).unwrap();
    wait
}

#[test]
fn waits_double_and_a_long_life_resets_them() {
    let mut world = failing(Policy { start_limit: None, ..Policy::default() });
    let waits: Vec<_> = (0..10).map(|_| crash(&mut world).as_millis()).collect();
    assert_eq!(waits, [100, 200, 400, 800, 1_600, 3_200, 6_400, 12_800, 15_000, 15_000]);
    world.wait(SECOND * 10).unwrap();
    assert_eq!(crash(&mut world).as_millis(), 100);
    world.wait(SECOND * 9).unwrap();
    assert_eq!(crash(&mut world).as_millis(), 200);
}

#[test]
fn a_slow_starter_must_live_ten_times_its_start_up() {
    let timeout = Some(SECOND * 30);
    let mut world =
        failing(Policy { start_limit: None, ready_timeout: timeout, ..Policy::default() });
    world.wait(SECOND * 5).unwrap();
    world.play(Move::Ready).unwrap();
    assert_eq!(world.machine.failures(), 0);
    world.wait(SECOND * 49).unwrap();
    crash(&mut world);
    world.wait(SECOND * 5).unwrap();
    world.play(Move::Ready).unwrap();
    world.wait(SECOND * 49).unwrap();
    crash(&mut world);
    assert_eq!(world.machine.failures(), 2);
    world.wait(SECOND * 5).unwrap();
    world.play(Move::Ready).unwrap();
    world.wait(SECOND * 50).unwrap();
    crash(&mut world);
    assert_eq!(world.machine.failures(), 1);
}

#[test]
fn the_breaker_opens_probes_once_and_closes_by_a_long_life() {
    let backoff = Backoff { base: Duration::ZERO, ..Backoff::SERVICE };
    let mut world = failing(Policy { backoff, ..Policy::default() });
    for _ in 0..10 {
        assert_eq!(crash(&mut world), Duration::ZERO);
    }
    assert_eq!(crash(&mut world), SECOND * 60);
    assert_eq!(crash(&mut world), SECOND * 60, "one probe, and closed again");
    assert!(world.machine.reason().is_empty());
    world.play(Move::End { success: false }).unwrap();
    let reason = world.machine.reason();
    assert!(reason.starts_with("breaker open after 10 restarts in 1m"), "{reason}");
    assert!(reason.ends_with("exited with code 1"), "{reason}");
    world.wait(SECOND * 60).unwrap();
    world.play(Move::Permit).unwrap();
    assert_eq!(world.machine.breaker(), BreakerState::HalfOpen);
    world.play(Move::Answer { well: true }).unwrap();
    world.wait(SECOND * 10 - Duration::from_nanos(1)).unwrap();
    assert_eq!(world.machine.breaker(), BreakerState::HalfOpen);
    world.wait(Duration::from_nanos(1)).unwrap();
    assert_eq!(world.machine.breaker(), BreakerState::Closed, "at the moment, not at the next end");
    assert_eq!(crash(&mut world), Duration::ZERO, "closed");
}

#[test]
fn what_may_live_on_is_not_started_again() {
    let mut world = failing(Policy { restart: Restart::Always, ..Policy::default() });
    world.alive = false;
    let (how, cause) = ("killed".into(), FailureCause::Signal);
    let event = Event::Exited { success: false, cause, how, stuck: vec![41, 42] };
    world.send(event).unwrap();
    assert_eq!(world.machine.word(), InstanceState::Failed);
    assert!(world.machine.reason().contains("pid 41, 42"));
}

/// One long story without shrinking: 20,000 moves, or as many as `GANGER_STEPS` says (a million takes seconds in release).
#[test]
fn a_long_life_of_random_crashes() {
    let steps =
        std::env::var("GANGER_STEPS").ok().and_then(|n| n.parse().ok()).unwrap_or(20_000_u64);
    let seed = fastrand::u64(..);
    let mut random = fastrand::Rng::with_seed(seed);
    let limit = StartLimit { max: 4, within: SECOND * 60, breaker: SECOND * 60 };
    let mut world = World::new(Policy {
        start_limit: Some(limit),
        ready_timeout: Some(SECOND * 30),
        ..Policy::default()
    });
    for step in 0..steps {
        let next = match random.u32(..40) {
            0 => Move::Start,
            1 => Move::Stop,
            2 => Move::Restart,
            3 if random.bool() => Move::Hung,
            3 => Move::Unhealthy,
            4 => Move::Yield,
            5..=11 => Move::Answer { well: random.u32(..10) > 0 },
            12..=17 => Move::End { success: random.u32(..10) == 0 },
            18..=24 => Move::Permit,
            25..=30 => Move::Ready,
            31 => Move::Early,
            32 => Move::TreeEnded { stuck: random.bool() },
            _ => Move::Wait(Duration::from_millis(random.u64(..20_000))),
        };
        let done = world.play(next.clone());
        assert!(done.is_ok(), "step {step} of seed {seed}, {next:?}: {done:?}");
    }
    assert!(world.machine.crashes() > steps / 200, "a quiet life shows nothing");
}

#[test]
fn each_cause_has_its_wait() {
    let oom = Backoff { base: SECOND * 8, ..Backoff::SERVICE };
    let backoff_by = CauseBackoffs { oom: Some(oom), ..CauseBackoffs::default() };
    let mut world = failing(Policy { backoff_by, ..Policy::default() });
    let wait = |world: &World| world.machine.deadline().unwrap() - world.now;
    world.play(Move::End { success: false }).unwrap();
    assert_eq!(wait(&world), Duration::from_millis(100));
    assert_eq!(world.machine.cause(), Some(FailureCause::ExitCode));
    world.wait(SECOND).unwrap();
    world.play(Move::Permit).unwrap();
    world.play(Move::Answer { well: true }).unwrap();
    world.alive = false;
    let (how, cause) = ("out of memory".into(), FailureCause::Oom);
    world.send(Event::Exited { success: false, cause, how, stuck: vec![] }).unwrap();
    assert_eq!(wait(&world), SECOND * 8, "the second in a row, by its cause's rule: half of 16 s");
}
