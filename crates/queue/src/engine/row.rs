//! One queue: its rules, its lanes, its counts, and for memory queues its finished tasks.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use bytes::Bytes;
use ganger_core::{Durability, Priority, TaskId, TaskState};
use ganger_store::{AttemptError, AttemptRow, Counts, DeadReason, ReadyRow};

use super::lane::{Lane, Waiting};
use crate::config::QueueConfig;

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

/// See the module.
#[derive(Debug)]
pub(crate) struct QueueState {
    pub(crate) name: Arc<str>,
    pub(crate) config: QueueConfig,
    pub(crate) paused: bool,
    lanes: Vec<Option<Box<Lane>>>,
    /// One bit per priority whose window has tasks.
    ready: [u64; 4],
    /// A lane may have a tail.
    tails: bool,
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
            paused: false,
            lanes: std::iter::repeat_with(|| None).take(256).collect(),
            ready: [0; 4],
            tails: false,
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
    pub(crate) fn highest_ready(&self) -> Option<Priority> {
        self.ready.iter().enumerate().rev().find(|(_, word)| **word != 0).map(|(at, word)| {
            let bit = at as u32 * 64 + 63 - word.leading_zeros();
            Priority(u8::try_from(bit).unwrap_or(u8::MAX))
        })
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

    pub(crate) fn pop(&mut self, priority: Priority) -> Option<Waiting> {
        let waiting = self.lane_mut(priority).pop();
        self.mark(priority);
        waiting
    }

    pub(crate) fn remove_waiting(&mut self, id: TaskId) -> Option<Waiting> {
        let found = (0..=255u8).find_map(|priority| {
            let lane = self.lanes[usize::from(priority)].as_mut()?;
            Some((Priority(priority), lane.remove(id)?))
        });
        let (priority, waiting) = found?;
        self.mark(priority);
        Some(waiting)
    }

    /// What a read under way says of this task is old.
    pub(crate) fn forget_read(&mut self, id: TaskId) {
        for lane in self.lanes.iter_mut().flatten() {
            lane.forget_read(id);
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

    pub(crate) fn remember_done(&mut self, task: DoneTask) {
        self.done_bytes += task.bytes();
        self.done_order.push_back(task.row.id);
        self.done.insert(task.row.id, task);
        while self.done_order.len() > DONE_MAX || self.done_bytes > DONE_BYTES {
            let Some(oldest) = self.done_order.pop_front() else { break };
            // A task that was brought back is in the order but not in the map.
            if let Some(task) = self.done.remove(&oldest) {
                self.done_bytes -= task.bytes();
            }
        }
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
