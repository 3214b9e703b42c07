//! Groups over the fake keeper, in paused time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ganger_core::{End, GroupState, GroupStrategy, InstanceId, SignalSource};
use ganger_testkit::{Act, OnTerm};
use tokio::sync::watch;

use super::super::{Services, Startup};
use crate::budget::{self, RESTARTS};
use crate::policy::Restart;
use crate::spec::{GroupSpec, ServiceSpec};
use crate::testing::{Rig, spec, within};
use crate::view::Snapshot;

const SECOND: Duration = Duration::from_secs(1);

type Seen = watch::Receiver<Arc<Snapshot>>;

fn group(strategy: GroupStrategy, members: &[&str], optional: &[&str]) -> GroupSpec {
    let names = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    GroupSpec {
        name: "all".into(),
        strategy,
        members: names(members),
        optional: names(optional).into_iter().collect(),
    }
}

async fn seen(snapshot: &mut Seen, wanted: impl Fn(&Snapshot) -> bool) -> Arc<Snapshot> {
    let found = within(snapshot.wait_for(|snapshot| wanted(snapshot))).await;
    Arc::clone(&found.expect("the owner still publishes"))
}

fn group_is(snapshot: &Snapshot, state: GroupState) -> bool {
    snapshot.groups.first().is_some_and(|group| group.state == state)
}

fn killed() -> End {
    End::Signalled { signal: 9, core: false, by: SignalSource::Unknown }
}

/// Every service takes a second to end; everything is up.
async fn up(rig: &Rig, spec_of: GroupSpec, names: &[&str]) -> (Services, Seen) {
    let Startup { services, mut snapshot, .. } =
        Services::start_owner(rig.around.clone(), vec![], &mut BTreeMap::new());
    services.set_groups(vec![spec_of]).await.unwrap();
    let specs = names.iter().map(|name| ServiceSpec::new(*name, spec(name)));
    services.apply(specs.collect(), vec![]).await.unwrap();
    seen(&mut snapshot, |s| group_is(s, GroupState::Running)).await;
    (services, snapshot)
}

fn slow_to_end() -> Act {
    Act { on_term: OnTerm::Exits(SECOND, 0), ..Act::runs() }
}

/// What the keeper was asked since the services came up.
async fn asked(rig: &Rig, services: usize) -> Vec<String> {
    let all = rig.keeper.seen().await;
    let words = |line: &String| line.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
    all[services..].iter().map(words).collect()
}

#[tokio::test(start_paused = true)]
async fn the_rest_makes_room_backwards_and_starts_forwards() {
    let mut rig = Rig::new(|_, _| slow_to_end());
    let (set, rate) = watch::channel(ganger_core::Rate { count: 1, burst: 1, ..RESTARTS });
    let (permits, task) = budget::start(rate);
    let _budget = tokio::spawn(task);
    rig.around.permits = permits;
    let all = group(GroupStrategy::RestForOne, &["log", "db", "api", "web"], &[]);
    let (_services, mut snapshot) = up(&rig, all, &["log", "db", "api", "web"]).await;
    let begun = tokio::time::Instant::now();
    rig.keeper.kill("db", 1, killed()).await.unwrap();
    seen(&mut snapshot, |s| group_is(s, GroupState::Starting)).await;
    seen(&mut snapshot, |s| group_is(s, GroupState::Running)).await;
    let expected = ["signal web#1", "signal api#1", "spawn db#1", "spawn api#1", "spawn web#1"];
    assert_eq!(asked(&rig, 4).await, expected);
    // Two seconds to end, and one a second from the budget.
    assert_eq!(begun.elapsed().as_secs(), 4);
    for name in ["log", "db", "api", "web"] {
        assert_eq!(rig.keeper.lives(name, 1).await.most_at_once, 1);
    }
    let view = snapshot.borrow().get(&InstanceId::new("web", 1)).cloned().unwrap();
    assert_eq!((view.restarts, view.failures), (1, 0), "not its failure");
    drop(set);
}

#[tokio::test(start_paused = true)]
async fn a_stop_wins_over_the_group() {
    let rig = Rig::new(|_, _| slow_to_end());
    let all = group(GroupStrategy::OneForAll, &["db", "api", "web"], &[]);
    let (services, mut snapshot) = up(&rig, all, &["db", "api", "web"]).await;
    rig.keeper.kill("web", 1, killed()).await.unwrap();
    seen(&mut snapshot, |s| group_is(s, GroupState::Starting)).await;
    let stopped = services.stop("api", None).await.unwrap();
    within(stopped.done()).await.unwrap();
    let degraded = seen(&mut snapshot, |s| group_is(s, GroupState::Degraded)).await;
    assert_eq!(degraded.groups[0].reason, "`api` is stopped");
    let lives = [rig.keeper.lives("db", 1).await, rig.keeper.lives("web", 1).await];
    assert!(lives.iter().all(|lives| (lives.started, lives.most_at_once) == (2, 1)));
    assert_eq!(rig.keeper.lives("api", 1).await.started, 1, "it stays stopped");
}

#[tokio::test(start_paused = true)]
async fn an_optional_member_only_degrades() {
    let mut rig = Rig::new(|plan, _| match plan.instance.name.as_str() {
        "cache" => Act::exits(SECOND * 5, 3),
        _ => slow_to_end(),
    });
    let Startup { services, mut snapshot, .. } =
        Services::start_owner(rig.around.clone(), vec![], &mut BTreeMap::new());
    let all = group(GroupStrategy::OneForAll, &["cache", "api"], &["cache"]);
    services.set_groups(vec![all]).await.unwrap();
    let mut cache = ServiceSpec::new("cache", spec("cache"));
    cache.instance.restart = Restart::Never;
    let specs = vec![cache, ServiceSpec::new("api", spec("api"))];
    services.apply(specs, vec![]).await.unwrap();
    let degraded = seen(&mut snapshot, |s| group_is(s, GroupState::Degraded)).await;
    assert_eq!(degraded.groups[0].reason, "optional `cache` has failed");
    assert_eq!(rig.keeper.lives("api", 1).await.started, 1);
    loop {
        let told = rig.event("group.state").await.event;
        if told.to.as_deref() == Some("degraded") {
            assert_eq!((told.name.as_str(), told.from.as_deref()), ("all", Some("running")));
            return;
        }
    }
}
