//! The thread with real processes: what it sees is told, kept, and there for the next one.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use ganger_core::{End, Usage};
use ganger_monitor::{HOST, Monitor, Settings, Watched, figure, metric, read};
use ganger_series::{Key, Mark, What};

/// A machine that is busy to the brim gets here much sooner.
const LATE: Duration = Duration::from_secs(120);

struct Busy(Child);

impl Busy {
    /// A shell that loops.
    fn start() -> Self {
        let mut command = Command::new("sh");
        Self(command.args(["-c", "while :; do :; done"]).stdin(Stdio::null()).spawn().unwrap())
    }

    fn watched(&self) -> Watched {
        let (name, pid) = ("busy".to_owned(), Some(self.0.id()));
        Watched { name, slot: 1, pid, started_ms: 1, cgroup: None, mark: None }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        // It may have ended; then there is nothing to do.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn settings(folder: &std::path::Path) -> Settings {
    let sampler = ganger_sampler::Options::default();
    Settings { sampler, series: ganger_series::Options::new(folder) }
}

#[tokio::test]
async fn what_a_process_costs_is_told_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let busy = Busy::start();
    let (monitor, thread) = Monitor::start(settings(folder.path())).unwrap();
    monitor.watch(vec![busy.watched()]);
    let mut ticks = monitor.ticks();
    // A rate is of two rows at least.
    let mut looks = 0;
    let worked = ticks.wait_for(|tick| {
        let one = tick.trees.iter().find(|tree| &*tree.name == "busy");
        looks += u32::from(one.is_some_and(|tree| tree.cpu_delta_ns > 0 && tree.resident > 0));
        looks >= 3
    });
    let tick = tokio::time::timeout(LATE, worked).await.unwrap().unwrap().clone();
    assert_eq!((tick.not_kept.clone(), tick.trees.len()), (None, 1));
    assert!(tick.host.memory.total > 0);

    let end = End::Exited { code: 0 };
    let exit = What::Exit { end, ran_ms: Some(5), cost: Usage::default() };
    let at_ms = i64::try_from(tick.at_ms).unwrap();
    monitor.mark(Mark { at_ms, name: "busy".into(), slot: Some(1), what: exit.clone() }).unwrap();
    drop((ticks, monitor));
    thread.join().unwrap();

    // Whoever comes next finds it.
    let reader = ganger_series::Reader::open(folder.path()).unwrap();
    let range = at_ms / 1_000 - 3_600..at_ms / 1_000 + 3_600;
    let marks = reader.marks(Some("busy"), range.clone()).unwrap();
    assert_eq!(marks.into_iter().map(|mark| mark.what).collect::<Vec<_>>(), [exit]);
    let key = Key::new("busy", 1).unwrap();
    let known = |name: &str| {
        let info = metric("busy", name).unwrap();
        let kept = read(&reader, &key, info, range.clone(), 0).unwrap();
        kept.and_then(|kept| figure(&[kept], info))
    };
    let cpu = known("cpu").unwrap();
    assert!(cpu.mean > 0.0 && cpu.max <= 200.0, "{cpu:?}");
    assert!(known("memory").unwrap().max >= 4096.0);
    let host =
        read(&reader, &Key::new(HOST, 0).unwrap(), metric(HOST, "memory").unwrap(), range, 0);
    assert!(host.unwrap().is_some());
}

#[tokio::test]
async fn a_folder_that_another_has_is_told_and_nothing_else_stops() {
    let folder = tempfile::tempdir().unwrap();
    let now = 1_700_000_000;
    let first =
        ganger_series::Series::open(ganger_series::Options::new(folder.path()), now).unwrap();
    let busy = Busy::start();
    let (monitor, thread) = Monitor::start(settings(folder.path())).unwrap();
    monitor.watch(vec![busy.watched()]);
    let mut ticks = monitor.ticks();
    let seen = ticks.wait_for(|tick| !tick.trees.is_empty());
    let tick = tokio::time::timeout(LATE, seen).await.unwrap().unwrap().clone();
    let why = tick.not_kept.clone().unwrap();
    let refused = monitor.reader().await.unwrap_err().to_string();
    assert!(refused.contains(&*why), "{refused}");
    drop((ticks, monitor));
    thread.join().unwrap();
    first.close().await;
}
