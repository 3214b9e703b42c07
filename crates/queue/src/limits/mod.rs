//! Limits of one queue: how many run at once and how often one starts, over all, per kind and per key.
//!
//! ```text
//!  lane ──pop──► room in queue, kind and key? ──yes──► claimed (counted in all of them until its end is confirmed)
//!                    │ no: kind or key is full               │
//!                    ▼                                       │ end confirmed, or a token comes
//!            set aside at that limit ◄───────────────────────┘ the first of those set aside is next, at its old place
//! ```
//!
//! A task whose kind or key is full is set aside there, so that it blocks nobody behind it. What is set aside competes
//! with the heads of the lanes by priority and place: order holds among all that may run. At most [`KEY_HELD_MAX`]
//! tasks of one kind or key, and [`HELD_MAX`] of a queue, are set aside in memory; what is beyond stays in the store
//! and is read from there when half of them are through. (Tasks of `memory` queues are all in memory anyway.) When the
//! queue as a whole is full, nothing is taken out of its lanes.
//!
//! After a restart the counts are those of the claims that the new daemon finds, and buckets are as the last commit that claimed
//! from them left them.

mod field;
mod gauge;
mod rules;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use ganger_core::{Priority, TaskId};
use ganger_store::ReadyRow;

use crate::engine::lane::Waiting;
use crate::engine::row::IdMap;
pub use ganger_core::Rate;
pub(crate) use gauge::{Gauge, Place, Room, place};
pub use rules::{Limit, LimitRules};

/// Tasks of one kind or key set aside in memory: as many as a lane's window, 1.2 MB at 300 bytes each. Tests use few,
/// so that they reach the bound.
pub const KEY_HELD_MAX: usize = if cfg!(test) { 3 } else { 4_096 };
/// Tasks of one queue set aside in memory: 20 MB at 300 bytes each.
pub const HELD_MAX: usize = if cfg!(test) { 6 } else { 65_536 };
/// Tasks read for a group with room while [`HELD_MAX`] are set aside.
const SIP: usize = if cfg!(test) { 1 } else { 64 };
/// Forgotten keys tolerated before the table of keys is swept.
const SWEEP: usize = 1_024;

/// What tasks can be set aside for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Group {
    /// A kind with a limit of its own.
    Kind(Arc<str>),
    /// A key.
    Key(Arc<str>),
}

/// Which limits of its queue a task falls under.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Demand {
    kind: Option<Group>,
    key: Option<Group>,
    /// When tokens were taken for it. `None`: not yet, or by an earlier daemon or under other rules.
    taken: Option<Instant>,
}

impl Demand {
    pub(crate) fn groups(&self) -> impl Iterator<Item = &Group> {
        self.kind.iter().chain(&self.key)
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Limits {
    rules: LimitRules,
    all: Gauge,
    groups: HashMap<Group, Gauge>,
    /// Groups with room and something set aside, by the place of their first in each lane: lanes take turns, so the first
    /// of one says nothing about another.
    open: BTreeSet<(Place, Group)>,
    /// When groups get a token that something waits for.
    wakes: BTreeSet<(Instant, Group)>,
    /// Where a task is set aside.
    held: IdMap<Group>,
    /// Groups whose tasks in the store should be read.
    hungry: BTreeSet<Group>,
    bounded: bool,
    swept: usize,
    /// Tokens were taken since the last [`Limits::spent`]: of the queue as a whole, and of groups.
    spent_all: bool,
    spent: HashSet<Group>,
}

impl Limits {
    /// `bounded`: what can't be set aside here is in the store.
    pub(crate) fn new(rules: LimitRules, bounded: bool) -> Self {
        Self {
            all: Gauge::new(rules.queue),
            groups: HashMap::new(),
            open: BTreeSet::new(),
            wakes: BTreeSet::new(),
            held: IdMap::default(),
            hungry: BTreeSet::new(),
            bounded,
            swept: SWEEP,
            spent_all: false,
            spent: HashSet::new(),
            rules,
        }
    }

    pub(crate) const fn rules(&self) -> &LimitRules {
        &self.rules
    }

    /// The limits a task falls under.
    pub(crate) fn demand(&self, row: &ReadyRow) -> Demand {
        let kind = row.kind.as_ref().filter(|kind| self.rules.kinds.contains_key(&***kind));
        let key = (!self.rules.per_key.is_none()).then(|| self.key_of(row)).flatten();
        Demand { kind: kind.cloned().map(Group::Kind), key: key.map(Group::Key), taken: None }
    }

    fn key_of(&self, row: &ReadyRow) -> Option<Arc<str>> {
        let own = row.options.as_ref().and_then(|options| options.concurrency_key.clone());
        own.map(Arc::from).or_else(|| {
            let path = self.rules.key.as_deref()?;
            field::text_at(&row.payload, path).map(Arc::from)
        })
    }

    /// What the queue as a whole says to one more.
    pub(crate) fn room(&self, now: Instant) -> Room {
        self.all.room(now)
    }

    /// The gauge of a group, if anything of it is known.
    pub(crate) fn group(&self, group: &Group) -> Option<&Gauge> {
        self.groups.get(group)
    }

    /// The gauge of the queue as a whole.
    pub(crate) const fn whole(&self) -> &Gauge {
        &self.all
    }

    /// The first of the kind and the key that has no room for one more.
    pub(crate) fn blocked_by(&self, demand: &Demand, now: Instant) -> Option<Group> {
        let full = |group: &&Group| {
            self.groups.get(*group).is_some_and(|gauge| gauge.room(now) != Room::Yes)
        };
        demand.groups().find(full).cloned()
    }

    /// A claim begins.
    pub(crate) fn take(&mut self, demand: &mut Demand, now: Instant) {
        demand.taken = Some(now);
        self.all.take(now);
        self.spent_all |= self.all.limit.rate.is_some();
        for group in demand.groups() {
            let gauge = self.gauge(group);
            gauge.take(now);
            if gauge.limit.rate.is_some() {
                self.spent.insert(group.clone());
            }
            self.refresh(group, now);
        }
    }

    /// When the buckets from which tokens were taken since the last call would be full again: `None` is the queue's own.
    pub(crate) fn spent(&mut self, now: Instant) -> Vec<(Option<Group>, Instant)> {
        let mut all = Vec::new();
        if std::mem::take(&mut self.spent_all) {
            all.extend(self.all.bucket.full_at(now).map(|at| (None, at)));
        }
        for group in self.spent.drain() {
            let bucket = self.groups.get(&group).map(|gauge| gauge.bucket);
            all.extend(bucket.and_then(|b| b.full_at(now)).map(|at| (Some(group), at)));
        }
        all
    }

    /// A bucket of an earlier run, if it has a rate now.
    pub(crate) fn restore_bucket(&mut self, group: Option<&Group>, full_at: Instant, now: Instant) {
        let gauge = match group {
            None => &mut self.all,
            Some(group) => self.gauge(group),
        };
        if let Some(rate) = gauge.limit.rate {
            gauge.bucket.restore(&rate, full_at, now);
        }
    }

    /// A claim that began before these limits counts; it takes no token.
    pub(crate) fn count(&mut self, row: &ReadyRow) -> Box<Demand> {
        let demand = self.demand(row);
        self.all.running += 1;
        for group in demand.groups() {
            self.gauge(group).running += 1;
        }
        Box::new(demand)
    }

    /// A claim's end is confirmed; `unused`: it came to nothing.
    pub(crate) fn release(&mut self, demand: &Demand, unused: bool, now: Instant) {
        let unused = demand.taken.filter(|_| unused);
        self.all.release(unused);
        for group in demand.groups() {
            self.gauge(group).release(unused);
            self.refresh(group, now);
        }
        self.sweep(now);
    }

    /// Sets a task aside. When too many are, the last of them is left to the store. `committed`: every batch up to this
    /// one is.
    pub(crate) fn hold(&mut self, group: &Group, waiting: Waiting, committed: u64, now: Instant) {
        let at = place(&waiting);
        let (bounded, many) = (self.bounded, self.held.len() >= HELD_MAX);
        let gauge = self.gauge(group);
        if bounded && gauge.is_behind_left(at) {
            gauge.leave(&waiting, committed);
        } else {
            let id = waiting.row.id;
            gauge.held.insert(at, waiting);
            let full = bounded && (many || gauge.held.len() > KEY_HELD_MAX);
            let last = full.then(|| gauge.held.pop_last()).flatten();
            if let Some((_, last)) = &last {
                gauge.leave(last, committed);
            }
            self.held.insert(id, group.clone());
            if let Some((_, last)) = last {
                self.held.remove(&last.row.id);
            }
        }
        self.refresh(group, now);
    }

    /// The first task set aside that may run now, with a priority from `low` to `high`.
    pub(crate) fn first(&self, low: u8, high: u8) -> Option<&(Place, Group)> {
        let from = ((Reverse(high), i64::MIN), Group::Kind("".into()));
        self.open.range(from..).next().filter(|((priority, _), _)| priority.0 >= low)
    }

    /// Takes the task at this place of a group.
    pub(crate) fn pop(&mut self, group: &Group, at: Place, now: Instant) -> Option<Waiting> {
        let waiting = self.groups.get_mut(group)?.held.remove(&at)?;
        self.held.remove(&waiting.row.id);
        self.refresh(group, now);
        Some(waiting)
    }

    /// Takes a task out, wherever it is set aside.
    pub(crate) fn remove(&mut self, id: TaskId, now: Instant) -> Option<Waiting> {
        let group = self.held.remove(&id)?;
        let gauge = self.groups.get_mut(&group)?;
        let at = *gauge.held.iter().find(|(_, waiting)| waiting.row.id == id)?.0;
        let waiting = gauge.held.remove(&at);
        self.refresh(&group, now);
        waiting
    }

    /// Where a task is set aside.
    pub(crate) fn holds(&self, id: TaskId) -> Option<&Group> {
        self.held.get(&id)
    }

    /// Every task set aside in memory.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Waiting> {
        self.groups.values().flat_map(|gauge| gauge.held.values())
    }

    /// The oldest place among what is set aside in memory.
    pub(crate) fn oldest_seq(&self) -> Option<i64> {
        self.iter().map(|waiting| waiting.row.seq).min()
    }

    /// True when anything may be set aside here or left in the store.
    pub(crate) fn has_waiting(&self) -> bool {
        self.groups.values().any(|gauge| !gauge.held.is_empty() || !gauge.left.is_empty())
    }

    /// Gives everything up: the tasks in memory, and for each lane the places between which some are in the store.
    pub(crate) fn dissolve(self) -> (Vec<Waiting>, Vec<(Priority, i64, i64)>) {
        let mut left = Vec::new();
        let mut held = Vec::new();
        for gauge in self.groups.into_values() {
            left.extend(gauge.left.iter().map(|(p, left)| (Priority(p.0), left.after, left.last)));
            held.extend(gauge.held.into_values());
        }
        (held, left)
    }

    /// When to call [`Limits::tick`]: a token comes that a task set aside waits for.
    pub(crate) fn next_wake(&self) -> Option<Instant> {
        self.wakes.first().map(|(at, _)| *at)
    }

    /// Time has passed.
    pub(crate) fn tick(&mut self, now: Instant) {
        while let Some((at, group)) = self.wakes.first().cloned()
            && at <= now
        {
            self.refresh(&group, now);
        }
    }

    /// What should be read from the store now: a group, its lane and the place behind which to begin. `committed`:
    /// every batch up to this one is.
    pub(crate) fn ask(&mut self, committed: u64) -> Option<(Group, Priority, i64)> {
        let ready = |group: &&Group| {
            let left = self.groups.get(*group).and_then(|g| g.left.first_key_value());
            left.is_some_and(|(_, left)| left.batch <= committed)
        };
        let group = self.hungry.iter().find(ready)?.clone();
        self.hungry.remove(&group);
        let gauge = self.groups.get_mut(&group)?;
        gauge.reading = true;
        let (priority, left) = gauge.left.first_key_value()?;
        Some((group, Priority(priority.0), left.after))
    }

    /// The answer to a read: the rows of a lane behind that place, of any group. `known`: it is under way otherwise.
    pub(crate) fn loaded(
        &mut self,
        (group, priority, after_seq): (&Group, Priority, i64),
        (rows, cut): (Vec<ReadyRow>, bool),
        known: impl Fn(&ReadyRow) -> bool,
        now: Instant,
    ) {
        let lane = Reverse(priority.0);
        let Some(gauge) = self.groups.get_mut(group) else { return };
        gauge.reading = false;
        // Something was left further ahead meanwhile, or these are other limits: the answer would skip it.
        let fits = gauge.left.get(&lane).copied().filter(|left| after_seq <= left.after);
        let Some(left) = fits else { return self.refresh(group, now) };
        let room = if self.held.len() >= HELD_MAX { SIP } else { KEY_HELD_MAX };
        let mut room = room.saturating_sub(gauge.held.len());
        let (mut after, mut through) = (left.after, !cut);
        for row in rows {
            if row.seq > left.last {
                through = true;
                break;
            }
            if room == 0 {
                through = false;
                break;
            }
            after = after.max(row.seq);
            let mine = self.demand(&row).groups().any(|other| other == group);
            if mine && !known(&row) && !self.held.contains_key(&row.id) {
                self.held.insert(row.id, group.clone());
                let waiting = Waiting::stored(row);
                self.gauge(group).held.insert(place(&waiting), waiting);
                room -= 1;
            }
        }
        let gauge = self.gauge(group);
        if through || after >= left.last {
            gauge.left.remove(&lane);
        } else if let Some(left) = gauge.left.get_mut(&lane) {
            left.after = after;
        }
        self.refresh(group, now);
    }

    /// A read failed; it is asked for again after [`Limits::read_again`].
    pub(crate) fn not_loaded(&mut self, group: &Group) {
        if let Some(gauge) = self.groups.get_mut(group) {
            gauge.reading = false;
        }
    }

    /// Reads that failed may be tried again.
    pub(crate) fn read_again(&mut self, now: Instant) {
        let left = self.groups.iter().filter(|(_, gauge)| !gauge.left.is_empty());
        for group in left.map(|(group, _)| group.clone()).collect::<Vec<_>>() {
            self.refresh(&group, now);
        }
    }

    fn gauge(&mut self, group: &Group) -> &mut Gauge {
        let rules = &self.rules;
        self.groups.entry(group.clone()).or_insert_with(|| {
            Gauge::new(match group {
                Group::Kind(kind) => rules.kinds.get(&**kind).copied().unwrap_or_default(),
                Group::Key(_) => rules.per_key,
            })
        })
    }

    /// Puts a group where it belongs after a change: among those with room, those that wait for a token, or neither.
    fn refresh(&mut self, group: &Group, now: Instant) {
        let Some(gauge) = self.groups.get_mut(group) else { return };
        for at in std::mem::take(&mut gauge.opened).into_iter().flatten() {
            self.open.remove(&(at, group.clone()));
        }
        if let Some(at) = gauge.wake.take() {
            self.wakes.remove(&(at, group.clone()));
        }
        if gauge.held.is_empty() && gauge.left.is_empty() {
            self.hungry.remove(group);
            return;
        }
        let room = gauge.room(now);
        match room {
            Room::Yes => {
                gauge.opened = gauge.firsts();
                let firsts = gauge.opened.into_iter().flatten();
                self.open.extend(firsts.map(|at| (at, group.clone())));
            }
            Room::At(at) => {
                gauge.wake = Some(at);
                self.wakes.insert((at, group.clone()));
            }
            Room::AfterOne => {}
        }
        let wanted = room == Room::Yes || self.held.len() < HELD_MAX;
        let low = gauge.held.len() <= KEY_HELD_MAX / 2;
        if wanted && low && !gauge.left.is_empty() && !gauge.reading {
            self.hungry.insert(group.clone());
        }
    }

    /// Forgets keys of which nothing is left, when there may be many.
    fn sweep(&mut self, now: Instant) {
        if self.groups.len() > self.swept {
            self.groups.retain(|_, gauge| !gauge.is_idle(now));
            self.swept = 2 * self.groups.len() + SWEEP;
        }
    }
}
