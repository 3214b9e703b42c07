//! The pure machine of one instance: events in, actions out. No tokio, no I/O, no clock, no randomness of its own.

mod failing;
mod health;
mod types;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use ganger_core::{BreakerState, FailureCause, InstanceState};

use crate::policy::{Policy, Restart};

pub use types::{Action, Adopted, BREAKER_OPEN, Event, Phase, Stage, State, Then, Waiting};

/// How long the keeper may take to answer that a tree has ended before it is asked again. Ending a tree takes
/// milliseconds; processes in uninterruptible sleep take as long as their device.
pub const END_AGAIN: Duration = Duration::from_secs(30);
/// The most time that one request extends a start or a stop by: whoever needs longer says so again, and is alive then.
pub const EXTEND_MAX: Duration = Duration::from_secs(600);

/// One instance's machine.
#[derive(Debug, Clone)]
pub struct Machine {
    policy: Policy,
    state: State,
    reason: String,
    /// Processes that could not be proven dead.
    stuck: Vec<u32>,
    restarts: u32,
    failures: u32,
    /// Failures that led to a wait for a restart, ever: tells one crash from the next.
    crashes: u64,
    /// Of the last failure; gone when it is forgiven.
    cause: Option<FailureCause>,
    /// `HalfOpen`: the present start is the breaker's one probe.
    breaker: BreakerState,
    /// The last bad answer of what its start waits for; empty when there was none.
    heard: String,
    /// Times of automatic restarts, oldest first, never more than the limit's `max`.
    recent: VecDeque<Instant>,
}

impl Machine {
    /// A machine at rest.
    #[must_use]
    pub fn new(policy: Policy, reason: impl Into<String>) -> Self {
        Self {
            policy,
            state: State::Stopped { completed: false },
            reason: reason.into(),
            stuck: Vec::new(),
            restarts: 0,
            failures: 0,
            crashes: 0,
            cause: None,
            breaker: BreakerState::Closed,
            heard: String::new(),
            recent: VecDeque::new(),
        }
    }

    /// A machine that takes over a living child.
    #[must_use]
    pub fn adopt(policy: Policy, seen: Adopted, now: Instant) -> (Self, Vec<Action>) {
        let mut machine = Self::new(policy, String::new());
        let since = now.checked_sub(seen.age).unwrap_or(now);
        let actions = match seen.stopping {
            Some(then) => {
                machine.reason = "its stop goes on under a new daemon".into();
                machine.begin_drain(then, now)
            }
            None if seen.ready => {
                machine.state = State::Running { since, startup: Duration::ZERO };
                vec![]
            }
            None => machine.await_ready(since, now).unwrap_or_else(|| {
                machine.state = State::Running { since, startup: Duration::ZERO };
                vec![]
            }),
        };
        (machine, actions)
    }

    /// Sets what a former daemon had counted and where it had left an instance without a process.
    pub fn resume(&mut self, state: State, reason: String, restarts: u32, failures: u32) {
        debug_assert!(!self.has_process(), "only an instance without a process is resumed");
        if matches!(state, State::Backoff { waiting: Waiting::Breaker, .. }) {
            self.breaker = BreakerState::Open;
        }
        (self.state, self.reason, self.restarts, self.failures) =
            (state, reason, restarts, failures);
    }

    /// Sets the counters of an adopted child; `half_open`: it was the breaker's probe.
    pub fn set_counts(&mut self, restarts: u32, failures: u32, half_open: bool) {
        (self.restarts, self.failures) = (restarts, failures);
        if half_open {
            self.breaker = BreakerState::HalfOpen;
        }
    }

    /// New rules; they hold from the next event on.
    pub fn set_policy(&mut self, policy: Policy) {
        self.policy = policy;
    }

    /// The present state.
    #[must_use]
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// The word for the present state.
    #[must_use]
    pub const fn word(&self) -> InstanceState {
        match self.state {
            State::Stopped { .. } => InstanceState::Stopped,
            State::Starting { .. } => InstanceState::Starting,
            State::Running { .. } => InstanceState::Running,
            State::Stopping { .. } => InstanceState::Stopping,
            State::Backoff { .. } => InstanceState::Backoff,
            State::Failed => InstanceState::Failed,
        }
    }

    /// Why it is in this state; empty where nothing needs saying.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// Processes that could not be proven dead, although all was done to end them.
    #[must_use]
    pub fn stuck(&self) -> &[u32] {
        &self.stuck
    }

    /// Starts after the first, automatic and asked for.
    #[must_use]
    pub const fn restarts(&self) -> u32 {
        self.restarts
    }

    /// Failures in a row.
    #[must_use]
    pub const fn failures(&self) -> u32 {
        self.failures
    }

    /// Failures that led to a wait for a restart, ever.
    #[must_use]
    pub const fn crashes(&self) -> u64 {
        self.crashes
    }

    /// Why the last failure happened; gone when it is forgiven.
    #[must_use]
    pub const fn cause(&self) -> Option<FailureCause> {
        self.cause
    }

    /// Where the circuit breaker is.
    #[must_use]
    pub const fn breaker(&self) -> BreakerState {
        self.breaker
    }

    /// A permit is asked for and not yet given.
    #[must_use]
    pub const fn asks(&self) -> bool {
        matches!(self.state, State::Backoff { asked: true, .. })
    }

    /// A process exists, or its start is on the way.
    #[must_use]
    pub const fn has_process(&self) -> bool {
        matches!(
            self.state,
            State::Starting { .. } | State::Running { .. } | State::Stopping { .. }
        )
    }

    /// When [`Event::Deadline`] is due.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        match &self.state {
            State::Starting { deadline, .. } => *deadline,
            State::Stopping {
                phase: Phase::Draining(at) | Phase::Asked(at) | Phase::Forced(at),
                ..
            } => Some(*at),
            State::Backoff { until, asked: false, .. } => Some(*until),
            State::Running { since, startup } if self.on_trial() => {
                Some(*since + self.policy.healthy(*startup))
            }
            _ => None,
        }
    }

    /// Takes one event. `unit` is a random number in `[0, 1)` for the jitter of a backoff.
    pub fn step(&mut self, event: Event, now: Instant, unit: f64) -> Vec<Action> {
        match event {
            Event::Start => self.on_start(now),
            Event::Stop(why) => self.on_stop(why, now),
            Event::Restart => self.on_restart(now),
            Event::Spawned => self.on_spawned(now),
            Event::CouldNotSpawn(why) => self.on_could_not_spawn(why, now, unit),
            Event::Ready => self.on_ready(now),
            Event::NeverReady(why) => self.on_never_ready(why, now),
            Event::Exited { how, stuck, .. } if !stuck.is_empty() => {
                self.on_stuck_exit(&how, &stuck)
            }
            Event::Unhealthy(why) => self.on_unhealthy(why, Action::Signal, now),
            Event::Hung(why) => self.on_unhealthy(why, Action::Abort, now),
            Event::Extend(time) => self.on_extend(time, now),
            Event::Yield(why) => self.on_yield(why, now),
            Event::Permitted if self.asks() => self.spawn_again(now),
            Event::Permitted => vec![],
            Event::Exited { success, cause, how, .. } => {
                self.stuck.clear();
                self.on_exited(success.then_some(()).ok_or(cause), &how, now, unit)
            }
            Event::TreeEnded(stuck) => self.on_tree_ended(&stuck),
            Event::Deadline => self.on_deadline(now),
        }
    }

    fn on_start(&mut self, now: Instant) -> Vec<Action> {
        match &mut self.state {
            State::Stopped { .. } | State::Failed | State::Backoff { .. } => {
                self.forgive();
                self.spawn(now)
            }
            State::Stopping { then, .. } => {
                *then = Then::Start;
                vec![]
            }
            State::Starting { .. } | State::Running { .. } => vec![],
        }
    }

    /// Stop wins: whatever was to follow, nothing follows now.
    fn on_stop(&mut self, why: String, now: Instant) -> Vec<Action> {
        match &mut self.state {
            State::Stopped { completed } => {
                if !*completed {
                    self.reason = why;
                }
                vec![]
            }
            State::Failed | State::Backoff { .. } => {
                self.rest(State::Stopped { completed: false }, why);
                vec![]
            }
            State::Stopping { then, .. } => {
                *then = Then::Stop;
                self.reason = why;
                vec![]
            }
            State::Starting { spawned, .. } => {
                let spawned = *spawned;
                self.reason = why;
                self.begin_stop(Then::Stop, spawned, now)
            }
            State::Running { .. } => {
                self.reason = why;
                self.begin_drain(Then::Stop, now)
            }
        }
    }

    fn on_restart(&mut self, now: Instant) -> Vec<Action> {
        match &mut self.state {
            State::Stopping { then: Then::Stop, .. } => vec![],
            State::Stopping { .. }
            | State::Stopped { .. }
            | State::Failed
            | State::Backoff { .. } => self.on_start(now),
            State::Starting { spawned, .. } => {
                let spawned = *spawned;
                self.reason = "restart asked for".into();
                self.begin_stop(Then::Start, spawned, now)
            }
            State::Running { .. } => {
                self.reason = "restart asked for".into();
                self.begin_drain(Then::Start, now)
            }
        }
    }

    fn on_spawned(&mut self, now: Instant) -> Vec<Action> {
        match &mut self.state {
            State::Starting { spawned: false, since, .. } => {
                let since = *since;
                self.await_ready(since, now).unwrap_or_else(|| self.run(since, now))
            }
            State::Stopping { phase: phase @ Phase::Unspawned, .. } => {
                *phase = Phase::Asked(now + self.policy.stop_timeout);
                vec![Action::Signal]
            }
            _ => vec![],
        }
    }

    fn on_could_not_spawn(&mut self, why: String, now: Instant, unit: f64) -> Vec<Action> {
        match self.state {
            State::Starting { spawned: false, .. } => {
                if self.policy.restart == Restart::Never {
                    self.rest(State::Failed, why);
                    return vec![];
                }
                self.fail(FailureCause::Spawn, why, None, now, unit)
            }
            State::Stopping { then: Then::Start, phase: Phase::Unspawned } => self.spawn_again(now),
            State::Stopping { then: Then::Yield, phase: Phase::Unspawned } => self.queue_up(now),
            State::Stopping { phase: Phase::Unspawned, .. } => {
                let why = format!("{} ({why})", self.reason);
                self.rest(State::Stopped { completed: false }, why);
                vec![]
            }
            _ => vec![],
        }
    }

    fn on_never_ready(&mut self, why: String, now: Instant) -> Vec<Action> {
        if !matches!(self.state, State::Starting { spawned: true, .. }) {
            return vec![];
        }
        self.reason = why;
        self.cause = Some(FailureCause::StartTimeout);
        self.begin_stop(Then::Fail, true, now)
    }

    /// Its group restarts. What rests by a person's word or for good stays; what already waits asks anew, so that a permit
    /// on its way does not count.
    fn on_yield(&mut self, why: String, now: Instant) -> Vec<Action> {
        match &self.state {
            State::Starting { spawned, .. } => {
                let spawned = *spawned;
                self.reason = why;
                self.begin_stop(Then::Yield, spawned, now)
            }
            State::Running { .. } => {
                self.reason = why;
                self.begin_drain(Then::Yield, now)
            }
            State::Backoff { asked: true, .. } => vec![Action::Ask],
            _ => vec![],
        }
    }

    fn on_exited(
        &mut self,
        end: Result<(), FailureCause>,
        how: &str,
        now: Instant,
        unit: f64,
    ) -> Vec<Action> {
        match self.state {
            State::Starting { spawned: true, .. } => {
                let why = format!("{how} before it was ready");
                let mut actions = vec![Action::EndProbe];
                actions.extend(self.after_exit(end, why, None, now, unit));
                actions
            }
            State::Running { since, startup } => {
                let up = now.saturating_duration_since(since);
                self.after_exit(end, how.to_owned(), Some((up, startup)), now, unit)
            }
            State::Stopping { then, .. } => match then {
                Then::Start => self.spawn_again(now),
                Then::Yield => self.queue_up(now),
                Then::Stop => {
                    let why = format!("{}: {how}", self.reason);
                    self.rest(State::Stopped { completed: false }, why);
                    vec![]
                }
                Then::Fail => {
                    let why = self.reason.clone();
                    let cause = self.cause.unwrap_or(FailureCause::StartTimeout);
                    self.after_exit(Err(cause), why, None, now, unit)
                }
            },
            _ => vec![],
        }
    }

    /// Part of its tree may live on: a new start would be a second copy.
    fn on_stuck_exit(&mut self, how: &str, stuck: &[u32]) -> Vec<Action> {
        let probing = matches!(self.state, State::Starting { spawned: true, .. });
        self.rest(State::Failed, format!("{how}; {}", stuck_text(stuck)));
        self.stuck = stuck.to_vec();
        if probing { vec![Action::EndProbe] } else { vec![] }
    }

    fn on_tree_ended(&mut self, stuck: &[u32]) -> Vec<Action> {
        if matches!(self.state, State::Stopping { .. }) && !stuck.is_empty() {
            self.reason = stuck_text(stuck);
            self.stuck = stuck.to_vec();
        }
        vec![]
    }

    fn on_deadline(&mut self, now: Instant) -> Vec<Action> {
        if self.deadline().is_none_or(|at| now < at) {
            return vec![];
        }
        match &mut self.state {
            State::Starting { .. } => {
                self.reason = self.too_late();
                self.cause = Some(FailureCause::StartTimeout);
                self.begin_stop(Then::Fail, true, now)
            }
            State::Stopping { phase: phase @ Phase::Draining(_), .. } => {
                *phase = Phase::Asked(now + self.policy.stop_timeout);
                vec![Action::Signal]
            }
            State::Stopping { phase, .. } => {
                *phase = Phase::Forced(now + END_AGAIN);
                vec![Action::EndTree]
            }
            State::Backoff { asked, .. } => {
                *asked = true;
                vec![Action::Ask]
            }
            State::Running { .. } => {
                self.healthy();
                vec![]
            }
            _ => vec![],
        }
    }

    /// As [`Self::begin_stop`], for one that runs and may have something to finish first.
    fn begin_drain(&mut self, then: Then, now: Instant) -> Vec<Action> {
        let Some(drain) = self.policy.drain else { return self.begin_stop(then, true, now) };
        self.state = State::Stopping { then, phase: Phase::Draining(now + drain) };
        vec![Action::Drain]
    }

    fn begin_stop(&mut self, then: Then, spawned: bool, now: Instant) -> Vec<Action> {
        let probing = matches!(self.state, State::Starting { spawned: true, .. });
        if !spawned {
            self.state = State::Stopping { then, phase: Phase::Unspawned };
            return vec![];
        }
        let phase = Phase::Asked(now + self.policy.stop_timeout);
        self.state = State::Stopping { then, phase };
        if probing { vec![Action::EndProbe, Action::Signal] } else { vec![Action::Signal] }
    }

    fn rest(&mut self, state: State, why: String) {
        self.state = state;
        self.reason = why;
        self.breaker = BreakerState::Closed;
    }
}

fn stuck_text(stuck: &[u32]) -> String {
    let pids: Vec<_> = stuck.iter().map(u32::to_string).collect();
    format!("stuck: could not prove the end of pid {}", pids.join(", "))
}
