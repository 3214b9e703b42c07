//! `GET /metrics`: Prometheus text, made at each scrape from what owners publish. Nothing is counted twice.

use std::sync::atomic::{AtomicI64, AtomicU64};

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use ganger_api::{ApiError, ErrorKind, Instance};
use ganger_core::{InstanceState, TaskState};
use ganger_ipc::broker::Counts;
use ganger_store::{COMMIT_BUCKETS_US, WriterStats};
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::error::Fault;
use crate::app::{App, Full};

const MEDIA: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Count = Counter<u64, AtomicU64>;
type Number = Gauge<i64, AtomicI64>;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct InstanceLabels {
    name: String,
    kind: &'static str,
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SlotLabels {
    name: String,
    slot: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct NameLabels {
    name: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct QueueLabels {
    queue: String,
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WhatLabels {
    what: String,
}

pub(crate) async fn metrics(State(app): State<App>) -> Result<Response, Fault> {
    let mut registry = Registry::with_prefix("ganger");
    daemon(&app, &mut registry);
    instances(app.instances().await, &mut registry);
    if let Ok(full) = app.full() {
        queues(full, &mut registry).await?;
        tasks(full, &mut registry).await?;
        schedules(full, &mut registry).await?;
        store(full, &mut registry);
        exchange(full, &mut registry).await;
    }
    let mut text = String::new();
    encode(&mut text, &registry).map_err(|e| ApiError::from_error(ErrorKind::Failed, &e))?;
    Ok(([(header::CONTENT_TYPE, MEDIA)], text).into_response())
}

/// What services said to each other.
async fn exchange(full: &Full, registry: &mut Registry) {
    // Without it the daemon is on its way out.
    let Ok(counts) = full.exchange.counts().await else { return };
    let Counts { answered, failed, delivered, dropped, peers } = counts;
    count(
        registry,
        "channel_requests_answered",
        "Requests that their responder answered",
        answered,
    );
    let what = "Requests without an answer: refused, out of time, cancelled, gone";
    count(registry, "channel_requests_failed", what, failed);
    count(registry, "channel_messages", "Published messages put into subscriptions", delivered);
    count(registry, "channel_messages_dropped", "Messages dropped for slow subscribers", dropped);
    number(registry, "channel_peers", "Services' channels and callers of the API", peers);
}

fn daemon(app: &App, registry: &mut Registry) {
    number(registry, "uptime_seconds", "Since this daemon started", app.uptime().as_secs());
    number(registry, "api_only", "1: this daemon only answers", u64::from(app.full().is_err()));
    let about = app.about();
    let dropped = about.log_bytes_dropped;
    count(
        registry,
        "log_dropped_bytes",
        "Log bytes dropped on full disks, since this daemon started",
        dropped,
    );
    let degraded = Family::<WhatLabels, Number>::default();
    for item in app.degraded() {
        degraded.get_or_create(&WhatLabels { what: item.what }).set(1);
    }
    registry.register("degraded", "1 for each thing that works less than it should", degraded);
}

fn instances(all: Vec<Instance>, registry: &mut Registry) {
    let states = Family::<InstanceLabels, Number>::default();
    let restarts = Family::<NameLabels, Count>::default();
    let taken = Family::<SlotLabels, Count>::default();
    let in_flight = Family::<SlotLabels, Number>::default();
    for instance in all {
        if let Some(connections) = instance.connections {
            let labels = SlotLabels { name: instance.name.clone(), slot: instance.slot };
            taken.get_or_create(&labels).inc_by(connections.taken);
            let n = i64::try_from(connections.in_flight).unwrap_or(i64::MAX);
            in_flight.get_or_create(&labels).set(n);
        }
        // All states, so that one that nobody is in reads 0.
        for state in InstanceState::ALL {
            let labels = InstanceLabels {
                name: instance.name.clone(),
                kind: instance.kind.as_str(),
                state: state.as_str(),
            };
            states.get_or_create(&labels).inc_by(i64::from(instance.state == *state));
        }
        restarts.get_or_create(&NameLabels { name: instance.name }).inc_by(instance.restarts);
    }
    registry.register("instances", "Instances by state", states);
    registry.register("instance_restarts", "Starts after the first", restarts);
    let what = "Connections that ganger handed to the living process and it took";
    registry.register("instance_connections", what, taken);
    let what = "Connections handed over and not yet taken";
    registry.register("instance_connections_in_flight", what, in_flight);
}

async fn queues(full: &Full, registry: &mut Registry) -> Result<(), Fault> {
    let depths = Family::<QueueLabels, Number>::default();
    let paused = Family::<NameLabels, Number>::default();
    let caches: [Family<NameLabels, Counter>; 3] = Default::default();
    let cached: [Family<NameLabels, Number>; 2] = Default::default();
    for look in full.tasks.queues().await? {
        for state in TaskState::ALL {
            let labels = QueueLabels { queue: look.row.name.to_string(), state: state.as_str() };
            let n = i64::try_from(look.row.counts.get(*state)).unwrap_or(i64::MAX);
            depths.get_or_create(&labels).set(n);
        }
        let name = NameLabels { name: look.row.name.to_string() };
        let cache = look.cache;
        if cache != ganger_store::CacheStats::default() {
            let figures = [cache.hits, cache.misses, cache.evicted];
            for (family, n) in caches.iter().zip(figures) {
                family.get_or_create(&name).inc_by(n);
            }
            for (family, n) in cached.iter().zip([cache.entries, cache.bytes]) {
                family.get_or_create(&name).set(i64::try_from(n).unwrap_or(i64::MAX));
            }
        }
        paused.get_or_create(&name).set(i64::from(look.row.gate.paused));
    }
    registry.register("queue_tasks", "Tasks by queue and state", depths);
    let [hits, misses, evicted] = caches;
    registry.register("queue_cache_hits", "Pushes answered from the result cache", hits);
    registry.register("queue_cache_misses", "Pushes that had to run", misses);
    registry.register("queue_cache_evictions", "Results dropped for want of room", evicted);
    let [entries, bytes] = cached;
    registry.register("queue_cache_entries", "Results in the cache", entries);
    registry.register("queue_cache_bytes", "Bytes of results in the cache", bytes);
    registry.register("queue_paused", "1: the queue hands out nothing", paused);
    Ok(())
}

async fn tasks(full: &Full, registry: &mut Registry) -> Result<(), Fault> {
    let stats = full.tasks.stats().await?;
    let engine = stats.engine;
    count(registry, "tasks_pushed", "Tasks pushed", engine.pushed);
    count(registry, "tasks_claimed", "Attempts handed to workers", engine.claimed);
    count(registry, "tasks_completed", "Tasks that ended well", engine.completed);
    count(registry, "tasks_discarded", "Tasks that became dead letters", engine.discarded);
    count(
        registry,
        "tasks_quarantined",
        "Of these, tasks that crashed or timed out too often",
        engine.quarantined,
    );
    count(
        registry,
        "dead_letters_pruned",
        "Dead letters dropped for the bounds of their queue or of the history",
        engine.letters_pruned + full.writer.stats().letters_pruned,
    );
    count(
        registry,
        "tasks_retried",
        "Attempts that failed and will be tried again",
        engine.retried,
    );
    count(registry, "tasks_crashed", "Attempts whose process ended under them", engine.crashed);
    count(
        registry,
        "stale_writes_refused",
        "Writes of attempts that were no longer theirs",
        engine.stale,
    );
    number(registry, "attempts_held", "Attempts with workers now", stats.holding);
    number(registry, "workers_connected", "Workers that take tasks", stats.workers);
    Ok(())
}

async fn schedules(full: &Full, registry: &mut Registry) -> Result<(), Fault> {
    let (fired, skipped) =
        (Family::<NameLabels, Count>::default(), Family::<NameLabels, Count>::default());
    let (waiting, paused) =
        (Family::<NameLabels, Number>::default(), Family::<NameLabels, Number>::default());
    for look in full.schedules.list().await? {
        let name = NameLabels { name: look.view.name.to_string() };
        let row = look.row.as_ref();
        fired.get_or_create(&name).inc_by(row.map_or(0, |row| row.fired));
        skipped.get_or_create(&name).inc_by(row.map_or(0, |row| row.skipped));
        waiting.get_or_create(&name).set(i64::try_from(look.view.held).unwrap_or(i64::MAX));
        paused.get_or_create(&name).set(i64::from(look.view.paused));
    }
    registry.register("schedule_fires", "Fires that got a task", fired);
    registry.register("schedule_skipped", "Fires that were left out", skipped);
    registry.register("schedule_waiting", "Fires that wait for the task before", waiting);
    registry.register("schedule_paused", "1: the schedule fires nothing", paused);
    Ok(())
}

fn store(full: &Full, registry: &mut Registry) {
    let stats = full.writer.stats();
    count(registry, "store_commits", "Transactions committed", stats.commits);
    let commits = CommitTimes(stats);
    registry.register("store_commit_seconds", "How long transactions took", commits);
    count(registry, "store_rows", "Rows written in them", stats.rows);
    number(registry, "store_log_bytes", "Bytes in the write-ahead log", stats.log_bytes);
    count(registry, "store_failures", "Transactions that failed", stats.failures);
    count(
        registry,
        "store_refused",
        "Operations refused: stale attempts, wrong states",
        stats.refused,
    );
}

/// The writer's own histogram, as it stands at this scrape.
#[derive(Debug)]
struct CommitTimes(WriterStats);

impl EncodeMetric for CommitTimes {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), std::fmt::Error> {
        let seconds = |us: u64| us as f64 / 1e6;
        let bounds = COMMIT_BUCKETS_US.into_iter().map(seconds).chain([f64::INFINITY]);
        let buckets: Vec<_> = bounds.zip(self.0.commit_buckets).collect();
        let sum = seconds(self.0.commit_total_us);
        encoder.encode_histogram::<NoLabelSet>(sum, self.0.commits, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

fn count(registry: &mut Registry, name: &str, help: &str, value: u64) {
    let counter = Count::default();
    counter.inc_by(value);
    registry.register(name, help, counter);
}

fn number(registry: &mut Registry, name: &str, help: &str, value: u64) {
    let gauge = Number::default();
    gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
    registry.register(name, help, gauge);
}
