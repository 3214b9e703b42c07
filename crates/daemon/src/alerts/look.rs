//! What conditions read: the monitor's last look, its series, and what supervision and queues count.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use ganger_alert::{Object, Query, Read, Rule, Selector, Time, Values, reduce};
use ganger_core::{InstanceState, TaskState};
use ganger_monitor::{HOST, MetricInfo, Tick};
use ganger_pool::QueueLook;
use ganger_sampler::{Host, Tree};
use ganger_series::{Key, Reader, Stats};
use ganger_supervise::{InstanceView, Snapshot};

use super::vocabulary::{COUNTED_WINDOW_MAX_S, Source, base, metric};
use crate::desired::Desired;

/// A look older than this tells nothing of now.
const FRESH_MS: u64 = 10_000;
/// The window of what is read without one, where it is a rate.
const NOW: Duration = Duration::from_secs(10);
/// Counted values that are remembered at a time, over all objects: some 16 MiB.
const REMEMBERED_MAX: usize = 1 << 20;

/// What a rule needs beyond the last look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Needs {
    pub(super) series: bool,
    pub(super) queues: bool,
}

/// What these rules need.
pub(super) fn needs(rules: &[Rule]) -> Needs {
    let mut needs = Needs::default();
    for rule in rules {
        for (of, query) in rule.reads().metrics {
            let source = metric(&of.kind, &query.metric);
            let series = matches!(source, Some(Source::Series(info))
                if query.range.is_some() || newest(info.name).is_none());
            needs.series |= series;
            needs.queues |= of.kind == "queue";
        }
    }
    needs
}

/// Everything that was gathered at one time.
#[derive(Debug)]
pub(super) struct Now {
    pub(super) at: Time,
    pub(super) desired: Arc<Desired>,
    pub(super) tick: Option<Arc<Tick>>,
    pub(super) services: Arc<Snapshot>,
    pub(super) workers: Arc<Snapshot>,
    pub(super) queues: Vec<QueueLook>,
    pub(super) series: Option<Reader>,
    pub(super) findings: Arc<super::Findings>,
}

impl Now {
    /// Instances of an object: `web`, or `web#2`.
    pub(super) fn instances<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a InstanceView> {
        let (name, slot) = parts(name);
        let all = self.services.of(name).chain(self.workers.of(name));
        all.filter(move |view| slot.is_none_or(|slot| slot == view.id.slot)).map(|view| &**view)
    }

    fn objects(&self, selector: &Selector) -> Vec<Object> {
        let config = &self.desired.config;
        let names: Vec<String> = match (&*selector.kind, selector.name.contains('#')) {
            ("host", _) => vec![String::new()],
            ("queue", _) => config.queues.keys().cloned().collect(),
            ("service", false) => config.services.keys().cloned().collect(),
            ("pool", false) => config.pools.keys().cloned().collect(),
            (kind, true) => {
                let all = if kind == "pool" { &self.workers } else { &self.services };
                all.instances.iter().map(|view| view.id.to_string()).collect()
            }
            _ => Vec::new(),
        };
        let objects = names.into_iter().map(|name| Object::new(selector.kind.clone(), name));
        objects.filter(|object| selector.matches(object)).collect()
    }

    /// A counted value, now.
    fn counted(&self, object: &Object, metric: &str) -> Option<f64> {
        if object.kind == "queue" {
            self.of_queue(&object.name, metric)
        } else {
            self.of_instances(object, metric)
        }
    }

    fn of_queue(&self, name: &str, metric: &str) -> Option<f64> {
        let look = self.queues.iter().find(|look| &*look.row.name == name)?;
        let count = |state| look.row.counts.get(state) as f64;
        Some(match metric {
            "depth" => count(TaskState::Available) + count(TaskState::Retryable),
            "available" => count(TaskState::Available),
            "scheduled" => count(TaskState::Scheduled),
            "running" => count(TaskState::Running),
            "retryable" => count(TaskState::Retryable),
            "completed" => count(TaskState::Completed),
            "discarded" => count(TaskState::Discarded),
            "cancelled" => count(TaskState::Cancelled),
            "paused" => f64::from(u8::from(look.row.gate.paused)),
            "oldest_age" => {
                look.oldest_ms.map_or(0.0, |since| self.at.saturating_sub(since) as f64 / 1e3)
            }
            _ => return None,
        })
    }

    fn of_instances(&self, object: &Object, metric: &str) -> Option<f64> {
        let (name, slot) = parts(&object.name);
        if !self.desired.knows(name) {
            return None;
        }
        let (mut up, mut sum, mut oldest) = (0u32, 0u64, 0.0f64);
        for view in self.instances(&object.name) {
            let is_up = view.state == InstanceState::Running;
            up += u32::from(is_up);
            sum += match metric {
                "ready" => u64::from(view.ready),
                "failed" => {
                    u64::from(matches!(view.state, InstanceState::Failed | InstanceState::Backoff))
                }
                "restarts" => u64::from(view.restarts),
                "crashes" => view.crashes,
                _ => 0,
            };
            let age = view.started_at_ms.filter(|_| is_up).map(|at| self.at.saturating_sub(at));
            oldest = oldest.max(age.map_or(0.0, |ms| ms as f64 / 1e3));
        }
        Some(match metric {
            "up" => f64::from(up),
            // What a person stopped is not missed.
            "down" if self.desired.stopped.contains(name) => 0.0,
            "down" => {
                let wanted =
                    if slot.is_some() { 1 } else { self.desired.replicas(name).unwrap_or(0) };
                f64::from(wanted.saturating_sub(up))
            }
            "uptime" => oldest,
            _ => sum as f64,
        })
    }

    /// A level as the last look saw it: of the instance that has most.
    fn newest(&self, object: &Object, info: &MetricInfo) -> Option<f64> {
        let tick = self.tick.as_ref()?;
        if self.at.saturating_sub(tick.at_ms) > FRESH_MS {
            return None;
        }
        let of = newest(info.name)?;
        if object.kind == "host" {
            return (of.host)(&tick.host);
        }
        let (name, slot) = parts(&object.name);
        // By name and slot: see `Tick`.
        let from = tick.trees.partition_point(|tree| &*tree.name < name);
        let mine = tick.trees[from..].iter().take_while(|tree| &*tree.name == name);
        let mine = mine.filter(|tree| slot.is_none_or(|slot| slot == tree.slot));
        mine.filter_map(|tree| (of.tree)(tree, tick.passed)).reduce(f64::max)
    }
}

/// `web#2` is slot 2 of web.
pub(super) fn parts(name: &str) -> (&str, Option<u32>) {
    match name.split_once('#') {
        Some((name, slot)) => (name, slot.parse().ok()),
        None => (name, None),
    }
}

/// How a level is read from a look.
struct Newest {
    tree: fn(&Tree, Duration) -> Option<f64>,
    host: fn(&Host) -> Option<f64>,
}

fn newest(name: &str) -> Option<Newest> {
    let tree: fn(&Tree, Duration) -> Option<f64> = match name {
        "memory" => |tree, _| Some(tree.resident as f64),
        "memory_own" => |tree, _| Some(tree.proportional?.0 as f64),
        "swap" => |tree, _| Some(tree.swap as f64),
        "processes" => |tree, _| Some(f64::from(tree.processes)),
        "threads" => |tree, _| Some(tree.threads as f64),
        "fds" => |tree, _| Some(tree.descriptors as f64),
        "fds_used" => |tree, _| Some(tree.descriptor_ratio),
        "memory_available" | "load" => |_, _| None,
        _ => return None,
    };
    let host: fn(&Host) -> Option<f64> = match name {
        "memory" => |host| Some(host.memory.total.saturating_sub(host.memory.available) as f64),
        "memory_available" => |host| Some(host.memory.available as f64),
        "swap" => |host| Some(host.memory.swap_total.saturating_sub(host.memory.swap_free) as f64),
        "load" => |host| Some(host.load[0] as f64 / 100.0),
        _ => |_| None,
    };
    Some(Newest { tree, host })
}

/// A metric of an object over a window of series, in base units: of the instance that has most of it.
pub(super) fn of_series(
    reader: &Reader,
    object: &Object,
    info: &MetricInfo,
    query: &Query,
    now: Time,
) -> Option<f64> {
    let window = query.range.unwrap_or(NOW);
    let read = |stats: &Stats| {
        let seconds = stats.count as f64;
        let value = match query.read {
            Read::Last if info.counter => stats.mean,
            Read::Last => stats.last as f64,
            Read::Avg | Read::Rate => stats.mean,
            Read::Min => stats.min as f64,
            Read::Max => stats.max as f64,
            Read::Sum if info.counter => stats.mean * seconds,
            Read::Sum => stats.sum as f64,
            Read::Quantile(part) => stats.percentile(part * 100.0)?,
        };
        Some(value * base(info.meaning))
    };
    let all = stats(reader, object, info, now, window);
    all.iter().filter_map(read).filter(|value| value.is_finite()).reduce(f64::max)
}

/// Statistics of each instance of an object.
pub(super) fn stats(
    reader: &Reader,
    object: &Object,
    info: &MetricInfo,
    end: Time,
    window: Duration,
) -> Vec<Stats> {
    let end = i64::try_from(end / 1_000).unwrap_or(i64::MAX);
    let seconds = i64::try_from(window.as_secs().max(1)).unwrap_or(i64::MAX);
    let range = end.saturating_add(1).saturating_sub(seconds)..end.saturating_add(1);
    let keys = keys(reader, object);
    let read = |key: &Key| {
        reader.stats(key, info.name, range.clone()).unwrap_or_else(|error| {
            tracing::warn!(%error, %object, "a segment of series can't be read");
            None
        })
    };
    keys.iter().filter_map(read).collect()
}

/// The series of an object's instances.
fn keys(reader: &Reader, object: &Object) -> Vec<Key> {
    if object.kind == "host" {
        return Key::new(HOST, 0).into_iter().collect();
    }
    let (name, slot) = parts(&object.name);
    match slot {
        Some(slot) => Key::new(name, slot).into_iter().collect(),
        None => reader.objects().into_iter().filter(|key| key.name() == name).collect(),
    }
}

/// Counted values of windows, look by look; forgotten with the daemon.
#[derive(Debug, Default)]
pub(super) struct Memory {
    values: BTreeMap<(Object, String), VecDeque<(Time, f64)>>,
    held: usize,
}

impl Memory {
    /// Adds what these rules will ask for, and drops what none asks for any more.
    pub(super) fn note(&mut self, rules: &[Rule], now: &Now) {
        let mut wanted: BTreeMap<(Object, String), Duration> = BTreeMap::new();
        for rule in rules {
            for (of, query) in rule.reads().metrics {
                let (Some(range), Some(Source::Counted { .. })) =
                    (query.range, metric(&of.kind, &query.metric))
                else {
                    continue;
                };
                let objects = of.only().map_or_else(|| now.objects(of), |one| vec![one]);
                for object in objects {
                    let longest = wanted.entry((object, query.metric.clone())).or_default();
                    *longest = (*longest).max(range);
                }
            }
        }
        self.values.retain(|key, _| wanted.contains_key(key));
        for (key, range) in wanted {
            let value = now.counted(&key.0, &key.1);
            let series = self.values.entry(key).or_default();
            let range = range.as_secs().min(COUNTED_WINDOW_MAX_S) * 1_000;
            while series.front().is_some_and(|(at, _)| now.at.saturating_sub(*at) > range) {
                series.pop_front();
            }
            if let Some(value) = value.filter(|_| self.held < REMEMBERED_MAX) {
                series.push_back((now.at, value));
            }
        }
        self.held = self.values.values().map(VecDeque::len).sum();
    }

    fn window(&self, object: &Object, metric: &str, from: Time) -> Vec<(Time, f64)> {
        let found = self.values.get(&(object.clone(), metric.to_owned()));
        found.into_iter().flatten().filter(|(at, _)| *at >= from).copied().collect()
    }
}

/// What rules see.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look<'a> {
    pub(super) now: &'a Now,
    pub(super) memory: &'a Memory,
}

impl Values for Look<'_> {
    fn objects(&self, selector: &Selector, _: Time) -> Vec<Object> {
        self.now.objects(selector)
    }

    fn value(&self, object: &Object, query: &Query, now: Time) -> Option<f64> {
        match metric(&object.kind, &query.metric)? {
            Source::Counted { .. } => match query.range {
                None => self.now.counted(object, &query.metric),
                Some(range) => {
                    let from = now.saturating_sub(u64::try_from(range.as_millis()).unwrap_or(0));
                    reduce(query.read, &self.memory.window(object, &query.metric, from))
                }
            },
            Source::Series(info) => match query.range {
                None if newest(info.name).is_some() => self.now.newest(object, info),
                _ => of_series(self.now.series.as_ref()?, object, info, query, now),
            },
        }
    }

    fn finding(&self, object: &Object, detector: &str, _: Time) -> Option<f64> {
        self.now.findings.score(object, detector)
    }
}

/// What rules would have seen: series only. What was counted or found is not kept.
#[derive(Debug)]
pub(super) struct Past<'a> {
    pub(super) now: &'a Now,
    pub(super) series: &'a Reader,
}

impl Values for Past<'_> {
    fn objects(&self, selector: &Selector, _: Time) -> Vec<Object> {
        self.now.objects(selector)
    }

    fn value(&self, object: &Object, query: &Query, now: Time) -> Option<f64> {
        match metric(&object.kind, &query.metric)? {
            Source::Series(info) => of_series(self.series, object, info, query, now),
            Source::Counted { .. } => None,
        }
    }

    fn finding(&self, _: &Object, _: &str, _: Time) -> Option<f64> {
        None
    }
}

/// What of a rule's words the past does not know.
pub(super) fn forgotten(rule: &Rule) -> Vec<String> {
    let reads = rule.reads();
    let counted = reads.metrics.iter().filter(|(of, query)| {
        matches!(metric(&of.kind, &query.metric), Some(Source::Counted { .. }))
    });
    let mut all: Vec<String> = counted.map(|(_, query)| query.metric.clone()).collect();
    all.extend(reads.findings.iter().map(|(_, name)| format!("finding({name})")));
    all.sort();
    all.dedup();
    all
}
