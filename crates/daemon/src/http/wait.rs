//! `POST /wait`: answers when all conditions hold. Nothing polls: each waits on what its owner publishes.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use ganger_api::{ApiError, ErrorKind, V1, WaitCondition, WaitRequest, Waited};
use ganger_core::InstanceState;
use ganger_supervise::Snapshot;

use super::error::{Answer, Fault, not_found, usage};
use super::extract::Body;
use crate::app::{App, Full};

/// Conditions of one request.
const CONDITIONS_MAX: usize = 64;

pub(crate) async fn wait(
    State(app): State<App>,
    Body(request): Body<WaitRequest>,
) -> Answer<Waited> {
    let full = app.full()?;
    let WaitRequest { conditions, timeout_s } = request;
    if conditions.len() > CONDITIONS_MAX {
        return Err(usage(format!("at most {CONDITIONS_MAX} conditions at a time")));
    }
    let limit = timeout_s.map(|s| Duration::try_from_secs_f64(s.0));
    let limit = limit.transpose().map_err(|_| usage("`timeout_s` is not a time"))?;
    // One after the other is enough: all must hold, and each is waited for with the same clock.
    let all = async {
        for condition in &conditions {
            one(full, condition).await?;
        }
        Ok::<_, Fault>(())
    };
    match limit {
        None => all.await?,
        Some(limit) => match tokio::time::timeout(limit, all).await {
            Ok(result) => result?,
            Err(_) => return Err(too_late(&app, &conditions, limit).await),
        },
    }
    Ok(Json(Waited { v: V1, met: conditions }))
}

async fn one(full: &Full, condition: &WaitCondition) -> Result<(), Fault> {
    match condition {
        WaitCondition::QueueEmpty(name) => Ok(full.tasks.wait_empty(name).await?),
        WaitCondition::TaskDone(id) => Ok(full.tasks.wait(*id, None).await.map(drop)?),
        WaitCondition::ServiceReady(name) => ready(full, name).await,
        WaitCondition::ServiceReloaded(name) => super::reloads::over(full, name).await,
    }
}

async fn ready(full: &Full, name: &str) -> Result<(), Fault> {
    let desired = full.desired();
    let config = &desired.config;
    if !desired.knows(name) {
        let known = config.services.keys().chain(config.pools.keys()).map(String::as_str);
        return Err(not_found("service or pool", name, known));
    }
    let is_pool = config.pools.contains_key(name);
    // Readiness of before the last verb or event must not count.
    drop(full.supervision.published().await);
    let mut views = if is_pool { full.workers.clone() } else { full.services.clone() };
    let gone = || ApiError::new(ErrorKind::NoDaemon, "this daemon is going down");
    let wanted = || full.desired().replicas(name).unwrap_or(0);
    let snapshot = views.wait_for(|views| settled(views, name, wanted()).is_some()).await;
    let snapshot = snapshot.map_err(|_| gone())?;
    match settled(&snapshot, name, wanted()) {
        Some(Err(reason)) => {
            let error = ApiError::new(ErrorKind::Failed, format!("`{name}` failed: {reason}"));
            Err(Fault(error.hint(format!("ganger logs {name} · ganger start {name}"))))
        }
        _ => Ok(()),
    }
}

/// Ready, or given up for good; `None` while either may come.
fn settled(views: &Arc<Snapshot>, name: &str, wanted: u32) -> Option<Result<(), String>> {
    let mut ready = 0;
    for view in views.of(name) {
        if view.state == InstanceState::Failed {
            return Some(Err(format!("{}: {}", view.id, view.reason)));
        }
        ready += u32::from(view.ready);
    }
    (ready >= wanted).then_some(Ok(()))
}

async fn too_late(app: &App, conditions: &[WaitCondition], limit: Duration) -> Fault {
    let list: Vec<_> = conditions.iter().map(ToString::to_string).collect();
    let message = format!("{} did not hold within {}", list.join(", "), ganger_core::Dur(limit));
    let mut error = ApiError::new(ErrorKind::Timeout, message);
    let instances = app.instances().await;
    for condition in conditions {
        if let WaitCondition::ServiceReloaded(name) = condition {
            error.chain.extend(super::reloads::progress(app, name));
        }
        if let WaitCondition::ServiceReady(name) = condition {
            let late = instances.iter().filter(|i| &i.name == name && !i.ready);
            error.chain.extend(late.map(|i| {
                format!("{}#{} is {} {}", i.name, i.slot, i.state, i.reason).trim_end().to_owned()
            }));
        }
    }
    Fault(error)
}
