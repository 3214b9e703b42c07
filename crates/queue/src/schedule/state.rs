//! The machine of one schedule.
//!
//! ```text
//!  tick ─► overdue fires ─(missed policy)─► each fire ─(overlap policy)─┬─► Push ──┐
//!             │                                                         ├─► Hold ──┤ steps, one at a time and in order:
//!             └─ left out: one Missed step for all of them ──────────►  ├─► Skip ──┤ order() ─► owner commits ─► settle()
//!                                                                       └─► Cancel (the one before, for `replace`)
//!  ended(task before) ─► the first held fire ─► Push
//! ```
//!
//! Every step is a commit that also moves the schedule's durable mark (`after`), so whatever dies, the next daemon finds
//! each fire either done or still to do. The mark only goes forward: a clock set back repeats nothing. A clock that is behind
//! the mark by more than [`BACK_MAX`] was wrong before, and the schedule goes on from what it says now.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ganger_core::TaskId;

use super::rules::{LINE_MAX, Missed, ON_TIME, Overlap, ScheduleConfig};
use crate::Now;

/// A clock set back by more than this is a correction. Cron draws the same line at three hours.
const BACK_MAX: Duration = Duration::from_secs(3 * 3_600);
/// Between two tries of a step while the store refuses.
const RETRY: Duration = Duration::from_secs(1);
/// Missed fires that are counted one by one; beyond, only the newest are looked for. About 50 ms of work.
const WALK_MAX: usize = 20_000;

/// What a schedule goes on from.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Resumed {
    /// Fires up to and with this moment are dealt with; milliseconds since 1970.
    pub after_ms: u64,
    /// A person paused it.
    pub paused: bool,
    /// The task of the last fire, while it is unfinished.
    pub former: Option<TaskId>,
    /// Fires that wait for it, oldest first.
    pub held: Vec<u64>,
}

/// Why a fire has no task.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// `overlap = "skip"`.
    #[error("the task of the fire before is unfinished (overlap = \"skip\")")]
    Overlap,
    /// `overlap = "queue"`, for too long.
    #[error("{LINE_MAX} fires wait already for the one before (overlap = \"queue\")")]
    LineFull,
    /// `overlap = "replace"`: it waited, and a later fire took its place.
    #[error("a later fire took its place (overlap = \"replace\")")]
    Replaced,
    /// The queue did not take its task.
    #[error("its task was refused: {0}")]
    Refused(String),
    /// Nobody was there in time.
    #[error("{} missed: nobody was there in time (missed = \"{policy}\")", times(*count, *more))]
    Missed {
        /// How many.
        count: u64,
        /// At least so many.
        more: bool,
        /// The policy's word.
        policy: &'static str,
    },
}

fn times(count: u64, more: bool) -> String {
    match (count, more) {
        (1, false) => "1 fire was".to_owned(),
        (n, false) => format!("{n} fires were"),
        (n, true) => format!("more than {n} fires were"),
    }
}

/// One commit.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// The fire.
    pub fire_ms: u64,
    /// The schedule's mark, to be stored with it; `None`: it stays (a fire by hand, or one whose wait moved it).
    pub after_ms: Option<u64>,
    /// What becomes of it.
    pub what: What,
}

/// What becomes of a fire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// Its task is pushed.
    Push,
    /// It waits for the one before.
    Hold,
    /// It is left out.
    Skip(Why),
}

/// What the owner shall do.
#[derive(Debug, Clone, PartialEq)]
pub enum Order {
    /// Commit this, then [`Schedule::settle`].
    Step(Step),
    /// Cancel this task; nothing is to be told.
    Cancel(TaskId),
}

/// What became of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settle {
    /// The task is pushed (or was already, by a daemon that died).
    Pushed(TaskId),
    /// The row is written.
    Recorded,
    /// The queue refuses the task for good.
    Refused(String),
    /// Nothing could be stored now.
    Failed,
}

/// Why a fire by hand can't be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RunRefused {
    /// `overlap = "skip"`.
    #[error("the task of the fire before is unfinished, and overlap is \"skip\"")]
    Overlap,
    /// Too many wait.
    #[error("{LINE_MAX} fires wait already")]
    LineFull,
}

/// How a schedule is.
#[derive(Debug, Clone, PartialEq)]
pub struct ScheduleView {
    /// Its name.
    pub name: Arc<str>,
    /// Its rules.
    pub config: ScheduleConfig,
    /// It fires nothing.
    pub paused: bool,
    /// The next fire: its moment, and when it is made (with jitter). Milliseconds since 1970.
    pub next: Option<(u64, u64)>,
    /// The task of the last fire, while it is unfinished.
    pub former: Option<TaskId>,
    /// Fires that wait for it.
    pub held: usize,
}

/// One schedule. See the module.
#[derive(Debug)]
pub struct Schedule {
    name: Arc<str>,
    config: ScheduleConfig,
    after: u64,
    paused: bool,
    next: Option<(u64, u64)>,
    former: Option<TaskId>,
    held: VecDeque<u64>,
    out: VecDeque<Step>,
    busy: bool,
    cancel: Option<TaskId>,
    retry_at: Option<Instant>,
    last_manual: u64,
}

impl Schedule {
    /// A schedule that goes on, or begins with `after_ms` as its first moment.
    #[must_use]
    pub fn new(name: &str, config: ScheduleConfig, resumed: Resumed, now: Now) -> Self {
        let mut schedule = Self {
            name: name.into(),
            config,
            after: resumed.after_ms,
            paused: resumed.paused,
            next: None,
            former: resumed.former,
            held: resumed.held.into(),
            out: VecDeque::new(),
            busy: false,
            cancel: None,
            retry_at: None,
            last_manual: 0,
        };
        if schedule.former.is_none() {
            schedule.promote();
        }
        schedule.tick(now);
        schedule
    }

    /// Gives it other rules. A new plan begins now: what the old one has missed is not made up for.
    pub fn configure(&mut self, config: ScheduleConfig, now: Now) {
        if config.plan != self.config.plan {
            self.after = now.wall_ms;
        }
        self.config = config;
        self.tick(now);
    }

    /// Time has passed, or the clock was set.
    pub fn tick(&mut self, now: Now) {
        if self.retry_at.is_some_and(|at| at <= now.at) {
            self.retry_at = None;
        }
        self.next = None;
        if self.paused {
            return;
        }
        let back = u64::try_from(BACK_MAX.as_millis()).unwrap_or(u64::MAX);
        if self.after > now.wall_ms.saturating_add(back) {
            tracing::warn!(
                schedule = &*self.name,
                "the clock is hours behind the last fire: going on from now"
            );
            self.after = now.wall_ms;
        }
        self.fire_overdue(now.wall_ms);
    }

    /// When to call [`Schedule::tick`] next, by the wall clock; milliseconds since 1970.
    #[must_use]
    pub fn wake_ms(&self) -> Option<u64> {
        self.next.map(|(_, due)| due)
    }

    /// When to call [`Schedule::tick`] next, by the monotonic clock.
    #[must_use]
    pub const fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }

    /// What to do now. One step is under way at a time.
    pub fn order(&mut self) -> Option<Order> {
        if let Some(task) = self.cancel.take() {
            return Some(Order::Cancel(task));
        }
        if self.busy || self.retry_at.is_some() {
            return None;
        }
        let step = self.out.front()?.clone();
        self.busy = true;
        Some(Order::Step(step))
    }

    /// What became of the step under way.
    pub fn settle(&mut self, settle: Settle, now: Now) {
        self.busy = false;
        match settle {
            Settle::Pushed(task) => {
                self.out.pop_front();
                self.former = Some(task);
                if self.config.overlap == Overlap::Replace && !self.held.is_empty() {
                    self.cancel = Some(task);
                }
            }
            Settle::Recorded => drop(self.out.pop_front()),
            Settle::Refused(why) => {
                if let Some(step) = self.out.front_mut() {
                    step.what = What::Skip(Why::Refused(why));
                }
                // Nobody's end will call for those that wait behind it.
                if self.former.is_none() {
                    self.promote();
                }
            }
            Settle::Failed => self.retry_at = Some(now.at + RETRY),
        }
    }

    /// A task has ended.
    pub fn ended(&mut self, task: TaskId) {
        if self.former == Some(task) {
            self.former = None;
            self.promote();
        }
    }

    /// A fire by hand, also while paused. Gives its moment.
    ///
    /// # Errors
    /// [`RunRefused`].
    pub fn run(&mut self, now: Now) -> Result<u64, RunRefused> {
        if self.is_unfinished() {
            match self.config.overlap {
                Overlap::Skip => return Err(RunRefused::Overlap),
                Overlap::Queue if self.held.len() >= LINE_MAX => return Err(RunRefused::LineFull),
                _ => {}
            }
        }
        let fire_ms = now.wall_ms.max(self.last_manual + 1);
        self.last_manual = fire_ms;
        self.fire(fire_ms, true);
        Ok(fire_ms)
    }

    /// Fires nothing from now on; what waits goes on.
    pub fn pause(&mut self) {
        self.paused = true;
        self.next = None;
    }

    /// Fires again. What fell into the pause is not made up for.
    pub fn resume(&mut self, now: Now) {
        if self.paused {
            self.paused = false;
            self.after = self.after.max(now.wall_ms);
        }
        self.tick(now);
    }

    /// Fires up to and with this moment are dealt with, once the steps that were ordered are done.
    #[must_use]
    pub const fn after_ms(&self) -> u64 {
        self.after
    }

    /// The unfinished task of the last fire.
    #[must_use]
    pub const fn former(&self) -> Option<TaskId> {
        self.former
    }

    /// A step is under way.
    #[must_use]
    pub const fn is_busy(&self) -> bool {
        self.busy
    }

    /// How it is.
    #[must_use]
    pub fn view(&self) -> ScheduleView {
        ScheduleView {
            name: Arc::clone(&self.name),
            config: self.config.clone(),
            paused: self.paused,
            next: self.next,
            former: self.former,
            held: self.held.len(),
        }
    }

    fn fire_overdue(&mut self, now_ms: u64) {
        let Some(overdue) = self.overdue(now_ms) else { return };
        let Overdue { mut kept, mut dropped, mut dropped_to, more } = overdue;
        let Some(last) = kept.back().copied() else { return };
        let late = now_ms.saturating_sub(self.config.due(&self.name, last));
        let on_time = u128::from(late) <= ON_TIME.as_millis();
        if self.config.missed == Missed::Skip && !on_time {
            kept.clear();
            (dropped, dropped_to) = (dropped + 1, last);
        }
        self.after = last;
        if dropped > 0 {
            let policy = self.config.missed.as_str();
            let why = Why::Missed { count: dropped, more, policy };
            let what = What::Skip(why);
            let after_ms = Some(dropped_to);
            self.out.push_back(Step { fire_ms: dropped_to, after_ms, what });
        }
        for fire_ms in kept {
            self.fire(fire_ms, false);
        }
    }

    /// The fires that are due and not dealt with; sets the next one.
    fn overdue(&mut self, now_ms: u64) -> Option<Overdue> {
        let keep = match self.config.missed {
            Missed::All => self.config.missed_max.max(1) as usize,
            Missed::Skip | Missed::Latest => 1,
        };
        let mut found = Overdue::default();
        let mut at = self.after;
        let mut walked = 0;
        while let Some(fire_ms) = self.config.plan.after(at) {
            let due = self.config.due(&self.name, fire_ms);
            if due > now_ms {
                self.next = Some((fire_ms, due));
                break;
            }
            found.kept.push_back(fire_ms);
            if found.kept.len() > keep {
                found.dropped += 1;
                found.dropped_to = found.kept.pop_front().unwrap_or(0);
            }
            at = fire_ms;
            walked += 1;
            if walked == WALK_MAX {
                at = at.max(self.shortly_before(now_ms, keep));
                found.more = at > fire_ms;
            }
        }
        (!found.kept.is_empty()).then_some(found)
    }

    /// A moment with more than `keep` fires between it and now, found by looking back twice as far each time.
    fn shortly_before(&self, now_ms: u64, keep: usize) -> u64 {
        let mut back = 1_000;
        loop {
            let from = now_ms.saturating_sub(back);
            let mut at = from;
            let enough = (0..=keep).all(|_| match self.config.plan.after(at) {
                Some(fire_ms) if fire_ms <= now_ms => {
                    at = fire_ms;
                    true
                }
                _ => false,
            });
            if enough || from <= self.after {
                return from;
            }
            back *= 2;
        }
    }

    fn fire(&mut self, fire_ms: u64, manual: bool) {
        let busy = self.is_unfinished();
        let what = match self.config.overlap {
            _ if !busy => What::Push,
            Overlap::Allow => What::Push,
            Overlap::Skip => What::Skip(Why::Overlap),
            Overlap::Queue if self.held.len() >= LINE_MAX => What::Skip(Why::LineFull),
            Overlap::Queue => What::Hold,
            Overlap::Replace => {
                for fire_ms in std::mem::take(&mut self.held) {
                    let what = What::Skip(Why::Replaced);
                    self.out.push_back(Step { fire_ms, after_ms: None, what });
                }
                self.cancel = self.former;
                What::Hold
            }
        };
        if what == What::Hold {
            self.held.push_back(fire_ms);
        }
        let after_ms = (!manual).then_some(fire_ms);
        self.out.push_back(Step { fire_ms, after_ms, what });
    }

    /// Some fire's task is unfinished, on its way, or waits.
    fn is_unfinished(&self) -> bool {
        self.former.is_some()
            || !self.held.is_empty()
            || self.out.iter().any(|step| step.what == What::Push)
    }

    fn promote(&mut self) {
        if self.out.iter().any(|step| step.what == What::Push) {
            return;
        }
        if let Some(fire_ms) = self.held.pop_front() {
            self.out.push_back(Step { fire_ms, after_ms: None, what: What::Push });
        }
    }
}

/// Fires that are due.
#[derive(Debug, Default)]
struct Overdue {
    /// The newest of them, as many as the policy may make.
    kept: VecDeque<u64>,
    /// How many older ones there were, and the last of them.
    dropped: u64,
    dropped_to: u64,
    /// There were more than could be counted.
    more: bool,
}
