//! The dispatcher over a real store, with workers that are only channels.

mod words;

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use bytes::Bytes;
use ganger_core::{Backoff, Durability, TaskId, TaskState};
use ganger_queue::{Attempt, How, NewTask, QueueConfig, RetryRules};
use ganger_store::writer::WriterThread;
use ganger_store::{AttemptError, Readers, SqliteOptions, SqliteStore, Store as _, Writer};
use ganger_supervise::Told;
use proptest::prelude::*;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::{Msg, now};
use crate::TaskError;
use crate::attempt::{Answers, FromWorker, Joining, Report, ToWorker};
use crate::pace::Room;
use crate::start::{Parts, Started, start};
use crate::tasks::Tasks;

/// A dispatcher with queues `mem` and `disk`, and what keeps it alive.
struct Rig {
    tasks: Tasks,
    told: mpsc::Receiver<Told>,
    running: JoinSet<()>,
    thread: WriterThread,
    dir: tempfile::TempDir,
}

fn queues() -> Vec<(String, QueueConfig)> {
    let backoff = Backoff { base: Duration::ZERO, ..Backoff::TASK }.into();
    let retry = RetryRules { max: 3, backoff, ..RetryRules::default() };
    let mem = QueueConfig { durability: Durability::Memory, retry, ..QueueConfig::default() };
    let disk = QueueConfig { durability: Durability::Fsync, ..mem.clone() };
    vec![("mem".into(), mem), ("disk".into(), disk)]
}

async fn rig_in(dir: tempfile::TempDir) -> (Rig, crate::Claims) {
    let store = SqliteStore::open(SqliteOptions::new(dir.path().join("state.db"))).unwrap();
    let readers = Readers::new(vec![store.reader().unwrap(), store.reader().unwrap()]);
    let (writer, thread) = Writer::start(store).unwrap();
    let (tell, told) = mpsc::channel(1_000);
    let mut running = JoinSet::new();
    let parts = Parts { writer, readers, told: tell, queues: queues() };
    let Started { tasks, claims } = start(parts, &mut running).await.unwrap();
    (Rig { tasks, told, running, thread, dir }, claims)
}

async fn rig() -> Rig {
    rig_in(tempfile::tempdir().unwrap()).await.0
}

impl Rig {
    /// Every handle dropped, everything committed, as when a daemon goes down in order.
    async fn close(self) -> tempfile::TempDir {
        let Self { tasks, mut running, thread, dir, .. } = self;
        drop(tasks);
        while running.join_next().await.is_some() {}
        tokio::task::spawn_blocking(|| thread.join()).await.unwrap();
        dir
    }

    async fn worker(&self, key: u64, credit: u32) -> Fake {
        let (to, orders) = mpsc::channel(16);
        let name = format!("w#{key}").into();
        let queues = vec!["mem".into(), "disk".into()];
        let joining = Joining { key, name, queues, lanes: 1, to };
        let fake = Fake { key, credit, orders, tell: self.tasks.inbox.clone(), answers: 0 };
        fake.tell.send(Msg::Join(joining)).await.unwrap();
        fake.note(vec![]).await;
        fake
    }
}

/// A worker: takes orders, says how attempts end.
struct Fake {
    key: u64,
    credit: u32,
    orders: mpsc::Receiver<ToWorker>,
    tell: mpsc::Sender<Msg>,
    answers: u64,
}

impl Fake {
    async fn note(&self, reports: Vec<Report>) {
        let answers = Answers { session: 1, count: self.answers };
        let (key, room) = (self.key, Room { credit: self.credit, reach: self.credit });
        let note = FromWorker {
            key,
            reports,
            began: vec![],
            said: vec![],
            answers,
            room,
            lanes: 1,
            pid: 9,
        };
        self.tell.send(Msg::Worker(note)).await.unwrap();
    }

    async fn attempts(&mut self) -> Vec<Attempt> {
        loop {
            let order = self.orders.recv().await.unwrap();
            if !order.attempts.is_empty() {
                return order.attempts;
            }
        }
    }

    async fn end(&mut self, attempts: Vec<Attempt>, how: impl Fn(&Attempt) -> How) {
        let began = Some(now());
        let report = |a: &Attempt| Report {
            id: a.id,
            token: a.token,
            began,
            pid: None,
            said: None,
            how: how(a),
        };
        let reports: Vec<_> = attempts.iter().map(report).collect();
        self.answers += reports.len() as u64;
        self.note(reports).await;
    }

    /// Goes, as a worker does: what is in its hands goes back first.
    async fn leave(mut self) {
        self.orders.close();
        while let Some(order) = self.orders.recv().await {
            self.end(order.attempts, |_| How::Released).await;
        }
        self.tell.send(Msg::Leave { key: self.key }).await.unwrap();
    }

    /// Answers everything until nobody sends any more.
    async fn echo(mut self) {
        while let Some(order) = self.orders.recv().await {
            if !order.attempts.is_empty() {
                self.end(order.attempts, |a| How::Completed(a.payload.clone())).await;
            }
        }
    }
}

fn numbered(n: usize) -> Vec<NewTask> {
    (0..n).map(|i| NewTask::json(i.to_string())).collect()
}

#[tokio::test]
async fn a_task_goes_its_way_on_both_kinds_of_queue() {
    let rig = rig().await;
    let mut worker = rig.worker(1, 4).await;
    for queue in ["mem", "disk"] {
        let pushed = rig.tasks.push(queue, None, numbered(1)).await.unwrap();
        let got = worker.attempts().await;
        assert_eq!((got[0].id, got[0].n, &got[0].payload[..]), (pushed.ids[0], 1, &b"0"[..]));
        let waiting = rig.tasks.clone();
        let id = got[0].id;
        let wait = tokio::spawn(async move { waiting.wait(id, None).await });
        worker.end(got, |_| How::Completed("\"done\"".into())).await;
        let row = wait.await.unwrap().unwrap();
        assert_eq!(
            (row.state, row.result.as_deref()),
            (TaskState::Completed, Some(&b"\"done\""[..]))
        );
        assert_eq!(row.attempts.len(), 1, "{queue}");
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_push_is_said_before_anything_is_taken() {
    let rig = rig().await;
    let not_json = rig.tasks.push("mem", None, vec![NewTask::json("1"), NewTask::json("{")]).await;
    assert!(matches!(not_json, Err(TaskError::NotJson { index: 1, .. })));
    assert!(
        matches!(rig.tasks.push("nope", None, numbered(1)).await, Err(TaskError::NoQueue(q)) if q == "nope")
    );
    let large = format!("\"{}\"", "x".repeat(2 << 20));
    assert!(matches!(
        rig.tasks.push("mem", None, vec![NewTask::json(large)]).await,
        Err(TaskError::Push(_))
    ));
    assert_eq!(rig.tasks.queue("mem").await.unwrap().row.counts.unfinished(), 0);
}

#[tokio::test]
async fn few_tasks_are_spread_and_lanes_go_before_buffers() {
    let rig = rig().await;
    rig.tasks.pause("mem").await.unwrap();
    rig.tasks.push("mem", None, numbered(4)).await.unwrap();
    let (mut one, mut two) = (rig.worker(1, 17).await, rig.worker(2, 17).await);
    rig.tasks.resume("mem").await.unwrap();
    assert_eq!((one.attempts().await.len(), two.attempts().await.len()), (2, 2));
}

#[tokio::test]
async fn a_worker_is_told_which_answers_are_safe() {
    let rig = rig().await;
    let mut worker = rig.worker(1, 4).await;
    rig.tasks.push("disk", None, numbered(3)).await.unwrap();
    let mut open = 3;
    while open > 0 {
        let got = worker.attempts().await;
        open -= got.len();
        worker.end(got, |_| How::Completed("0".into())).await;
    }
    loop {
        let order = worker.orders.recv().await.unwrap();
        if let Some(Answers { session: 1, count: 3 }) = order.committed {
            break;
        }
    }
}

#[tokio::test]
async fn a_dead_letter_is_told_and_can_be_brought_back() {
    let mut rig = rig().await;
    let mut worker = rig.worker(1, 1).await;
    let id = rig.tasks.push("mem", None, numbered(1)).await.unwrap().ids[0];
    let fails = |_: &Attempt| How::Crash(Box::new(AttemptError::new("boom")));
    for n in 1..=3 {
        let got = worker.attempts().await;
        assert_eq!(got[0].n, n);
        worker.end(got, fails).await;
    }
    let row = rig.tasks.wait(id, None).await.unwrap();
    assert_eq!((row.state, row.error.unwrap().message.as_str()), (TaskState::Discarded, "boom"));
    let told = rig.told.recv().await.unwrap().event;
    assert_eq!(told.kind, "task.discarded");
    assert!(
        told.reason.contains("boom") && told.reason.contains(&id.to_string()),
        "{}",
        told.reason
    );
    rig.tasks.retry(id).await.unwrap();
    let got = worker.attempts().await;
    worker.end(got, |_| How::Completed("1".into())).await;
    assert_eq!(rig.tasks.wait(id, None).await.unwrap().state, TaskState::Completed);
    assert!(rig.tasks.retry(id).await.is_err(), "a completed task is not brought back");
}

#[tokio::test]
async fn a_running_task_is_cancelled_through_its_worker() {
    let rig = rig().await;
    let mut worker = rig.worker(1, 1).await;
    let id = rig.tasks.push("mem", None, numbered(1)).await.unwrap().ids[0];
    let got = worker.attempts().await;
    rig.tasks.cancel(id).await.unwrap();
    let order = worker.orders.recv().await.unwrap();
    assert_eq!((order.stops.len(), order.stops[0].id, order.stops[0].after), (1, id, None));
    worker.end(got, |_| How::Cancelled).await;
    assert_eq!(rig.tasks.wait(id, None).await.unwrap().state, TaskState::Cancelled);
}

#[tokio::test]
async fn a_wait_has_an_end() {
    let rig = rig().await;
    let id = rig.tasks.push("mem", None, numbered(1)).await.unwrap().ids[0];
    let over = rig.tasks.wait(id, Some(Duration::ZERO)).await;
    assert!(matches!(over, Err(TaskError::WaitTimeout { state: TaskState::Available, .. })));
    let unknown = TaskId::from_raw(5).unwrap();
    assert_eq!(rig.tasks.wait(unknown, None).await, Err(TaskError::NoTask(unknown)));
}

#[tokio::test]
async fn a_stream_gives_every_task_back_once_and_ends() {
    for queue in ["mem", "disk"] {
        let rig = rig().await;
        for key in 1..=2 {
            tokio::spawn(rig.worker(key, 17).await.echo());
        }
        let (way_in, mut way_out) = rig.tasks.push_stream(queue).await.unwrap();
        let push = async move {
            for _ in 0..10 {
                way_in.push(numbered(100)).await.unwrap();
            }
            let refused = way_in.push(vec![NewTask::json(format!("\"{}\"", "x".repeat(2 << 20)))]);
            assert!(refused.await.unwrap().ids().await.is_err());
        };
        let take = async move {
            let mut seen = HashSet::new();
            while let Some(finished) = way_out.next().await {
                for one in finished {
                    assert_eq!(one.state, TaskState::Completed);
                    assert!(seen.insert(one.id), "{} came twice", one.id);
                }
            }
            seen.len()
        };
        assert_eq!(tokio::join!(push, take).1, 1_000, "{queue}");
    }
}

#[tokio::test]
async fn a_drain_hands_out_nothing_more_and_waits_for_the_rest() {
    let rig = rig().await;
    let mut worker = rig.worker(1, 2).await;
    rig.tasks.push("mem", None, numbered(2)).await.unwrap();
    let got = worker.attempts().await;
    let (reply, mut drained) = tokio::sync::oneshot::channel();
    rig.tasks.inbox.send(Msg::Drain { reply }).await.unwrap();
    let id = rig.tasks.push("mem", None, numbered(1)).await.unwrap().ids[0];
    assert!(drained.try_recv().is_err());
    worker.end(got, |_| How::Completed("0".into())).await;
    drained.await.unwrap();
    assert_eq!(rig.tasks.get(id).await.unwrap().state, TaskState::Available);
}

#[tokio::test]
async fn claims_of_a_dead_daemon_come_back_and_its_tokens_are_stale() {
    let first = rig().await;
    let mut worker = first.worker(1, 2).await;
    first.tasks.push("disk", None, numbered(2)).await.unwrap();
    let mut held = worker.attempts().await;
    while held.len() < 2 {
        held.extend(worker.attempts().await);
    }
    drop(worker);
    let (second, claims) = rig_in(first.close().await).await;
    assert_eq!(claims.len(), 2);
    let gone = crate::pools::gone_for_tests(claims);
    second.tasks.inbox.send(Msg::Worker(gone)).await.unwrap();
    let mut worker = second.worker(1, 1).await;
    let again = worker.attempts().await;
    assert!(
        held.iter().any(|a| a.id == again[0].id) && held.iter().all(|a| a.token != again[0].token)
    );
    // What the dead daemon's worker says now concerns nobody.
    worker.end(held, |_| How::Completed("\"stale\"".into())).await;
    let id = again[0].id;
    worker.end(again, |_| How::Completed("\"fresh\"".into())).await;
    let row = second.tasks.wait(id, None).await.unwrap();
    assert_eq!(row.result.as_deref(), Some(&b"\"fresh\""[..]));
    assert_eq!(second.tasks.stats().await.unwrap().engine.stale, 2);
}

#[derive(Debug, Clone)]
enum Fate {
    Answer,
    Crash,
    GiveBack,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Workers answer, crash and give back at random; every task ends exactly once, and a crash is charged.
    #[test]
    fn nothing_is_lost_or_doubled(
        memory: bool,
        tasks in 1usize..60,
        fates in prop::collection::vec(prop_oneof![4 => Just(Fate::Answer), 1 => Just(Fate::Crash), 2 => Just(Fate::GiveBack)], 300),
        credits in prop::collection::vec(1u32..9, 1..4),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let rig = rig().await;
            let mut workers = Vec::new();
            for (key, credit) in (1..).zip(&credits) {
                workers.push(rig.worker(key, *credit).await);
            }
            let (way_in, mut way_out) = rig.tasks.push_stream(if memory { "mem" } else { "disk" }).await.unwrap();
            let ids = way_in.push(numbered(tasks)).await.unwrap().ids().await.unwrap();
            drop(way_in);
            let mut fates = fates.into_iter();
            let mut crashes: HashMap<TaskId, u32> = HashMap::new();
            let (tell, mut orders) = mpsc::channel(64);
            for (at, worker) in workers.iter_mut().enumerate() {
                let mut from = std::mem::replace(&mut worker.orders, mpsc::channel(1).1);
                let tell = tell.clone();
                tokio::spawn(async move {
                    while let Some(order) = from.recv().await {
                        if tell.send((at, order)).await.is_err() { return }
                    }
                });
            }
            let mut ended: HashMap<TaskId, TaskState> = HashMap::new();
            while ended.len() < tasks {
                tokio::select! {
                    finished = way_out.next() => for one in finished.unwrap() {
                        assert!(ended.insert(one.id, one.state).is_none(), "{} ended twice", one.id);
                    },
                    Some((at, order)) = orders.recv() => for attempt in order.attempts {
                        let how = match fates.next().unwrap_or(Fate::Answer) {
                            Fate::Answer => How::Completed(Bytes::from_static(b"0")),
                            Fate::GiveBack => How::Released,
                            Fate::Crash => {
                                *crashes.entry(attempt.id).or_default() += 1;
                                How::Crash(Box::new(AttemptError::new("x")))
                            }
                        };
                        workers[at].end(vec![attempt], move |_| how.clone()).await;
                    }
                }
            }
            assert!(way_out.next().await.is_none());
            for id in ids {
                let want = if crashes.get(&id).copied().unwrap_or(0) >= 3 { TaskState::Discarded } else { TaskState::Completed };
                assert_eq!(ended[&id], want, "{id}");
            }
        });
    }
}

#[tokio::test]
async fn an_attempt_for_a_worker_that_went_away_meanwhile_goes_to_another() {
    let rig = rig().await;
    for queue in ["mem", "disk"] {
        let mut first = rig.worker(1, 0).await;
        let id = rig.tasks.push(queue, None, numbered(1)).await.unwrap().ids[0];
        first.credit = 1;
        first.note(vec![]).await;
        // The dispatcher's turn: it claims, and the claim for the queue on disk is with the writer when the worker goes.
        tokio::task::yield_now().await;
        first.leave().await;
        let mut second = rig.worker(2, 1).await;
        let got = second.attempts().await;
        assert_eq!((got[0].id, got[0].n), (id, 1), "and it was not charged");
        second.end(got, |_| How::Completed("1".into())).await;
        let row = rig.tasks.wait(id, None).await.unwrap();
        assert_eq!(row.state, TaskState::Completed, "{row:?}");
        second.leave().await;
    }
    rig.close().await;
}
