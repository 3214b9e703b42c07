//! A service's spec.

use std::sync::Arc;
use std::time::Duration;

use ganger_core::{InstanceKind, Priority};
use ganger_keeper::wire::{ChannelPlan, Plan, Scope};
use ganger_supervise::listeners::{ListenMode, Listening, Socket};
use ganger_supervise::{
    Dependency, InstanceSpec, NodeCluster, Ready, ReadyBy, Reload, Restart, ServiceSpec,
    StartLimit, Stop, Until,
};

use super::ConvertError;
use super::identity::look_up;
use super::plan::plan;
use super::probes;
use crate::config::{DependsOn, Kill, Listen, Program, RestartOn, Service};
use crate::environments::Variables;

/// The spec of a service as supervision has it.
pub(crate) fn service_spec(
    name: &str,
    service: &Service,
    replicas: u32,
    stopped: bool,
    inherited: Variables,
) -> Result<ServiceSpec, ConvertError> {
    let mut plan =
        plan(name, InstanceKind::Service, &service.program, replicas, inherited).map_err(
            |error| ConvertError { kind: "service", name: name.to_owned(), why: error.into() },
        )?;
    let ready = service.ready.as_ref().map(|said| probes::ready(said, &service.program, &plan));
    let startup = service.startup.as_ref().map(|said| probes::ready(said, &service.program, &plan));
    let live = service.live.as_ref().map(|said| probes::live(said, &service.program, &plan));
    if service.channel
        || service.stop_message
        || [&ready, &startup].iter().any(|r| r.as_ref().is_some_and(|r| r.by == ReadyBy::Channel))
    {
        plan.channel = Some(ChannelPlan::default());
    }
    let listen = listening(name, service)?;
    let (node_cluster, ready) = cluster(service, &plan, ready);
    if node_cluster.is_some() || (listen.is_some() && service.listen_mode == ListenMode::Pass) {
        plan.channel = Some(ChannelPlan::default());
        plan.env.set("NODE_CHANNEL_SERIALIZATION_MODE", "json");
    }
    let depends_on = service.depends_on.iter().map(|(other, when)| Dependency {
        name: other.clone(),
        until: match when {
            DependsOn::Started => Until::Started,
            DependsOn::Ready => Until::Ready,
            DependsOn::Completed => Until::Completed,
        },
    });
    let shared = instance_spec(plan, &service.program, ready);
    Ok(ServiceSpec {
        name: name.to_owned(),
        replicas,
        depends_on: depends_on.collect(),
        instance: InstanceSpec {
            stop: Stop { message: service.stop_message, ..shared.stop },
            priority: service.priority,
            startup,
            live,
            listen,
            node_cluster,
            node_drain: service.node_drain,
            speaks: service.channel,
            ..shared
        },
        port: service.port,
        instance_var: service.instance_var.clone(),
        stopped,
        on_demand: service.on_demand,
        reload: service.reload.map(|rules| Reload {
            surge: rules.surge,
            unavailable: rules.unavailable,
            healthy_for: rules.healthy_for.0,
            drain: rules.drain.0,
        }),
        watch: service.watch.as_ref().map(|watch| Arc::new(watch.to_spec(&service.program.cwd))),
    })
}

/// What Node calls its own choice of how connections are dealt, in its primary.
const POLICY: &str = "NODE_CLUSTER_SCHED_POLICY";
/// A server that listens is ready; the time is that of all readiness.
const LISTENING: Duration = Duration::from_secs(30);

/// A program of a Node cluster, and when it is ready: without a word about that, when it listens.
fn cluster(
    service: &Service,
    plan: &Plan,
    ready: Option<Ready>,
) -> (Option<NodeCluster>, Option<Ready>) {
    if !service.node_cluster {
        return (None, ready);
    }
    let shared = service.listen_mode == ListenMode::Inherit || plan.env.get(POLICY) == Some("none");
    let drain = service.reload.map_or_else(|| Reload::default().drain, |rules| rules.drain.0);
    let listening = || Ready { by: ReadyBy::Listening, timeout: LISTENING };
    (Some(NodeCluster { shared, drain }), Some(ready.unwrap_or_else(listening)))
}

/// What a service listens on.
fn listening(name: &str, service: &Service) -> Result<Option<Arc<Listening>>, ConvertError> {
    if service.listen.is_empty() {
        return Ok(None);
    }
    let socket = |listen: &Listen| {
        let owner = listen.owner.as_deref().map(look_up).transpose().map_err(|error| {
            ConvertError { kind: "service", name: name.to_owned(), why: error.into() }
        })?;
        Ok(Socket {
            address: listen.address.clone(),
            name: listen.name.clone(),
            mode: listen.mode,
            owner: owner.map(|user| (user.identity.uid, user.identity.gid)),
        })
    };
    let sockets = service.listen.iter().map(socket).collect::<Result<_, _>>()?;
    Ok(Some(Arc::new(Listening::new(sockets, service.listen_mode))))
}

/// What services and workers share.
pub(crate) fn instance_spec(plan: Plan, program: &Program, ready: Option<Ready>) -> InstanceSpec {
    let restart = program.restart;
    InstanceSpec {
        plan,
        restart: match restart.on {
            RestartOn::Always => Restart::Always,
            RestartOn::OnFailure => Restart::OnFailure,
            RestartOn::Never => Restart::Never,
        },
        backoff: restart.backoff,
        backoff_by: restart.backoff_by,
        healthy_after: restart.healthy_after.map(|time| time.0),
        start_limit: Some(StartLimit {
            max: restart.max,
            within: restart.within.0,
            breaker: restart.breaker.unwrap_or(restart.within).0,
        }),
        stop: Stop {
            signal: program.stop.signal,
            scope: match program.stop.kill {
                Kill::Tree => Scope::Tree,
                Kill::Main => Scope::Main,
            },
            timeout: program.stop.timeout.0,
            message: false,
        },
        ready,
        startup: None,
        live: None,
        priority: Priority::NORMAL,
        listen: None,
        node_cluster: None,
        node_drain: false,
        speaks: false,
    }
}
