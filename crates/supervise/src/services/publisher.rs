//! Snapshots, put together at most every 20 ms whatever happens.

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

pub(super) struct Publisher {
    views: BTreeMap<InstanceId, Arc<InstanceView>>,
    sender: watch::Sender<Arc<Snapshot>>,
    last: Option<Instant>,
    dirty: bool,
}

impl Publisher {
    pub(super) fn new() -> (Self, watch::Receiver<Arc<Snapshot>>) {
        let (sender, receiver) = watch::channel(Arc::new(Snapshot::default()));
        (Self { views: BTreeMap::new(), sender, last: None, dirty: false }, receiver)
    }

    pub(super) fn set(&mut self, view: Arc<InstanceView>) {
        self.views.insert(view.id.clone(), view);
        self.dirty = true;
    }

    pub(super) fn remove(&mut self, id: &InstanceId) {
        self.dirty |= self.views.remove(id).is_some();
    }

    /// Something other than a view has changed.
    pub(super) fn touch(&mut self) {
        self.dirty = true;
    }

    /// What was published last.
    pub(super) fn published(&self) -> Arc<Snapshot> {
        Arc::clone(&self.sender.borrow())
    }

    /// Something waits to be published.
    pub(super) const fn is_dirty(&self) -> bool {
        self.dirty
    }

    /// When the next publication is due.
    pub(super) fn due(&self) -> Option<Instant> {
        self.dirty.then(|| self.last.map_or_else(Instant::now, |last| last + EVERY))
    }

    /// Publishes what is there, and the groups beside it.
    pub(super) fn publish(&mut self, groups: Vec<GroupView>) {
        self.dirty = false;
        self.last = Some(Instant::now());
        let instances = self.views.values().cloned().collect();
        self.sender.send_replace(Arc::new(Snapshot { instances, groups }));
    }
}
