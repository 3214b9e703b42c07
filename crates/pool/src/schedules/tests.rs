//! The owner over a real store and dispatcher. Nobody takes the tasks, so they stay unfinished until somebody cancels them.

use std::time::Duration;

use ganger_core::{Durability, Event, TaskState};
use ganger_queue::schedule::{Missed, Overlap, Plan, ScheduleConfig};
use ganger_queue::{NewTask, QueueConfig};
use ganger_store::writer::WriterThread;
use ganger_store::{Readers, SqliteOptions, SqliteStore, Store as _, Writer};
use ganger_supervise::Told;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::{ScheduleError, ScheduleParts, Schedules};
use crate::dispatcher::now;
use crate::start::{Parts, Started, start};
use crate::tasks::Tasks;

/// No wait of a test is this long unless something hangs.
const HANGS: Duration = Duration::from_secs(20);

struct Rig {
    schedules: Schedules,
    tasks: Tasks,
    told: mpsc::Receiver<Told>,
    running: JoinSet<()>,
    thread: WriterThread,
}

fn config(cron: &str) -> ScheduleConfig {
    ScheduleConfig {
        plan: Plan::cron(cron, "UTC").unwrap(),
        jitter: Duration::ZERO,
        queue: "q".into(),
        task: NewTask::json("7"),
        overlap: Overlap::Allow,
        missed: Missed::All,
        missed_max: 100,
        paused: false,
    }
}

async fn rig(dir: &std::path::Path, schedule: ScheduleConfig) -> Rig {
    let store = SqliteStore::open(SqliteOptions::new(dir.join("state.db"))).unwrap();
    let readers = Readers::new(vec![store.reader().unwrap(), store.reader().unwrap()]);
    let (writer, thread) = Writer::start(store).unwrap();
    let (tell, told) = mpsc::channel(1_000);
    let mut running = JoinSet::new();
    let memory = QueueConfig { durability: Durability::Memory, ..QueueConfig::default() };
    let queues = vec![("q".to_owned(), QueueConfig::default()), ("mem".to_owned(), memory)];
    let parts =
        Parts { writer: writer.clone(), readers: readers.clone(), told: tell.clone(), queues };
    let Started { tasks, .. } = start(parts, &mut running).await.unwrap();
    let schedules = vec![("s".to_owned(), schedule)];
    let parts = ScheduleParts { tasks: tasks.clone(), writer, readers, told: tell, schedules };
    let schedules = Schedules::start(parts, &mut running).await.unwrap();
    Rig { schedules, tasks, told, running, thread }
}

impl Rig {
    async fn event(&mut self) -> Event {
        let told = tokio::time::timeout(HANGS, self.told.recv()).await;
        told.unwrap().unwrap().event
    }

    /// Fires that have a task, oldest first.
    async fn fires(&self) -> Vec<u64> {
        let (_, fires) = self.schedules.get("s", 1_000).await.unwrap();
        fires.iter().rev().filter(|fire| fire.task.is_some()).map(|fire| fire.fire_ms).collect()
    }

    async fn count(&self) -> u64 {
        self.tasks.queue("q").await.unwrap().row.counts.unfinished()
    }

    /// The daemon dies: what is not committed is lost, and nobody is asked.
    async fn die(self) {
        let Self { schedules, tasks, mut running, thread, .. } = self;
        running.shutdown().await;
        drop((schedules, tasks));
        tokio::task::spawn_blocking(|| thread.join()).await.unwrap();
    }
}

#[tokio::test]
async fn fires_every_second_once_also_over_daemons() {
    let dir = tempfile::tempdir().unwrap();
    let mut fired = Vec::new();
    for _ in 0..3 {
        let mut rig = rig(dir.path(), config("@every 1s")).await;
        for _ in 0..2 {
            let event = rig.event().await;
            assert_eq!((event.kind.as_str(), event.name.as_str()), ("schedule.fired", "s"));
        }
        fired = rig.fires().await;
        assert_eq!(rig.count().await, fired.len() as u64, "one task for each fire");
        rig.die().await;
    }
    assert!(fired.len() >= 6, "{fired:?}");
    assert!(fired.iter().all(|at| at % 1_000 == 0), "{fired:?}");
    assert!(fired.windows(2).all(|pair| pair[1] - pair[0] == 1_000), "none lost: {fired:?}");
}

#[tokio::test]
async fn by_hand_paused_and_resumed() {
    let dir = tempfile::tempdir().unwrap();
    let first = rig(dir.path(), config("0 0 1 1 *")).await;
    first.schedules.pause("s").await.unwrap();
    let made = first.schedules.run("s").await.unwrap();
    let task = first.tasks.get(made.task.unwrap()).await.unwrap();
    assert_eq!((task.state, &task.payload[..]), (TaskState::Available, &b"7"[..]));
    first.die().await;
    let second = rig(dir.path(), config("0 0 1 1 *")).await;
    let look = second.schedules.list().await.unwrap().remove(0);
    assert!(look.view.paused && look.view.next.is_none());
    let row = look.row.unwrap();
    assert_eq!((row.fired, row.task, row.last_fire_ms), (1, made.task, Some(made.fire_ms)));
    second.schedules.resume("s").await.unwrap();
    let look = second.schedules.list().await.unwrap().remove(0);
    assert!(look.view.next.unwrap().0 > now().wall_ms);
    let unknown = second.schedules.pause("t").await.unwrap_err();
    assert!(matches!(unknown, ScheduleError::Unknown { known, .. } if known == ["s"]));
    second.die().await;
}

#[tokio::test]
async fn the_next_one_waits_and_goes_when_the_one_before_ends() {
    let dir = tempfile::tempdir().unwrap();
    let queue = || ScheduleConfig { overlap: Overlap::Queue, ..config("0 0 1 1 *") };
    let first = rig(dir.path(), queue()).await;
    let before = first.schedules.run("s").await.unwrap().task.unwrap();
    let waits = first.schedules.run("s").await.unwrap();
    assert_eq!(waits.task, None);
    first.die().await;
    let mut second = rig(dir.path(), queue()).await;
    assert_eq!(second.schedules.list().await.unwrap()[0].view.held, 1);
    second.tasks.cancel(before).await.unwrap();
    let event = second.event().await;
    assert_eq!(event.kind, "schedule.fired");
    assert_eq!(second.fires().await.last(), Some(&waits.fire_ms));
    second.die().await;
}

#[tokio::test]
async fn replace_cancels_and_skip_refuses() {
    let dir = tempfile::tempdir().unwrap();
    let with = |overlap| ScheduleConfig { overlap, ..config("0 0 1 1 *") };
    let mut rig = rig(dir.path(), with(Overlap::Skip)).await;
    let before = rig.schedules.run("s").await.unwrap().task.unwrap();
    assert_eq!(rig.event().await.kind, "schedule.fired");
    let refused = rig.schedules.run("s").await.unwrap_err();
    assert!(matches!(refused, ScheduleError::NotRun { .. }), "{refused}");
    rig.schedules.configure(vec![("s".into(), with(Overlap::Replace))]).await.unwrap();
    assert_eq!(rig.schedules.run("s").await.unwrap().task, None);
    assert_eq!(rig.event().await.kind, "schedule.waits");
    assert_eq!(rig.event().await.kind, "schedule.fired");
    assert_eq!(rig.tasks.get(before).await.unwrap().state, TaskState::Cancelled);
    rig.schedules.configure(vec![]).await.unwrap();
    assert!(rig.schedules.list().await.unwrap().is_empty());
    rig.die().await;
}

#[tokio::test]
async fn tasks_in_memory_are_fires_too_and_a_refusal_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let in_memory = ScheduleConfig { queue: "mem".into(), ..config("0 0 1 1 *") };
    let mut rig = rig(dir.path(), in_memory.clone()).await;
    let task = rig.schedules.run("s").await.unwrap().task.unwrap();
    assert_eq!(rig.tasks.get(task).await.unwrap().state, TaskState::Available);
    assert_eq!(rig.event().await.kind, "schedule.fired");
    let missing = ScheduleConfig { queue: "nope".into(), ..in_memory };
    rig.schedules.configure(vec![("s".into(), missing)]).await.unwrap();
    assert!(rig.schedules.run("s").await.unwrap_err().to_string().contains("no queue `nope`"));
    let event = rig.event().await;
    assert_eq!(event.kind, "schedule.skipped");
    assert!(event.reason.contains("was refused"), "{}", event.reason);
    let (look, fires) = rig.schedules.get("s", 9).await.unwrap();
    assert_eq!(look.row.map(|row| (row.fired, row.skipped)), Some((1, 1)));
    assert_eq!((fires.len(), fires[1].task), (2, Some(task)));
    rig.die().await;
}

#[tokio::test]
async fn after_stop_nothing_fires() {
    let dir = tempfile::tempdir().unwrap();
    let mut rig = rig(dir.path(), config("@every 1s")).await;
    rig.event().await;
    rig.schedules.stop().await;
    let before = rig.count().await;
    let silence = tokio::time::timeout(Duration::from_millis(1_200), rig.told.recv()).await;
    // One that was committed before the stop may still be told.
    assert!(silence.is_err() || rig.count().await == before);
    rig.die().await;
}
