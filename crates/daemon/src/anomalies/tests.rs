//! Looks at processes that go wrong, in virtual time.

use std::collections::BTreeMap;
use std::path::Path;

use ganger_core::SignalSource;
use ganger_detect::{Change, Detector};
use ganger_sampler::{Tree, TreeId};

use super::*;

const START: u64 = 1_795_392_000_000;

fn desired() -> Arc<Desired> {
    let env = BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".to_owned())]);
    let text = "[service.web]\ncommand = \"sleep 1\"\nreplicas = 6\nlimits = { memory = \"256M\" }\n\
                [queue.jobs]\n[pool.work]\ncommand = \"sleep 1\"\nqueues = [\"jobs\"]\n";
    let loaded = crate::config::load_text(text, Path::new("/"), &env);
    let config = loaded.unwrap_or_else(|errors| panic!("{errors}")).config;
    Arc::new(Desired { config: Arc::new(config), ..Desired::default() })
}

fn tree(slot: u32, cpu_ns: u64, resident: u64) -> Tree {
    let total = ganger_sampler::Counters { cpu_ns, ..Default::default() };
    Tree {
        id: TreeId(0),
        name: "web".into(),
        slot,
        watched: true,
        root: 100 + slot,
        alive: true,
        total,
        cpu_delta_ns: 10_000_000,
        processes: 1,
        threads: 1,
        resident,
        proportional: None,
        proportional_unknown: 0,
        swap: 0,
        descriptors: 8,
        descriptor_ratio: 0.01,
        switches: (0, 0),
        group: None,
    }
}

fn look(second: u64, desired: &Arc<Desired>, trees: Vec<Tree>) -> Look {
    let at_ms = START + second * 1_000;
    let tick = Tick { at_ms, passed: Duration::from_secs(1), trees, ..Tick::default() };
    Look {
        tick: Arc::new(tick),
        desired: Arc::clone(desired),
        progress: Vec::new(),
        step: second.is_multiple_of(STEP),
        happened: Vec::new(),
    }
}

fn opened(changes: Vec<(String, u32, Change)>) -> Vec<(String, u32, Detector)> {
    let opened = changes.into_iter().filter_map(|(name, slot, change)| match change {
        Change::Opened(incident) => Some((name, slot, incident.finding.detector)),
        _ => None,
    });
    opened.collect()
}

#[test]
fn a_leak_is_found_in_its_instance_and_only_there() {
    let (desired, mut crew, mut found) = (desired(), Crew::default(), Vec::new());
    for second in 0..2_400 {
        // 60 KiB a second of 256 MiB: full after 70 minutes. Others breathe.
        let leak = (20 << 20) + second * 60 * 1_024;
        let calm = |slot: u64| (20 << 20) + (second * 7 + slot) % 13 * 4_096;
        let trees = vec![tree(1, 0, calm(1)), tree(2, 0, leak), tree(3, 0, calm(3))];
        found.extend(opened(crew.look(&look(second, &desired, trees))));
    }
    assert!(found.contains(&("web".to_owned(), 2, Detector::Leak)), "{found:?}");
    assert!(found.iter().all(|(_, slot, _)| *slot == 2), "{found:?}");
    let (board, findings) = crew.news().unwrap();
    assert!(board.open.iter().any(|one| one.detector() == "leak"));
    assert!(findings.scores[&("web".to_owned(), 2)]["leak"] > 0.0);
    assert!(crew.news().is_none(), "nothing is new");
    // What is written is what is read, and goes on.
    let text = serde_json::to_string(&crew).unwrap();
    let mut again: Crew = serde_json::from_str::<Crew>(&text).unwrap().renewed();
    assert_eq!(again.news().unwrap().0.open, board.open);
}

#[test]
fn ends_that_nobody_asked_for_are_a_crash_loop() {
    let (desired, mut crew, mut found) = (desired(), Crew::default(), Vec::new());
    let event = |second: u64| Event {
        seq: 1,
        ts_ms: START + second * 1_000,
        kind: "instance.state".into(),
        name: "web".into(),
        slot: Some(1),
        from: None,
        to: None,
        reason: String::new(),
        exit: None,
    };
    for second in 0..60 {
        let mut seen = look(second, &desired, vec![tree(1, 0, 1 << 20)]);
        if second % 10 == 5 {
            let end = End::Signalled { signal: 11, core: true, by: SignalSource::Unknown };
            let times = (START + second * 1_000, 2_000);
            seen.happened.push(Happened::end(&event(second), 1, times, end));
        }
        found.extend(opened(crew.look(&seen)));
    }
    assert_eq!(found, [("web".to_owned(), 1, Detector::CrashLoop)]);
}

#[test]
fn work_that_waits_and_is_not_done_is_a_stall_of_the_pool() {
    let (desired, mut crew, mut found) = (desired(), Crew::default(), Vec::new());
    for step in 0..120 {
        let mut seen = look(step * 10, &desired, vec![]);
        let done = step.min(30) * 5;
        seen.progress = vec![("work".to_owned(), Progress { queued: 40, done })];
        found.extend(opened(crew.look(&seen)));
    }
    assert_eq!(found, [("work".to_owned(), 0, Detector::Stall)]);
}

#[test]
fn one_unlike_its_siblings_is_an_outlier() {
    let (desired, mut crew, mut found) = (desired(), Crew::default(), Vec::new());
    for second in 0..200 {
        let trees = (1..=6).map(|slot| {
            let a_second: u64 = if slot == 4 { 900_000_000 } else { 50_000_000 };
            tree(slot, second * a_second, 20 << 20)
        });
        found.extend(opened(crew.look(&look(second, &desired, trees.collect()))));
    }
    assert_eq!(found, [("web".to_owned(), 4, Detector::Outlier)]);
}
