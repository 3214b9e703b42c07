//! How many connections came and whether their workers keep up, for who decides when to look again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// A count of accepted connections, of all the primaries that one thread serves. Cheap to clone; all clones are one count.
#[derive(Debug, Clone, Default)]
pub struct Came(Arc<Count>);

#[derive(Debug, Default)]
struct Count {
    accepted: AtomicU32,
    behind: AtomicBool,
}

/// What was seen since it was asked last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pass {
    /// Connections accepted.
    pub accepted: u32,
    /// A program's workers all had connections that they had not taken yet.
    pub behind: bool,
}

impl Came {
    /// Since it was asked last.
    #[must_use]
    pub fn take(&self) -> Pass {
        let Count { accepted, behind } = &*self.0;
        Pass {
            accepted: accepted.swap(0, Ordering::Relaxed),
            behind: behind.swap(false, Ordering::Relaxed),
        }
    }

    pub(super) fn add(&self) {
        self.0.accepted.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn behind(&self) {
        self.0.behind.store(true, Ordering::Relaxed);
    }
}
