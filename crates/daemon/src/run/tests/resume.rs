//! The next daemon goes on from what was desired, not from the file.

use super::*;

const WEB: &str = "[service.web]\ncommand = \"sleep 1000\"\nreplicas = 2\n\
                   [service.db]\ncommand = \"sleep 1000\"\n[queue.q]\n";

#[tokio::test]
async fn stopped_and_scaled_services_stay_so() {
    let folder = Folder::new(WEB);
    let daemon = folder.daemon().await;
    daemon.client.apply(&folder.request()).await.unwrap();
    daemon.ready("web").await;
    daemon.client.scale("web", 3).await.unwrap();
    daemon.client.stop("db").await.unwrap();
    daemon.client.pause("q").await.unwrap();
    daemon.lose().await;

    folder.write("# somebody edits the file meanwhile\n");
    let next = folder.daemon().await;
    next.ready("web").await;
    assert_eq!(
        next.ps().await,
        ["db#1 stopped", "web#1 running", "web#2 running", "web#3 running"]
    );
    assert!(next.client.queue("q").await.unwrap().paused);
    assert!(next.client.status().await.unwrap().config_differs);
    assert!(next.client.service("db").await.unwrap().stopped);
}

#[tokio::test]
async fn an_apply_is_the_latest_word() {
    let folder = Folder::new(WEB);
    let daemon = folder.daemon().await;
    daemon.client.apply(&folder.request()).await.unwrap();
    daemon.client.scale("web", 1).await.unwrap();
    daemon.client.stop("db").await.unwrap();
    daemon.client.apply(&folder.request()).await.unwrap();
    daemon.ready("db").await;
    daemon.ready("web").await;
    daemon.lose().await;
    let next = folder.daemon().await;
    next.ready("web").await;
    next.ready("db").await;
    assert_eq!(next.ps().await.len(), 3);
}

#[tokio::test]
async fn after_down_nothing_starts_until_somebody_applies() {
    let folder = Folder::new(WEB);
    let daemon = folder.daemon().await;
    daemon.client.apply(&folder.request()).await.unwrap();
    daemon.ready("web").await;
    daemon.client.down().await.unwrap();
    daemon.ended().await;
    let next = folder.daemon().await;
    assert!(next.ps().await.is_empty());
    let applied = next.client.apply(&folder.request()).await.unwrap();
    let services = applied.changes.iter().filter(|c| c.kind == "service");
    assert!(services.clone().count() == 2);
    next.ready("web").await;
}

#[tokio::test]
async fn asked_to_end_by_its_keeper_it_comes_back_with_everything() {
    let folder = Folder::new(WEB);
    let daemon = folder.daemon().await;
    daemon.client.apply(&folder.request()).await.unwrap();
    daemon.ready("web").await;
    let asked = ganger_keeper::wire::Event::ShutdownAsked { why: "SIGTERM".into() };
    daemon.keeper.say(asked).await;
    assert!(matches!(daemon.ended().await, Ended::Down(_)));
    let next = folder.daemon().await;
    next.ready("web").await;
    next.ready("db").await;
}

#[tokio::test]
async fn a_service_that_failed_for_good_is_not_started_again() {
    let folder = Folder::new("[service.bad]\ncommand = \"true\"\nrestart = \"never\"\n");
    let daemon = folder.daemon_with(|_, _| Act::exits(Duration::ZERO, 3)).await;
    daemon.client.apply(&folder.request()).await.unwrap();
    let failed = WaitRequest {
        conditions: vec!["service:bad=ready".parse().unwrap()],
        timeout_s: Some(Duration::from_millis(300).into()),
    };
    // Whether it was ready for a moment or not: it ends failed.
    drop(daemon.client.wait(&failed).await);
    let mut events = daemon
        .client
        .events(&ganger_api::client::EventQuery { follow: true, after: Some(0), limit: None })
        .await
        .unwrap();
    loop {
        let event = tokio::time::timeout(HANGS, events.next()).await.unwrap().unwrap().unwrap();
        if event.to.as_deref() == Some("failed") {
            break;
        }
    }
    drop(events);
    daemon.lose().await;
    let next = folder.daemon().await;
    assert_eq!(next.ps().await, ["bad#1 failed"]);
    assert_eq!(next.keeper.lives("bad", 1).await.started, 0);
}
