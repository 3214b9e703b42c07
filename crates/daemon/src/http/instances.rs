//! `GET /instances` and `GET /services/{name}`.

use axum::Json;
use axum::extract::{Path, State};
use ganger_api::{
    Group, GroupMember, Instance, Instances, Listener, LogLine, Probe, Seconds, Service, Timestamp,
    V1,
};
use ganger_core::InstanceKind;
use ganger_logs::{Query, ReadError};
use ganger_supervise::listeners::ListenerView;
use ganger_supervise::{Doing, GroupView, InstanceView, ProbeKind, ProbeView, Signs};

use super::error::{Answer, Fault, not_found};
use super::logs::log_line;
use super::reloads;
use crate::app::App;

/// Lines of output that help to understand a service's state at a glance.
const LAST_LINES: u64 = 10;

/// Of an instance that asked for a permit: more fail at once than `[supervision]` lets start, or its group restarts.
const WAITS: &str = "its restart waits for its turn";

pub(crate) async fn list(State(app): State<App>) -> Answer<Instances> {
    let instances = app.instances().await;
    Ok(Json(Instances { v: V1, instances, groups: groups(&app), reloads: reloads::list(&app) }))
}

pub(crate) async fn one(State(app): State<App>, Path(name): Path<String>) -> Answer<Service> {
    let desired = app.full()?.desired();
    let config = &desired.config;
    let (kind, program) = if let Some(service) = desired.service(&name) {
        (InstanceKind::Service, &service.program)
    } else if let Some(pool) = config.pools.get(&name) {
        (InstanceKind::Worker, &pool.program)
    } else {
        let known = config.services.keys().chain(config.pools.keys()).map(String::as_str);
        return Err(not_found("service or pool", &name, known));
    };
    let mut instances = app.instances().await;
    instances.retain(|instance| instance.name == name);
    Ok(Json(Service {
        v: V1,
        kind,
        replicas: desired.replicas(&name).unwrap_or(0),
        stopped: desired.stopped.contains(&name),
        command: program.command.clone(),
        instances,
        listeners: listeners(&app, &name).await?,
        reload: reloads::of(&app, &name),
        last_lines: last_lines(&app, &name).await?,
        name,
    }))
}

async fn listeners(app: &App, name: &str) -> Result<Vec<Listener>, Fault> {
    let views = app.full()?.listeners.look(name).await;
    let listener = |view: ListenerView| Listener {
        address: view.address.to_string(),
        name: view.name,
        mode: view.mode.as_str().to_owned(),
        slot: view.slot,
        open: view.open,
        queued: view.queue.map(|(queued, _)| queued),
        queue_max: view.queue.map(|(_, max)| max),
    };
    Ok(views.into_iter().map(listener).collect())
}

async fn last_lines(app: &App, name: &str) -> Result<Vec<LogLine>, Fault> {
    app.flush_logs().await;
    let logs = app.logs();
    let query = Query { tail_n: Some(LAST_LINES), ..Query::of([name]) };
    let read = move || {
        let lines = logs.read(&query)?;
        lines.map(|line| line.map(log_line)).collect::<Result<Vec<_>, ReadError>>()
    };
    let lines = tokio::task::spawn_blocking(read).await;
    // A status without its last lines is still a status.
    Ok(lines.ok().and_then(Result::ok).unwrap_or_default())
}

/// Groups as they were published last; none while the daemon only answers.
pub(crate) fn groups(app: &App) -> Vec<Group> {
    let Ok(full) = app.full() else { return vec![] };
    let member =
        |(name, optional): &(String, bool)| GroupMember { name: name.clone(), optional: *optional };
    let group = |view: &GroupView| Group {
        name: view.name.clone(),
        strategy: view.strategy,
        state: view.state,
        reason: view.reason.clone(),
        members: view.members.iter().map(member).collect(),
    };
    full.services.borrow().groups.iter().map(group).collect()
}

/// A view as the API writes it.
pub(crate) fn instance(view: &InstanceView, now: Timestamp) -> Instance {
    let wait = |at: u64| Seconds(at.saturating_sub(now.0) as f64 / 1e3);
    // Of the process that lives; the last one's say nothing any more.
    let signs = if view.pid.is_some() { view.signs.read() } else { Signs::default() };
    Instance {
        name: view.id.name.clone(),
        slot: view.id.slot,
        kind: view.kind,
        state: view.state,
        ready: view.ready,
        pid: view.pid,
        restarts: u64::from(view.restarts),
        started_at: view.started_at_ms.map(Timestamp),
        reason: reason(view),
        next_try_s: view.next_try_ms.map(wait),
        failures: u64::from(view.failures),
        cause: view.cause,
        breaker: view.breaker,
        probes: signs.probes.iter().map(probe).collect(),
        status: signs.status,
        doing: signs.doing.map(doing),
        main_pid: signs.main_pid.filter(|pid| Some(*pid) != view.pid),
        connections: None,
    }
}

fn probe(probe: &ProbeView) -> Probe {
    Probe {
        kind: match probe.kind {
            ProbeKind::Startup => "startup",
            ProbeKind::Ready => "ready",
            ProbeKind::Live => "live",
        }
        .to_owned(),
        what: probe.what.clone(),
        ok: probe.ok,
        said: probe.said.clone(),
        failures: u64::from(probe.failures),
        checks: probe.checks,
        latency_s: probe.latency.map(|time| Seconds(time.as_secs_f64())),
        at: probe.ok.map(|_| Timestamp(probe.at_ms)),
    }
}

fn doing(doing: Doing) -> String {
    match doing {
        Doing::Reloading => "reloading",
        Doing::Stopping => "stopping",
    }
    .to_owned()
}

fn reason(view: &InstanceView) -> String {
    match (view.queued, view.reason.is_empty()) {
        (false, _) => view.reason.clone(),
        (true, true) => WAITS.to_owned(),
        (true, false) => format!("{}; {WAITS}", view.reason),
    }
}
