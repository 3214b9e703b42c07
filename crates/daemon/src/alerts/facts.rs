//! What is known about an alert when it is told: which process, what is usual, what may be the cause, what was said last, what helps.

use std::time::Duration;

use ganger_alert::notify::message::LOG_LINES;
use ganger_alert::notify::{About, Cause};
use ganger_alert::{Alert, Object, Rule, Time};
use ganger_core::Dur;
use ganger_logs::{LogReader, Query};
use ganger_monitor::MetricInfo;
use ganger_series::{Reader, What};

use super::look::{Now, parts, stats};
use super::vocabulary::{Source, base, metric};

/// What is usual is told of the day before.
const BASELINE: Duration = Duration::from_secs(86_400);
/// What happened so long before an alert may be its cause.
const BEFORE_MS: u64 = 15 * 60_000;
/// Marks that are looked at: the newest.
const MARKS: usize = 200;

/// Everything that is known; blocks.
pub(super) fn about(alert: &Alert, rule: Option<&Rule>, now: &Now, logs: &LogReader) -> About {
    let object = &alert.object;
    let views: Vec<_> = now.instances(&object.name).collect();
    let one = (views.len() == 1).then(|| views[0]).filter(|_| object.kind != "queue");
    let mut about = About {
        pid: one.and_then(|view| view.pid),
        attempt: one.map(|view| view.restarts).filter(|restarts| *restarts > 0),
        try_this: try_this(alert, rule, now),
        ..About::default()
    };
    if let (Some(series), Some(info)) = (&now.series, rule.and_then(main)) {
        about.baseline = usual(series, object, info, alert.starts);
    }
    about.causes = causes(alert, now);
    about.log = log(object, now, logs);
    about
}

/// The metric that the rule is about: the first of its condition.
fn main(rule: &Rule) -> Option<&'static MetricInfo> {
    let (of, query) = rule.reads().metrics.into_iter().next()?;
    match metric(&of.kind, &query.metric)? {
        Source::Series(info) => Some(info),
        Source::Counted { .. } => None,
    }
}

/// The median of the day before, or the mean where there is none, of the instance that has most; and of how many seconds.
fn usual(series: &Reader, object: &Object, info: &MetricInfo, end: Time) -> Option<(f64, u64)> {
    let all = stats(series, object, info, end.saturating_sub(1_000), BASELINE);
    let of = all.iter().map(|one| (one.percentile(50.0).unwrap_or(one.mean), one.count));
    let (value, seconds) = of.max_by(|a, b| a.0.total_cmp(&b.0))?;
    (seconds > 0).then(|| (value * base(info.meaning), seconds))
}

fn causes(alert: &Alert, now: &Now) -> Vec<Cause> {
    let (name, slot) = parts(&alert.object.name);
    let mut causes = Vec::new();
    let ago = |at: u64| Dur(Duration::from_secs(alert.starts.saturating_sub(at) / 1_000));
    let from = alert.starts.saturating_sub(BEFORE_MS);
    let seconds = |ms: u64| i64::try_from(ms / 1_000).unwrap_or(i64::MAX);
    let marks = now.series.as_ref().filter(|_| !name.is_empty()).and_then(|series| {
        series.marks(Some(name), seconds(from)..seconds(alert.starts).saturating_add(1)).ok()
    });
    let marks = marks.unwrap_or_default();
    for mark in marks.iter().rev().take(MARKS) {
        if slot.is_some() && mark.slot.is_some() && mark.slot != slot {
            continue;
        }
        let at = ago(u64::try_from(mark.at_ms).unwrap_or(0));
        let (what, weight) = match &mark.what {
            What::Deploy { reason } => (format!("reloaded {at} before: {reason}"), 0.8),
            What::Oom { .. } => (format!("the kernel ended it for its memory {at} before"), 0.9),
            What::Exit { end, .. } if !end.is_success() => (format!("{end}, {at} before"), 0.6),
            What::Restart { reason } => (format!("started again {at} before: {reason}"), 0.4),
            What::Scale { from, to } => (format!("scaled from {from} to {to} {at} before"), 0.3),
            What::Exit { .. } => continue,
        };
        // The newest of a kind says it.
        if !causes.iter().any(|known: &Cause| known.weight.total_cmp(&weight).is_eq()) {
            causes.push(Cause { what, weight });
        }
    }
    causes.extend(of_queue(alert, now));
    causes.extend(of_host(now));
    causes
}

/// Why a queue does not move.
fn of_queue(alert: &Alert, now: &Now) -> Vec<Cause> {
    if alert.object.kind != "queue" {
        return Vec::new();
    }
    let name = &alert.object.name;
    let look = now.queues.iter().find(|look| &*look.row.name == name.as_str());
    let mut causes = Vec::new();
    if look.is_some_and(|look| look.row.gate.paused) {
        causes.push(Cause { what: format!("queue {name} is paused"), weight: 0.95 });
    }
    let pools: Vec<&String> = pools(name, now).collect();
    if pools.is_empty() {
        causes.push(Cause { what: format!("no pool takes from {name}"), weight: 0.95 });
    }
    for pool in pools {
        let up = now.instances(pool).filter(|view| view.ready).count();
        if up == 0 {
            causes.push(Cause { what: format!("no worker of pool {pool} is ready"), weight: 0.9 });
        }
    }
    causes
}

fn pools<'a>(queue: &'a str, now: &'a Now) -> impl Iterator<Item = &'a String> {
    let all = now.desired.config.pools.iter();
    all.filter(move |(_, pool)| pool.queues.iter().any(|name| name == queue)).map(|(name, _)| name)
}

/// What the machine lacks.
fn of_host(now: &Now) -> Option<Cause> {
    let memory = now.tick.as_ref()?.host.memory;
    let left = memory.available as f64 / memory.total.max(1) as f64;
    (memory.total > 0 && left < 0.05).then(|| Cause {
        what: format!("the machine has {:.1} % of its memory left", left * 100.0),
        weight: 0.7,
    })
}

/// The newest lines of who is concerned.
fn log(object: &Object, now: &Now, logs: &LogReader) -> Vec<String> {
    let (name, slot) = parts(&object.name);
    let names: Vec<&str> = match &*object.kind {
        "service" | "pool" => vec![name],
        "queue" => pools(name, now).map(String::as_str).collect(),
        _ => Vec::new(),
    };
    if names.is_empty() {
        return Vec::new();
    }
    let tail_n = Some(LOG_LINES as u64);
    let query = Query { slot, tail_n, ..Query::of(names) };
    // Who has said nothing yet has no log.
    let lines = logs.read(&query).map(|lines| lines.filter_map(Result::ok).collect::<Vec<_>>());
    lines.unwrap_or_default().into_iter().map(|line| line.line).collect()
}

/// Commands that help, the first one first.
fn try_this(alert: &Alert, rule: Option<&Rule>, now: &Now) -> Vec<String> {
    let object = &alert.object;
    let (name, _) = parts(&object.name);
    let first = rule.and_then(|rule| Some(rule.reads().metrics.first()?.1.metric.clone()));
    let about = |words: &[&str]| first.as_deref().is_some_and(|m| words.contains(&m));
    let mut all = Vec::new();
    match &*object.kind {
        "queue" => {
            all.push(format!("ganger queue get {name}"));
            if about(&["discarded"]) {
                all.push(format!("ganger dead list --queue {name}"));
            }
            for pool in pools(name, now) {
                let workers = now.desired.replicas(pool).unwrap_or(0);
                all.push(format!("ganger scale {pool} {}", workers.saturating_mul(2).max(1)));
            }
        }
        "host" => {
            all.extend(["ganger stats".to_owned(), "ganger stats host --range 6h".to_owned()])
        }
        _ => {
            all.push(format!("ganger logs {}", object.name));
            if about(&["cpu", "throttled"]) {
                all.push(format!("ganger profile {name} -d 10s -o {name}.svg"));
            } else if about(&["up", "down", "ready", "failed", "restarts", "crashes"]) {
                all.push(format!("ganger why {name}"));
            } else {
                all.push(format!("ganger stats {} --range 6h", object.name));
            }
            all.push(format!("ganger restart {}", object.name));
        }
    }
    all
}
