//! Schedules over HTTP, and daemons that come and go around their fires.

use ganger_api::ErrorKind;
use ganger_api::client::EventQuery;

use super::*;

const EVERY_SECOND: &str = "[queue.q]\n[schedule.beat]\ncron = \"@every 1s\"\nqueue = \"q\"\nmissed = \"all\"\nkind = \"k\"\npayload = { n = 1 }\npriority = \"high\"\n";
const SELDOM: &str = "[queue.q]\n[schedule.yearly]\ncron = \"@yearly\"\nqueue = \"q\"\noverlap = \"skip\"\n[schedule.rest]\ncron = \"@hourly\"\nqueue = \"q\"\npaused = true\n";

/// Waits until so many fires were told.
async fn hear(daemon: &Daemon, after: u64, n: usize) -> u64 {
    let query = EventQuery { follow: true, after: Some(after), limit: None };
    let mut events = daemon.client.events(&query).await.unwrap();
    let (mut heard, mut last) = (0, after);
    while heard < n {
        let event = tokio::time::timeout(HANGS, events.next()).await.unwrap().unwrap().unwrap();
        last = event.seq;
        heard += usize::from(event.kind == "schedule.fired");
    }
    last
}

#[tokio::test]
async fn every_fire_has_one_task_whatever_daemons_do() {
    let folder = Folder::new(EVERY_SECOND);
    let daemon = folder.daemon().await;
    daemon.client.apply(&folder.request()).await.unwrap();
    let mut after = hear(&daemon, 0, 1).await;
    daemon.lose().await;
    for _ in 0..2 {
        let next = folder.daemon().await;
        after = hear(&next, after, 2).await;
        next.lose().await;
    }
    let last = folder.daemon().await;
    hear(&last, after, 1).await;
    let shown = last.client.schedule("beat").await.unwrap();
    let open = last.client.queue("q").await.unwrap().counts.open();
    let made: Vec<_> = shown.fires.iter().rev().map(|fire| fire.at.0).collect();
    assert!(made.len() >= 6 && made.windows(2).all(|pair| pair[1] - pair[0] == 1_000), "{made:?}");
    assert!(shown.fires.iter().all(|fire| fire.outcome == "fired" && fire.task.is_some()));
    assert!((shown.fired..=shown.fired + 1).contains(&open), "{open} tasks of {}", shown.fired);
    let task = last.client.task(shown.fires[0].task.unwrap()).await.unwrap();
    assert_eq!((task.kind.as_str(), task.payload.get()), ("k", "{\"n\":1}"));
    assert_eq!(task.priority, ganger_core::Priority::HIGH);
    let status = last.client.status().await.unwrap().schedules.unwrap();
    assert_eq!((status.total, status.paused, status.next.as_deref()), (1, 0, Some("beat")));
}

#[tokio::test]
async fn looked_at_run_paused_and_resumed() {
    let folder = Folder::new(SELDOM);
    let daemon = folder.daemon().await;
    let applied = daemon.client.apply(&folder.request()).await.unwrap();
    assert_eq!(applied.changes.iter().filter(|c| c.kind == "schedule").count(), 2);
    let all = daemon.client.schedules().await.unwrap().schedules;
    let paused: Vec<_> = all.iter().map(|s| (s.name.as_str(), s.paused)).collect();
    assert_eq!(paused, [("rest", true), ("yearly", false)]);
    assert!(all[0].next_fire.is_none() && all[1].next_fire.is_some());
    let next = daemon.client.next_fires("yearly", 3).await.unwrap();
    assert_eq!(
        (next.next.len(), next.when.as_str(), next.timezone.as_str()),
        (3, "@yearly", "UTC")
    );
    let made = daemon.client.run_schedule("yearly").await.unwrap();
    let again = daemon.client.run_schedule("yearly").await.unwrap_err();
    assert_eq!(again.kind, ErrorKind::Conflict);
    daemon.client.cancel(made.task.unwrap()).await.unwrap();
    daemon.client.resume_schedule("rest").await.unwrap();
    daemon.client.pause_schedule("yearly").await.unwrap();
    let missing = daemon.client.pause_schedule("yearli").await.unwrap_err();
    assert_eq!(missing.kind, ErrorKind::NotFound);
    assert!(missing.hints.iter().any(|hint| hint.contains("`yearly`")), "{missing:?}");
    daemon.lose().await;
    let next = folder.daemon().await;
    let all = next.client.schedules().await.unwrap().schedules;
    assert_eq!(all.iter().map(|s| s.paused).collect::<Vec<_>>(), [false, true]);
    // An apply of the same file leaves a person's word; a removed schedule is forgotten.
    next.client.apply(&folder.request()).await.unwrap();
    assert!(next.client.schedule("yearly").await.unwrap().paused);
    folder.write("[queue.q]\n");
    next.client.apply(&folder.request()).await.unwrap();
    assert_eq!(next.client.schedules().await.unwrap().schedules.len(), 0);
    assert_eq!(next.client.status().await.unwrap().schedules, None);
}

#[tokio::test]
async fn a_schedule_from_any_program_is_checked() {
    let folder = Folder::new(SELDOM);
    let daemon = folder.daemon().await;
    let mut request = folder.request();
    let bad = request.config.get().replace("@yearly", "@yearli");
    request.config = serde_json::value::RawValue::from_string(bad).unwrap();
    let error = daemon.client.apply(&request).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Config);
    assert!(error.message.contains("schedule `yearly`"), "{}", error.message);
}
