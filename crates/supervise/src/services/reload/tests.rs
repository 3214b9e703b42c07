//! Reloads over the fake keeper, in paused time.

use std::collections::BTreeMap;
use std::time::Duration;

use ganger_core::{Effect, InstanceId, ReloadState};
use ganger_testkit::Act;

use crate::services::{ServiceError, Services, Startup};
use crate::spec::{Ready, ReadyBy, Reload, ServiceSpec};
use crate::testing::{Rig, spec, within};
use crate::view::{Reloads, Snapshot};

const SECOND: Duration = Duration::from_secs(1);

/// Two instances; the variable says which version it is.
fn web(version: &str) -> ServiceSpec {
    let reload = Some(Reload { healthy_for: SECOND * 5, ..Reload::default() });
    let mut web = ServiceSpec { replicas: 2, reload, ..ServiceSpec::new("web", spec("web")) };
    web.instance.plan.env.set("VERSION", version);
    web
}

/// Version "dies" does so after two seconds, all else runs.
fn rig() -> Rig {
    Rig::new(|plan, _| match plan.env.get("VERSION") {
        Some("dies") => Act::exits(SECOND * 2, 3),
        _ => Act::runs(),
    })
}

fn begin(rig: &Rig) -> Startup {
    Services::start_owner(rig.around.clone(), vec![], &mut BTreeMap::new())
}

fn both_ready(snapshot: &Snapshot) -> bool {
    snapshot.instances.len() == 2 && snapshot.instances.iter().all(|view| view.ready)
}

async fn version(rig: &Rig, slot: u32) -> String {
    rig.keeper.lives("web", slot).await.env.get("VERSION").unwrap_or_default().to_owned()
}

#[tokio::test(start_paused = true)]
async fn a_changed_service_rolls_and_a_reload_too() {
    let mut rig = rig();
    let Startup { services, mut snapshot, .. } = begin(&rig);
    services.apply(vec![web("1")], vec![]).await.unwrap();
    within(snapshot.wait_for(|s| both_ready(s))).await.unwrap();
    let applied = services.apply(vec![web("2")], vec![]).await.unwrap();
    assert_eq!(applied.replaced, ["web"]);
    let again = services.apply(vec![web("2")], vec![]).await.unwrap();
    assert_eq!(again.unchanged, ["web"], "what is on its way is not begun anew");
    let refused = services.restart("web", None).await.unwrap_err();
    assert_eq!(refused, ServiceError::Reloads { name: "web".into() });
    within(services.reload("web").await.unwrap().done()).await.unwrap();
    let order: Vec<String> = rig.keeper.seen().await;
    let order: Vec<&str> = order.iter().map(String::as_str).collect();
    assert_eq!(order[..3], ["spawn web#1", "spawn web#2", "spawn web#3"]);
    for slot in 1..=2 {
        let lives = rig.keeper.lives("web", slot).await;
        assert_eq!((lives.started, lives.now, lives.most_at_once), (2, 1, 1));
        assert_eq!(version(&rig, slot).await, "2");
    }
    assert_eq!(rig.keeper.lives("web", 3).await.now, 0, "what stood in is gone");
    within(services.reload("web").await.unwrap().done()).await.unwrap();
    assert_eq!(rig.keeper.lives("web", 1).await.started, 3);
    assert_eq!(rig.event("service.reload").await.event.to.as_deref(), Some("begins"));
}

#[tokio::test(start_paused = true)]
async fn what_dies_while_it_is_tried_leaves_the_old_ones_alone() {
    let rig = rig();
    let Startup { services, mut snapshot, .. } = begin(&rig);
    services.apply(vec![web("1")], vec![]).await.unwrap();
    within(snapshot.wait_for(|s| both_ready(s))).await.unwrap();
    services.apply(vec![web("dies")], vec![]).await.unwrap();
    let why = within(services.reload("web").await.unwrap().done()).await.unwrap_err();
    assert_eq!(why, "the old version runs on: #3 did not stay up: exited with code 3");
    within(snapshot.wait_for(|s| both_ready(s))).await.unwrap();
    for slot in 1..=2 {
        assert_eq!(rig.keeper.lives("web", slot).await.started, 1);
    }
    // What runs is what a restart starts.
    within(services.restart("web", Some(1)).await.unwrap().done()).await.unwrap();
    assert_eq!(version(&rig, 1).await, "1");
}

#[tokio::test(start_paused = true)]
async fn what_never_gets_ready_goes_and_a_better_version_comes_after_it() {
    let rig = rig();
    let Startup { services, mut snapshot, .. } = begin(&rig);
    services.apply(vec![web("1")], vec![]).await.unwrap();
    within(snapshot.wait_for(|s| both_ready(s))).await.unwrap();
    let mut silent = web("2");
    silent.instance.ready = Some(Ready { by: ReadyBy::Notify, timeout: SECOND * 30 });
    services.apply(vec![silent], vec![]).await.unwrap();
    let first = services.reload("web").await.unwrap();
    services.apply(vec![web("3")], vec![]).await.unwrap();
    let why = within(first.done()).await.unwrap_err();
    assert_eq!(why, "the old version runs on: the configuration changed again");
    within(services.reload("web").await.unwrap().done()).await.unwrap();
    for slot in 1..=2 {
        assert_eq!(version(&rig, slot).await, "3");
    }
    assert_eq!(rig.keeper.lives("web", 1).await.started, 2, "never the silent one");
}

#[tokio::test(start_paused = true)]
async fn a_stop_wins_and_the_next_start_is_of_the_new_version() {
    let rig = rig();
    let Startup { services, mut snapshot, .. } = begin(&rig);
    services.apply(vec![web("1")], vec![]).await.unwrap();
    within(snapshot.wait_for(|s| both_ready(s))).await.unwrap();
    services.apply(vec![web("2")], vec![]).await.unwrap();
    let reload = services.reload("web").await.unwrap();
    within(services.stop("web", None).await.unwrap().done()).await.unwrap();
    let why = within(reload.done()).await.unwrap_err();
    assert_eq!(why, "the reload was cut short: stopped on request");
    within(snapshot.wait_for(|s| s.get(&InstanceId::new("web", 3)).is_none())).await.unwrap();
    for slot in 1..=3 {
        assert_eq!(rig.keeper.lives("web", slot).await.now, 0);
    }
    within(services.start("web", None).await.unwrap().done()).await.unwrap();
    assert_eq!(version(&rig, 1).await, "2");
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_in_the_middle_ends_all() {
    let rig = rig();
    let Startup { services, mut snapshot, .. } = begin(&rig);
    services.apply(vec![web("1")], vec![]).await.unwrap();
    within(snapshot.wait_for(|s| both_ready(s))).await.unwrap();
    let reload = services.reload("web").await.unwrap();
    within(services.shutdown()).await.unwrap();
    assert!(within(reload.done()).await.is_err());
    for slot in 1..=3 {
        assert_eq!(rig.keeper.lives("web", slot).await.now, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_reload_is_seen_from_its_beginning_to_its_end() {
    let rig = rig();
    let Startup { services, mut snapshot, mut reloads, .. } = begin(&rig);
    services.apply(vec![web("1")], vec![]).await.unwrap();
    within(snapshot.wait_for(|s| both_ready(s))).await.unwrap();
    assert!(reloads.borrow().is_empty());
    let stopped = ServiceSpec { stopped: true, ..web("2") };
    let more = ServiceSpec { replicas: 3, ..web("1") };
    let plan =
        vec![web("1"), web("2"), stopped, more, ServiceSpec { name: "new".into(), ..web("1") }];
    let plan = services.plan(plan).await.unwrap();
    use Effect::{Adjust, Restart, Roll, Start, Unchanged};
    assert_eq!(plan, [Unchanged, Roll, Restart, Adjust, Start]);

    services.apply(vec![web("2")], vec![]).await.unwrap();
    assert_eq!(services.plan(vec![web("2"), web("1")]).await.unwrap(), [Unchanged, Roll]);
    let first = reloads.borrow_and_update()["web"].clone();
    assert_eq!((first.state, first.done, first.of), (ReloadState::Rolling, 0, 2));
    assert!(first.from != first.to && first.ended_ms.is_none());
    let over = |all: &Reloads| !all["web"].state.is_under_way();
    let last = within(reloads.wait_for(over)).await.unwrap()["web"].clone();
    assert_eq!((last.state, last.done, last.number), (ReloadState::Done, 2, first.number));

    services.apply(vec![web("dies")], vec![]).await.unwrap();
    let back = within(reloads.wait_for(over)).await.unwrap()["web"].clone();
    assert_eq!((back.state, &back.from), (ReloadState::TakenBack, &first.to));
    assert!(back.number > first.number);
    assert_eq!(back.reason, "#3 did not stay up: exited with code 3");
    services.apply(vec![], vec![]).await.unwrap();
    within(reloads.wait_for(|all| all.is_empty())).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_comes_without_a_reload_is_not_what_was_taken_back() {
    let rig = rig();
    let Startup { services, mut snapshot, mut reloads, .. } = begin(&rig);
    services.apply(vec![web("1")], vec![]).await.unwrap();
    within(snapshot.wait_for(|s| both_ready(s))).await.unwrap();
    services.apply(vec![web("dies")], vec![]).await.unwrap();
    let over = |all: &Reloads| !all["web"].state.is_under_way();
    let state = within(reloads.wait_for(over)).await.unwrap()["web"].state;
    assert_eq!(state, ReloadState::TakenBack);
    services.apply(vec![ServiceSpec { replicas: 3, ..web("1") }], vec![]).await.unwrap();
    assert!(reloads.borrow().is_empty());
}
