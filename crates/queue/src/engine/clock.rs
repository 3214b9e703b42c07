//! Time: what `tick` does, and when it is to be called.

use std::cmp::Reverse;
use std::time::{Duration, Instant};

use ganger_core::{TaskId, TaskState, Token};

use super::{Engine, Now, Phase};
use crate::actions::Expired;

/// Stale deadlines tolerated before the heap is rebuilt.
const STALE_MAX: usize = 1_024;

impl Engine {
    /// Time has passed: due tasks, expired attempts.
    pub fn tick(&mut self, now: Now) {
        self.clock = now;
        if self.hold_until.is_some_and(|at| at <= now.at) {
            self.go_on();
        }
        if self.reads_again_at.is_some_and(|at| at <= now.at) {
            self.read_again();
        }
        self.tick_limits(now);
        self.unpark(now);
        self.look_for_due(now);
        self.look_for_limits(now);
        self.expire(now);
        self.save_said(now);
    }

    /// When to call [`Engine::tick`] next.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        let wall = |ms: u64| {
            let wait = Duration::from_millis(ms.saturating_sub(self.clock.wall_ms));
            self.clock.at + wait.min(FAR)
        };
        [
            self.hold_until,
            self.next_save(),
            self.reads_again_at,
            self.next_token(),
            self.due.next_ms().map(wall),
            self.limits.next_ms().map(wall),
            self.parked_due.peek().map(|Reverse((ms, _))| wall(*ms)),
            self.deadlines.peek().map(|Reverse((at, _, _))| *at),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    fn unpark(&mut self, now: Now) {
        while let Some(Reverse((due, id))) = self.parked_due.peek().copied()
            && due <= now.wall_ms
        {
            self.parked_due.pop();
            // Cancelled, brought back and waiting for another time: this one is an earlier life's.
            if self.parked.get(&id).is_some_and(|parked| parked.run_at_ms != due) {
                continue;
            }
            let Some(parked) = self.parked.remove(&id) else { continue };
            let mut waiting = parked.waiting;
            waiting.row.seq = self.draw().raw();
            let row = self.row_mut(parked.ix);
            row.moved(Some(parked.state), Some(TaskState::Available));
            row.admit(waiting, true);
        }
    }

    fn expire(&mut self, now: Now) {
        while let Some(Reverse((at, id, token))) = self.deadlines.peek().copied()
            && at <= now.at
        {
            self.deadlines.pop();
            if !self.runs(id, token) {
                continue;
            }
            let Some(run) = self.running.get_mut(&id) else { continue };
            run.expired = true;
            let (worker, after) = (run.worker, run.timeout);
            self.actions.expired.push(Expired { worker, id, token, after });
        }
        self.purge_deadlines();
    }

    fn runs(&self, id: TaskId, token: Token) -> bool {
        self.running
            .get(&id)
            .is_some_and(|r| r.token == token && r.phase == Phase::Started && !r.expired)
    }

    /// Forgets deadlines of attempts that are over, so that an idle engine asks for no tick.
    pub(super) fn purge_deadlines(&mut self) {
        self.purge_saves();
        while let Some(Reverse((_, id, token))) = self.deadlines.peek().copied()
            && !self.runs(id, token)
        {
            self.deadlines.pop();
        }
        if self.deadlines.len() > 2 * self.running.len() + STALE_MAX {
            let all = std::mem::take(&mut self.deadlines).into_vec();
            self.deadlines =
                all.into_iter().filter(|Reverse((_, id, token))| self.runs(*id, *token)).collect();
        }
    }
}

/// Timers further away than a day are looked at again then: clocks change, and `Instant` has an end.
const FAR: Duration = Duration::from_secs(86_400);
