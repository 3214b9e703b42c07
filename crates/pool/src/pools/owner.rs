//! The owner task of the table of places.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ganger_core::InstanceId;
use ganger_process::Child;
use ganger_supervise::instance::Begin;
use ganger_supervise::{Snapshot, Surroundings};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use super::fence::{self, Known, StuckTask};
use super::scaling::{Look, Scaling};
use super::takeover::{Left, Leftovers, UNSEEN, gone};
use super::{Answer, Ask, PoolParts, Verb, check};
use crate::command::{Runner, RunnerParts};
use crate::dispatcher::{Msg, until};
use crate::error::PoolError;
use crate::spec::{PoolSpec, Protocol};
use crate::worker::{Command, Shared, Worker, WorkerHandle, WorkerParts};

/// The owner task's state.
pub(super) struct Owner {
    pub(super) pools: BTreeMap<String, Pool>,
    pub(super) shared: Shared,
    asked: mpsc::Receiver<Ask>,
    rung: mpsc::Receiver<()>,
    show: watch::Sender<Arc<Snapshot>>,
    /// Owner tasks of places; each gives its place and key back.
    places: JoinSet<(InstanceId, u64)>,
    /// Answers that wait for workers, children without a place being ended.
    waits: JoinSet<()>,
    next_key: u64,
    /// Pools that size themselves.
    pub(super) scalers: BTreeMap<String, Scaling>,
    pub(super) looks: JoinSet<Option<Look>>,
}

pub(super) struct Pool {
    pub(super) spec: Arc<PoolSpec>,
    /// It is not configured any more; it goes with its last worker.
    gone: bool,
    /// By slot; also those that are leaving.
    workers: BTreeMap<u32, Place>,
}

struct Place {
    handle: WorkerHandle,
    leaving: bool,
}

impl Owner {
    pub(super) async fn begin(
        parts: PoolParts,
        asked: mpsc::Receiver<Ask>,
        show: watch::Sender<Arc<Snapshot>>,
        show_stuck: watch::Sender<Arc<Vec<StuckTask>>>,
    ) -> Result<Self, PoolError> {
        let PoolParts { tasks, claims, specs, adopted, survivors, resumed, around } = parts;
        let (changed, rung) = mpsc::channel(1);
        let shared = Shared { around, tell: tasks.inbox.clone(), changed };
        let mut owner = Self {
            pools: BTreeMap::new(),
            shared,
            asked,
            rung,
            show,
            places: JoinSet::new(),
            waits: JoinSet::new(),
            next_key: 0,
            scalers: BTreeMap::new(),
            looks: JoinSet::new(),
        };
        let known: Vec<Known> = adopted.iter().map(Known::of).collect();
        let (claims, stuck) = fence::part(claims.0, &survivors, &known, fence::hidden());
        if !stuck.is_empty() {
            owner.waits.spawn(fence::watch(stuck, owner.shared.clone(), show_stuck));
        }
        let mut left = Leftovers::sort(adopted, claims, resumed);
        for mut spec in specs {
            if let Some(rules) = spec.autoscale {
                // Those that a former daemon had up go on.
                spec.workers = left.highest(&spec.name).clamp(rules.min, rules.max);
            }
            let spec = Arc::new(spec);
            owner.add_pool(&spec, &mut left).await?;
        }
        let (children, claims) = left.rest();
        owner.end_the_rest(children, claims);
        Ok(owner)
    }

    async fn add_pool(
        &mut self,
        spec: &Arc<PoolSpec>,
        left: &mut Leftovers,
    ) -> Result<(), PoolError> {
        let pool = Pool { spec: Arc::clone(spec), gone: false, workers: BTreeMap::new() };
        self.pools.insert(spec.name.clone(), pool);
        for slot in 1..=spec.workers {
            let left = left.take(spec, slot);
            self.add_worker(spec, slot, left).await?;
        }
        self.track(spec);
        Ok(())
    }

    async fn add_worker(
        &mut self,
        spec: &Arc<PoolSpec>,
        slot: u32,
        left: Left,
    ) -> Result<(), PoolError> {
        self.next_key += 1;
        let key = self.next_key;
        let id = InstanceId::new(&spec.name, slot);
        let shared = self.shared.clone();
        let (spec, Left { mut children, claimed, resume }) = (Arc::clone(spec), left);
        let name = spec.name.clone();
        let handle = if spec.protocol == Protocol::Command {
            let parts = RunnerParts { key, slot, spec, adopted: children, claimed, shared };
            let (runner, handle) = Runner::new(parts).await?;
            self.places.spawn(async move {
                runner.run().await;
                (id, key)
            });
            handle
        } else {
            let child = children.pop();
            self.end_the_rest(children, Vec::new());
            let stopped = spec.stopped;
            let (begin, claimed) = match (child, resume) {
                (Some(child), _) if stopped => (Begin::Unwanted(child, "stopped".into()), claimed),
                (Some(child), _) => (Begin::Adopted(child), claimed),
                (None, resume) => {
                    self.tell_gone(claimed).await;
                    let begin = match resume {
                        _ if stopped => Begin::AtRest("stopped".into()),
                        Some(resume) => Begin::Resumed(resume),
                        None => Begin::Up,
                    };
                    (begin, Vec::new())
                }
            };
            let parts = WorkerParts { key, slot, spec, begin, claimed, shared };
            let (worker, handle) = Worker::new(parts).await;
            self.places.spawn(async move {
                worker.run().await;
                (id, key)
            });
            handle
        };
        if let Some(pool) = self.pools.get_mut(&name) {
            pool.workers.insert(slot, Place { handle, leaving: false });
        }
        Ok(())
    }

    async fn tell_gone(&self, claims: Vec<ganger_store::RunningRow>) {
        if !claims.is_empty() {
            // A closed inbox means shutdown.
            let _ = self.shared.tell.send(Msg::Worker(gone(claims, UNSEEN))).await;
        }
    }

    /// Ends children without a place, then says of their claims what became of them: no attempt may overlap the next.
    fn end_the_rest(&mut self, children: Vec<Child>, claims: Vec<ganger_store::RunningRow>) {
        if children.is_empty() && claims.is_empty() {
            return;
        }
        let (tell, Surroundings { told, .. }) =
            (self.shared.tell.clone(), self.shared.around.clone());
        self.waits.spawn(async move {
            for child in children {
                ganger_supervise::instance::dispose(child, told.clone()).await;
            }
            let _ = tell.send(Msg::Worker(gone(claims, UNSEEN))).await;
        });
    }

    pub(super) async fn run(mut self) {
        self.publish();
        loop {
            let next_look = self.next_look();
            tokio::select! {
                ask = self.asked.recv() => match ask {
                    Some(ask) => self.on_ask(ask).await,
                    None => return,
                },
                Some(()) = self.rung.recv() => self.publish(),
                Some(Ok((id, key))) = self.places.join_next() => self.on_left(&id, key).await,
                Some(_) = self.waits.join_next() => {}
                Some(look) = self.looks.join_next() => if let Ok(Some(look)) = look {
                    self.on_look(look).await;
                },
                () = until(next_look) => self.ask_loads(),
            }
        }
    }

    fn publish(&self) {
        let views = self.pools.values().flat_map(|pool| pool.workers.values());
        let mut instances: Vec<_> =
            views.filter_map(|place| place.handle.view.borrow().clone()).collect();
        instances.sort_by(|a, b| a.id.cmp(&b.id));
        self.show.send_replace(Arc::new(Snapshot { instances, groups: vec![] }));
    }

    /// The owner task of a place has ended.
    async fn on_left(&mut self, id: &InstanceId, key: u64) {
        let Some(pool) = self.pools.get_mut(&id.name) else { return };
        if pool.workers.get(&id.slot).is_some_and(|place| place.handle.key == key) {
            pool.workers.remove(&id.slot);
        }
        if pool.workers.is_empty() && pool.gone {
            self.pools.remove(&id.name);
        } else if id.slot <= pool.spec.workers && !pool.gone {
            // It was wanted again while it left.
            let spec = Arc::clone(&pool.spec);
            self.fill(&spec, id.slot).await;
            return self.publish();
        }
        let (processes, id) = (self.shared.around.processes.clone(), id.clone());
        self.waits.spawn(async move {
            // Without a keeper there is no pipe to close.
            let _ = processes.retire_log(&id).await;
        });
        self.publish();
    }

    async fn on_ask(&mut self, ask: Ask) {
        match ask {
            Ask::Apply(specs, reply) => {
                let done = self.apply(specs).await;
                let _ = reply.send(done);
            }
            Ask::Scale { name, workers, reply } => match self.pools.get(&name) {
                None => drop(reply.send(Err(PoolError::NoPool(name)))),
                Some(pool) => {
                    // A person's word holds until the next `up`.
                    let spec = PoolSpec { workers, autoscale: None, ..PoolSpec::clone(&pool.spec) };
                    match check(&spec) {
                        Ok(()) => {
                            let waits = self.resize(&Arc::new(spec)).await;
                            self.answer_after(waits, reply);
                        }
                        Err(error) => drop(reply.send(Err(error))),
                    }
                }
            },
            Ask::Act { name, slot, verb, reply } => self.act(&name, slot, &verb, reply).await,
            Ask::Shutdown(reply) => {
                let (tell, _drained) = oneshot::channel();
                let _ = self.shared.tell.send(Msg::Drain { reply: tell }).await;
                let waits = self.command_all(|drain, reply| Command::Stop {
                    why: "ganger goes down".into(),
                    leave: false,
                    within: Some(drain),
                    reply,
                });
                self.answer_after(waits.await, reply);
            }
        }
    }

    async fn apply(&mut self, specs: Vec<PoolSpec>) -> Result<(), PoolError> {
        for spec in &specs {
            check(spec)?;
        }
        let gone: Vec<_> = self
            .pools
            .keys()
            .filter(|name| !specs.iter().any(|spec| spec.name == **name))
            .cloned()
            .collect();
        for name in gone {
            self.empty(&name, true).await;
        }
        for mut spec in specs {
            if let (Some(rules), Some(pool)) = (spec.autoscale, self.pools.get(&spec.name)) {
                spec.workers = pool.spec.workers.clamp(rules.min, rules.max);
            }
            let spec = Arc::new(spec);
            match self.pools.get_mut(&spec.name) {
                None => self.add_pool(&spec, &mut Leftovers::default()).await?,
                Some(pool) if pool.spec == spec && !pool.gone => {}
                Some(pool) => {
                    pool.gone = false;
                    let is_command = |s: &PoolSpec| s.protocol == Protocol::Command;
                    if is_command(&pool.spec) != is_command(&spec) {
                        self.empty(&spec.name, false).await;
                    }
                    drop(self.resize(&spec).await);
                }
            }
        }
        Ok(())
    }

    /// Every worker of a pool goes.
    async fn empty(&mut self, name: &str, gone: bool) {
        let Some(pool) = self.pools.get_mut(name) else { return };
        pool.gone = gone;
        let none = PoolSpec { workers: 0, autoscale: None, ..PoolSpec::clone(&pool.spec) };
        drop(self.resize(&Arc::new(none)).await);
        if gone && self.pools.get(name).is_some_and(|pool| pool.workers.is_empty()) {
            self.pools.remove(name);
        }
    }

    /// Makes a pool what its spec says: fewer or more workers, and new rules for those that stay.
    pub(super) async fn resize(
        &mut self,
        spec: &Arc<PoolSpec>,
    ) -> Vec<oneshot::Receiver<Result<(), String>>> {
        let mut waits = Vec::new();
        let Some(pool) = self.pools.get_mut(&spec.name) else { return waits };
        // A pool that only changes its size keeps its processes.
        let same_but_size =
            PoolSpec { workers: spec.workers, ..PoolSpec::clone(&pool.spec) } == **spec;
        let changed = !same_but_size;
        pool.spec = Arc::clone(spec);
        for (slot, place) in &mut pool.workers {
            if *slot > spec.workers && !place.leaving {
                place.leaving = true;
                let (reply, done) = oneshot::channel();
                let why = "the pool was made smaller".into();
                // One that took a task in the same moment goes when that is done.
                let within = spec.autoscale.is_none().then_some(spec.drain);
                let command = Command::Stop { why, leave: true, within, reply };
                let _ = place.handle.commands.send(command).await;
                waits.push(done);
            } else if changed && !place.leaving {
                let _ = place.handle.commands.send(Command::Replace(Arc::clone(spec))).await;
                let queues = spec.queues.iter().map(|q| q.as_str().into()).collect();
                let (key, lanes) = (place.handle.key, spec.lanes());
                let _ = self.shared.tell.send(Msg::Retarget { key, queues, lanes }).await;
            }
        }
        for slot in 1..=spec.workers {
            self.fill(spec, slot).await;
        }
        if changed {
            self.track(spec);
        }
        self.publish();
        waits
    }

    /// A worker in a slot that has none; one that is leaving is followed by another when it has left.
    async fn fill(&mut self, spec: &Arc<PoolSpec>, slot: u32) {
        let place = self.pools.get(&spec.name).and_then(|pool| pool.workers.get(&slot));
        if place.is_some() {
            return;
        }
        if let Err(error) = self.add_worker(spec, slot, Left::default()).await {
            tracing::error!(pool = spec.name, slot, %error, "a checked pool could not be started");
        }
    }

    async fn act(&mut self, name: &str, slot: Option<u32>, verb: &Verb, reply: Answer) {
        let Some(pool) = self.pools.get_mut(name) else {
            let _ = reply.send(Err(PoolError::NoPool(name.to_owned())));
            return;
        };
        let stopped = match verb {
            Verb::Start => false,
            Verb::Stop(_) => true,
            Verb::Restart => pool.spec.stopped,
        };
        if slot.is_none() && pool.spec.stopped != stopped {
            // Also a pool at zero workers, that would start some by itself.
            pool.spec = Arc::new(PoolSpec { stopped, ..PoolSpec::clone(&pool.spec) });
            let spec = Arc::clone(&pool.spec);
            self.track(&spec);
        }
        let Some(pool) = self.pools.get(name) else { return };
        if let Some(slot) = slot
            && !pool.workers.contains_key(&slot)
        {
            let (name, workers) = (name.to_owned(), pool.spec.workers);
            let _ = reply.send(Err(PoolError::NoSlot { name, slot, workers }));
            return;
        }
        let chosen = pool.workers.iter().filter(|(n, _)| slot.is_none_or(|slot| slot == **n));
        let mut waits = Vec::new();
        for (_, place) in chosen {
            let (tell, done) = oneshot::channel();
            let command = match verb {
                Verb::Start => Command::Start(tell),
                Verb::Restart => Command::Restart(tell),
                Verb::Stop(why) => Command::Stop {
                    why: why.clone(),
                    leave: false,
                    within: Some(pool.spec.drain),
                    reply: tell,
                },
            };
            let _ = place.handle.commands.send(command).await;
            waits.push(done);
        }
        self.answer_after(waits, reply);
    }

    async fn command_all(
        &self,
        command: impl Fn(Duration, crate::worker::Reply) -> Command,
    ) -> Vec<oneshot::Receiver<Result<(), String>>> {
        let mut waits = Vec::new();
        for pool in self.pools.values() {
            for place in pool.workers.values() {
                let (reply, done) = oneshot::channel();
                let _ = place.handle.commands.send(command(pool.spec.drain, reply)).await;
                waits.push(done);
            }
        }
        waits
    }

    fn answer_after(&mut self, waits: Vec<oneshot::Receiver<Result<(), String>>>, reply: Answer) {
        self.waits.spawn(async move {
            let mut result = Ok(());
            for wait in waits {
                // A worker that is gone has done what it could.
                if let Ok(Err(why)) = wait.await {
                    result = result.and(Err(PoolError::NotDone(why)));
                }
            }
            let _ = reply.send(result);
        });
    }
}
