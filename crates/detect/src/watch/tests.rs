//! The detectors together: one incident for one trouble, nothing lost at a restart, everything bounded.

use ganger_core::End;

use super::*;
use crate::desk::{Change, DESK_MAX};
use crate::finding::{Cause, Detector};

const MIB: f64 = 1_048_576.0;

/// A healthy worker at that second.
fn healthy(second: u64) -> Sample {
    let random = fastrand::Rng::with_seed(second).f64();
    Sample {
        at_ms: second * 1_000,
        cpu: Some(0.2 + 0.05 * random),
        memory: Some((200.0 + 5.0 * random) * MIB),
        memory_limit: Some(1_024.0 * MIB),
        fds: Some(20.0),
        fds_limit: Some(1_024.0),
        threads: Some(8.0),
        io: Some(1e5 * random),
        latency: Some(0.1 + 0.02 * random),
        progress: Some(Progress { queued: 3, done: second }),
        ..Sample::default()
    }
}

fn opened(changes: Vec<Change>) -> Vec<(Detector, Cause)> {
    let opened = changes.into_iter().filter_map(|change| match change {
        Change::Opened(incident) => Some((incident.finding.detector, incident.finding.cause)),
        _ => None,
    });
    opened.collect()
}

#[test]
fn a_healthy_worker_is_left_alone_for_half_a_day() {
    let mut watch = Watch::new("images#1", 0);
    for second in 0..43_200 {
        assert_eq!(opened(watch.sample(&healthy(second))), [], "at {second}");
    }
}

#[test]
fn a_daemon_s_restart_in_the_middle_changes_nothing() {
    let trouble = |second: u64| {
        let mut sample = healthy(second);
        if second > 1_500 {
            sample.cpu = Some(0.99);
            sample.progress = Some(Progress { queued: 9, done: 1_500 });
            sample.memory = Some((200.0 + (second - 1_500) as f64 * 0.5) * MIB);
        }
        sample
    };
    let mut whole = Watch::new("images#1", 3_600);
    let mut cut = whole.clone();
    let (mut first, mut second_run) = (Vec::new(), Vec::new());
    for second in 0..3_600 {
        first.extend(whole.sample(&trouble(second)));
        if second % 700 == 350 {
            cut = serde_json::from_str(&serde_json::to_string(&cut).unwrap()).unwrap();
        }
        second_run.extend(cut.sample(&trouble(second)));
    }
    let kinds = opened(first.clone());
    assert!(kinds.contains(&(Detector::Livelock, Cause::NoProgress)), "{kinds:?}");
    assert!(kinds.contains(&(Detector::Leak, Cause::Leak(Metric::Memory))), "{kinds:?}");
    let told = |changes: Vec<Change>| -> Vec<(Cause, u64)> {
        changes.iter().map(|c| (c.incident().finding.cause, c.incident().last_ms)).collect()
    };
    assert_eq!(told(first), told(second_run));
}

#[test]
fn a_crash_loop_is_told_at_its_third_end_and_closed_after_calm() {
    let mut watch = Watch::new("web#1", 0);
    let end = End::Exited { code: 7 };
    let told: Vec<_> = (1..=9).map(|n| opened(watch.end(n * 2_000, 1_900, &end)).len()).collect();
    assert_eq!(told, [0, 0, 1, 0, 0, 0, 0, 0, 0]);
    let closed = (19..900).find(|s| {
        let changes = watch.sample(&healthy(*s));
        changes.iter().any(|change| matches!(change, Change::Closed(_)))
    });
    // Calm for 300 s ends the loop, 60 s later the incident is closed.
    assert!((375..=380).contains(&closed.unwrap()), "{closed:?}");
}

#[test]
fn an_older_sample_is_left_out() {
    let mut watch = Watch::new("web#1", 0);
    watch.sample(&healthy(100));
    let before = watch.clone();
    assert!(watch.sample(&healthy(99)).is_empty());
    assert_eq!(watch, before);
}

#[test]
fn the_state_is_bounded_whatever_happens() {
    let mut watch = Watch::new(&"x".repeat(10_000), 0);
    let mut random = fastrand::Rng::with_seed(1);
    for second in 0..12_000 {
        let wild = |random: &mut fastrand::Rng| Some(random.f64() * 10f64.powi(random.i32(0..12)));
        let sample = Sample {
            at_ms: second * 60_000,
            cpu: wild(&mut random),
            waiting: wild(&mut random),
            memory: wild(&mut random),
            memory_limit: Some(1e9),
            fds: wild(&mut random),
            fds_limit: Some(1e6),
            threads: wild(&mut random),
            threads_limit: Some(1e6),
            io: wild(&mut random),
            latency: wild(&mut random),
            progress: Some(Progress { queued: 1, done: random.u64(..) }),
            throttled: Some(random.f64()),
            pressure: Some([random.f64(), random.f64(), random.f64()]),
        };
        watch.sample(&sample);
        watch.end(second * 60_000, 5, &End::CouldNotSpawn { step: "execve".to_owned(), errno: 2 });
    }
    let json = serde_json::to_string(&watch).unwrap();
    assert!(json.len() <= STATE_JSON_MAX, "{}", json.len());
    assert!(watch.desk().open().count() <= DESK_MAX);
}
