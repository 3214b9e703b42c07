//! One limit at work: what runs under it, its bucket, and the tasks that wait for it.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Instant;

use ganger_core::Bucket;

use super::rules::Limit;
use crate::engine::lane::Waiting;
use crate::shares::{LANES, range_of};

/// A task's place over all lanes: larger priorities first, then older places.
pub(crate) type Place = (Reverse<u8>, i64);

/// The place of a waiting task.
pub(crate) const fn place(waiting: &Waiting) -> Place {
    (Reverse(waiting.row.priority.0), waiting.row.seq)
}

/// Tasks of one lane that the store keeps for this limit because too many wait for it here.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Left {
    /// The first of them is behind this place.
    pub(crate) after: i64,
    /// The last of them is at this place.
    pub(crate) last: i64,
    /// All of them are in the store once this batch is committed.
    pub(crate) batch: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Gauge {
    pub(crate) limit: Limit,
    pub(crate) running: u32,
    pub(crate) bucket: Bucket,
    pub(crate) held: BTreeMap<Place, Waiting>,
    /// By priority, largest first.
    pub(crate) left: BTreeMap<Reverse<u8>, Left>,
    /// The places it stands at among those that have room: of its first task in each lane.
    pub(crate) opened: [Option<Place>; LANES],
    /// When it is to be looked at again.
    pub(crate) wake: Option<Instant>,
    /// A read of what was left is under way.
    pub(crate) reading: bool,
}

/// What a gauge says to one more claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Room {
    /// Yes.
    Yes,
    /// When one of those that run has ended.
    AfterOne,
    /// Then.
    At(Instant),
}

impl Gauge {
    pub(crate) fn new(limit: Limit) -> Self {
        Self { limit, ..Self::default() }
    }

    pub(crate) fn room(&self, now: Instant) -> Room {
        if self.limit.running.is_some_and(|max| self.running >= max) {
            return Room::AfterOne;
        }
        let rate = self.limit.rate.as_ref();
        rate.and_then(|rate| self.bucket.next(rate, now)).map_or(Room::Yes, Room::At)
    }

    pub(crate) fn take(&mut self, now: Instant) {
        self.running += 1;
        if let Some(rate) = &self.limit.rate {
            self.bucket.take(rate, now);
        }
    }

    /// One claim less; `unused`: it came to nothing, and took its token then.
    pub(crate) fn release(&mut self, unused: Option<Instant>) {
        self.running = self.running.saturating_sub(1);
        if let (Some(rate), Some(taken)) = (&self.limit.rate, unused) {
            self.bucket.give_back(rate, taken);
        }
    }

    /// The place of the first task set aside in each lane.
    pub(crate) fn firsts(&self) -> [Option<Place>; LANES] {
        std::array::from_fn(|lane| {
            let (low, high) = range_of(lane);
            let (at, _) = self.held.range((Reverse(high), i64::MIN)..).next()?;
            (at.0.0 >= low).then_some(*at)
        })
    }

    /// True when forgetting it changes nothing.
    pub(crate) fn is_idle(&self, now: Instant) -> bool {
        self.running == 0
            && self.held.is_empty()
            && self.left.is_empty()
            && self.bucket.is_full(now)
    }

    /// Leaves a task to the store. `batch`: the one that carries its push, 0 for one that is committed.
    pub(crate) fn leave(&mut self, waiting: &Waiting, committed: u64) {
        let batch = waiting.birth.map_or(0, |birth| birth.batch);
        let batch = if batch <= committed { 0 } else { batch };
        let (priority, seq) = place(waiting);
        let left = self.left.entry(priority).or_insert(Left { after: seq - 1, last: seq, batch });
        left.after = left.after.min(seq - 1);
        left.last = left.last.max(seq);
        left.batch = left.batch.max(batch);
    }

    /// True when a task at this place has to wait behind those left to the store.
    pub(crate) fn is_behind_left(&self, at: Place) -> bool {
        self.left.first_key_value().is_some_and(|(priority, left)| at > (*priority, left.after))
    }
}
