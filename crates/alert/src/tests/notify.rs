//! Bodies byte for byte, texts, signatures and the outbox.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::*;
use crate::Reason;
use crate::notify::outbox::{AGE_MAX, BODY_MAX, DEAD_MAX, Entry, Outcome, WAITING_MAX};
use crate::notify::webhook::{body, signature};
use crate::notify::{About, Cause, Outbox, Shelf, argv, message};

pub(super) fn notification() -> Notification {
    let machine = Machine::default()
        .with(web(), "rss", |at| Some(if at < 10 * MINUTE { 612.0 * 1_048_576.0 } else { 1.0 }));
    let mut alerts = engine(vec![rule("rss > 512MiB", |s| {
        s.notify = vec!["ops+1".into()];
        s.labels.insert("team".into(), "a\"<b>&".into());
        s.summary = Some("{object} uses {value} of {threshold}".into());
    })]);
    let actions = run(&mut alerts, &machine, (0, MINUTE, 10 * SECOND));
    told(&actions)[0].clone()
}

fn about() -> About {
    let cause = |what: &str, weight| Cause { what: what.into(), weight };
    About {
        pid: Some(4_711),
        attempt: Some(3),
        baseline: Some((200.0 * 1_048_576.0, 86_400)),
        causes: vec![
            cause("memory pressure of the host", 0.2),
            cause("reloaded 2 min before", 0.7),
        ],
        log: (0..30).map(|n| format!("line {n}\u{1b}[31m")).collect(),
        try_this: vec!["ganger restart web".into(), "ganger alert silence high --for 1h".into()],
    }
}

/// Alertmanager's own structs, in its spelling; an unknown or missing field is an error here, though not in Go.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[expect(dead_code, reason = "what matters is that every field is there and of its type")]
struct Message {
    receiver: String,
    status: String,
    alerts: Vec<Entry4>,
    #[serde(rename = "notification_reason")]
    notification_reason: String,
    group_labels: BTreeMap<String, String>,
    common_labels: BTreeMap<String, String>,
    common_annotations: BTreeMap<String, String>,
    #[serde(rename = "externalURL")]
    external_url: String,
    version: String,
    group_key: String,
    truncated_alerts: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Entry4 {
    status: String,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    starts_at: String,
    ends_at: String,
    #[serde(rename = "generatorURL")]
    generator_url: String,
    fingerprint: String,
}

/// Parses as strictly as Go's `time.Time` and `uint64`, and stricter where Go lets things pass.
pub(super) fn parsed(body: &[u8]) -> usize {
    let message: Message = serde_json::from_slice(body).unwrap();
    assert_eq!(message.version, "4");
    for alert in &message.alerts {
        assert!(["firing", "resolved"].contains(&alert.status.as_str()));
        alert.starts_at.parse::<jiff::Timestamp>().unwrap();
        alert.ends_at.parse::<jiff::Timestamp>().unwrap();
        assert_eq!(alert.fingerprint.len(), 16);
        assert_eq!(alert.ends_at == "0001-01-01T00:00:00Z", alert.status == "firing");
        assert!(
            alert.labels.contains_key("alertname") && alert.annotations.contains_key("summary")
        );
        assert!(alert.generator_url.is_empty() || alert.generator_url.starts_with("http"));
        let own = alert.annotations.keys().filter(|k| *k != "summary" && *k != "description");
        assert!(own.into_iter().all(|name| name.starts_with("ganger_")));
    }
    message.alerts.len()
}

#[test]
fn the_body_is_alertmanagers_byte_for_byte() {
    let bytes = body(&notification(), "http://box:7700", 0, |_| About::default());
    assert_eq!(parsed(&bytes), 1);
    let text = String::from_utf8(bytes).unwrap();
    assert!(text.ends_with("}\n") && !text.contains(['<', '>', '&']));
    insta::assert_snapshot!(text);
}

#[test]
fn facts_stand_in_annotations_and_too_many_alerts_are_counted() {
    let mut told = notification();
    let bytes = body(&told, "", 0, |_| about());
    assert_eq!(parsed(&bytes), 1);
    told.alerts = vec![told.alerts[0].clone(); 5];
    let cut: serde_json::Value = serde_json::from_slice(&body(&told, "", 2, |_| about())).unwrap();
    assert_eq!(
        (cut["truncatedAlerts"].as_u64(), cut["alerts"].as_array().unwrap().len()),
        (Some(3), 2)
    );
    assert_eq!(cut["commonAnnotations"]["ganger_pid"], "4711");
    assert_eq!(cut["commonLabels"]["team"], "a\"<b>&");
}

#[test]
fn texts_say_what_since_when_how_bad_why_and_what_to_try() {
    let mut alert = notification().alerts.remove(0);
    let firing = message::text(&alert, &about());
    alert.flapping = Some(START + HOUR);
    alert.stale = Some(START + 2 * HOUR);
    let flapping = message::text(&alert, &About::default());
    (alert.flapping, alert.stale) = (None, None);
    alert.status = crate::Status::Resolved;
    alert.ends = Some(START + 3 * HOUR);
    alert.ended = Some(crate::Ended::Lost);
    let resolved = message::text(&alert, &about());
    assert!(!firing.contains('\u{1b}'));
    insta::assert_snapshot!([firing, flapping, resolved].join("\n"));
}

#[test]
fn arguments_stay_arguments() {
    let command = ["mail", "-s", "{status}: {summary}", "{group}{x}"].map(str::to_owned);
    let mut told = notification();
    told.alerts[0].summary = "a; rm -rf / {id}\0".into();
    let group = crate::labels::shown(&told.group);
    let argv = argv(&command, "firing", &group, &told.alerts[0].summary, &told.id);
    assert_eq!(argv.len(), 4);
    assert_eq!(argv[2], "firing: a; rm -rf / {id} ");
    assert_eq!(argv[3], "{alertname=\"high\"}{x}");
}

/// HMAC-SHA256 is RFC 4231's; the message is time, dot, body. Computed by Python's hmac.
#[test]
fn signatures() {
    let found = signature(b"secret", 1_795_392_000_000, b"{}\n");
    assert_eq!(found, "sha256=c347edf73f2e8ce4a0e163e822bc829b0116eb0f528dab527137808bcd949ff4");
    assert_ne!(found, signature(b"secret", 1_795_392_000_001, b"{}\n"));
}

#[derive(Default)]
pub(super) struct Memory {
    kept: BTreeMap<String, Entry>,
    buried: Vec<Entry>,
    broken: bool,
}

impl Shelf for Memory {
    type Error = &'static str;

    fn put(&mut self, entry: &Entry) -> Result<(), Self::Error> {
        if self.broken {
            return Err("disk full");
        }
        self.kept.insert(format!("{}/{}", entry.receiver, entry.id), entry.clone());
        Ok(())
    }

    fn remove(&mut self, entry: &Entry) -> Result<(), Self::Error> {
        self.kept.remove(&format!("{}/{}", entry.receiver, entry.id));
        Ok(())
    }

    fn bury(&mut self, entry: &Entry) -> Result<(), Self::Error> {
        self.remove(entry)?;
        self.buried.push(entry.clone());
        Ok(())
    }
}

fn outbox() -> Outbox<Memory> {
    Outbox::new(Memory::default(), Vec::new(), Vec::new())
}

#[test]
fn an_entry_is_tried_until_it_is_taken() {
    let mut outbox = outbox();
    outbox.push("a", "ops", "{}".into(), START).unwrap();
    outbox.push("a", "ops", "{}".into(), START).unwrap();
    assert_eq!((outbox.len(), outbox.next()), (1, Some(START)));
    let mut now = START;
    let mut waits = Vec::new();
    for _ in 0..12 {
        let [entry] = outbox.due(now, 10).try_into().unwrap();
        assert!(outbox.due(now, 10).is_empty(), "nothing is sent twice at a time");
        outbox.done(&entry, Outcome::Again("503".into(), None), now, 1.0).unwrap();
        let next = outbox.next().unwrap();
        waits.push((next - now) / SECOND);
        now = next;
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600]);
    let [entry] = outbox.due(now, 10).try_into().unwrap();
    outbox.done(&entry, Outcome::Taken, now, 0.0).unwrap();
    assert!(outbox.is_empty() && outbox.shelf().kept.is_empty());
    assert_eq!(outbox.dead().count(), 0);
}

#[test]
fn what_was_being_sent_at_a_crash_is_sent_again_under_the_same_id() {
    let mut outbox = outbox();
    outbox.push("a", "ops", "{}".into(), START).unwrap();
    assert_eq!(outbox.due(START, 1).len(), 1);
    let kept = outbox.shelf().kept.values().cloned().collect();
    let mut next = Outbox::new(Memory::default(), kept, Vec::new());
    let again = next.due(START + MINUTE, 1);
    assert_eq!((again.len(), again[0].id.as_str()), (1, "a"));
}

#[test]
fn refused_old_and_too_many_become_dead_letters() {
    let mut outbox = outbox();
    outbox.push("a", "ops", "{}".into(), START).unwrap();
    let [entry] = outbox.due(START, 1).try_into().unwrap();
    outbox.done(&entry, Outcome::Refused("410 Gone".into()), START, 0.0).unwrap();
    assert_eq!(outbox.dead().next().unwrap().error.as_deref(), Some("410 Gone"));
    outbox.push("b", "ops", "{}".into(), START).unwrap();
    let late = START + AGE_MAX.as_millis() as u64;
    let [entry] = outbox.due(late, 1).try_into().unwrap();
    outbox.done(&entry, Outcome::Again("503".into(), None), late, 0.0).unwrap();
    assert_eq!(outbox.dead().count(), 2);
    outbox.push("big", "ops", "x".repeat(BODY_MAX + 1), START).unwrap();
    assert_eq!((outbox.dead().count(), outbox.len()), (3, 0));
    for n in 0..(WAITING_MAX + DEAD_MAX + 5) as u64 {
        outbox.push(&format!("{n}"), "ops", "{}".into(), START + n).unwrap();
    }
    assert_eq!((outbox.len(), outbox.dead().count()), (WAITING_MAX, DEAD_MAX));
    assert_eq!(outbox.due(START + HOUR, 1)[0].id, format!("{}", DEAD_MAX + 5), "the oldest went");
}

#[test]
fn a_broken_shelf_is_said_and_the_message_goes_nevertheless() {
    let mut outbox =
        Outbox::new(Memory { broken: true, ..Memory::default() }, Vec::new(), Vec::new());
    assert_eq!(outbox.push("a", "ops", "{}".into(), START), Err("disk full"));
    assert_eq!(outbox.due(START, 1).len(), 1);
}

#[test]
fn reasons_are_alertmanagers_words() {
    let word = |reason: Reason| serde_json::to_value(reason).unwrap();
    assert_eq!(word(Reason::First), "first notification");
    assert_eq!(word(Reason::Repeat), "repeat interval elapsed");
}
