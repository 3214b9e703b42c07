//! Memory that all slots share.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes that may be held. What is taken is given back by who took it.
#[derive(Debug)]
pub struct Budget {
    limit: usize,
    slots: usize,
    taken: AtomicUsize,
}

/// Largest chunk: with its index about the second-level cache of a server's core (1-2 MiB) times the share of it that
/// is touched at a time. Measured: `docs/design/011-mapreduce.md`.
const CHUNK_MAX: usize = 8 << 20;
/// Smallest chunk: a few blocks.
const CHUNK_MIN: usize = 128 << 10;

impl Budget {
    /// `limit` bytes for `slots` sorters. An eighth is kept for the buffers of merges. Less than 4 MiB a slot is taken for 4 MiB.
    #[must_use]
    pub fn new(limit: usize, slots: usize) -> Self {
        let slots = slots.max(1);
        let limit = limit.max(slots * (4 << 20));
        Self { limit: limit - limit / 8, slots, taken: AtomicUsize::new(0) }
    }

    /// Bytes of a chunk: each slot has one, and can pack several before it must write.
    pub(super) fn chunk(&self) -> usize {
        (self.limit / self.slots / 16).clamp(CHUNK_MIN, CHUNK_MAX)
    }

    /// Takes bytes if they are there.
    pub(super) fn try_take(&self, bytes: usize) -> bool {
        let take = |taken: usize| taken.checked_add(bytes).filter(|sum| *sum <= self.limit);
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }

    /// Takes bytes that can't be done without.
    pub(super) fn take(&self, bytes: usize) {
        self.taken.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn give(&self, bytes: usize) {
        self.taken.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Bytes that are taken now.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }
}
