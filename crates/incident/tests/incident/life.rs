//! One incident for the same thing, its states, lock-outs, and the same again from the log.

use std::time::Duration;

use ganger_audit::Severity;
use ganger_core::Dur;
use ganger_incident::{Hook, Ledger, LockOutRule, Rule};

use super::*;

fn eve(story: &mut Story) -> u64 {
    story.denied("eve", "env_danger", |_| {})
}

#[test]
fn the_same_thing_is_one_incident_until_it_is_closed() {
    let mut story = Story::plain();
    let first = eve(&mut story);
    for _ in 0..8 {
        story.wait_ms(60_000);
        eve(&mut story);
    }
    assert_eq!(story.only().incident.id, format!("I07-{first}"));
    story.wait_ms(60_000);
    eve(&mut story);
    let again = story.raised.last().unwrap().clone();
    assert_eq!((again.change, again.incident.count), (Change::Again, 10));
    assert_eq!(again.incident.id, story.raised[0].incident.id);

    story.handle(&again.incident.id, Handling::Ack);
    story.wait_ms(60_000);
    eve(&mut story);
    assert_eq!(story.raised.len(), 2, "somebody knows of it");
    story.wait_ms(2 * 86_400_000);
    eve(&mut story);
    assert_eq!(story.raised.last().unwrap().change, Change::Again, "after two days it is news");

    story.handle(&again.incident.id, Handling::Closed);
    story.wait_ms(60_000);
    let fresh = eve(&mut story);
    assert_eq!(story.raised.last().unwrap().incident.id, format!("I07-{fresh}"));
    story.wait_ms(60_000);
    story.denied("bob", "env_danger", |_| {});
    assert_eq!(story.opened(), ["I07", "I07", "I07"], "of another principal it is another");
}

#[test]
fn evidence_is_bounded_and_shows_beginning_and_end() {
    let mut story = Story::plain();
    let seqs: Vec<u64> = (0..1_000)
        .map(|_| {
            story.wait_ms(10_000);
            eve(&mut story)
        })
        .collect();
    let last = story.raised.iter().rfind(|raised| raised.incident.rule == "I07").unwrap();
    assert_eq!((last.incident.count, last.incident.evidence.len()), (1_000, 32));
    assert_eq!(last.incident.evidence[..16], seqs[..16]);
    assert_eq!(last.incident.evidence[16..], seqs[1_000 - 16..]);
}

#[test]
fn whoever_is_locked_out_is_so_until_its_time_is_over_or_the_incident_closed() {
    let lock_out =
        Some(LockOutRule { severity: Severity::High, time: Dur(Duration::from_secs(600)) });
    let mut story = Story::new(Settings { lock_out, ..Settings::default() });
    let mono = |story: &Story| 5_000_000_000 + story.now_ns;
    story.denied("eve", "not_allowed", |_| {});
    assert_eq!(story.detector.lock_out(&who("eve"), mono(&story)), None);
    eve(&mut story);
    assert_eq!(story.only().incident.action.as_deref(), Some("locked_out"));
    let locked = story.detector.lock_out(&who("eve"), mono(&story)).unwrap().clone();
    assert_eq!((&locked.incident, locked.rule), (&story.raised[0].incident.id, Rule::EnvInjection));
    assert_eq!(story.detector.lock_out(&who("bob"), mono(&story)), None);
    // Being turned away is no reason to be turned away longer.
    story.wait_ms(599_000);
    story.denied("eve", "locked_out", |_| {});
    assert!(story.detector.lock_out(&who("eve"), mono(&story)).is_some());
    story.wait_ms(1_000);
    assert_eq!(story.detector.lock_out(&who("eve"), mono(&story)), None);

    eve(&mut story);
    assert!(story.detector.lock_out(&who("eve"), mono(&story)).is_some());
    story.handle(&locked.incident, Handling::Closed);
    assert_eq!(story.detector.lock_out(&who("eve"), mono(&story)), None);
}

#[test]
fn nobody_is_locked_out_for_what_others_did() {
    let lock_out = Some(LockOutRule { severity: Severity::Info, ..LockOutRule::default() });
    let mut story = Story::new(Settings { lock_out, ..Settings::default() });
    story.denied("ada", "program_changed", |_| {});
    assert_eq!(story.opened(), ["I03"]);
    assert_eq!(story.detector.lock_out(&who("ada"), 5_000_000_000 + story.now_ns), None);
}

#[test]
fn a_boot_ends_windows() {
    let mut story = Story::plain();
    for _ in 0..9 {
        story.denied("eve", "not_allowed", |_| {});
    }
    let started = Started { boot_id: Some("b2".into()), ..Started::default() };
    story.event(None, None, Event::Record(Record::Started(started)));
    story.denied("eve", "not_allowed", |_| {});
    assert_eq!(story.raised, []);
}

#[test]
fn rules_can_be_off_and_hooks_hear_of_news_only() {
    let off = [Rule::EnvInjection].into();
    let mut story = Story::new(Settings { off, ..Settings::default() });
    eve(&mut story);
    assert_eq!(story.raised, []);

    let mut story = Story::plain();
    (0..9).for_each(|_| {
        story.wait_ms(60_000);
        eve(&mut story);
    });
    let hook = |severity| Hook { command: vec!["/bin/page".into()], severity };
    assert!(hook(Severity::High).wants(&story.raised[0]));
    assert!(!hook(Severity::Critical).wants(&story.raised[0]));
    story.wait_ms(60_000);
    eve(&mut story);
    assert!(!hook(Severity::Info).wants(story.raised.last().unwrap()));
}

#[test]
fn the_ledger_shows_how_each_stands() {
    let mut story = Story::plain();
    let mut ledger = Ledger::default();
    eve(&mut story);
    let raised = story.raised[0].clone();
    ledger.raised("2026-11-23T09:00:00Z", &raised);
    let id = raised.incident.id.clone();
    let entry = |principal, record, seq| Entry {
        seq,
        ts: "2026-11-23T10:00:00Z".into(),
        mono_ns: 1,
        prev: Hash([0; 32]),
        run: None,
        principal: Some(principal),
        event: Event::Record(record),
    };
    let note = Some("a cron job of ours".to_owned());
    let changed = IncidentState { id: id.clone(), state: Handling::Closed, note: note.clone() };
    ledger.see(&entry(who("root"), Record::IncidentState(Box::new(changed)), 9));
    // Read a second time, from the log itself.
    ledger.see(&entry(who("eve"), Record::Incident(Box::new(raised.incident)), 10));
    let all: Vec<_> = ledger.iter().collect();
    assert_eq!(all.len(), 1);
    assert_eq!((all[0].state, all[0].principal.as_deref()), (Handling::Closed, Some("eve")));
    assert_eq!((all[0].notes[0].by.as_deref(), &all[0].notes[0].note), (Some("root"), &note));
    assert_eq!(ledger.get(&id), Some(all[0]));
}

/// A daemon that starts reads what is said of incidents, then the rest of the last day: nothing is told twice, what was
/// dealt with stays so, and counts go on.
#[test]
fn a_log_that_is_read_again_tells_nothing_twice() {
    let mut story = Story::plain();
    for _ in 0..12 {
        story.wait_ms(1_000);
        eve(&mut story);
    }
    let closed = story.raised[0].incident.id.clone();
    assert_eq!(story.opened(), ["I07", "I01"]);
    story.handle(&closed, Handling::Closed);
    let log = std::mem::take(&mut story.log);
    let of_incidents = |entry: &&Entry| entry.name().starts_with("incident");
    let mut detector = Detector::new(Settings::default());
    for entry in log.iter().filter(of_incidents).chain(&log) {
        assert_eq!(detector.see(entry), [], "{entry:?}");
    }
    // And one that was not recorded, because ganger was killed before, is.
    let lost = |entry: &&Entry| !entry.name().starts_with("incident");
    let mut detector = Detector::new(Settings::default());
    let raised: Vec<_> = log.iter().filter(lost).flat_map(|entry| detector.see(entry)).collect();
    assert_eq!(raised[0].incident.id, closed);
}
