//! Those who do the work: services, pools, queues, behind one face.

use ganger_api::{ApiError, ErrorKind};
use ganger_core::{Effect, Rate};
use ganger_exec::Executor;
use ganger_pool::{PoolError, Pools, Schedules, Tasks};
use ganger_queue::GateSet;
use ganger_queue::schedule::ScheduleConfig;
use ganger_supervise::instance::TicketError;
use ganger_supervise::services::{GroupTicket, Reloading, ServiceError};
use ganger_supervise::{ServiceSpec, Services};
use tokio::sync::watch;

use super::handle::{Target, Verb};
use crate::config::{Config, ExecSocket, Queue};
use crate::convert::{self, ConvertError};
use crate::desired::Desired;

/// Handles to the owners of everything that runs.
#[derive(Debug, Clone)]
pub(crate) struct Crew {
    pub(crate) services: Services,
    pub(crate) pools: Pools,
    pub(crate) tasks: Tasks,
    pub(crate) schedules: Schedules,
    /// To the budget of restarts.
    pub(crate) restart_rate: watch::Sender<Rate>,
    /// Commands under policies.
    pub(crate) exec: Executor,
    /// To the watcher of incidents.
    pub(crate) incidents: watch::Sender<ganger_incident::Settings>,
    /// To the socket of others.
    pub(crate) exec_socket: watch::Sender<Option<ExecSocket>>,
}

/// Specs of everything in a desired state.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Specs {
    pub(crate) services: Vec<ServiceSpec>,
    pub(crate) pools: Vec<ganger_pool::PoolSpec>,
    pub(crate) schedules: Vec<(String, ScheduleConfig)>,
}

impl Specs {
    /// What a desired state comes to, and what of it can't be had on this machine (a user that does not exist, …). After
    /// a `down` that is nothing.
    pub(crate) fn of(desired: &Desired) -> (Self, Vec<ConvertError>) {
        let (mut specs, mut faults) = (Self::default(), Vec::new());
        if desired.down {
            return (specs, faults);
        }
        for name in desired.config.services.keys() {
            match Self::service(desired, name) {
                Some(Ok(spec)) => specs.services.push(spec),
                Some(Err(fault)) => faults.push(fault),
                None => {}
            }
        }
        for name in desired.config.pools.keys() {
            match Self::pool(desired, name) {
                Some(Ok(spec)) => specs.pools.push(spec),
                Some(Err(fault)) => faults.push(fault),
                None => {}
            }
        }
        for (name, schedule) in &desired.config.schedules {
            match convert::schedule_config(name, schedule) {
                Ok(config) => specs.schedules.push((name.clone(), config)),
                Err(fault) => faults.push(fault),
            }
        }
        (specs, faults)
    }

    /// As [`of`](Self::of), for a daemon that goes on where another one ended: a service whose reload is under way is what
    /// it was before, and beside it stands what the reload is to bring.
    pub(crate) fn resumed(desired: &Desired) -> (Self, Vec<ServiceSpec>, Vec<ConvertError>) {
        let (mut specs, faults) = Self::of(desired);
        let mut coming = Vec::new();
        for spec in &mut specs.services {
            let earlier = desired.earlier.get(&spec.name).filter(|one| one.taken_back.is_none());
            let before = earlier.and_then(|earlier| {
                let replicas = desired.scale.get(&spec.name).copied();
                let replicas = replicas.unwrap_or(earlier.service.replicas);
                let environment = earlier.environment.clone();
                let (name, stopped) = (&spec.name, spec.stopped);
                convert::service_spec(name, &earlier.service, replicas, stopped, environment).ok()
            });
            if let Some(before) = before {
                coming.push(std::mem::replace(spec, before));
            }
        }
        (specs, coming, faults)
    }

    /// What one service of a desired state comes to.
    pub(super) fn service(
        desired: &Desired,
        name: &str,
    ) -> Option<Result<ServiceSpec, ConvertError>> {
        let service = desired.service(name)?;
        let replicas = desired.replicas(name).unwrap_or(0);
        let (stopped, inherited) = (desired.stopped.contains(name), desired.environment(name));
        Some(convert::service_spec(name, service, replicas, stopped, inherited))
    }

    /// What one pool of a desired state comes to.
    pub(super) fn pool(
        desired: &Desired,
        name: &str,
    ) -> Option<Result<ganger_pool::PoolSpec, ConvertError>> {
        let pool = desired.config.pools.get(name)?;
        let workers = desired.replicas(name).unwrap_or(0);
        let by_hand = desired.scale.contains_key(name);
        let (stopped, inherited) = (desired.stopped.contains(name), desired.environments.of(name));
        Some(convert::pool_spec(name, pool, workers, by_hand, stopped, inherited))
    }
}

impl Crew {
    /// Opens addresses that running services are to move to: one that can't be had keeps the configuration out.
    pub(crate) async fn make_way(&self, specs: Vec<ServiceSpec>) -> Result<(), ApiError> {
        self.services.move_listeners(specs).await.map_err(service_error)
    }

    /// What an apply would do to each of these services.
    pub(super) async fn plan(&self, specs: Vec<ServiceSpec>) -> Result<Vec<Effect>, ApiError> {
        if specs.is_empty() {
            return Ok(Vec::new());
        }
        self.services.plan(specs).await.map_err(service_error)
    }

    /// Makes everything so. Queues come first: pools take from them; schedules last: what
    /// they push finds its workers.
    pub(crate) async fn apply(
        &self,
        old: &Config,
        new: &Config,
        specs: Specs,
    ) -> Result<(), ApiError> {
        let queues = new.queues.iter().map(|(n, q)| (n.clone(), convert::queue_config(q)));
        self.tasks.configure(queues.collect()).await.map_err(task_error)?;
        for (name, queue) in &new.queues {
            self.pause(name, old.queues.get(name), queue).await?;
        }
        let rate = new.supervision.restarts;
        self.restart_rate.send_if_modified(|old| std::mem::replace(old, rate) != rate);
        self.incidents.send_if_modified(|old| {
            let other = *old != new.incident;
            old.clone_from(&new.incident);
            other
        });
        self.exec_socket.send_if_modified(|old| {
            let other = *old != new.server.exec_socket;
            old.clone_from(&new.server.exec_socket);
            other
        });
        let groups = crate::config::group_specs(&new.groups);
        self.services.set_groups(groups).await.map_err(service_error)?;
        self.services.apply(specs.services, Vec::new()).await.map_err(service_error)?;
        self.pools.apply(specs.pools).await.map_err(pool_error)?;
        let schedules = self.schedules.configure(specs.schedules).await;
        schedules.map_err(|error| crate::http::Fault::from(error).0)
    }

    /// `paused` of the file counts when it is new or has changed; else a person's word stays.
    async fn pause(&self, name: &str, old: Option<&Queue>, new: &Queue) -> Result<(), ApiError> {
        if old.is_some_and(|old| old.paused) == new.paused {
            return Ok(());
        }
        let done = match new.paused {
            true => self.tasks.gate(name, GateSet::Pause, true).await,
            false => self.tasks.gate(name, GateSet::Resume, true).await,
        };
        done.map_err(task_error)
    }

    /// Begins a verb; the wait is for its end.
    pub(crate) async fn verb(
        &self,
        target: &Target,
        verb: Verb,
        is_pool: bool,
    ) -> Result<Wait, ApiError> {
        let Target { name, slot } = target;
        if is_pool {
            return Ok(Wait::Pool(self.pools.clone(), target.clone(), verb));
        }
        let ticket = match verb {
            Verb::Reload => {
                let reloading = self.services.reload(name).await.map_err(service_error)?;
                return Ok(Wait::Reload(name.clone(), reloading));
            }
            Verb::Start => self.services.start(name, *slot).await,
            Verb::Stop => self.services.stop(name, *slot).await,
            Verb::Restart => self.services.restart(name, *slot).await,
            Verb::Scale(replicas) => self.services.scale(name, replicas).await,
        };
        ticket.map(Wait::Group).map_err(service_error)
    }
}

/// What a caller waits for.
#[derive(Debug)]
pub(crate) enum Wait {
    /// Instances of a service.
    Group(GroupTicket),
    /// A service's instances, one after the other.
    Reload(String, Reloading),
    /// Workers: the command is given with the first look at the wait.
    Pool(Pools, Target, Verb),
}

impl Wait {
    /// Waits until it is done; gives what a person should know.
    pub(crate) async fn done(self) -> Result<Vec<String>, ApiError> {
        match self {
            Self::Group(ticket) => ticket.done().await.map_err(not_done)?,
            Self::Reload(name, reloading) => reloading.done().await.map_err(|why| {
                let hint = format!("ganger logs {name} · ganger events");
                let what = format!("{name} was not reloaded: {why}");
                ApiError::new(ErrorKind::Failed, what).hint(hint)
            })?,
            Self::Pool(pools, Target { name, slot }, verb) => match verb {
                Verb::Start => pools.start_workers(&name, slot).await,
                Verb::Stop => pools.stop_workers(&name, slot, "stopped on request").await,
                Verb::Restart | Verb::Reload => pools.restart_workers(&name, slot).await,
                Verb::Scale(workers) => pools.scale(&name, workers).await,
            }
            .map_err(pool_error)?,
        }
        Ok(Vec::new())
    }
}

fn not_done(error: TicketError) -> ApiError {
    match &error {
        TicketError::NotUp { id, .. } => {
            let hint = format!("ganger logs {} · ganger status {}", id.name, id.name);
            ApiError::from_error(ErrorKind::Failed, &error).hint(hint)
        }
        TicketError::Gone { .. } => ApiError::from_error(ErrorKind::NoDaemon, &error),
    }
}

fn service_error(error: ServiceError) -> ApiError {
    let kind = match &error {
        ServiceError::Unknown { .. } | ServiceError::NoSlot { .. } => ErrorKind::NotFound,
        ServiceError::UnknownDependency { .. }
        | ServiceError::Circle { .. }
        | ServiceError::Listen { .. } => ErrorKind::Config,
        ServiceError::Reloads { .. } => ErrorKind::Conflict,
        ServiceError::GoingDown | ServiceError::Gone => ErrorKind::NoDaemon,
    };
    ApiError::from_error(kind, &error)
}

pub(crate) fn pool_error(error: PoolError) -> ApiError {
    let kind = match &error {
        PoolError::NoPool(_) | PoolError::NoSlot { .. } => ErrorKind::NotFound,
        PoolError::ShuttingDown => ErrorKind::NoDaemon,
        _ => ErrorKind::Config,
    };
    ApiError::from_error(kind, &error)
}

fn task_error(error: ganger_pool::TaskError) -> ApiError {
    crate::http::Fault::from(error).0
}
