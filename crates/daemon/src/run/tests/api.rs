//! The routes, over a real socket.

use std::time::Duration;

use ganger_api::client::EventQuery;
use ganger_api::{ChangeAction, ErrorKind, WaitRequest};
use ganger_core::InstanceState;
use ganger_testkit::Act;
use tower::ServiceExt;

use super::*;

const TWO: &str = "[service.web]\ncommand = \"sleep 1000\"\nreplicas = 2\n\
                   [service.db]\ncommand = \"sleep 1000\"\n[queue.q]\n";

#[tokio::test]
async fn what_is_applied_runs_and_is_told() {
    let folder = Folder::new(TWO);
    let daemon = folder.daemon().await;
    let applied = daemon.client.apply(&folder.request()).await.unwrap();
    let added: Vec<_> =
        applied.changes.iter().map(|c| (c.kind.as_str(), c.name.as_str())).collect();
    assert_eq!(added, [("service", "db"), ("service", "web"), ("queue", "q")]);
    assert!(applied.changes.iter().all(|c| c.action == ChangeAction::Add));
    daemon.ready("web").await;
    daemon.ready("db").await;
    assert_eq!(daemon.ps().await, ["db#1 running", "web#1 running", "web#2 running"]);

    let status = daemon.client.status().await.unwrap();
    assert!(status.keeper.pid.is_some());
    assert_eq!(status.config_file.as_deref(), folder.file().to_str());
    assert!(!status.config_differs && status.degraded.is_empty() && status.api_only.is_none());
    folder.write("# changed\n");
    assert!(daemon.client.status().await.unwrap().config_differs);

    let web = daemon.client.service("web").await.unwrap();
    assert_eq!((web.replicas, web.command.join(" ")), (2, "sleep 1000".to_owned()));
}

#[tokio::test]
async fn a_dry_run_changes_nothing_and_a_second_apply_only_what_differs() {
    let folder = Folder::new(TWO);
    let daemon = folder.daemon().await;
    let mut request = folder.request();
    request.dry_run = true;
    assert_eq!(daemon.client.apply(&request).await.unwrap().changes.len(), 3);
    assert!(daemon.ps().await.is_empty());
    daemon.client.apply(&folder.request()).await.unwrap();
    daemon.ready("web").await;
    folder.write(&TWO.replace(
        "[service.db]\ncommand = \"sleep 1000\"",
        "[service.db]\ncommand = \"sleep 2000\"",
    ));
    let applied = daemon.client.apply(&folder.request()).await.unwrap();
    let actions: Vec<_> = applied.changes.iter().map(|c| c.action).collect();
    assert_eq!(actions, [ChangeAction::Change, ChangeAction::Keep, ChangeAction::Keep]);
    daemon.ready("db").await;
    assert_eq!(daemon.keeper.lives("web", 1).await.started, 1);
}

#[tokio::test]
async fn verbs_wait_until_it_is_done() {
    let folder = Folder::new(TWO);
    let daemon = folder.daemon().await;
    daemon.client.apply(&folder.request()).await.unwrap();
    daemon.ready("web").await;
    daemon.client.stop("web#2").await.unwrap();
    daemon.client.scale("db", 0).await.unwrap();
    assert_eq!(daemon.ps().await, ["web#1 running", "web#2 stopped"]);
    daemon.client.restart("web").await.unwrap();
    daemon.client.scale("db", 2).await.unwrap();
    assert_eq!(
        daemon.ps().await,
        ["db#1 running", "db#2 running", "web#1 running", "web#2 running"]
    );
}

#[tokio::test]
async fn unknown_things_are_named_with_what_was_meant() {
    let folder = Folder::new(TWO);
    let daemon = folder.daemon().await;
    daemon.client.apply(&folder.request()).await.unwrap();
    let error = daemon.client.stop("wep").await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotFound);
    assert_eq!(error.hints, ["did you mean `web`?"]);
    assert_eq!(daemon.client.service("x").await.unwrap_err().kind, ErrorKind::NotFound);
    assert_eq!(daemon.client.start("web#9").await.unwrap_err().kind, ErrorKind::NotFound);
    assert_eq!(daemon.client.scale("web", 99_999).await.unwrap_err().kind, ErrorKind::Usage);
    assert_eq!(daemon.client.queue("nope").await.unwrap_err().kind, ErrorKind::NotFound);
    let logs = daemon.client.logs("nope", &Default::default()).await;
    assert_eq!(logs.unwrap_err().kind, ErrorKind::NotFound);
}

#[tokio::test]
async fn a_start_that_fails_says_why_and_waiting_for_it_too() {
    let folder = Folder::new("[service.bad]\ncommand = \"true\"\nrestart = \"never\"\n");
    let daemon = folder.daemon_with(|_, _| Act::fails("execve", 13, "/bin/true")).await;
    daemon.client.apply(&folder.request()).await.unwrap();
    let error = daemon.client.start("bad").await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Failed);
    assert!(error.message.contains("execve: Permission denied"), "{}", error.message);
    let wait =
        WaitRequest { conditions: vec!["service:bad=ready".parse().unwrap()], timeout_s: None };
    assert_eq!(daemon.client.wait(&wait).await.unwrap_err().kind, ErrorKind::Failed);
}

#[tokio::test]
async fn waiting_has_an_end() {
    let folder =
        Folder::new("[service.slow]\ncommand = \"true\"\nready = { notify = true }\n[queue.q]\n");
    let daemon = folder.daemon().await;
    daemon.client.apply(&folder.request()).await.unwrap();
    let wait = WaitRequest {
        conditions: vec!["queue:q=empty".parse().unwrap(), "service:slow=ready".parse().unwrap()],
        timeout_s: Some(Duration::from_millis(50).into()),
    };
    let error = daemon.client.wait(&wait).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Timeout);
    assert_eq!(error.chain, ["slow#1 is starting"]);
}

#[tokio::test]
async fn events_are_numbered_and_followed() {
    let folder = Folder::new(TWO);
    let daemon = folder.daemon().await;
    let follow = EventQuery { follow: true, after: Some(0), limit: None };
    let mut live = daemon.client.events(&follow).await.unwrap();
    daemon.client.apply(&folder.request()).await.unwrap();
    let mut last = 0;
    loop {
        let event = tokio::time::timeout(HANGS, live.next()).await.unwrap().unwrap().unwrap();
        assert!(event.seq > last, "{event:?} after {last}");
        last = event.seq;
        if event.name == "web" && event.to.as_deref() == Some(InstanceState::Running.as_str()) {
            break;
        }
    }
    let mut past =
        daemon.client.events(&EventQuery { limit: Some(1), ..Default::default() }).await.unwrap();
    assert!(past.next().await.unwrap().unwrap().seq >= last);
    assert!(past.next().await.unwrap().is_none());
}

#[tokio::test]
async fn figures_are_prometheus_text() {
    let folder = Folder::new(TWO);
    let daemon = folder.daemon().await;
    daemon.client.apply(&folder.request()).await.unwrap();
    daemon.ready("web").await;
    daemon.client.push("q", &[ganger_api::NewTask::default()]).await.unwrap();
    let text = daemon.client.metrics().await.unwrap();
    for line in [
        "ganger_instances{name=\"web\",kind=\"service\",state=\"running\"} 2",
        "ganger_queue_tasks{queue=\"q\",state=\"available\"} 1",
        "ganger_tasks_pushed_total 1",
        "ganger_tasks_quarantined_total 0",
        "ganger_dead_letters_pruned_total 0",
        "ganger_api_only 0",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
    }
    assert!(text.contains("ganger_store_commit_seconds_bucket"));
    assert!(!text.contains("# EOF"), "that is OpenMetrics', which nobody asked for");
}

#[tokio::test]
async fn other_users_are_refused_everything() {
    let request =
        axum::http::Request::get("/api/v1/status").body(axum::body::Body::empty()).unwrap();
    let answer = crate::http::denied().oneshot(request).await.unwrap();
    assert_eq!(answer.status(), 403);
}

fn raw(value: &serde_json::Value) -> Box<serde_json::value::RawValue> {
    serde_json::value::to_raw_value(value).unwrap()
}

#[tokio::test]
async fn nonsense_is_answered_not_served() {
    let folder = Folder::new(TWO);
    let daemon = folder.daemon().await;
    let mut request = folder.request();
    request.config = raw(&serde_json::json!({"services": 1}));
    assert_eq!(daemon.client.apply(&request).await.unwrap_err().kind, ErrorKind::Usage);
    let wait = WaitRequest { conditions: vec![], timeout_s: Some(ganger_api::Seconds(-1.0)) };
    assert_eq!(daemon.client.wait(&wait).await.unwrap_err().kind, ErrorKind::Usage);
}

#[tokio::test]
async fn a_configuration_from_any_program_is_checked_before_it_is_stored() {
    let folder =
        Folder::new("[service.a]\ncommand = \"sleep 9\"\n[service.b]\ncommand = \"sleep 9\"\n");
    let daemon = folder.daemon().await;
    let refused = async |change: &dyn Fn(&mut serde_json::Value)| {
        let mut request = folder.request();
        let mut config = serde_json::from_str(request.config.get()).unwrap();
        change(&mut config);
        request.config = raw(&config);
        let error = daemon.client.apply(&request).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Config);
        error.message
    };
    let text = refused(&|c| {
        c["services"]["a"]["depends_on"] = serde_json::json!({"b": "ready"});
        c["services"]["b"]["depends_on"] = serde_json::json!({"a": "ready"});
    });
    assert_eq!(text.await, "services wait for each other: a → b → a");
    let text = refused(&|c| {
        let a = c["services"]["a"].clone();
        c["services"]["../../etc"] = a;
    });
    assert_eq!(text.await, "service `../../etc`: this can't be a name");
    let text = refused(&|c| c["services"]["a"]["command"] = serde_json::json!([]));
    assert_eq!(text.await, "service `a`: it has nothing to run");
    let text = refused(&|c| c["services"]["a"]["user"] = "no-such-user".into());
    assert!(text.await.contains("there is no user `no-such-user`"));
    daemon.lose().await;
    assert!(folder.daemon().await.ps().await.is_empty());
}

#[tokio::test]
async fn down_stops_everything_and_ends_the_daemon() {
    let folder = Folder::new(TWO);
    let daemon = folder.daemon().await;
    daemon.client.apply(&folder.request()).await.unwrap();
    daemon.ready("web").await;
    assert!(daemon.client.down().await.unwrap().notes.is_empty());
    assert!(matches!(daemon.ended().await, Ended::Down(_)));
}

#[tokio::test]
async fn without_a_store_it_answers_and_can_be_brought_down() {
    let folder = Folder::new(TWO);
    std::fs::create_dir(folder.state_dir().join("state.db")).unwrap();
    let fault = open::open(&folder.state_dir()).unwrap_err();
    let why = super::super::alone::no_store(&fault);
    let (keeper, ground) = ground(&folder.state_dir(), |_, _| Act::runs(), 0);
    let serving = super::super::alone::serve_on(ground, why, vec![], Some(folder.state_dir()));
    let task = tokio::spawn(serving);
    let daemon = Daemon { keeper, task, client: Client::new(folder.state_dir()) };
    let status = daemon.client.status().await.unwrap();
    assert!(status.api_only.unwrap().contains("state.db"));
    assert_eq!(status.degraded.len(), 1);
    assert!(daemon.ps().await.is_empty());
    let error = daemon.client.apply(&folder.request()).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::NoDaemon);
    assert!(!error.hints.is_empty());
    daemon.client.down().await.unwrap();
    assert!(matches!(daemon.ended().await, Ended::Down(_)));
}
