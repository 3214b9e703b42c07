//! Snapshots, put together at most every 20 ms whatever happens, and not in the middle of a restart.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ganger_core::InstanceId;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::view::{GroupView, InstanceView, Snapshot};

/// A snapshot copies one pointer per instance: with a thousand instances coming up at once this makes fifty copies a
/// second and not one per event. A person does not see 20 ms.
const EVERY: Duration = Duration::from_millis(20);

/// What an instance says is followed by more: a restart is four states in three milliseconds, and the owner that copies a
/// thousand pointers in between has no time for its permit.
const SETTLE: Duration = Duration::from_millis(3);

pub(super) struct Publisher {
    views: BTreeMap<InstanceId, Arc<InstanceView>>,
    sender: watch::Sender<Arc<Snapshot>>,
    last: Option<Instant>,
    /// Since when something waits to be published.
    dirty: Option<Instant>,
}

impl Publisher {
    pub(super) fn new() -> (Self, watch::Receiver<Arc<Snapshot>>) {
        let (sender, receiver) = watch::channel(Arc::new(Snapshot::default()));
        (Self { views: BTreeMap::new(), sender, last: None, dirty: None }, receiver)
    }

    pub(super) fn set(&mut self, view: Arc<InstanceView>) {
        self.views.insert(view.id.clone(), view);
        self.touch();
    }

    pub(super) fn remove(&mut self, id: &InstanceId) {
        if self.views.remove(id).is_some() {
            self.touch();
        }
    }

    /// Something other than a view has changed.
    pub(super) fn touch(&mut self) {
        self.dirty.get_or_insert_with(Instant::now);
    }

    /// What was published last.
    pub(super) fn published(&self) -> Arc<Snapshot> {
        Arc::clone(&self.sender.borrow())
    }

    /// Something waits to be published.
    pub(super) const fn is_dirty(&self) -> bool {
        self.dirty.is_some()
    }

    /// When the next publication is due.
    pub(super) fn due(&self) -> Option<Instant> {
        let settled = self.dirty? + SETTLE;
        Some(self.last.map_or(settled, |last| settled.max(last + EVERY)))
    }

    /// Publishes what is there, and the groups beside it.
    pub(super) fn publish(&mut self, groups: Vec<GroupView>) {
        self.dirty = None;
        self.last = Some(Instant::now());
        let instances = self.views.values().cloned().collect();
        self.sender.send_replace(Arc::new(Snapshot { instances, groups }));
    }
}
