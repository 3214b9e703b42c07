//! All services over the fake keeper, in paused time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ganger_core::{Backoff, InstanceId, InstanceState};
use ganger_testkit::{Act, OnTerm};
use tokio::sync::watch;
use tokio::time::Instant;

use super::{ServiceError, Services, Startup};
use crate::spec::{Dependency, Ready, ReadyBy, ServiceSpec, Until};
use crate::testing::{Rig, spec, within};
use crate::view::{InstanceView, SlotResume, Snapshot};

mod listening;
mod watching;

const SECOND: Duration = Duration::from_secs(1);

fn service(name: &str) -> ServiceSpec {
    ServiceSpec::new(name, spec(name))
}

fn needing(name: &str, on: &str, until: Until) -> ServiceSpec {
    let depends_on = vec![Dependency { name: on.into(), until }];
    ServiceSpec { depends_on, ..service(name) }
}

fn begin(rig: &Rig) -> Startup {
    Services::start_owner(rig.around.clone(), vec![], &mut BTreeMap::new())
}

async fn seen(
    snapshot: &mut watch::Receiver<Arc<Snapshot>>,
    wanted: impl Fn(&Snapshot) -> bool,
) -> Arc<Snapshot> {
    let found = within(snapshot.wait_for(|snapshot| wanted(snapshot))).await;
    Arc::clone(&found.expect("the owner still publishes"))
}

fn is(snapshot: &Snapshot, name: &str, slot: u32, state: InstanceState) -> bool {
    snapshot.get(&InstanceId::new(name, slot)).is_some_and(|view| view.state == state)
}

fn view(snapshot: &Snapshot, name: &str) -> Arc<InstanceView> {
    Arc::clone(snapshot.get(&InstanceId::new(name, 1)).expect("it is there"))
}

#[tokio::test(start_paused = true)]
async fn apply_starts_adjusts_replaces_removes_and_leaves_alone() {
    let rig = Rig::new(|_, _| Act::runs());
    let Startup { services, mut snapshot, .. } = begin(&rig);
    let three = || vec![service("a"), ServiceSpec { replicas: 2, ..service("b") }, service("c")];
    let applied = services.apply(three(), vec![]).await.unwrap();
    assert_eq!(applied.added, ["a", "b", "c"]);
    seen(&mut snapshot, |s| s.instances.iter().filter(|view| view.ready).count() == 4).await;

    let mut next = three();
    next.remove(2);
    next[1].instance.plan.env.set("NEW", "1");
    next.push(service("d"));
    let applied = services.apply(next.clone(), vec![]).await.unwrap();
    assert_eq!(
        (&applied.added[..], &applied.replaced[..], &applied.removed[..], &applied.unchanged[..]),
        (
            &["d".to_owned()][..],
            &["b".to_owned()][..],
            &["c".to_owned()][..],
            &["a".to_owned()][..]
        )
    );
    seen(&mut snapshot, |s| {
        s.of("c").next().is_none() && s.of("b").all(|view| view.restarts == 1 && view.ready)
    })
    .await;
    for (name, slot, started, now) in
        [("a", 1, 1, 1), ("b", 1, 2, 1), ("b", 2, 2, 1), ("c", 1, 1, 0), ("d", 1, 1, 1)]
    {
        let lives = rig.keeper.lives(name, slot).await;
        assert_eq!(
            (lives.started, lives.now, lives.most_at_once),
            (started, now, 1),
            "{name}#{slot}"
        );
    }

    next[0].instance.restart = crate::policy::Restart::Always;
    let applied = services.apply(next.clone(), vec![]).await.unwrap();
    assert_eq!(applied.adjusted, ["a"]);
    assert_eq!(services.apply(next, vec![]).await.unwrap().unchanged, ["a", "b", "d"]);
    assert_eq!(rig.keeper.lives("a", 1).await.started, 1, "rules need no new process");
}

#[tokio::test(start_paused = true)]
async fn starts_wait_for_what_they_depend_on_and_stops_go_backwards() {
    let rig = Rig::new(|plan, _| match plan.instance.name.as_str() {
        "migrate" => Act::exits(SECOND * 5, 0),
        "db" => Act { answers_after: SECOND, on_term: OnTerm::Exits(SECOND, 0), ..Act::runs() },
        _ => Act { on_term: OnTerm::Exits(SECOND, 0), ..Act::runs() },
    });
    let Startup { services, mut snapshot, .. } = begin(&rig);
    let specs = vec![
        needing("web", "migrate", Until::Completed),
        needing("migrate", "db", Until::Ready),
        service("db"),
        needing("tail", "web", Until::Started),
    ];
    let begun = Instant::now();
    services.apply(specs, vec![]).await.unwrap();
    let first = seen(&mut snapshot, |s| s.instances.len() == 4).await;
    assert_eq!(view(&first, "web").reason, "waits for `migrate` to be completed");
    assert_eq!(view(&first, "web").state, InstanceState::Stopped);
    seen(&mut snapshot, |s| is(s, "tail", 1, InstanceState::Running)).await;
    assert_eq!(begun.elapsed().as_secs(), 6);
    let spawns: Vec<_> = rig.keeper.seen().await;
    assert_eq!(spawns[..2], ["spawn db#1".to_owned(), "spawn migrate#1".to_owned()]);
    assert_eq!(spawns[2..4], ["spawn web#1".to_owned(), "spawn tail#1".to_owned()]);

    within(services.shutdown()).await.unwrap();
    within(services.shutdown()).await.unwrap();
    let stops: Vec<_> =
        rig.keeper.seen().await.into_iter().filter(|seen| seen.starts_with("signal")).collect();
    assert_eq!(stops, ["signal tail#1 15 tree", "signal web#1 15 tree", "signal db#1 15 tree"]);
    let last = seen(&mut snapshot, |s| s.instances.iter().all(|view| view.pid.is_none())).await;
    assert_eq!(view(&last, "web").reason, "ganger goes down: exited with code 0");
    let refused = services.start("web", None).await.unwrap_err();
    assert_eq!(refused, ServiceError::GoingDown);
}

#[tokio::test(start_paused = true)]
async fn mistakes_change_nothing_and_are_named() {
    let rig = Rig::new(|_, _| Act::runs());
    let Startup { services, .. } = begin(&rig);
    let error = services.apply(vec![needing("a", "b", Until::Ready)], vec![]).await.unwrap_err();
    assert_eq!(error.to_string(), "service `a` depends on `b`, which does not exist");
    let circle = vec![
        needing("a", "b", Until::Ready),
        needing("b", "c", Until::Ready),
        needing("c", "b", Until::Ready),
    ];
    let error = services.apply(circle, vec![]).await.unwrap_err();
    assert_eq!(error.to_string(), "services wait for each other in a circle: b → c → b");
    services.apply(vec![service("web")], vec![]).await.unwrap();
    let error = services.stop("wep", None).await.unwrap_err();
    assert_eq!(error.to_string(), "there is no service `wep`; known: web");
    let error = services.stop("web", Some(3)).await.unwrap_err();
    assert!(error.to_string().contains("has slots 1 to 1, not 3"), "{error}");
    assert_eq!(rig.keeper.lives("a", 1).await.started, 0);
}

#[tokio::test(start_paused = true)]
async fn a_persons_words_reach_slots() {
    let rig = Rig::new(|_, _| Act::runs());
    let Startup { services, mut snapshot, .. } = begin(&rig);
    let web = ServiceSpec { replicas: 2, port: Some(5_000), ..service("web") };
    let web = ServiceSpec { instance_var: Some("NUMBER".into()), ..web };
    services.apply(vec![web.clone()], vec![]).await.unwrap();
    within(services.start("web", None).await.unwrap().done()).await.unwrap();
    within(services.stop("web", Some(2)).await.unwrap().done()).await.unwrap();
    assert_eq!(rig.keeper.lives("web", 2).await.now, 0);
    assert!(rig.keeper.lives("web", 2).await.env.get("PORT") == Some("5001"));
    assert!(rig.keeper.lives("web", 2).await.env.get("NUMBER") == Some("1"));
    within(services.restart("web", None).await.unwrap().done()).await.unwrap();
    assert_eq!(rig.keeper.lives("web", 1).await.started, 2);
    assert_eq!(rig.keeper.lives("web", 2).await.now, 1, "a restart starts what is stopped");

    within(services.scale("web", 4).await.unwrap().done()).await.unwrap();
    assert_eq!(rig.keeper.lives("web", 4).await.now, 1);
    within(services.scale("web", 1).await.unwrap().done()).await.unwrap();
    seen(&mut snapshot, |s| s.instances.len() == 1).await;
    for slot in 2..=4 {
        assert_eq!(rig.keeper.lives("web", slot).await.now, 0);
    }
    within(services.stop("web", None).await.unwrap().done()).await.unwrap();
    services.apply(vec![ServiceSpec { stopped: true, ..web.clone() }], vec![]).await.unwrap();
    seen(&mut snapshot, |s| is(s, "web", 2, InstanceState::Stopped)).await;
    assert_eq!(rig.keeper.lives("web", 1).await.now, 0);
    services.apply(vec![web], vec![]).await.unwrap();
    seen(&mut snapshot, |s| s.of("web").all(|view| view.ready)).await;
}

#[tokio::test(start_paused = true)]
async fn a_service_that_comes_back_while_it_leaves_runs_again() {
    let slow = Act { on_term: OnTerm::Exits(SECOND * 3, 0), ..Act::runs() };
    let rig = Rig::new(move |_, _| slow.clone());
    let Startup { services, mut snapshot, .. } = begin(&rig);
    services.apply(vec![service("web")], vec![]).await.unwrap();
    seen(&mut snapshot, |s| is(s, "web", 1, InstanceState::Running)).await;
    services.apply(vec![], vec![]).await.unwrap();
    seen(&mut snapshot, |s| is(s, "web", 1, InstanceState::Stopping)).await;
    services.apply(vec![service("web")], vec![]).await.unwrap();
    seen(&mut snapshot, |s| is(s, "web", 1, InstanceState::Running)).await;
    tokio::time::sleep(SECOND * 60).await;
    let lives = rig.keeper.lives("web", 1).await;
    assert_eq!((lives.started, lives.now, lives.most_at_once), (2, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_later_daemon_goes_on_where_the_former_stopped() {
    let rig = Rig::new(|_, _| Act::runs());
    let Startup { services, mut snapshot, .. } = begin(&rig);
    let now = crate::instance::wall_ms();
    let resume = |name: &str, state, next_try_ms| SlotResume {
        id: InstanceId::new(name, 1),
        state,
        reason: "as it was".into(),
        next_try_ms,
        restarts: 7,
        failures: 3,
        breaker: None,
        completed: false,
    };
    let given = vec![
        resume("waits", InstanceState::Backoff, Some(now + 5_000)),
        resume("gave-up", InstanceState::Failed, None),
        resume("off", InstanceState::Stopped, None),
        resume("was-up", InstanceState::Starting, None),
    ];
    let specs = ["waits", "gave-up", "off", "was-up"].map(service).to_vec();
    let begun = Instant::now();
    services.apply(specs, given).await.unwrap();
    let all = seen(&mut snapshot, |s| is(s, "was-up", 1, InstanceState::Running)).await;
    assert_eq!(view(&all, "gave-up").state, InstanceState::Failed);
    assert_eq!(view(&all, "off").state, InstanceState::Stopped);
    let waits = view(&all, "waits");
    assert_eq!((waits.state, waits.restarts), (InstanceState::Backoff, 7));
    assert!(waits.next_try_ms.is_some_and(|at| at.abs_diff(now + 5_000) < 2_000));
    seen(&mut snapshot, |s| is(s, "waits", 1, InstanceState::Running)).await;
    assert!(begun.elapsed() > SECOND * 3 && begun.elapsed() < SECOND * 6);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_start_at_once_and_snapshots_are_few() {
    // Debian's soft limit is 1,024, and every scripted child is a socket.
    let mut files = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    files.current = files.maximum;
    rustix::process::setrlimit(rustix::process::Resource::Nofile, files).unwrap();
    let rig = Rig::new(|_, _| Act { answers_after: SECOND / 10, ..Act::runs() });
    let Startup { services, mut snapshot, .. } = begin(&rig);
    let specs = (0..1_000).map(|n| service(&format!("s{n}"))).collect();
    let mut told = rig.told;
    let drain = tokio::spawn(async move { while told.recv().await.is_some() {} });
    let begun = Instant::now();
    services.apply(specs, vec![]).await.unwrap();
    let mut published = 0;
    within(async {
        loop {
            published += 1;
            let ready = snapshot.borrow_and_update().instances.iter().filter(|v| v.ready).count();
            if ready == 1_000 {
                return;
            }
            snapshot.changed().await.unwrap();
        }
    })
    .await;
    assert!(begun.elapsed() < SECOND, "{:?}", begun.elapsed());
    assert!(published < 20, "{published} snapshots for a thousand starts");
    drain.abort();
}

#[tokio::test(start_paused = true)]
async fn dependents_wait_through_a_dependencys_failures() {
    let rig = Rig::new(|plan, nth| match (plan.instance.name.as_str(), nth) {
        ("db", 1..=2) => Act::fails("execve", 2, ""),
        _ => Act::runs(),
    });
    let Startup { services, mut snapshot, .. } = begin(&rig);
    let mut db = service("db");
    db.instance.backoff = Backoff { jitter: false, ..Backoff::SERVICE };
    services.apply(vec![needing("web", "db", Until::Ready), db], vec![]).await.unwrap();
    let begun = Instant::now();
    seen(&mut snapshot, |s| is(s, "web", 1, InstanceState::Running)).await;
    assert!(begun.elapsed() >= SECOND * 6 / 10);
    assert_eq!(rig.keeper.lives("web", 1).await.started, 1);
}

#[tokio::test(start_paused = true)]
async fn not_ready_is_not_enough_for_a_dependent() {
    let rig = Rig::new(|_, _| Act::runs());
    let Startup { services, mut snapshot, .. } = begin(&rig);
    let mut db = service("db");
    db.instance.ready = Some(Ready { by: ReadyBy::Notify, timeout: SECOND * 30 });
    let specs =
        vec![needing("early", "db", Until::Started), needing("late", "db", Until::Ready), db];
    services.apply(specs, vec![]).await.unwrap();
    let all = seen(&mut snapshot, |s| is(s, "early", 1, InstanceState::Running)).await;
    assert_eq!(view(&all, "late").state, InstanceState::Stopped);
    tokio::time::sleep(SECOND * 20).await;
    assert_eq!(rig.keeper.lives("late", 1).await.started, 0);
}
