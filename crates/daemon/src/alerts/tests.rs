//! Rules over what a daemon really sees, in virtual time: values, windows, notifications with their facts, restarts.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ganger_alert::{Object, Rule, RuleSettings, StateName, Values};
use ganger_monitor::{Tick, tree_metrics};
use ganger_sampler::{Tree, TreeId};
use ganger_series::{Key, Kind, Mark, Metric, Options, Reader, Schema, Series, What};
use ganger_supervise::Snapshot;

use super::core::Core;
use super::look::{Look, Memory, Now, Past};
use super::*;
use crate::config::Config;

/// 2026-11-23 00:00 UTC.
const START: u64 = 1_795_392_000_000;
const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const CONFIG: &str = "[service.web]\ncommand = \"sleep 1000\"\nreplicas = 2\n\
    [queue.jobs]\n[pool.work]\ncommand = \"sleep 1000\"\nqueues = [\"jobs\"]\n";

fn desired(more: &str) -> Arc<Desired> {
    let env = BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".to_owned())]);
    let text = format!("{CONFIG}{more}");
    let loaded = crate::config::load_text(&text, Path::new("/"), &env);
    let config: Config = loaded.unwrap_or_else(|errors| panic!("{errors}")).config;
    Arc::new(Desired { config: Arc::new(config), ..Desired::default() })
}

fn tree(name: &str, slot: u32, resident: u64) -> Tree {
    Tree {
        id: TreeId(0),
        name: name.into(),
        slot,
        watched: true,
        root: 100 + slot,
        alive: true,
        total: Default::default(),
        cpu_delta_ns: 0,
        processes: 1,
        threads: 1,
        resident,
        proportional: None,
        proportional_unknown: 0,
        swap: 0,
        descriptors: 3,
        descriptor_ratio: 0.01,
        switches: (0, 0),
        group: None,
    }
}

/// What is seen at a time when web's second instance has so much memory.
fn now(at: u64, desired: &Arc<Desired>, resident: u64) -> Now {
    let trees = vec![tree("web", 1, 1 << 20), tree("web", 2, resident)];
    let tick = Tick { at_ms: at, passed: Duration::from_secs(1), trees, ..Tick::default() };
    Now {
        at,
        desired: Arc::clone(desired),
        tick: Some(Arc::new(tick)),
        services: Arc::new(Snapshot::default()),
        workers: Arc::new(Snapshot::default()),
        queues: Vec::new(),
        series: None,
        findings: Arc::default(),
    }
}

fn rule(when: &str) -> Rule {
    let rule = Rule::new("r", RuleSettings::new(when)).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(vocabulary::faults(&rule), []);
    rule
}

fn value(when: &str, now: &Now, memory: &Memory) -> Option<f64> {
    let rule = rule(when);
    let (of, query) = rule.reads().metrics[0];
    Look { now, memory }.value(&of.only().unwrap(), query, now.at)
}

/// A folder of files in memory, where there is one: a day of virtual time writes its state a thousand times.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

#[test]
fn a_square_wave_of_a_day_is_told_three_times_at_most() {
    let dir = folder();
    let desired = desired("[alert.big]\nwhen = \"memory{service:web} > 512MiB\"\n");
    let mut core = Core::open(dir.path(), &desired.config.alerting, START);
    let (mut told, mut fired) = (Vec::new(), 0);
    for at in (START..START + 24 * HOUR).step_by(10_000) {
        let resident = if at % (20 * MINUTE) < 10 * MINUTE { 1 << 30 } else { 1 << 20 };
        let now = now(at, &desired, resident);
        let (changes, notifications) = core.evaluate(&now);
        fired += changes.iter().filter(|c| c.to == StateName::Firing).count();
        core.tell(&notifications, &now);
        told.extend(notifications);
    }
    assert!((1..=3).contains(&told.len()), "{}", told.len());
    assert!(fired >= 1);
    assert!(told.last().unwrap().alerts[0].flapping.is_some());
}

#[test]
fn levels_are_of_the_instance_that_has_most_and_old_looks_tell_nothing() {
    let desired = desired("");
    let at = START;
    let seen = now(at, &desired, 7 << 20);
    let of = |when: &str| value(when, &seen, &Memory::default());
    assert_eq!(of("memory{service:web} > 1"), Some((7 << 20) as f64));
    assert_eq!(of("rss{service:web#1} > 1"), Some((1 << 20) as f64));
    assert_eq!(of("fds{service:web} > 1"), Some(3.0));
    assert_eq!(of("memory{pool:work} > 1"), None);
    let late = Now { at: at + MINUTE, ..now(at, &desired, 7 << 20) };
    assert_eq!(value("memory{service:web} > 1", &late, &Memory::default()), None);
}

#[test]
fn what_is_counted_is_of_now_and_windows_are_remembered() {
    let desired = desired("");
    let mut seen = now(START, &desired, 1);
    assert_eq!(value("down{service:web} > 0", &seen, &Memory::default()), Some(2.0));
    assert_eq!(value("up{service:web} < 1", &seen, &Memory::default()), Some(0.0));
    assert_eq!(value("up{service:nobody} < 1", &seen, &Memory::default()), None);
    let stopped = Desired { stopped: ["web".to_owned()].into(), ..(*desired).clone() };
    seen.desired = Arc::new(stopped);
    assert_eq!(value("down{service:web} > 0", &seen, &Memory::default()), Some(0.0));

    let rules = [rule("max(down{service:web}, 1m) > 0")];
    let mut memory = Memory::default();
    for n in 0..30 {
        let mut at = now(START + n * 5 * SECOND, &desired, 1);
        if n >= 10 {
            at.desired = Arc::clone(&seen.desired);
        }
        memory.note(&rules, &at);
        let expected = if n < 10 + 12 { 2.0 } else { 0.0 };
        assert_eq!(value("max(down{service:web}, 1m) > 0", &at, &memory), Some(expected), "{n}");
    }
    memory.note(&[], &seen);
    assert_eq!(value("max(down{service:web}, 1m) > 0", &seen, &memory), None);
}

/// Two hours of one instance: half a processor, memory that is 100 MiB for an hour and 300 MiB after that.
fn series(dir: &Path) -> Reader {
    let metrics = tree_metrics().iter().map(|info| {
        let kind = if info.counter { Kind::Counter } else { Kind::Gauge };
        let metric = Metric::new(info.name, kind).unwrap();
        if info.sketched { metric.sketched() } else { metric }
    });
    let schema = Schema::new(metrics.collect()).unwrap();
    let begin = i64::try_from(START / 1_000).unwrap();
    let mut series = Series::open(Options::new(dir.join("series")), begin).unwrap();
    let web = series.object(&Key::new("web", 1).unwrap(), &schema).unwrap();
    for second in 0..7_200 {
        series.begin(begin + second).unwrap();
        let memory = if second < 3_600 { 100 << 10 } else { 300 << 10 };
        let mut row = vec![0; tree_metrics().len()];
        (row[0], row[1]) = (second * 5_000, memory);
        series.push(web, &row).unwrap();
    }
    let at_ms = i64::try_from(START).unwrap() + 3_590_000;
    let what = What::Deploy { reason: "1.4 to 1.5".to_owned() };
    series.mark(&Mark { at_ms, name: "web".into(), slot: None, what }).wait().unwrap();
    let reader = series.snapshot();
    series.close().wait();
    reader
}

#[test]
fn windows_are_read_from_series_and_the_past_is_tried() {
    let dir = folder();
    let reader = series(dir.path());
    let desired = desired("");
    let mut seen = now(START + 2 * HOUR - SECOND, &desired, 1);
    seen.series = Some(reader);
    let of = |when: &str| value(when, &seen, &Memory::default()).unwrap();
    assert!((of("avg(cpu{service:web}, 5m) > 1") - 0.5).abs() < 0.01);
    assert!((of("cpu{service:web} > 1") - 0.5).abs() < 0.01);
    let mib = |value: f64| value / f64::from(1 << 20);
    assert!((mib(of("p95(memory{service:web}, 10m) > 1")) - 300.0).abs() < 4.0);
    assert!((mib(of("min(memory{service:web}, 90m) > 1")) - 100.0).abs() < 0.1);
    let reader = seen.series.take().unwrap();
    let past = Past { now: &seen, series: &reader };
    let rule = rule("max(memory{service:web}, 1m) > 200MiB");
    let found = ganger_alert::replay(
        rule,
        &past,
        START,
        START + 2 * HOUR - SECOND,
        Duration::from_secs(60),
    );
    assert_eq!(found.fired, 1);
    let from = found.episodes[0].from - START;
    assert!((HOUR - MINUTE..HOUR + 2 * MINUTE).contains(&from), "{from}");
    assert_eq!(found.episodes[0].until, None);
    let counted =
        super::look::forgotten(&self::rule("depth{queue:jobs} > 3 or finding(leak{service:web})"));
    assert_eq!(counted, ["depth", "finding(leak)"]);
}

#[test]
fn a_notification_says_what_is_usual_why_and_what_to_try() {
    let dir = folder();
    let reader = series(dir.path());
    let desired = desired(
        "[alert.big]\nwhen = \"max(memory{service:web}, 1m) > 200MiB\"\nnotify = [\"ops\"]\n\
         [notify.ops]\nwebhook = \"http://127.0.0.1:9/x\"\nallow_local = true\n",
    );
    let mut core = Core::open(dir.path(), &desired.config.alerting, START);
    let mut told = Vec::new();
    let mut seen = now(START, &desired, 1);
    seen.series = Some(reader);
    for second in (3_500..3_700).step_by(5) {
        seen.at = START + second * SECOND;
        let (_, notifications) = core.evaluate(&seen);
        core.tell(&notifications, &seen);
        told.extend(notifications);
    }
    assert_eq!(told.len(), 1);
    let due = core.due(seen.at, 10);
    assert_eq!(due.len(), 1);
    let body: serde_json::Value = serde_json::from_str(&due[0].0.body).unwrap();
    let said = &body["alerts"][0]["annotations"];
    let value = said["ganger_value"].as_str().unwrap();
    assert!(value.contains(" = 300 MiB (> 200 MiB), usually 100 MiB"), "{value}");
    assert!(said["ganger_causes"].as_str().unwrap().contains("before: 1.4 to 1.5"), "{said}");
    assert!(said["ganger_try"].as_str().unwrap().contains("ganger restart web"));
    // A daemon that dies here sends it again, under the same id, and tells nothing twice.
    let id = due[0].0.id.clone();
    drop(core);
    let mut again = Core::open(dir.path(), &desired.config.alerting, seen.at);
    seen.at += 5 * SECOND;
    let (changes, notifications) = again.evaluate(&seen);
    assert_eq!((changes.len(), notifications.len()), (0, 0));
    assert_eq!(
        again.due(seen.at, 10).into_iter().map(|(entry, _)| entry.id).collect::<Vec<_>>(),
        [id]
    );
    assert_eq!(again.view(seen.at).rows[0].state, StateName::Firing);
}

#[test]
fn what_leaves_the_configuration_ends() {
    let dir = folder();
    let with = desired("[alert.down]\nwhen = \"down{service:*} > 0\"\n");
    let mut core = Core::open(dir.path(), &with.config.alerting, START);
    let (changes, _) = core.evaluate(&now(START, &with, 1));
    assert_eq!(changes.len(), 1);
    assert_eq!(changes[0].object, Object::new("service", "web"));
    let mut config = (*with.config).clone();
    config.services.clear();
    let without = Desired { config: Arc::new(config), ..(*with).clone() };
    let ended = core.wanted(&with, &without, START + MINUTE);
    assert_eq!(ended.len(), 1);
    assert_eq!(ended[0].ended, Some(ganger_alert::Ended::Gone));
    assert!(core.view(START + MINUTE).rows.is_empty());
}
