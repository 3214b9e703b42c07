//! Pools that size themselves: when they are looked at, and what follows. The deciding is [`crate::autoscale`]'s.

use std::sync::Arc;
use std::time::Instant;

use ganger_core::Dur;
use tokio::sync::oneshot;

use super::owner::Owner;
use crate::autoscale::{LOOK, PoolLoad, Scaler};
use crate::dispatcher::{Msg, now};
use crate::events;
use crate::spec::PoolSpec;

/// One pool that sizes itself.
#[derive(Debug)]
pub(super) struct Scaling {
    scaler: Scaler,
    /// `None`: an answer of the dispatcher is awaited.
    next: Option<Instant>,
}

/// What the dispatcher said of a pool; without a load, a pool at rest was woken.
#[derive(Debug)]
pub(super) struct Look {
    pool: String,
    load: Option<PoolLoad>,
}

impl Owner {
    /// A pool is there, or has new rules.
    pub(super) fn track(&mut self, spec: &PoolSpec) {
        let Some(rules) = spec.autoscale.filter(|_| !spec.stopped) else {
            self.scalers.remove(&spec.name);
            return;
        };
        let fresh = || Scaling { scaler: Scaler::new(rules, spec.lanes()), next: None };
        let scaling = self.scalers.entry(spec.name.clone()).or_insert_with(fresh);
        scaling.scaler.set_rules(rules, spec.lanes());
        scaling.next = Some(now().at);
    }

    pub(super) fn next_look(&self) -> Option<Instant> {
        self.scalers.values().filter_map(|scaling| scaling.next).min()
    }

    /// Asks the dispatcher about every pool whose time has come.
    pub(super) fn ask_loads(&mut self) {
        let at = now().at;
        let due = self.scalers.iter_mut().filter(|(_, s)| s.next.is_some_and(|next| next <= at));
        for (name, scaling) in due {
            scaling.next = None;
            let Some(pool) = self.pools.get(name) else { continue };
            let (name, queues) = (name.clone(), queues(&pool.spec));
            let tell = self.shared.tell.clone();
            self.looks.spawn(async move {
                let (reply, load) = oneshot::channel();
                let pool = name.as_str().into();
                let _ = tell.send(Msg::PoolLoad { pool, queues, reply }).await;
                Some(Look { pool: name, load: Some(load.await.ok()?) })
            });
        }
    }

    pub(super) async fn on_look(&mut self, Look { pool: name, load }: Look) {
        let Some(pool) = self.pools.get(&name) else {
            self.scalers.remove(&name);
            return;
        };
        let Some(scaling) = self.scalers.get_mut(&name) else { return };
        let at = now().at;
        let Some(load) = load else {
            scaling.scaler.wake();
            scaling.next = Some(at);
            return;
        };
        let workers = pool.spec.workers;
        let mut wanted = scaling.scaler.look(&load, workers, at);
        if wanted < workers {
            // Only idle ones go, the highest slots first.
            wanted = load.busy_slots.iter().copied().fold(wanted, u32::max).min(workers);
        }
        if wanted != workers {
            let spec = Arc::new(PoolSpec { workers: wanted, ..PoolSpec::clone(&pool.spec) });
            self.tell_scaled(&name, workers, wanted, &load);
            drop(self.resize(&spec).await);
        }
        let Some(scaling) = self.scalers.get_mut(&name) else { return };
        if scaling.scaler.at_rest(&load, wanted) {
            scaling.next = None;
            self.rest(name);
        } else {
            scaling.next = Some(now().at + LOOK);
        }
    }

    /// Nothing is asked until a task waits that nobody took.
    fn rest(&mut self, name: String) {
        let Some(pool) = self.pools.get(&name) else { return };
        let (queues, tell) = (queues(&pool.spec), self.shared.tell.clone());
        self.looks.spawn(async move {
            let (reply, woken) = oneshot::channel();
            let _ = tell.send(Msg::WatchWork { queues, reply }).await;
            woken.await.ok()?;
            Some(Look { pool: name, load: None })
        });
    }

    fn tell_scaled(&self, name: &str, from: u32, to: u32, load: &PoolLoad) {
        let why = match load.waiting {
            0 if load.busy == 0 => "nothing waits or runs".to_owned(),
            0 => format!("nothing waits, {} run", load.busy),
            waiting => format!("{waiting} wait, the first for {}", Dur(load.oldest)),
        };
        let event = events::of_pool("pool.scaled", name, (from, to), why);
        events::tell(&self.shared.around.told, event);
    }
}

fn queues(spec: &PoolSpec) -> Vec<Arc<str>> {
    spec.queues.iter().map(|queue| queue.as_str().into()).collect()
}
