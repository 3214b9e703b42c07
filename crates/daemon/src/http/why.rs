//! `GET /tasks/{id}/why`.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use ganger_api::{Cause, Holder, Seconds, Timestamp, V1, Why};
use ganger_pool::{PoolFact, StuckTask};
use ganger_queue::why::{self, LimitOf};

use super::error::Answer;
use super::tasks::task_id;
use crate::app::{App, Full};

pub(crate) async fn why(State(app): State<App>, Path(id): Path<String>) -> Answer<Why> {
    let full = app.full()?;
    let found = full.tasks.why(task_id(&id)?).await?;
    let pools = pools_of(full, &found.task.queue);
    let task = found.task;
    let causes = ganger_pool::why::causes(&task, found.facts, &pools);
    let now = Timestamp::now();
    let stuck = full.left.of(task.id).map(|stuck| {
        let StuckTask { worker, pids, .. } = stuck;
        vec![Cause::Stuck { worker: worker.to_string(), pids }]
    });
    let eta_s = if stuck.is_some() { None } else { eta(&causes, now) };
    Ok(Json(Why {
        v: V1,
        id: task.id,
        queue: task.queue.to_string(),
        kind: task.kind.as_deref().unwrap_or_default().to_owned(),
        state: task.state,
        causes: stuck.unwrap_or_else(|| causes.into_iter().map(|c| shown(c, now)).collect()),
        eta_s,
    }))
}

fn pools_of(full: &Full, queue: &str) -> Vec<PoolFact> {
    let desired = full.desired();
    let snapshot = full.workers.borrow().clone();
    let takes = |queues: &[String]| queues.iter().any(|name| name == queue);
    let pools = desired.config.pools.iter().filter(|(_, pool)| takes(&pool.queues));
    let fact = |name: &String| PoolFact {
        name: name.clone(),
        stopped: desired.stopped.contains(name),
        wanted: desired.replicas(name).unwrap_or(0),
        instances: snapshot.of(name).cloned().collect(),
    };
    pools.map(|(name, _)| fact(name)).collect()
}

/// The latest of all ends; none when one of the causes has no end of its own.
fn eta(causes: &[why::Cause], now: Timestamp) -> Option<Seconds> {
    let until = |ms: u64| Some(Duration::from_millis(ms.saturating_sub(now.0)));
    let each = causes.iter().map(|cause| match cause {
        why::Cause::Scheduled { until_ms } | why::Cause::Retry { until_ms, .. } => until(*until_ms),
        why::Cause::Follows { eta, .. }
        | why::Cause::Limit { eta, .. }
        | why::Cause::Ahead { eta, .. }
        | why::Cause::Busy { eta, .. } => *eta,
        why::Cause::Rate { wait, .. } | why::Cause::StoreHeld { wait, .. } => Some(*wait),
        why::Cause::WorkerDown { next_try_ms, stuck: false, .. } => next_try_ms.and_then(until),
        _ => None,
    });
    let all: Option<Vec<Duration>> = each.collect();
    all.map(|all| all.into_iter().max().unwrap_or_default().into())
}

/// A cause as the API writes it.
fn shown(cause: why::Cause, now: Timestamp) -> Cause {
    let wait = |at: u64| Seconds(at.saturating_sub(now.0) as f64 / 1e3);
    let seconds = |eta: Option<Duration>| eta.map(Seconds::from);
    match cause {
        why::Cause::Finished { state, at_ms, error } => {
            Cause::Finished { state, at: at_ms.map(Timestamp), error }
        }
        why::Cause::Running { by, timeout, stopping, progress } => Cause::Running {
            worker: by.worker.to_string(),
            since: by.since_ms.map(Timestamp),
            timeout_s: timeout.into(),
            stopping,
            progress: progress.as_ref().map(super::task_log::progress),
        },
        why::Cause::Scheduled { until_ms } => Cause::Scheduled { until: Timestamp(until_ms) },
        why::Cause::Retry { until_ms, attempt, max, error } => {
            Cause::Retry { until: Timestamp(until_ms), attempt, max, error }
        }
        why::Cause::Follows { leader, state, by, eta } => Cause::Follows {
            leader,
            state,
            worker: by.as_ref().map(|by| by.worker.to_string()),
            since: by.and_then(|by| by.since_ms).map(Timestamp),
            eta_s: seconds(eta),
        },
        why::Cause::Paused { since_ms, by_config } => Cause::Paused {
            since: since_ms.map(Timestamp),
            by: if by_config { "config" } else { "person" }.to_owned(),
        },
        why::Cause::Limit { of, max, held_by, eta } => {
            let (of, name) = limit_of(of);
            let held_by = held_by.into_iter().map(holder).collect();
            Cause::Limit { of, name, max, held_by, eta_s: seconds(eta) }
        }
        why::Cause::Rate { of, wait } => {
            let (of, name) = limit_of(of);
            Cause::Rate { of, name, eta_s: wait.into() }
        }
        why::Cause::StoreHeld { error, wait } => Cause::StoreHeld { error, eta_s: wait.into() },
        why::Cause::Ahead { tasks, at_least, eta } => {
            Cause::Ahead { tasks, at_least, eta_s: seconds(eta) }
        }
        why::Cause::NoPool => Cause::NoPool {},
        why::Cause::PoolStopped { pool } => Cause::PoolStopped { pool },
        why::Cause::NoWorkers { pool } => Cause::NoWorkers { pool },
        why::Cause::WorkerDown { worker, reason, stuck: true, .. } => {
            Cause::WorkerStuck { worker, reason }
        }
        why::Cause::WorkerDown { worker, state, reason, next_try_ms, .. } => {
            Cause::WorkerDown { worker, state, reason, next_try_s: next_try_ms.map(wait) }
        }
        why::Cause::Busy { workers, tasks, eta } => {
            let tasks = tasks.into_iter().map(holder).collect();
            Cause::Busy { workers, tasks, eta_s: seconds(eta) }
        }
        why::Cause::GoingDown => Cause::GoingDown {},
    }
}

fn limit_of(of: LimitOf) -> (String, Option<String>) {
    match of {
        LimitOf::Queue => ("queue".to_owned(), None),
        LimitOf::Kind(name) => ("kind".to_owned(), Some(name.to_string())),
        LimitOf::Key(name) => ("key".to_owned(), Some(name.to_string())),
    }
}

fn holder(holder: why::Holder) -> Holder {
    let worker = holder.worker.to_string();
    Holder { task: holder.task, worker, since: holder.since_ms.map(Timestamp) }
}
