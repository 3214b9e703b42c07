//! What pools that size themselves ask: how loaded they are, and to be woken when a task waits that nobody took.

use std::sync::Arc;
use std::time::Duration;

use ganger_core::{InstanceId, TaskState};
use tokio::sync::oneshot;

use super::run::{Dispatcher, now};
use crate::autoscale::PoolLoad;
use crate::pace::Room;

/// A pool at rest.
#[derive(Debug)]
pub(super) struct WorkWatch {
    queues: Vec<Arc<str>>,
    reply: oneshot::Sender<()>,
}

impl Dispatcher {
    pub(super) fn pool_load(&self, pool: &str, queues: &[Arc<str>]) -> PoolLoad {
        let mut load = PoolLoad::default();
        let wall_ms = now().wall_ms;
        for ix in queues.iter().filter_map(|name| self.engine.queue(name)) {
            if !self.engine.has_ready(ix) {
                continue;
            }
            load.waiting += self.engine.counts(ix).get(TaskState::Available);
            let since = self.engine.oldest_waiting_ms(ix).unwrap_or(wall_ms);
            load.oldest = load.oldest.max(Duration::from_millis(wall_ms.saturating_sub(since)));
        }
        for row in self.workers.values() {
            let Some(id) = instance(&row.worker.name).filter(|id| id.name == pool) else {
                continue;
            };
            load.done += row.done;
            load.busy += row.holding.min(row.lanes);
            if row.holding > 0 {
                load.busy_slots.push(id.slot);
            }
            if !row.leaving && row.room != Room::default() {
                load.lanes += row.lanes;
            }
        }
        load
    }

    pub(super) fn watch_work(&mut self, queues: Vec<Arc<str>>, reply: oneshot::Sender<()>) {
        self.at_rest.retain(|watch| !watch.reply.is_closed());
        self.at_rest.push(WorkWatch { queues, reply });
    }

    /// Looks at the end of a tick, after tasks were handed out; nearly always nobody is at rest.
    pub(super) fn wake_pools(&mut self) {
        if self.at_rest.is_empty() {
            return;
        }
        let engine = &self.engine;
        let waits = |watch: &mut WorkWatch| {
            let mut queues = watch.queues.iter().filter_map(|name| engine.queue(name));
            queues.any(|ix| engine.has_ready(ix))
        };
        for watch in self.at_rest.extract_if(.., waits) {
            // A pool that is gone needs no waking.
            let _ = watch.reply.send(());
        }
    }
}

/// `images#2` as an instance.
fn instance(name: &str) -> Option<InstanceId> {
    let (name, slot) = name.rsplit_once('#')?;
    Some(InstanceId::new(name, slot.parse().ok()?))
}
