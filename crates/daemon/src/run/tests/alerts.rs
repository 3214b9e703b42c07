//! Alerts and anomalies of a whole daemon: from the configuration to events, lists, silences and receivers.

use ganger_api::client::{EventQuery, Sse};
use ganger_api::{AlertTestRequest, AnomaliesQuery, ErrorKind, EventLine, SilenceRequest};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

const WEB: &str = "[service.web]\ncommand = \"sleep 1000\"\n";
const RULE: &str = "[alert.few]\nwhen = \"up{service:web} < 5\"\nseverity = \"page\"\n";

/// The next event of a kind.
async fn event(events: &mut Sse<EventLine>, kind: &str) -> EventLine {
    let found = async {
        loop {
            let line = events.next().await.unwrap().unwrap();
            if line.kind == kind {
                return line;
            }
        }
    };
    tokio::time::timeout(HANGS, found).await.unwrap_or_else(|_| panic!("no {kind}"))
}

async fn live(daemon: &Daemon) -> Sse<EventLine> {
    let follow = EventQuery { follow: true, after: Some(0), limit: None };
    daemon.client.events(&follow).await.unwrap()
}

/// What there is once the owner has read its files, or the new configuration.
async fn ruled(daemon: &Daemon) -> ganger_api::Alerts {
    loop {
        let alerts = daemon.client.alerts().await.unwrap();
        if !alerts.rules.is_empty() {
            return alerts;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_rule_fires_is_silenced_and_ends_with_its_rule() {
    let folder = Folder::new(&format!("{WEB}{RULE}"));
    let daemon = folder.daemon().await;
    let mut events = live(&daemon).await;
    let applied = daemon.client.apply(&folder.request()).await.unwrap();
    assert!(applied.changes.iter().any(|c| (c.kind.as_str(), c.name.as_str()) == ("alert", "few")));
    let fired = event(&mut events, "alert.firing").await;
    assert_eq!((fired.name.as_str(), fired.to.as_deref()), ("few", Some("firing")));
    assert!(fired.reason.starts_with("service:web: up{service:web} = "), "{}", fired.reason);

    let all = daemon.client.alerts().await.unwrap();
    assert_eq!((all.alerts.len(), all.rules.len()), (1, 1));
    assert_eq!((all.alerts[0].state.as_str(), all.alerts[0].severity.as_str()), ("firing", "page"));
    let shown = daemon.client.alert("few").await.unwrap();
    let text = shown.alerts[0].text.as_deref().unwrap();
    assert!(
        text.starts_with("FIRING few [page]: service:web: up{service:web} is ")
            && text.contains("ganger why web"),
        "{text}"
    );
    let metrics = daemon.client.metrics().await.unwrap();
    let line = "ganger_alerts{alertname=\"few\",alertstate=\"firing\",object=\"service:web\",severity=\"page\"} 1";
    assert!(metrics.lines().any(|l| l == line), "{metrics}");

    let request = |matcher: &str| SilenceRequest {
        matchers: vec![matcher.to_owned()],
        reason: "a deploy".to_owned(),
        for_s: 600,
    };
    let id = daemon.client.silence(&request("service=web")).await.unwrap().done.remove(0);
    let quiet = daemon.client.alerts().await.unwrap();
    assert_eq!(quiet.alerts[0].silenced, std::slice::from_ref(&id));
    let silences = daemon.client.silences().await.unwrap().silences;
    assert_eq!((silences.len(), silences[0].alerts), (1, 1));
    assert!(!silences[0].author.is_empty());
    let wrong = daemon.client.silence(&request("service=~(")).await.unwrap_err();
    assert_eq!(wrong.kind, ErrorKind::Usage);
    daemon.client.expire_silence(&id).await.unwrap();
    assert_eq!(daemon.client.expire_silence(&id).await.unwrap_err().kind, ErrorKind::NotFound);
    assert!(daemon.client.alerts().await.unwrap().alerts[0].silenced.is_empty());
    assert_eq!(daemon.client.alert("feww").await.unwrap_err().hints, ["did you mean `few`?"]);

    folder.write(WEB);
    daemon.client.apply(&folder.request()).await.unwrap();
    let ended = event(&mut events, "alert.resolved").await;
    assert!(ended.reason.ends_with("the rule was removed"), "{}", ended.reason);
    assert!(daemon.client.alerts().await.unwrap().alerts.is_empty());
}

#[tokio::test]
async fn what_fires_and_is_silenced_survives_the_daemon() {
    let folder = Folder::new(&format!("{WEB}{RULE}"));
    let daemon = folder.daemon().await;
    let mut events = live(&daemon).await;
    daemon.client.apply(&folder.request()).await.unwrap();
    event(&mut events, "alert.firing").await;
    let request = SilenceRequest {
        matchers: vec!["alertname=few".to_owned()],
        reason: "known".to_owned(),
        for_s: 600,
    };
    let id = daemon.client.silence(&request).await.unwrap().done.remove(0);
    let since = daemon.client.alerts().await.unwrap().alerts[0].since;
    daemon.lose().await;
    let daemon = folder.daemon().await;
    let alerts = ruled(&daemon).await;
    assert_eq!((alerts.alerts[0].since, &alerts.alerts[0].silenced), (since, &vec![id]));
}

#[tokio::test]
async fn a_message_that_a_former_daemon_left_is_sent() {
    let receiver = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", receiver.local_addr().unwrap());
    let config = format!(
        "{WEB}[notify.ops]\nwebhook = \"{url}\"\nallow_local = true\nsecret = \"s3\"\n\
         [notify.page]\nexec = [\"/bin/page\", \"{{status}}\", \"{{summary}}\"]\n"
    );
    let folder = Folder::new(&config);
    // A message is only there where its receiver was configured: else it is given up at once.
    let former = folder.daemon().await;
    former.client.apply(&folder.request()).await.unwrap();
    former.lose().await;
    let outbox = folder.state_dir().join("alerts/outbox");
    std::fs::create_dir_all(&outbox).unwrap();
    let body = r#"{"status":"firing","groupKey":"{}:{}","alerts":[{"annotations":{"summary":"web is big"}}]}"#;
    for to in ["ops", "page"] {
        let born = ganger_api::Timestamp::now().0;
        let entry = serde_json::json!({"id": "7f", "receiver": to, "body": body, "born": born, "failures": 0, "next": born, "error": null});
        std::fs::write(outbox.join(format!("{to}@7f.json")), entry.to_string()).unwrap();
    }
    let (tell, mut started) = tokio::sync::mpsc::unbounded_channel();
    let daemon = folder
        .daemon_with(move |plan, _| {
            if plan.instance.name != "web" {
                drop(tell.send((plan.instance.name.clone(), plan.argv.clone())));
                return Act::runs();
            }
            Act::runs()
        })
        .await;
    daemon.ready("web").await;
    let (mut stream, _) = tokio::time::timeout(HANGS, receiver.accept()).await.unwrap().unwrap();
    let mut request = Vec::new();
    while !String::from_utf8_lossy(&request).contains(body) {
        assert!(stream.read_buf(&mut request).await.unwrap() > 0);
    }
    let request = String::from_utf8(request).unwrap().to_lowercase();
    for part in ["post /hook", "idempotency-key: 7f", "x-ganger-signature: sha256="] {
        assert!(request.contains(part), "{request}");
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    let (name, argv) = tokio::time::timeout(HANGS, started.recv()).await.unwrap().unwrap();
    assert_eq!(name, "alert:hook");
    assert_eq!(argv, ["/bin/page", "firing", "web is big"]);
    while outbox.join("ops@7f.json").exists() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn the_past_can_be_tried_and_nothing_unusual_is_seen() {
    let folder =
        Folder::new(&format!("{WEB}[alert.big]\nwhen = \"memory{{service:web}} > 1GiB\"\n"));
    let daemon = folder.daemon().await;
    daemon.client.apply(&folder.request()).await.unwrap();
    ruled(&daemon).await;
    let request = AlertTestRequest { since_s: Some(3_600), step_s: None };
    let tested = daemon.client.test_alert("big", &request).await.unwrap();
    assert_eq!((tested.fired, tested.step_s.0), (0, 5.0));
    let far = AlertTestRequest { since_s: Some(0), step_s: None };
    assert_eq!(daemon.client.test_alert("big", &far).await.unwrap_err().kind, ErrorKind::Usage);
    let none = daemon.client.anomalies(&AnomaliesQuery { all: true }).await.unwrap();
    assert!(none.anomalies.is_empty());
}
