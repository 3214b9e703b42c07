//! What happened to samples and marks: for metrics and for `doctor`.

use std::sync::atomic::{AtomicU64, Ordering};

/// Shared by owner and writing thread.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) samples_sealed: AtomicU64,
    pub(crate) samples_dropped: AtomicU64,
    pub(crate) journal_failed: AtomicU64,
    pub(crate) summaries_failed: AtomicU64,
    pub(crate) sync_failed: AtomicU64,
    pub(crate) marks: AtomicU64,
    pub(crate) marks_failed: AtomicU64,
    pub(crate) segments_removed: AtomicU64,
    pub(crate) damaged: AtomicU64,
    pub(crate) bytes: AtomicU64,
    pub(crate) memory: AtomicU64,
}

impl Counters {
    pub(crate) fn add(counter: &AtomicU64, n: u64) {
        counter.fetch_add(n, Ordering::Relaxed);
    }

    pub(crate) fn set(gauge: &AtomicU64, n: u64) {
        gauge.store(n, Ordering::Relaxed);
    }
}

/// What happened since the series were opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Series that are written now.
    pub series: u64,
    /// Objects refused because there would be more series than allowed.
    pub objects_refused: u64,
    /// Samples taken.
    pub samples: u64,
    /// Samples refused because their tick was not later than the one before.
    pub samples_late: u64,
    /// Samples lost: the disk was full when their window was sealed, or hung for minutes.
    pub samples_dropped: u64,
    /// Samples in sealed groups.
    pub samples_sealed: u64,
    /// Minutes that could not be journalled: a kill would have lost them too.
    pub journal_failed: u64,
    /// Times that minutes or hours could not be stored; it is tried again.
    pub summaries_failed: u64,
    /// Times that the disk did not promise to have something.
    pub sync_failed: u64,
    /// Marks on disk.
    pub marks: u64,
    /// Marks that could not be written; each was told.
    pub marks_failed: u64,
    /// Segments removed by retention.
    pub segments_removed: u64,
    /// Frames that were found damaged at opening.
    pub damaged: u64,
    /// Bytes of the tiers' segments.
    pub bytes: u64,
    /// Bytes of indices and recent minutes in memory, about.
    pub memory: u64,
}

impl Counts {
    /// What the thread counted; the owner adds its own.
    pub(crate) fn of(counters: &Counters) -> Self {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Self {
            samples_sealed: get(&counters.samples_sealed),
            samples_dropped: get(&counters.samples_dropped),
            journal_failed: get(&counters.journal_failed),
            summaries_failed: get(&counters.summaries_failed),
            sync_failed: get(&counters.sync_failed),
            marks: get(&counters.marks),
            marks_failed: get(&counters.marks_failed),
            segments_removed: get(&counters.segments_removed),
            damaged: get(&counters.damaged),
            bytes: get(&counters.bytes),
            memory: get(&counters.memory),
            ..Self::default()
        }
    }
}
