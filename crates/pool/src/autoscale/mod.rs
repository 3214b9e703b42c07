//! How many workers a pool needs: a pure machine that is shown its load twice a second.
//!
//! ```text
//!            a task waits and no worker took it             nothing waits, `min` workers, cool-down over
//!   at rest ────────────────────────────────────► looking ─────────────────────────────────────────────► at rest
//!                                                  │   ▲
//!                          more are needed: at once │   │ fewer were enough for the whole cool-down: idle ones go
//!                                                  ▼   │
//!                                                 resized
//! ```
//!
//! The need is what keeps the lanes busy now (Little's law: arrivals times service time) plus what works the backlog off within
//! the target time. Growth is immediate; shrinking goes to the largest need of the last cool-down, which is why a bursty load
//! does not make it flap. Service time is measured: lane-seconds of work over tasks done.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Between two looks at a pool that is not at rest.
pub(crate) const LOOK: Duration = Duration::from_millis(500);
/// Part of its time that a worker is wanted busy: the rest absorbs what does not arrive evenly.
const UTILISATION: f64 = 0.85;
/// Time after which a measurement has lost two thirds of its weight.
const MEMORY: f64 = 5.0;

/// How a pool sizes itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Autoscale {
    /// Never fewer.
    pub min: u32,
    /// Never more.
    pub max: u32,
    /// A task shall not wait longer than this.
    pub target: Duration,
    /// Workers that were not needed for so long go.
    pub cool_down: Duration,
}

/// A pool's load at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct PoolLoad {
    /// Tasks that could be taken now.
    pub waiting: u64,
    /// How long the first of them has waited.
    pub oldest: Duration,
    /// Lanes with an attempt.
    pub busy: u32,
    /// Lanes of workers that take tasks.
    pub lanes: u32,
    /// Attempts that ended, ever.
    pub done: u64,
    /// Slots with an attempt.
    pub busy_slots: Vec<u32>,
}

/// The machine of one pool.
#[derive(Debug)]
pub(crate) struct Scaler {
    rules: Autoscale,
    /// Lanes of one worker.
    lanes: u32,
    last: Option<(Instant, u64)>,
    /// Attempts that ended since the look before.
    ended: u64,
    /// Running mean of busy lanes.
    busy: f64,
    /// Running mean of the time a task takes, in seconds.
    service: Option<f64>,
    /// Since when nothing has ended while lanes were busy.
    no_end_since: Option<Instant>,
    /// Needs of the last cool-down, each larger than those after it.
    needs: VecDeque<(Instant, u32)>,
}

impl Scaler {
    pub(crate) fn new(rules: Autoscale, lanes: u32) -> Self {
        Self {
            rules,
            lanes: lanes.max(1),
            last: None,
            ended: 0,
            busy: 0.0,
            service: None,
            no_end_since: None,
            needs: VecDeque::new(),
        }
    }

    /// Measurements stay, the rules are new.
    pub(crate) fn set_rules(&mut self, rules: Autoscale, lanes: u32) {
        (self.rules, self.lanes) = (rules, lanes.max(1));
    }

    /// How many workers there shall be. `workers`: those there are, also those that are coming up.
    pub(crate) fn look(&mut self, load: &PoolLoad, workers: u32, now: Instant) -> u32 {
        self.measure(load, now);
        let need = self.need(load, workers, now).clamp(self.rules.min, self.rules.max);
        while self.needs.back().is_some_and(|(_, older)| *older <= need) {
            self.needs.pop_back();
        }
        self.needs.push_back((now, need));
        let over = |at: Instant| now.saturating_duration_since(at) > self.rules.cool_down;
        while self.needs.len() > 1 && self.needs.front().is_some_and(|(at, _)| over(*at)) {
            self.needs.pop_front();
        }
        // The first is the largest. One that grew this pool stays in the list for the cool-down.
        let kept = self.needs.front().map_or(need, |(_, largest)| *largest);
        kept.clamp(self.rules.min, self.rules.max)
    }

    /// Nothing is to be looked at until a task waits that nobody takes.
    pub(crate) fn at_rest(&self, load: &PoolLoad, workers: u32) -> bool {
        load.waiting == 0 && load.busy == 0 && workers == self.rules.min
    }

    /// It was at rest: the time since then measured nothing.
    pub(crate) fn wake(&mut self) {
        (self.last, self.no_end_since, self.busy) = (None, None, 0.0);
    }

    fn measure(&mut self, load: &PoolLoad, now: Instant) {
        let busy = f64::from(load.busy);
        let Some((at, done)) = self.last.replace((now, load.done)) else {
            self.busy = busy;
            return;
        };
        let time = now.saturating_duration_since(at).as_secs_f64();
        let kept = (-time / MEMORY).exp();
        self.busy = self.busy * kept + busy * (1.0 - kept);
        let ended = load.done.saturating_sub(done);
        self.ended = ended;
        if ended > 0 {
            // Lanes in tens, tasks in thousands: far below what a f64 holds exactly.
            #[expect(clippy::cast_precision_loss, reason = "tasks within half a second")]
            let each = busy.max(self.busy) * time / ended as f64;
            self.service =
                Some(self.service.map_or(each, |mean| mean * kept + each * (1.0 - kept)));
        }
        if ended > 0 || load.busy == 0 {
            self.no_end_since = None;
        } else {
            self.no_end_since.get_or_insert(at);
        }
    }

    fn need(&self, load: &PoolLoad, workers: u32, now: Instant) -> u32 {
        // Quick tasks come and go between two looks.
        if load.waiting == 0 && load.busy == 0 && self.ended == 0 {
            return 0;
        }
        // A task that has run for a while takes at least so long.
        let unfinished =
            self.no_end_since.map(|at| now.saturating_duration_since(at).as_secs_f64());
        let service = match (self.service, unfinished) {
            (Some(mean), Some(so_far)) => mean.max(so_far),
            (mean, so_far) => mean.or(so_far).unwrap_or(0.0),
        };
        #[expect(clippy::cast_precision_loss, reason = "a count of tasks, rounded is enough")]
        let waiting = load.waiting as f64;
        let target = self.rules.target.as_secs_f64().max(0.001);
        // Never more lanes than tasks.
        let for_backlog = (waiting * service / target).min(waiting);
        let lanes = self.busy / UTILISATION + for_backlog;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "not negative; the cast saturates"
        )]
        let need = (lanes / f64::from(self.lanes)).ceil() as u32;
        // What is there must be used up first: tasks may wait for a limit and not for a worker, and workers that come up take
        // their share in a moment.
        let used_up = load.busy >= load.lanes && load.lanes >= workers.saturating_mul(self.lanes);
        if !used_up {
            return need.clamp(1, workers.max(1));
        }
        let late = load.waiting > 0 && load.oldest > self.rules.target;
        need.max(1).max(if late { workers.saturating_add(1) } else { 0 })
    }
}
