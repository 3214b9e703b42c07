//! What a failure leads to: the wait, the start limit, the circuit breaker.
//!
//! ```text
//!              restarts > max within `within`
//!   closed ───────────────────────────────────► open ◄──────────────┐
//!     ▲  ▲                                       │ its time is up    │ any failure
//!     │  │ Start, Restart, Stop: by hand         ▼                   │
//!     │  └───────────────────────────────── half-open ───────────────┘
//!     │        up for the healthy period         │   one probe start
//!     └──────────────────────────────────────────┘
//! ```
//!
//! Failures in a row are forgotten exactly when the healthy period ends, by a deadline of `running`; the restarts that
//! count for the limit are forgotten only by their age, by a closing breaker, and by hand.

use std::time::{Duration, Instant};

use ganger_core::{BreakerState, FailureCause};

use super::{Action, BREAKER_OPEN, Machine, State, Then, Waiting};
use crate::policy::{Policy, Restart, StartLimit};

impl Machine {
    /// There is something that the end of the healthy period forgets.
    pub(super) fn on_trial(&self) -> bool {
        self.failures > 0 || self.breaker != BreakerState::Closed
    }

    /// It has been up long enough: failures in a row start anew, and a probe has closed the breaker.
    pub(super) fn healthy(&mut self) {
        (self.failures, self.cause) = (0, None);
        if self.breaker != BreakerState::Closed {
            self.breaker = BreakerState::Closed;
            self.recent.clear();
        }
    }

    /// After an end nobody asked for; `Err` names what it counts as.
    pub(super) fn after_exit(
        &mut self,
        end: Result<(), FailureCause>,
        why: String,
        up: Option<(Duration, Duration)>,
        now: Instant,
        unit: f64,
    ) -> Vec<Action> {
        let cause = end.err().unwrap_or(FailureCause::ExitCode);
        match self.policy.restart {
            Restart::Always => self.fail(cause, why, up, now, unit),
            Restart::OnFailure if end.is_err() => self.fail(cause, why, up, now, unit),
            _ => {
                self.cause = end.err();
                let done = State::Stopped { completed: true };
                self.rest(if end.is_ok() { done } else { State::Failed }, why);
                vec![]
            }
        }
    }

    /// Counts a failure and sets the time of the next start, which may be now.
    pub(super) fn fail(
        &mut self,
        cause: FailureCause,
        why: String,
        up: Option<(Duration, Duration)>,
        now: Instant,
        unit: f64,
    ) -> Vec<Action> {
        // The exit and the end of the healthy period may come in one moment.
        if up.is_some_and(|(up, startup)| up >= self.policy.healthy(startup)) {
            self.healthy();
        }
        self.failures = self.failures.saturating_add(1);
        self.crashes = self.crashes.saturating_add(1);
        self.cause = Some(cause);
        if let Some(limit) = self.policy.start_limit
            && (self.breaker != BreakerState::Closed || self.limit_reached(&limit, now))
        {
            let rule = Policy::limit_text(&limit);
            self.reason = format!("{BREAKER_OPEN} after {rule}; last: {why}");
            self.breaker = BreakerState::Open;
            let (until, waiting) = (now + limit.breaker, Waiting::Breaker);
            self.state = State::Backoff { until, waiting, asked: false };
            return vec![];
        }
        let wait = self.policy.wait(cause, self.failures, unit);
        self.reason = why;
        let asked = wait.is_zero();
        self.state = State::Backoff { until: now + wait, waiting: Waiting::Retry, asked };
        if asked { vec![Action::Ask] } else { vec![] }
    }

    /// It made room in a restart of its group and waits for its turn.
    pub(super) fn queue_up(&mut self, now: Instant) -> Vec<Action> {
        self.state = State::Backoff { until: now, waiting: Waiting::Group, asked: true };
        vec![Action::Ask]
    }

    fn limit_reached(&mut self, limit: &StartLimit, now: Instant) -> bool {
        while self
            .recent
            .front()
            .is_some_and(|at| now.saturating_duration_since(*at) >= limit.within)
        {
            self.recent.pop_front();
        }
        self.recent.len() >= limit.max.min(StartLimit::MAX_TRACKED) as usize
    }

    /// Someone wants it up and knows what happened: failures, limit and breaker start anew.
    pub(super) fn forgive(&mut self) {
        (self.failures, self.cause) = (0, None);
        self.breaker = BreakerState::Closed;
        self.recent.clear();
        self.reason.clear();
    }

    pub(super) fn spawn_again(&mut self, now: Instant) -> Vec<Action> {
        self.restarts = self.restarts.saturating_add(1);
        match self.state {
            State::Stopping { then: Then::Start, .. } => self.forgive(),
            State::Backoff { waiting: Waiting::Retry, .. } => self.remember(now),
            State::Backoff { waiting: Waiting::Breaker, .. } => {
                self.breaker = BreakerState::HalfOpen;
            }
            _ => {}
        }
        self.spawn(now)
    }

    /// Notes an automatic restart for the start limit; neither the breaker's own probe nor a turn in a group is one.
    fn remember(&mut self, now: Instant) {
        let max = self.policy.start_limit.map_or(0, |limit| limit.max.min(StartLimit::MAX_TRACKED));
        if max == 0 {
            return;
        }
        while self.recent.len() >= max as usize {
            self.recent.pop_front();
        }
        self.recent.push_back(now);
    }

    pub(super) fn spawn(&mut self, now: Instant) -> Vec<Action> {
        self.stuck.clear();
        self.heard.clear();
        self.state = State::Starting { spawned: false, up: false, since: now, deadline: None };
        vec![Action::Spawn]
    }
}
