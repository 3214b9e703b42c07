//! When changes become a restart. Pure: times are given.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::Instant;

/// Changes that never cease are waited out no longer: half of a build is better than a service that is never restarted.
const LONGEST: Duration = Duration::from_secs(10);
/// Paths remembered of what changes together; more are only more.
const PATHS_MAX: usize = 100;

/// Changes that have settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fire {
    /// The first path that changed.
    pub(crate) path: PathBuf,
    /// How many others changed with it; a hundred at most.
    pub(crate) more: usize,
    /// How many restarts before it, without a pause, began with a change during the one before.
    pub(crate) row: u32,
}

/// Collects changes, lets them settle, and lets one restart at a time through.
#[derive(Debug)]
pub(super) struct Gate {
    debounce: Duration,
    pending: Option<Pending>,
    busy: bool,
    row: u32,
}

#[derive(Debug)]
struct Pending {
    first: Instant,
    last: Instant,
    path: PathBuf,
    others: BTreeSet<PathBuf>,
    /// It began during a restart.
    during: bool,
}

impl Gate {
    pub(super) const fn new(debounce: Duration) -> Self {
        Self { debounce, pending: None, busy: false, row: 0 }
    }

    /// A path that counts has changed.
    pub(super) fn changed(&mut self, path: PathBuf, now: Instant) {
        let during = self.busy;
        let pending = self.pending.get_or_insert_with(|| Pending {
            first: now,
            last: now,
            path: path.clone(),
            others: BTreeSet::new(),
            during,
        });
        pending.last = now;
        if pending.path != path && pending.others.len() < PATHS_MAX {
            pending.others.insert(path);
        }
    }

    /// When the next restart is due, if nothing else happens. Not while one is under way.
    pub(super) fn due(&self) -> Option<Instant> {
        let pending = self.pending.as_ref().filter(|_| !self.busy)?;
        let latest = pending.first + LONGEST.max(self.debounce);
        Some((pending.last + self.debounce).min(latest))
    }

    /// Begins the restart that is due.
    pub(super) fn fire(&mut self, now: Instant) -> Option<Fire> {
        self.due().filter(|due| *due <= now)?;
        let Pending { path, others, during, .. } = self.pending.take()?;
        self.busy = true;
        self.row = if during { self.row.saturating_add(1) } else { 0 };
        Some(Fire { path, more: others.len(), row: self.row })
    }

    /// The restart is over.
    pub(super) const fn done(&mut self) {
        self.busy = false;
    }
}
