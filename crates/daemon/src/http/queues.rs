//! Queues: looking, pausing, draining, resuming.

use axum::Json;
use axum::extract::{Path, State};
use ganger_api::{Queue, QueueCache, QueueCounts, Queues, Seconds, Timestamp, V1, VerbAnswer};
use ganger_core::TaskState;
use ganger_pool::QueueLook;
use ganger_queue::GateSet;
use ganger_store::CacheStats;

use super::error::Answer;
use crate::app::App;

pub(crate) async fn list(State(app): State<App>) -> Answer<Queues> {
    let looks = app.full()?.tasks.queues().await?;
    Ok(Json(Queues { v: V1, queues: looks.iter().map(queue).collect() }))
}

pub(crate) async fn one(State(app): State<App>, Path(name): Path<String>) -> Answer<Queue> {
    Ok(Json(queue(&app.full()?.tasks.queue(&name).await?)))
}

pub(crate) async fn pause(State(app): State<App>, Path(name): Path<String>) -> Answer<VerbAnswer> {
    app.full()?.tasks.pause(&name).await?;
    Ok(Json(VerbAnswer { v: V1, done: vec![name], notes: Vec::new() }))
}

pub(crate) async fn drain(State(app): State<App>, Path(name): Path<String>) -> Answer<VerbAnswer> {
    app.full()?.tasks.gate(&name, GateSet::Drain, false).await?;
    Ok(Json(VerbAnswer { v: V1, done: vec![name], notes: Vec::new() }))
}

pub(crate) async fn resume(State(app): State<App>, Path(name): Path<String>) -> Answer<VerbAnswer> {
    app.full()?.tasks.resume(&name).await?;
    Ok(Json(VerbAnswer { v: V1, done: vec![name], notes: Vec::new() }))
}

fn queue(look: &QueueLook) -> Queue {
    let cache = look.cache;
    let now = Timestamp::now().0;
    let count = |state| look.row.counts.get(state);
    Queue {
        v: V1,
        name: look.row.name.to_string(),
        paused: look.row.gate.paused,
        draining: look.row.gate.draining,
        counts: QueueCounts {
            scheduled: count(TaskState::Scheduled),
            available: count(TaskState::Available),
            running: count(TaskState::Running),
            retryable: count(TaskState::Retryable),
            completed: count(TaskState::Completed),
            cancelled: count(TaskState::Cancelled),
            discarded: count(TaskState::Discarded),
        },
        oldest_age_s: look.oldest_ms.map(|at| Seconds(now.saturating_sub(at) as f64 / 1e3)),
        durability: look.config.durability,
        cache: (cache != CacheStats::default()).then_some(QueueCache {
            entries: cache.entries,
            bytes: cache.bytes,
            hits: cache.hits,
            misses: cache.misses,
            evicted: cache.evicted,
        }),
    }
}
