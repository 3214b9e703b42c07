//! The executor on the scripted keeper, with a real log.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use ganger_audit::{Event, Filter, Options, Reader, Record};
use ganger_core::{End, InstanceId, InstanceKind};
use ganger_keeper::wire::Plan;
use ganger_policy::{Policy, Principal, Request};
use ganger_process::{Inherited, Link, Processes, Startup};
use ganger_testkit::{Act, FakeKeeper};

use super::*;

/// No wait of a test is this long unless something hangs.
const HANGS: Duration = Duration::from_secs(60);

fn keeper(script: impl FnMut(&Plan, u32) -> Act + Send + 'static) -> (FakeKeeper, Startup) {
    let (keeper, link) = FakeKeeper::start(script);
    let link = Link::new(link.requests, link.events);
    (keeper, Processes::start(link, Inherited::nothing(), 9))
}

fn executor(startup: &Startup, folder: &Path, left: Vec<ganger_process::Child>) -> Executor {
    let processes = startup.processes.clone();
    let log = Options::new(folder.to_owned());
    let (exec, owner) = Executor::start(Parts { processes, log, left, shut: Shut::default() });
    drop(tokio::spawn(owner));
    exec
}

async fn within<T>(wait: impl Future<Output = T>) -> T {
    tokio::time::timeout(HANGS, wait).await.expect("it happens within a minute")
}

/// Loads a policy `p` of the machine's shell without arguments, or none.
async fn load(exec: &Executor, folder: &Path, some: bool) {
    put(exec, folder, some.then(|| policy(""))).await;
}

/// The same with more keys.
async fn load_with(exec: &Executor, folder: &Path, more: &str) {
    put(exec, folder, Some(policy(more))).await;
}

fn policy(more: &str) -> Policy {
    let shell = std::fs::canonicalize("/bin/sh").unwrap();
    let policy = format!(r#"{{"program":"{}","allow":[{{}}]{more}}}"#, shell.display());
    serde_json::from_str(&policy).unwrap()
}

async fn put(exec: &Executor, folder: &Path, policy: Option<Policy>) {
    let policies = policy.map(|policy| ("p".to_owned(), policy)).into_iter();
    let policies = policies.collect::<BTreeMap<_, _>>();
    let log = Options::new(folder.to_owned());
    within(exec.load(Load { policies, log, file: None, resumed: false })).await.unwrap();
}

async fn ask(exec: &Executor, policy: &str) -> Ended {
    let principal = Principal { owner: true, uid: Some(1000), ..Principal::default() };
    let ask = Ask {
        caller: Caller { principal, ..Caller::default() },
        policy: policy.to_owned(),
        request: Ok(Request::policy(policy, &[])),
        stdin: Bytes::new(),
    };
    let mut told = within(exec.run(ask)).await;
    loop {
        if let Told::Ended(ended) =
            within(told.recv()).await.expect("the last thing told is an end")
        {
            return *ended;
        }
    }
}

/// What the log has, in order, by name.
fn records(folder: &Path) -> Vec<&'static str> {
    let mut all = Vec::new();
    let Ok(reader) = Reader::open(folder) else { return all };
    reader
        .search(&Filter::default(), |found| {
            match found.unwrap().entry.event {
                Event::Record(Record::Intent(_)) => all.push("intent"),
                Event::Record(Record::Outcome(_)) => all.push("outcome"),
                Event::Record(Record::Denied(_)) => all.push("denied"),
                Event::Record(Record::PolicyLoaded(_)) => all.push("policy"),
                _ => {}
            }
            true
        })
        .unwrap();
    all
}

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn folder(&self) -> PathBuf {
        self.0.path().join("audit")
    }
}

#[tokio::test]
async fn the_intent_is_on_disk_before_anything_starts_and_every_answer_has_its_record() {
    let place = Place::new();
    let at_start = Arc::new(Mutex::new(Vec::new()));
    let (noted, folder) = (Arc::clone(&at_start), place.folder());
    let (keeper, startup) = keeper(move |_, _| {
        *noted.lock().unwrap() = records(&folder);
        Act::exits(Duration::ZERO, 3)
    });
    let exec = executor(&startup, &place.folder(), vec![]);
    load(&exec, &place.folder(), true).await;
    let ended = ask(&exec, "p").await;
    assert_eq!((ended.verdict, ended.end), (Verdict::Allowed, Some(End::Exited { code: 3 })));
    assert_eq!(*at_start.lock().unwrap(), ["policy", "intent"]);
    within(async { while !keeper.unacked().await.is_empty() {} }).await;

    // A name that no record has room for, and policies that are gone, are denied like anything else.
    assert_eq!(ask(&exec, &"x".repeat(1 << 20)).await.verdict, Verdict::Denied);
    load(&exec, &place.folder(), false).await;
    assert_eq!(ask(&exec, "p").await.verdict, Verdict::Denied);
    let all = ["policy", "intent", "outcome", "denied", "policy", "denied"];
    assert_eq!(records(&place.folder()), all);
}

#[tokio::test]
async fn without_a_log_nothing_runs_and_one_that_comes_back_begins_with_the_policies() {
    let place = Place::new();
    let (keeper, startup) = keeper(|_, _| Act::exits(Duration::ZERO, 0));
    std::fs::write(place.folder(), "no folder").unwrap();
    let exec = executor(&startup, &place.folder(), vec![]);
    load(&exec, &place.folder(), true).await;
    let ended = ask(&exec, "p").await;
    assert_eq!((ended.verdict, ended.code.as_deref()), (Verdict::Failed, Some("no_audit")));
    assert_eq!(keeper.lives("p:exec", 1).await.started, 0);

    std::fs::remove_file(place.folder()).unwrap();
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(1)).await;
    tokio::time::resume();
    assert_eq!(ask(&exec, "p").await.verdict, Verdict::Allowed);
    assert_eq!(records(&place.folder()), ["policy", "intent", "outcome"]);
}

#[tokio::test]
async fn what_a_daemon_left_is_ended_even_where_that_can_not_be_recorded() {
    let place = Place::new();
    let (keeper, startup) = keeper(|_, _| Act::ignores_term());
    let instance = InstanceId::new("p:exec", 1);
    let plan = Plan::new(instance, InstanceKind::Command, "/bin/sh", vec!["sh".into()]);
    let left = startup.processes.spawn(plan, vec![]).await.unwrap();
    assert!(is_run(&left));
    std::fs::write(place.folder(), "no folder").unwrap();
    let _exec = executor(&startup, &place.folder(), vec![left]);
    within(async { while keeper.lives("p:exec", 1).await.now > 0 {} }).await;
    assert_eq!(keeper.unacked().await.len(), 1, "the next daemon may record it");
}

#[tokio::test]
async fn cpu_time_is_the_whole_trees_and_told_as_a_breach_with_its_peak() {
    let place = Place::new();
    let limits = Arc::new(Mutex::new(None));
    let noted = Arc::clone(&limits);
    let (_keeper, startup) = keeper(move |plan, _| {
        *noted.lock().unwrap() = Some(plan.profile.limits.clone());
        let end = End::LimitHit { limit: "cpu_time".into(), peak: 1_520 };
        Act { ends_after: Some((Duration::ZERO, end)), ..Act::runs() }
    });
    let exec = executor(&startup, &place.folder(), vec![]);
    load_with(&exec, &place.folder(), r#","limits":{"cpu_time":"1500ms"}"#).await;
    let ended = ask(&exec, "p").await;
    let limits = limits.lock().unwrap().take().unwrap();
    assert_eq!((limits.tree_cpu_ms, limits.cpu_time), (Some(1_500), Some(3)), "seconds behind it");
    let breach = ganger_audit::Breach { limit: "cpu_time".into(), allowed: 1_500, peak: 1_520 };
    assert_eq!(ended.breach, Some(breach));
    assert!(ended.reason.contains("peak 1s520ms"), "{}", ended.reason);
}
