//! How many connections came, for who decides when to look again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// A count of accepted connections, of all the primaries that one thread serves. Cheap to clone; all clones are one count.
#[derive(Debug, Clone, Default)]
pub struct Came(Arc<AtomicU32>);

impl Came {
    /// Those since it was asked last.
    #[must_use]
    pub fn take(&self) -> u32 {
        self.0.swap(0, Ordering::Relaxed)
    }

    pub(super) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}
