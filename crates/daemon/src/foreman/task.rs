//! The foreman's own loop.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use ganger_api::{ApiError, Applied, ErrorKind, V1};
use ganger_core::InstanceId;
use ganger_exec::Load;
use ganger_store::{Batch, Op, Writer};
use ganger_supervise::Reloads;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::crew::{Crew, Specs, Wait};
use super::handle::{Caller, Foreman, Order, Target, Verb};
use super::{apply, down};
use crate::config::Config;
use crate::desired::{self, Desired};
use crate::recorder::Events;

/// Verbs in flight: people and their scripts, each waits for its answer.
const ORDERS: usize = 64;

/// What a foreman is made of.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) crew: Crew,
    pub(crate) writer: Writer,
    pub(crate) events: Events,
    pub(crate) desired: Desired,
    pub(crate) reloads: watch::Receiver<Reloads>,
    pub(crate) state_dir: PathBuf,
    /// Told when everything is down.
    pub(crate) end: watch::Sender<bool>,
}

#[derive(Debug)]
struct Task {
    parts: Parts,
    published: watch::Sender<Arc<Desired>>,
}

/// Starts the foreman as a member of `tasks`. What is desired is under way already.
pub(crate) fn spawn(parts: Parts, tasks: &mut JoinSet<()>) -> Foreman {
    let (orders, inbox) = mpsc::channel(ORDERS);
    let (published, desired) = watch::channel(Arc::new(parts.desired.clone()));
    tasks.spawn(Task { parts, published }.run(inbox));
    Foreman { orders, desired }
}

impl Task {
    async fn run(mut self, mut inbox: mpsc::Receiver<Order>) {
        self.on_reloads().await;
        loop {
            let order = tokio::select! {
                order = inbox.recv() => order,
                Ok(()) = self.parts.reloads.changed() => {
                    self.on_reloads().await;
                    continue;
                }
            };
            let Some(order) = order else { return };
            // What has ended before somebody asks counts.
            self.on_reloads().await;
            match order {
                Order::Apply { config, caller, dry_run, reply } => {
                    let applied = self.apply(*config, caller, dry_run).await;
                    drop(reply.send(applied));
                }
                Order::Verb { target, verb, reply } => {
                    drop(reply.send(self.verb(&target, verb).await));
                }
                Order::Down { remember, reply } => {
                    let notes = self.down(remember).await;
                    drop(reply.send(Ok(notes)));
                    self.parts.end.send_replace(true);
                    return;
                }
            }
        }
    }

    async fn apply(
        &mut self,
        config: Config,
        caller: Caller,
        dry_run: bool,
    ) -> Result<Applied, ApiError> {
        refuse(&crate::config::verify(&config))?;
        let old = &self.parts.desired;
        let empty = Desired::default();
        let before = if old.down { &empty } else { old };
        let environments = before.environments.next(
            &before.config,
            &config,
            caller.environment.clone(),
            caller.update,
        );
        // `up` is a person's latest word: what was stopped or scaled by hand is as configured again.
        let mut new = Desired {
            config: Arc::new(config),
            environments,
            stopped: BTreeSet::new(),
            scale: BTreeMap::new(),
            earlier: BTreeMap::new(),
            down: false,
        };
        let (new_specs, faults) = Specs::of(&new);
        refuse(&faults)?;
        let mut warnings = apply::warnings(&new.config, &new.environments);
        warnings.extend(new.environments.differing(caller.environment));
        let mut changes = apply::changes(before, &new, &new_specs);
        apply::effects(&mut changes, before, &self.parts.crew, &new_specs).await?;
        new.earlier = apply::earlier(before, &new, &changes);
        let mut applied = Applied { v: V1, changes, warnings };
        if dry_run {
            return Ok(applied);
        }
        let listen = new_specs.services.iter().filter(|spec| spec.instance.listen.is_some());
        self.parts.crew.make_way(listen.cloned().collect()).await?;
        let old = &self.parts.desired;
        let mut ops = desired::applied(old, &new);
        ops.extend(crate::convert::history(&new.config));
        self.commit(ops).await?;
        let old = std::mem::replace(&mut self.parts.desired, new);
        self.publish();
        let config = Arc::clone(&self.parts.desired.config);
        let file = self.parts.desired.file().map(|file| file.path.display().to_string());
        let load = Load {
            policies: config.policies.clone(),
            log: crate::convert::audit_options(&config.audit, &self.parts.state_dir),
            file: file.clone(),
            resumed: false,
        };
        // Before anything that may fail: what is no longer allowed is in force no longer, whatever becomes of services.
        let loaded = self.parts.crew.exec.load(load).await;
        self.parts.crew.apply(&old.config, &config, new_specs).await?;
        match loaded {
            Ok(doubtful) => applied.warnings.extend(doubtful),
            Err(error) => return Err(ApiError::from_error(ErrorKind::Config, &error)),
        }
        self.parts.events.tell("config.applied", "", file.unwrap_or_default()).await;
        Ok(applied)
    }

    /// Reloads go on or are over: remembers which version of a service is the one that runs.
    async fn on_reloads(&mut self) {
        if self.parts.desired.earlier.is_empty() {
            return;
        }
        let reloads = self.parts.reloads.borrow_and_update().clone();
        let mut next = self.parts.desired.clone();
        let mut changed = false;
        for name in self.parts.desired.earlier.keys() {
            changed |= match reloads.get(name) {
                Some(view) => next.reloaded(name, view),
                // A former daemon's, of which nothing was left to go on with.
                None => next.forget_unfinished(name),
            };
        }
        if !changed {
            return;
        }
        let ops = desired::earlier_ops(&self.parts.desired, &next);
        if let Err(error) = self.commit(ops).await {
            // The next daemon tries the configured version again: that is what was asked for, too.
            tracing::warn!(error = %error.message, "the end of a reload could not be stored");
        }
        self.parts.desired = next;
        self.publish();
    }

    async fn verb(&mut self, target: &Target, verb: Verb) -> Result<Wait, ApiError> {
        let desired = &self.parts.desired;
        if !desired.knows(&target.name) {
            let config = &desired.config;
            let known = config.services.keys().chain(config.pools.keys()).map(String::as_str);
            return Err(crate::http::not_found("service or pool", &target.name, known).0);
        }
        let ops = match (verb, target.slot) {
            (Verb::Start | Verb::Stop, None) => {
                vec![desired::stopped(&target.name, verb == Verb::Stop)]
            }
            (Verb::Scale(replicas), _) => vec![desired::scale(&target.name, Some(replicas))],
            // A single slot's rest is its instance's own row.
            _ => Vec::new(),
        };
        self.check(target, verb)?;
        self.commit(ops).await?;
        self.remember(target, verb);
        let is_pool = self.parts.desired.config.pools.contains_key(&target.name);
        self.parts.crew.verb(target, verb, is_pool).await
    }

    /// What must be refused before it is stored.
    fn check(&self, target: &Target, verb: Verb) -> Result<(), ApiError> {
        let max = crate::config::REPLICAS_MAX;
        let replicas = self.parts.desired.slots(&target.name).unwrap_or(0);
        match (verb, target.slot) {
            (Verb::Scale(asked), None) if asked > max => Err(ApiError::new(
                ErrorKind::Usage,
                format!("{asked} instances of `{}` are more than {max}", target.name),
            )),
            (Verb::Scale(_), Some(_)) => {
                Err(ApiError::new(ErrorKind::Usage, "one slot can't be scaled: name the service"))
            }
            (_, Some(slot)) if slot == 0 || slot > replicas => Err(ApiError::new(
                ErrorKind::NotFound,
                format!("there is no {}", InstanceId::new(&target.name, slot)),
            )
            .hint(format!("its slots are 1 to {replicas}"))),
            _ => Ok(()),
        }
    }

    fn remember(&mut self, target: &Target, verb: Verb) {
        let desired = &mut self.parts.desired;
        match (verb, target.slot) {
            (Verb::Start, None) => drop(desired.stopped.remove(&target.name)),
            (Verb::Stop, None) => drop(desired.stopped.insert(target.name.clone())),
            (Verb::Scale(replicas), _) => {
                desired.scale.insert(target.name.clone(), replicas);
            }
            _ => return,
        }
        self.publish();
    }

    async fn down(&mut self, remember: bool) -> Vec<String> {
        if remember && let Err(error) = self.commit(vec![desired::down(true)]).await {
            // A full disk must not keep anything from being stopped.
            tracing::warn!(error = %error.message, "the wish to be down could not be stored");
        }
        self.parts.events.tell("daemon.down", "", "everything is being stopped").await;
        down::down(&self.parts.crew, &self.parts.desired.config).await
    }

    /// Nothing is done that is not stored.
    async fn commit(&self, ops: Vec<Op>) -> Result<(), ApiError> {
        if ops.is_empty() {
            return Ok(());
        }
        let settled = self.parts.writer.commit(Batch::synced(ops)).await;
        settled.result.map(drop).map_err(|e| ApiError::from_error(ErrorKind::Failed, &e))
    }

    fn publish(&self) {
        self.published.send_replace(Arc::new(self.parts.desired.clone()));
    }
}

/// All that is wrong, in one answer.
fn refuse<T: std::fmt::Display>(faults: &[T]) -> Result<(), ApiError> {
    let Some((first, others)) = faults.split_first() else { return Ok(()) };
    let error = ApiError::new(ErrorKind::Config, first.to_string());
    Err(others.iter().fold(error, |error, other| error.cause(other.to_string())))
}
