//! `GET /metrics`: Prometheus text or OpenMetrics, made at each scrape from what owners publish. Nothing is counted twice.

mod page;
mod processes;

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use ganger_api::Instance;
use ganger_core::{InstanceState, TaskState};
use ganger_ipc::broker::Counts;
use ganger_series::text::Format;
use ganger_store::COMMIT_BUCKETS_US;

use super::error::Fault;
use crate::app::{App, Full};
use page::Page;

pub(crate) async fn metrics(State(app): State<App>, headers: HeaderMap) -> Result<Response, Fault> {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    let format = Format::of_accept(accept.unwrap_or_default());
    let mut text = String::new();
    let mut page = Page::new(&mut text, format);
    daemon(&app, &mut page);
    instances(&app.instances().await, &mut page);
    if let Ok(full) = app.full() {
        queues(full, &mut page).await?;
        tasks(full, &mut page).await?;
        schedules(full, &mut page).await?;
        store(full, &mut page);
        exchange(full, &mut page).await;
        alerts(full, &mut page);
        if let Some(monitor) = &full.monitor {
            processes::put(&monitor.newest(), &mut page);
        }
    }
    page.finish();
    Ok(([(header::CONTENT_TYPE, format.content_type())], text).into_response())
}

/// What services said to each other.
async fn exchange(full: &Full, page: &mut Page<'_>) {
    // Without it the daemon is on its way out.
    let Ok(counts) = full.exchange.counts().await else { return };
    let Counts { answered, failed, delivered, dropped, peers } = counts;
    page.count("channel_requests_answered", "Requests that their responder answered", answered);
    let what = "Requests without an answer: refused, out of time, cancelled, gone";
    page.count("channel_requests_failed", what, failed);
    page.count("channel_messages", "Published messages put into subscriptions", delivered);
    page.count("channel_messages_dropped", "Messages dropped for slow subscribers", dropped);
    page.number("channel_peers", "Services' channels and callers of the API", peers);
}

/// As Prometheus' `ALERTS`, under a name of ours.
fn alerts(full: &Full, page: &mut Page<'_>) {
    let view = full.alerts.view();
    page.gauges("alerts", "1 for each alert that is not merely inactive");
    for row in &view.rows {
        let (alert, state) = (&row.alert, crate::alerts::state_word(row.state));
        let severity = alert.labels.get("severity").map_or("", String::as_str);
        let object = alert.object.to_string();
        let labels = [
            ("alertname", &*alert.rule),
            ("alertstate", state),
            ("object", &object),
            ("severity", severity),
        ];
        page.sample(&labels, 1u64);
    }
    page.gauges("anomalies", "Score of each anomaly that is open");
    for told in &full.anomalies.borrow().open {
        let slot = told.slot.to_string();
        let labels = [("name", &*told.name), ("slot", &slot), ("detector", told.detector())];
        let of = [("of", crate::anomalies::of(told))];
        page.sample(&[labels.as_slice(), &of].concat(), told.incident.finding.score);
    }
    page.count("alert_evaluations", "Looks at a rule for an object", view.counts.evaluated);
    page.count("alert_notifications", "Notifications made", view.counts.notified);
    page.count("alerts_refused", "Alerts beyond the bound", view.counts.refused);
    page.number("alert_messages_waiting", "Messages that no receiver took yet", view.waiting);
    page.number("alert_messages_dead", "Messages that were given up", view.dead.len() as u64);
}

fn daemon(app: &App, page: &mut Page<'_>) {
    page.number("uptime_seconds", "Since this daemon started", app.uptime().as_secs());
    page.number("api_only", "1: this daemon only answers", u64::from(app.full().is_err()));
    let dropped = app.about().log_bytes_dropped;
    let what = "Log bytes dropped on full disks, since this daemon started";
    page.count("log_dropped_bytes", what, dropped);
    let degraded: std::collections::BTreeSet<String> =
        app.degraded().into_iter().map(|item| item.what).collect();
    page.gauges("degraded", "1 for each thing that works less than it should");
    for what in &degraded {
        page.sample(&[("what", what)], 1u64);
    }
}

fn instances(all: &[Instance], page: &mut Page<'_>) {
    let mut states: BTreeMap<(&str, &str), BTreeMap<InstanceState, u64>> = BTreeMap::new();
    let mut restarts: BTreeMap<&str, u64> = BTreeMap::new();
    for instance in all {
        // All states, so that one that nobody is in reads 0.
        let own = states.entry((&instance.name, instance.kind.as_str())).or_default();
        for state in InstanceState::ALL {
            *own.entry(*state).or_default() += u64::from(instance.state == *state);
        }
        *restarts.entry(&instance.name).or_default() += instance.restarts;
    }
    page.gauges("instances", "Instances by state");
    for ((name, kind), own) in &states {
        for (state, n) in own {
            page.sample(&[("name", name), ("kind", kind), ("state", state.as_str())], *n);
        }
    }
    page.counts("instance_restarts", "Starts after the first");
    for (name, n) in &restarts {
        page.sample(&[("name", name)], *n);
    }
    let connected = || {
        let with = all.iter().filter_map(|one| Some((one, one.connections.as_ref()?)));
        with.map(|(one, connections)| (one.name.as_str(), one.slot.to_string(), connections))
    };
    page.counts(
        "instance_connections",
        "Connections that ganger handed to the living process and it took",
    );
    for (name, slot, connections) in connected() {
        page.sample(&[("name", name), ("slot", &slot)], connections.taken);
    }
    page.gauges("instance_connections_in_flight", "Connections handed over and not yet taken");
    for (name, slot, connections) in connected() {
        page.sample(&[("name", name), ("slot", &slot)], connections.in_flight);
    }
}

async fn queues(full: &Full, page: &mut Page<'_>) -> Result<(), Fault> {
    let looks = full.tasks.queues().await?;
    page.gauges("queue_tasks", "Tasks by queue and state");
    for look in &looks {
        for state in TaskState::ALL {
            let labels = [("queue", look.row.name.as_ref()), ("state", state.as_str())];
            page.sample(&labels, look.row.counts.get(*state));
        }
    }
    let cached = || {
        let used = looks.iter().filter(|look| look.cache != ganger_store::CacheStats::default());
        used.map(|look| (look.row.name.as_ref(), &look.cache))
    };
    page.counts("queue_cache_hits", "Pushes answered from the result cache");
    cached().for_each(|(name, cache)| page.sample(&[("name", name)], cache.hits));
    page.counts("queue_cache_misses", "Pushes that had to run");
    cached().for_each(|(name, cache)| page.sample(&[("name", name)], cache.misses));
    page.counts("queue_cache_evictions", "Results dropped for want of room");
    cached().for_each(|(name, cache)| page.sample(&[("name", name)], cache.evicted));
    page.gauges("queue_cache_entries", "Results in the cache");
    cached().for_each(|(name, cache)| page.sample(&[("name", name)], cache.entries));
    page.gauges("queue_cache_bytes", "Bytes of results in the cache");
    cached().for_each(|(name, cache)| page.sample(&[("name", name)], cache.bytes));
    page.gauges("queue_paused", "1: the queue hands out nothing");
    for look in &looks {
        page.sample(&[("name", look.row.name.as_ref())], u64::from(look.row.gate.paused));
    }
    Ok(())
}

async fn tasks(full: &Full, page: &mut Page<'_>) -> Result<(), Fault> {
    let stats = full.tasks.stats().await?;
    let engine = stats.engine;
    page.count("tasks_pushed", "Tasks pushed", engine.pushed);
    page.count("tasks_claimed", "Attempts handed to workers", engine.claimed);
    page.count("tasks_completed", "Tasks that ended well", engine.completed);
    page.count("tasks_discarded", "Tasks that became dead letters", engine.discarded);
    let what = "Of these, tasks that crashed or timed out too often";
    page.count("tasks_quarantined", what, engine.quarantined);
    let pruned = engine.letters_pruned + full.writer.stats().letters_pruned;
    let what = "Dead letters dropped for the bounds of their queue or of the history";
    page.count("dead_letters_pruned", what, pruned);
    let what = "Attempts that failed and will be tried again";
    page.count("tasks_retried", what, engine.retried);
    page.count("tasks_crashed", "Attempts whose process ended under them", engine.crashed);
    let what = "Writes of attempts that were no longer theirs";
    page.count("stale_writes_refused", what, engine.stale);
    page.number("attempts_held", "Attempts with workers now", stats.holding as u64);
    page.number("workers_connected", "Workers that take tasks", stats.workers as u64);
    Ok(())
}

async fn schedules(full: &Full, page: &mut Page<'_>) -> Result<(), Fault> {
    let all = full.schedules.list().await?;
    page.counts("schedule_fires", "Fires that got a task");
    for look in &all {
        let fired = look.row.as_ref().map_or(0, |row| row.fired);
        page.sample(&[("name", look.view.name.as_ref())], fired);
    }
    page.counts("schedule_skipped", "Fires that were left out");
    for look in &all {
        let skipped = look.row.as_ref().map_or(0, |row| row.skipped);
        page.sample(&[("name", look.view.name.as_ref())], skipped);
    }
    page.gauges("schedule_waiting", "Fires that wait for the task before");
    for look in &all {
        page.sample(&[("name", look.view.name.as_ref())], look.view.held as u64);
    }
    page.gauges("schedule_paused", "1: the schedule fires nothing");
    for look in &all {
        page.sample(&[("name", look.view.name.as_ref())], u64::from(look.view.paused));
    }
    Ok(())
}

fn store(full: &Full, page: &mut Page<'_>) {
    let stats = full.writer.stats();
    page.count("store_commits", "Transactions committed", stats.commits);
    let seconds = |us: u64| us as f64 / 1e6;
    let bounds = COMMIT_BUCKETS_US.into_iter().map(seconds);
    page.histogram(
        "store_commit_seconds",
        "How long transactions took",
        bounds.zip(stats.commit_buckets),
        (seconds(stats.commit_total_us), stats.commits),
    );
    page.count("store_rows", "Rows written in them", stats.rows);
    page.number("store_log_bytes", "Bytes in the write-ahead log", stats.log_bytes);
    page.count("store_failures", "Transactions that failed", stats.failures);
    page.count("store_refused", "Operations refused: stale attempts, wrong states", stats.refused);
}
