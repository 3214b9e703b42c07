//! One queue: its rules, its lanes, its counts, and for memory queues its finished tasks.

use std::cmp::Reverse;
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use ganger_core::{Durability, Priority, TaskId, TaskState};
use ganger_store::{AttemptError, AttemptRow, Counts, DeadReason, Gate, ReadyRow};

use super::lane::{Lane, Waiting};
use super::pressure::Pace;
use crate::config::QueueConfig;
use crate::limits::{Group, Limits, Room};
use crate::shares::{LANES, Lanes, Shares, range_of};

/// Finished tasks of a memory queue that can still be looked up.
const DONE_MAX: usize = 10_000;
/// Payload and result bytes of them.
const DONE_BYTES: usize = 16 * 1024 * 1024;
/// Idempotency keys a memory queue remembers.
const KEYS_MAX: usize = 10_000;

/// Task ids are well spread in their low bits (sequence) and rise in the upper ones: one multiplication mixes both.
#[derive(Debug, Default)]
pub(crate) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }
    fn write_i64(&mut self, n: i64) {
        self.write_u64(n.cast_unsigned());
    }
    fn write_u64(&mut self, n: u64) {
        // Fibonacci hashing (Knuth, TAOCP 3, 6.4): 2^64 / golden ratio.
        let mixed = (self.0 ^ n).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ (mixed >> 32);
    }
}

/// One bit per priority, largest word last.
const fn bits_of(low: u8, high: u8) -> [u64; 4] {
    let mut bits = [0; 4];
    let mut at = low as usize;
    while at <= high as usize {
        bits[at / 64] |= 1 << (at % 64);
        at += 1;
    }
    bits
}

/// The priorities of each lane.
const LANE_BITS: [[u64; 4]; LANES] = {
    let mut bits = [[0; 4]; LANES];
    let mut lane = 0;
    while lane < LANES {
        let (low, high) = range_of(lane);
        bits[lane] = bits_of(low, high);
        lane += 1;
    }
    bits
};

fn highest(bits: [u64; 4]) -> Option<Priority> {
    bits.iter().enumerate().rev().find(|(_, word)| **word != 0).map(|(at, word)| {
        let bit = at as u32 * 64 + 63 - word.leading_zeros();
        Priority(u8::try_from(bit).unwrap_or(u8::MAX))
    })
}

/// A map by task.
pub(crate) type IdMap<T> = HashMap<TaskId, T, BuildHasherDefault<IdHasher>>;

/// A finished task of a memory queue.
#[derive(Debug)]
pub(crate) struct DoneTask {
    pub(crate) row: ReadyRow,
    pub(crate) history: Vec<AttemptRow>,
    pub(crate) state: TaskState,
    pub(crate) result: Option<Bytes>,
    pub(crate) error: Option<Box<AttemptError>>,
    pub(crate) reason: Option<DeadReason>,
    pub(crate) ended_at_ms: u64,
}

impl DoneTask {
    fn bytes(&self) -> usize {
        self.row.payload.len() + self.result.as_ref().map_or(0, Bytes::len)
    }
}

/// The next task of a queue.
#[derive(Debug, Clone)]
pub(crate) struct Pick {
    pub(crate) priority: Priority,
    pub(crate) seq: i64,
    /// Where it is set aside; `None`: the head of its lane.
    pub(crate) from: Option<Group>,
    /// Several lanes had a task, so this counts as a turn of that one.
    pub(crate) turn: Option<usize>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct QueueState {
    pub(crate) name: Arc<str>,
    pub(crate) config: QueueConfig,
    pub(crate) gate: Gate,
    /// Payload bytes of unfinished tasks; kept only while they are bounded.
    pub(crate) bytes: u64,
    pub(crate) pace: Pace,
    lanes: Vec<Option<Box<Lane>>>,
    /// One bit per priority whose window has tasks.
    ready: [u64; 4],
    /// A lane may have a tail.
    tails: bool,
    /// `None`: nothing is limited.
    pub(crate) limits: Option<Box<Limits>>,
    /// Turns of its lanes.
    pub(crate) shares: Shares,
    /// Turns of lanes over several queues, where this is the first of a worker's.
    pub(crate) across: Shares,
    /// Counts as committed (of a memory queue: as they are).
    pub(crate) counts: Counts,
    /// Pushed tasks whose commit is not done: available ones and scheduled ones.
    pub(crate) pending: [u64; 2],
    /// Claims whose commit is not done.
    pub(crate) claiming: u64,
    done: IdMap<DoneTask>,
    done_order: VecDeque<TaskId>,
    done_bytes: usize,
    keys: HashMap<Box<str>, Vec<TaskId>>,
    key_order: VecDeque<Box<str>>,
}

impl QueueState {
    pub(crate) fn new(name: &str, config: QueueConfig) -> Self {
        Self {
            name: name.into(),
            config,
            gate: Gate::default(),
            bytes: 0,
            pace: Pace::default(),
            lanes: std::iter::repeat_with(|| None).take(256).collect(),
            ready: [0; 4],
            tails: false,
            limits: None,
            shares: Shares::default(),
            across: Shares::default(),
            counts: Counts::default(),
            pending: [0; 2],
            claiming: 0,
            done: IdMap::default(),
            done_order: VecDeque::new(),
            done_bytes: 0,
            keys: HashMap::new(),
            key_order: VecDeque::new(),
        }
    }

    pub(crate) const fn is_memory(&self) -> bool {
        matches!(self.config.durability, Durability::Memory)
    }

    /// True when an acknowledgement waits for fsync.
    pub(crate) const fn is_synced(&self) -> bool {
        matches!(self.config.durability, Durability::Fsync)
    }

    /// Counts with what is on its way.
    pub(crate) fn live_counts(&self) -> Counts {
        let mut counts = self.counts;
        let waiting = counts.get(TaskState::Available) + self.pending[0];
        counts.set(TaskState::Available, waiting.saturating_sub(self.claiming));
        counts.set(TaskState::Running, counts.get(TaskState::Running) + self.claiming);
        counts.set(TaskState::Scheduled, counts.get(TaskState::Scheduled) + self.pending[1]);
        counts
    }

    /// A task came.
    pub(crate) fn add_bytes(&mut self, len: usize) {
        if self.config.max_bytes.is_some() {
            self.bytes += len as u64;
        }
    }

    /// A task is finished.
    pub(crate) fn drop_bytes(&mut self, len: u64) {
        if self.config.max_bytes.is_some() {
            self.bytes = self.bytes.saturating_sub(len);
            if self.unfinished() == 0 {
                self.bytes = 0;
            }
        }
    }

    pub(crate) fn unfinished(&self) -> u64 {
        self.counts.unfinished() + self.pending[0] + self.pending[1]
    }

    /// A task changes its state; `None` on either side: it enters or leaves.
    pub(crate) fn moved(&mut self, from: Option<TaskState>, to: Option<TaskState>) {
        if let Some(from) = from {
            self.counts.add(from, -1);
        }
        if let Some(to) = to {
            self.counts.add(to, 1);
        }
    }

    pub(crate) fn lane_mut(&mut self, priority: Priority) -> &mut Lane {
        self.lanes[usize::from(priority.0)].get_or_insert_default()
    }

    pub(crate) fn lane(&self, priority: Priority) -> Option<&Lane> {
        self.lanes[usize::from(priority.0)].as_deref()
    }

    pub(crate) fn lanes(&self) -> impl Iterator<Item = &Lane> {
        self.lanes.iter().rev().filter_map(|lane| lane.as_deref())
    }

    /// Tells each lane that wants its next part, with the place it goes on from.
    pub(crate) fn ask(&mut self, mut tell: impl FnMut(Priority, i64)) {
        if !self.tails {
            return;
        }
        self.tails = false;
        for (lane, priority) in self.lanes.iter_mut().zip(0..=255u8).rev() {
            let Some(lane) = lane else { continue };
            self.tails |= lane.has_tail();
            if let Some(after) = lane.ask() {
                tell(Priority(priority), after);
            }
        }
    }

    pub(crate) fn restore_lane(&mut self, priority: Priority, below: i64) {
        self.lanes[usize::from(priority.0)] = Some(Box::new(Lane::in_store(below)));
        self.tails = true;
    }

    /// The largest priority with a task in its window.
    fn highest_ready(&self) -> Option<Priority> {
        highest(self.ready)
    }

    /// The next task, if one may be claimed.
    pub(crate) fn next(&self, now: Instant) -> Option<Pick> {
        if self.gate.paused || self.limits.as_ref().is_some_and(|l| l.room(now) != Room::Yes) {
            return None;
        }
        if self.limits.is_none() {
            let highest = self.highest_ready()?;
            if matches!(self.config.lanes, Lanes::Strict) || !self.several_lanes() {
                return self.head(highest);
            }
        }
        if matches!(self.config.lanes, Lanes::Strict) {
            return self.first_of(0, u8::MAX, [u64::MAX; 4]);
        }
        let firsts: [_; LANES] = std::array::from_fn(|lane| {
            let (low, high) = range_of(lane);
            self.first_of(low, high, LANE_BITS[lane])
        });
        let ready = std::array::from_fn(|lane| firsts[lane].is_some());
        let lane = self.shares.choose(ready)?;
        let several = ready.iter().filter(|is| **is).count() > 1;
        let first = firsts.into_iter().nth(lane).flatten();
        first.map(|pick| Pick { turn: several.then_some(lane), ..pick })
    }

    /// The windows hold tasks of more than one lane.
    fn several_lanes(&self) -> bool {
        (0..LANES).filter(|lane| self.ready_in(*lane) != [0; 4]).nth(1).is_some()
    }

    fn ready_in(&self, lane: usize) -> [u64; 4] {
        let mask = LANE_BITS[lane];
        std::array::from_fn(|at| self.ready[at] & mask[at])
    }

    fn head(&self, priority: Priority) -> Option<Pick> {
        Some(Pick { priority, seq: self.head_seq(priority)?, from: None, turn: None })
    }

    /// The first task of these priorities (also as bits), waiting or set aside.
    fn first_of(&self, low: u8, high: u8, bits: [u64; 4]) -> Option<Pick> {
        let in_lane =
            highest(std::array::from_fn(|at| self.ready[at] & bits[at])).and_then(|p| self.head(p));
        let aside = self.limits.as_ref().and_then(|limits| limits.first(low, high));
        match (in_lane, aside) {
            (Some(head), Some((place, _))) if (Reverse(head.priority.0), head.seq) < *place => {
                Some(head)
            }
            (_, Some(((priority, seq), group))) => Some(Pick {
                priority: Priority(priority.0),
                seq: *seq,
                from: Some(group.clone()),
                turn: None,
            }),
            (head, None) => head,
        }
    }

    pub(crate) fn head_seq(&self, priority: Priority) -> Option<i64> {
        self.lanes[usize::from(priority.0)].as_ref()?.head_seq()
    }

    pub(crate) fn admit(&mut self, waiting: Waiting, committed: bool) {
        let priority = waiting.row.priority;
        let bounded = !self.is_memory();
        let entered = self.lane_mut(priority).admit(waiting, bounded, committed);
        self.tails |= !entered;
        self.mark(priority);
    }

    /// A task comes back to its old place.
    pub(crate) fn admit_back(&mut self, waiting: Waiting) {
        let priority = waiting.row.priority;
        self.lane_mut(priority).insert(waiting);
        self.mark(priority);
    }

    /// Tasks of a lane between these places are only in the store.
    pub(crate) fn rewind(&mut self, priority: Priority, after: i64, last: i64) {
        self.lane_mut(priority).rewind(after, last);
        self.tails = true;
    }

    /// Takes the task that [`QueueState::next`] found.
    pub(crate) fn take_next(&mut self, pick: &Pick, now: Instant) -> Option<Waiting> {
        match &pick.from {
            None => self.pop(pick.priority),
            Some(group) => {
                let at = (Reverse(pick.priority.0), pick.seq);
                self.limits.as_mut()?.pop(group, at, now)
            }
        }
    }

    /// When a token comes that a waiting task needs.
    pub(crate) fn next_token(&self, now: Instant) -> Option<Instant> {
        let limits = self.limits.as_ref()?;
        match limits.room(now) {
            Room::Yes => limits.next_wake(),
            Room::At(at) if self.ready != [0; 4] || limits.has_waiting() => Some(at),
            Room::At(_) | Room::AfterOne => None,
        }
    }

    /// Everything that waits in memory.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = &Waiting> {
        let aside = self.limits.iter().flat_map(|limits| limits.iter());
        self.lanes().flat_map(Lane::iter).chain(aside)
    }

    /// When the oldest became available of what waits in memory; milliseconds since 1970.
    pub(crate) fn oldest_ms(&self) -> Option<u64> {
        let aside = self.limits.iter().filter_map(|limits| limits.oldest_seq());
        let oldest = self.lanes().filter_map(Lane::head_seq).chain(aside).min()?;
        TaskId::from_raw(oldest).map(TaskId::drawn_at_ms)
    }

    pub(crate) fn pop(&mut self, priority: Priority) -> Option<Waiting> {
        let waiting = self.lane_mut(priority).pop();
        self.mark(priority);
        waiting
    }

    pub(crate) fn remove_waiting(&mut self, id: TaskId, now: Instant) -> Option<Waiting> {
        if let Some(waiting) = self.limits.as_mut().and_then(|limits| limits.remove(id, now)) {
            return Some(waiting);
        }
        let found = (0..=255u8).find_map(|priority| {
            let lane = self.lanes[usize::from(priority)].as_mut()?;
            Some((Priority(priority), lane.remove(id)?))
        });
        let (priority, waiting) = found?;
        self.mark(priority);
        Some(waiting)
    }

    /// What a read under way says of this task is old.
    pub(crate) fn forget_read(&mut self, id: TaskId, below: i64) {
        for lane in self.lanes.iter_mut().flatten() {
            lane.forget_read(id, below);
        }
    }

    /// Takes back a task that was pushed but not stored; false when it does not wait.
    pub(crate) fn take_back(&mut self, id: TaskId, priority: Priority, now: Instant) -> bool {
        let aside = self.limits.as_mut().and_then(|limits| limits.remove(id, now));
        let found = aside.or_else(|| self.lane_mut(priority).remove(id)).is_some();
        self.mark(priority);
        found
    }

    /// The weights of its lanes; those of a strict queue count only beside queues that are not.
    pub(crate) fn weights(&self) -> [u32; LANES] {
        match (self.config.lanes, Lanes::default()) {
            (Lanes::Weighted(weights), _) | (Lanes::Strict, Lanes::Weighted(weights)) => weights,
            (Lanes::Strict, Lanes::Strict) => [1; LANES],
        }
    }

    pub(crate) fn mark(&mut self, priority: Priority) {
        let at = usize::from(priority.0);
        let full = self.lanes[at].as_ref().is_some_and(|lane| lane.len() > 0);
        let bit = 1u64 << (at % 64);
        if full {
            self.ready[at / 64] |= bit;
        } else {
            self.ready[at / 64] &= !bit;
        }
    }

    /// Keeps a finished task in mind. Returns how many dead letters were forgotten for it.
    pub(crate) fn remember_done(&mut self, task: DoneTask) -> u64 {
        let mut letters = 0;
        self.done_bytes += task.bytes();
        self.done_order.push_back(task.row.id);
        self.done.insert(task.row.id, task);
        while self.done_order.len() > DONE_MAX || self.done_bytes > DONE_BYTES {
            let Some(oldest) = self.done_order.pop_front() else { break };
            // A task that was brought back is in the order but not in the map.
            if let Some(task) = self.done.remove(&oldest) {
                self.done_bytes -= task.bytes();
                if task.state == TaskState::Discarded {
                    // Other counts are of all that ever were; dead letters are those that are there.
                    self.moved(Some(TaskState::Discarded), None);
                    letters += 1;
                }
            }
        }
        letters
    }

    pub(crate) fn done(&self, id: TaskId) -> Option<&DoneTask> {
        self.done.get(&id)
    }

    pub(crate) fn all_done(&self) -> impl Iterator<Item = &DoneTask> {
        self.done_order.iter().rev().filter_map(|id| self.done.get(id))
    }

    pub(crate) fn take_done(&mut self, id: TaskId) -> Option<DoneTask> {
        let task = self.done.remove(&id)?;
        self.done_bytes -= task.bytes();
        self.done_order.retain(|other| *other != id);
        Some(task)
    }

    /// Ids pushed under a key before.
    pub(crate) fn known_key(&self, key: &str) -> Option<&Vec<TaskId>> {
        self.keys.get(key)
    }

    pub(crate) fn remember_key(&mut self, key: Box<str>, ids: Vec<TaskId>) {
        self.key_order.push_back(key.clone());
        self.keys.insert(key, ids);
        if self.key_order.len() > KEYS_MAX
            && let Some(oldest) = self.key_order.pop_front()
        {
            self.keys.remove(&oldest);
        }
    }
}
