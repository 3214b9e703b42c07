//! Pools under a keeper that does what the test says, in paused time: what can't be proven dead is not run beside, and what
//! a person stopped stays so.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::time::Duration;

use ganger_core::{
    Backoff, Durability, End, InstanceId, InstanceKind, SignalSource, SpawnId, TaskState, Usage,
};
use ganger_keeper::wire::{ChannelPlan, Event, ExitReport, Plan};
use ganger_logs::read::LogReader;
use ganger_pool::{Autoscale, Parts, PoolParts, PoolSpec, Pools, Protocol, Tasks};
use ganger_process::{Inherited, Link, Processes};
use ganger_queue::{NewTask, QueueConfig, RetryRules};
use ganger_store::{
    AttemptWord, DeadReason, Readers, SqliteOptions, SqliteStore, Store as _, Writer,
};
use ganger_supervise::{InstanceSpec, Surroundings, Told};
use ganger_testkit::{Act, FakeKeeper};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

const SECOND: Duration = Duration::from_secs(1);

struct Scene {
    keeper: FakeKeeper,
    tasks: Tasks,
    told: mpsc::Receiver<Told>,
    pools: Pools,
    _members: JoinSet<()>,
    _dir: tempfile::TempDir,
}

impl Scene {
    /// One pool; its processes do as the test says.
    async fn new(spec: PoolSpec, act: Act) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(SqliteOptions::new(dir.path().join("state.db"))).unwrap();
        let readers = Readers::new(vec![store.reader().unwrap()]);
        let (writer, _thread) = Writer::start(store).unwrap();
        let (keeper, link) = FakeKeeper::start(move |_, _| act.clone());
        let link = Link::new(link.requests, link.events);
        let startup = Processes::start(link, Inherited::nothing(), writer.epoch());
        let (tell, told) = mpsc::channel(1_024);
        let mut members = JoinSet::new();
        // Memory: no commit stands between the paused clock and what happens.
        let (durability, timeout) = (Durability::Memory, SECOND);
        // At once: the wall clock, by which waits are kept, does not move with the paused one.
        let backoff = Backoff { base: Duration::ZERO, ..Backoff::TASK }.into();
        let retry = RetryRules { backoff, ..RetryRules::default() };
        let rules = QueueConfig { durability, timeout, retry, ..QueueConfig::default() };
        let queues = vec![("q".to_owned(), rules)];
        let parts = Parts { writer, readers, told: tell.clone(), queues };
        let started = ganger_pool::start(parts, &mut members).await.unwrap();
        let around = Surroundings {
            processes: startup.processes,
            told: tell,
            listeners: Default::default(),
            primaries: Default::default(),
            exchange: Default::default(),
            permits: ganger_supervise::Permits::default(),
            execs: ganger_supervise::Execs::default(),
            run_dir: dir.path().into(),
            logs: LogReader::new(dir.path().join("logs")),
        };
        let parts = PoolParts {
            tasks: started.tasks.clone(),
            claims: started.claims,
            specs: vec![spec],
            adopted: vec![],
            survivors: vec![],
            resumed: vec![],
            around,
        };
        let pools = Pools::start(parts, &mut members).await.unwrap();
        Self { keeper, tasks: started.tasks, told, pools, _members: members, _dir: dir }
    }

    /// The reason of the next event of a kind.
    async fn event(&mut self, kind: &str) -> String {
        let found = async {
            loop {
                let told = self.told.recv().await.unwrap();
                if told.event.kind == kind {
                    return told.event.reason;
                }
            }
        };
        tokio::time::timeout(SECOND * 3_600, found).await.unwrap()
    }
}

fn spec(protocol: Protocol) -> PoolSpec {
    let plan = Plan {
        channel: Some(ChannelPlan::default()),
        ..Plan::new(
            InstanceId::new("w", 1),
            InstanceKind::Worker,
            "/bin/sleep",
            vec!["sleep".into(), "1000".into()],
        )
    };
    PoolSpec { protocol, queues: vec!["q".into()], ..PoolSpec::new("w", InstanceSpec::new(plan)) }
}

/// SIGKILL does not end it for a while (uninterruptible sleep): the attempt stays, the next waits for the proof.
async fn not_dead_yet(protocol: Protocol) {
    let act = Act { stuck_for: Some(SECOND * 45), ..Act::ignores_term() };
    let mut scene = Scene::new(spec(protocol), act).await;
    let id = scene.tasks.push("q", None, vec![NewTask::json("1")]).await.unwrap().ids[0];
    let told = scene.event("task.stuck").await;
    assert!(told.contains(&id.to_string()) && told.contains("pid 1001"), "{told}");
    let row = scene.tasks.get(id).await.unwrap();
    assert_eq!((row.state, row.attempt, row.attempts.len()), (TaskState::Running, 1, 1));
    let view = scene.pools.snapshot().borrow().of("w").next().cloned().unwrap();
    assert_eq!(view.stuck, [1001], "{view:?}");
    tokio::time::sleep(SECOND * 40).await;
    let lives = scene.keeper.lives("w", 1).await;
    assert_eq!((lives.started, lives.now), (1, 1), "no second process beside it");
    assert_eq!(scene.tasks.get(id).await.unwrap().attempt, 1);
    // Now it is dead, and only now the attempt is over and the next begins.
    tokio::time::sleep(SECOND * 30).await;
    let row = scene.tasks.get(id).await.unwrap();
    assert_eq!(row.attempts[0].outcome, Some(AttemptWord::Timeout), "{row:?}");
    let lives = scene.keeper.lives("w", 1).await;
    assert_eq!((row.attempt, lives.started, lives.most_at_once), (2, 2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_does_not_die_holds_its_attempt() {
    not_dead_yet(Protocol::Channel).await;
}

#[tokio::test(start_paused = true)]
async fn a_command_that_does_not_die_holds_its_attempt() {
    not_dead_yet(Protocol::Command).await;
}

/// Its main process is gone, but what that started is not: the keeper lets go of it, so nobody will ever know.
async fn left_something(protocol: Protocol) {
    let mut scene = Scene::new(spec(protocol), Act::runs()).await;
    let id = scene.tasks.push("q", None, vec![NewTask::json("1")]).await.unwrap().ids[0];
    while scene.tasks.get(id).await.unwrap().attempts.is_empty() {
        tokio::task::yield_now().await;
    }
    scene.pools.snapshot().wait_for(|s| s.of("w").any(|i| i.pid.is_some())).await.unwrap();
    let end = End::Signalled { signal: 11, core: false, by: SignalSource::Unknown };
    let report = ExitReport {
        id: SpawnId::new(1, 1),
        instance: InstanceId::new("w", 1),
        pid: 1001,
        end,
        usage: Usage { peak_rss: 4096, ..Usage::default() },
        at_ms: 1,
        leftovers: 1,
        stuck: vec![77],
        adopted: false,
    };
    scene.keeper.say(Event::Exited(report)).await;
    let told = scene.event("task.stuck").await;
    assert!(told.contains("not run again") && told.contains("pid 77"), "{told}");
    let row = scene.tasks.wait(id, Some(SECOND * 60)).await.unwrap();
    assert_eq!((row.state, row.reason), (TaskState::Discarded, Some(DeadReason::Stuck)));
    assert_eq!((row.attempts.len(), row.attempts[0].outcome), (1, Some(AttemptWord::Crash)));
    let error = row.error.unwrap();
    assert_eq!(error.usage.map(|usage| usage.peak_rss), Some(4096));
    assert!(error.message.contains("could not prove the end of pid 77"), "{}", error.message);
    tokio::time::sleep(SECOND * 3_600).await;
    assert_eq!(scene.tasks.get(id).await.unwrap().attempts.len(), 1, "not retried");
}

#[tokio::test(start_paused = true)]
async fn a_task_whose_worker_left_something_is_not_run_again() {
    left_something(Protocol::Channel).await;
}

#[tokio::test(start_paused = true)]
async fn a_task_whose_command_left_something_is_not_run_again() {
    left_something(Protocol::Command).await;
}

#[tokio::test(start_paused = true)]
async fn a_stopped_pool_at_zero_starts_nothing_until_a_person_says_so() {
    let rules = Autoscale { min: 0, max: 2, target: SECOND, cool_down: SECOND * 30 };
    let pool = PoolSpec { workers: 0, autoscale: Some(rules), ..spec(Protocol::Channel) };
    let scene = Scene::new(pool, Act::runs()).await;
    scene.pools.stop_workers("w", None, "by the test").await.unwrap();
    scene.tasks.push("q", None, vec![NewTask::json("1")]).await.unwrap();
    tokio::time::sleep(SECOND * 60).await;
    assert_eq!(scene.pools.snapshot().borrow().of("w").count(), 0);
    scene.pools.start_workers("w", None).await.unwrap();
    let mut view = scene.pools.snapshot();
    view.wait_for(|s| s.of("w").any(|i| i.pid.is_some())).await.unwrap();
}
