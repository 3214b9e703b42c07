//! What a start waits for, and what lost health leads to.
//!
//! ```text
//!            spawned           Ready                   Ready
//!  starting ────────► StartUp ───────► Ready (stage) ────────► running
//!                        │ time over       │ time over             │ Unhealthy: stop signal
//!                        │ Unhealthy never │ Unhealthy, Hung       │ Hung: SIGABRT
//!                        ▼                 ▼                       ▼
//!                     stopping, and the end counts as a failure: start_timeout or health
//! ```

use std::time::{Duration, Instant};

use ganger_core::{Dur, FailureCause};

use super::{Action, EXTEND_MAX, Machine, Phase, Stage, State, Then};

impl Machine {
    /// What its start waits for, while there is a process.
    #[must_use]
    pub const fn stage(&self) -> Option<Stage> {
        match self.state {
            State::Starting { spawned: true, up: false, .. } => Some(Stage::StartUp),
            State::Starting { spawned: true, .. } => Some(Stage::Ready),
            _ => None,
        }
    }

    /// Its liveness is to be asked for: it runs, or its declared start-up is over.
    #[must_use]
    pub const fn is_live(&self) -> bool {
        match self.state {
            State::Running { .. } => true,
            State::Starting { spawned: true, up: true, .. } => {
                self.policy.startup_timeout.is_some()
            }
            _ => false,
        }
    }

    /// Notes the last bad answer of what its start waits for; it is told when time is over.
    pub fn hear(&mut self, why: &str) {
        why.clone_into(&mut self.heard);
    }

    /// Begins to wait for what is declared; `None` when nothing is.
    pub(super) fn await_ready(&mut self, since: Instant, now: Instant) -> Option<Vec<Action>> {
        let (up, timeout) = match (self.policy.startup_timeout, self.policy.ready_timeout) {
            (Some(timeout), _) => (false, timeout),
            (None, Some(timeout)) => (true, timeout),
            (None, None) => return None,
        };
        self.state = State::Starting { spawned: true, up, since, deadline: Some(now + timeout) };
        Some(vec![Action::Probe])
    }

    pub(super) fn run(&mut self, since: Instant, now: Instant) -> Vec<Action> {
        let startup = now.saturating_duration_since(since);
        self.state = State::Running { since: now, startup };
        self.reason.clear();
        vec![]
    }

    pub(super) fn on_ready(&mut self, now: Instant) -> Vec<Action> {
        match self.state {
            State::Starting { spawned: true, up: false, since, .. } => {
                self.heard.clear();
                let Some(timeout) = self.policy.ready_timeout else {
                    self.run(since, now);
                    return vec![Action::EndProbe];
                };
                let deadline = Some(now + timeout);
                self.state = State::Starting { spawned: true, up: true, since, deadline };
                vec![Action::Probe]
            }
            State::Starting { spawned: true, since, .. } => {
                self.run(since, now);
                vec![Action::EndProbe]
            }
            _ => vec![],
        }
    }

    pub(super) fn on_unhealthy(
        &mut self,
        why: String,
        asked_by: Action,
        now: Instant,
    ) -> Vec<Action> {
        if !self.is_live() {
            return vec![];
        }
        self.reason = why;
        self.cause = Some(FailureCause::Health);
        let mut actions = self.begin_stop(Then::Fail, true, now);
        for action in &mut actions {
            if *action == Action::Signal {
                *action = asked_by;
            }
        }
        actions
    }

    /// A request for time moves a deadline back, never forward.
    pub(super) fn on_extend(&mut self, time: Duration, now: Instant) -> Vec<Action> {
        let until = now + time.min(EXTEND_MAX);
        match &mut self.state {
            State::Starting { spawned: true, deadline: Some(at), .. }
            | State::Stopping { phase: Phase::Draining(at) | Phase::Asked(at), .. } => {
                *at = until.max(*at);
            }
            _ => {}
        }
        vec![]
    }

    /// Why a start whose time is over has failed.
    pub(super) fn too_late(&self) -> String {
        let (what, waited) = match self.stage() {
            Some(Stage::StartUp) => ("not started up", self.policy.startup_timeout),
            _ => ("not ready", self.policy.ready_timeout),
        };
        let waited = Dur(waited.unwrap_or_default());
        match &*self.heard {
            "" => format!("{what} after {waited}"),
            heard => format!("{what} after {waited}; last: {heard}"),
        }
    }
}
