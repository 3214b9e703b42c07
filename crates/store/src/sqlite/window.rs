//! How long a commit that asked for no fsync may stay without one.
//!
//! ```text
//! relaxed commit ─► unsynced since then ─┬─ a commit that asks for fsync: synced with it
//!                                        ├─ another commit, 400 ms later or more: that one is fsynced
//!                                        └─ none for 500 ms: the idle writer syncs
//! ```
//!
//! So a power cut takes at most the last second of what a `relaxed` queue acknowledged, plus the time of one fsync. Nothing is
//! paid per task: at most two fsyncs a second, and none where `fsync` queues are busy.

use std::time::{Duration, Instant};

use super::SqliteStore;

/// With the writer's [`crate::writer`] idle time of 500 ms this keeps the promise of a second.
const SYNC_AFTER: Duration = Duration::from_millis(400);

/// Since when the log holds commits that were not fsynced.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unsynced(Option<Instant>);

impl Unsynced {
    /// True when the next commit is to be fsynced although it does not ask for it.
    pub(super) fn is_due(self, now: Instant) -> bool {
        self.0.is_some_and(|since| now.saturating_duration_since(since) >= SYNC_AFTER)
    }

    /// A commit is done. One with fsync also syncs all before it.
    pub(super) fn committed(&mut self, synced: bool, now: Instant) {
        self.0 = if synced { None } else { self.0.or(Some(now)) };
    }
}

impl SqliteStore {
    /// Syncs what is not synced, before the idle writer goes to sleep: a checkpoint alone would not, where a reader holds it back.
    pub(super) fn sync_rest(&mut self) -> rusqlite::Result<()> {
        if self.unsynced.0.is_none() {
            return Ok(());
        }
        self.set_full(true)?;
        // The smallest commit there is: in WAL mode its fsync is everybody's.
        self.conn.execute("UPDATE meta SET value = value WHERE name = 'epoch'", [])?;
        self.unsynced.committed(true, Instant::now());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_unsynced_commit_counts_and_a_synced_one_settles_all() {
        let began = Instant::now();
        let after = |ms| began + Duration::from_millis(ms);
        let mut unsynced = Unsynced::default();
        assert!(!unsynced.is_due(after(10_000)), "nothing was committed");
        unsynced.committed(false, began);
        unsynced.committed(false, after(399));
        assert!(!unsynced.is_due(after(399)));
        assert!(unsynced.is_due(after(400)));
        unsynced.committed(true, after(400));
        assert!(!unsynced.is_due(after(10_000)));
    }
}
