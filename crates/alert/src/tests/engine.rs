//! The whole machine: notifications of a wave, groups, silences, restarts.

use proptest::prelude::*;

use super::*;
use crate::{Ended, Event, Missing, Reason, Silence, SilenceError, Status};

fn square(period: Time) -> Machine {
    let wave = move |at: Time| Some(if at % period < period / 2 { 2.0 } else { 0.0 });
    Machine::default().with(web(), "cpu", wave)
}

#[test]
fn a_square_wave_of_a_day_is_told_three_times_at_most() {
    for period in [20, 60, 300, 600, 1_800, 3_600, 4_800] {
        let mut alerts = engine(vec![rule("cpu > 1", |_| {})]);
        let actions =
            run(&mut alerts, &square(period * SECOND), (0, 24 * HOUR - SECOND, 10 * SECOND));
        let told = told(&actions);
        assert!((1..=3).contains(&told.len()), "period {period} s: {}", told.len());
        let last = told.last().unwrap();
        assert!(last.alerts[0].flapping.is_some(), "the last word is that it flaps");
        let fired = changes(&actions).iter().filter(|c| c.to == StateName::Firing).count();
        assert!(fired >= 1, "every change is in the event log, told or not");
    }
}

#[test]
fn a_flapping_alert_that_calms_down_says_how_it_ended() {
    let machine = Machine::default().with(web(), "cpu", |at| {
        Some(if at < 2 * HOUR && at % MINUTE < 30 * SECOND { 2.0 } else { 0.0 })
    });
    let mut alerts = engine(vec![rule("cpu > 1", |_| {})]);
    let actions = run(&mut alerts, &machine, (0, 5 * HOUR, 10 * SECOND));
    let told = told(&actions);
    let last = &told.last().unwrap().alerts[0];
    assert_eq!((last.status, last.flapping), (Status::Resolved, None));
    assert!(told.len() <= 3, "{}", told.len());
    assert!(alerts.list().is_empty());
}

/// Fires on ten services at once, `extra` on one.
fn ten() -> (Vec<Rule>, Machine) {
    let mut machine = Machine::default();
    for n in 0..10 {
        machine = machine.with(Object::new("service", format!("s{n}")), "cpu", |_| Some(2.0));
    }
    let all = rule("cpu > 1", |s| s.on = Some("service:*".into()));
    (vec![all], machine)
}

#[test]
fn ten_alerts_are_one_message_and_repeat_after_four_hours() {
    let (rules, machine) = ten();
    let mut alerts = engine(rules);
    let actions = run(&mut alerts, &machine, (0, 9 * HOUR, 10 * SECOND));
    let told = told(&actions);
    let reasons: Vec<Reason> = told.iter().map(|n| n.reason).collect();
    assert_eq!(reasons, [Reason::First, Reason::Repeat, Reason::Repeat]);
    assert_eq!(told[0].alerts.len(), 10);
    assert_eq!(told[0].at - START, 30 * SECOND, "group_wait");
    assert!(told[1].at - told[0].at >= 4 * HOUR);
    assert_ne!(told[0].id, told[1].id);
}

#[test]
fn an_end_before_group_wait_is_over_is_never_told() {
    let machine =
        Machine::default().with(web(), "cpu", |at| Some(if at < 20_000 { 2.0 } else { 0.0 }));
    let mut alerts = engine(vec![rule("cpu > 1", |_| {})]);
    let actions = run(&mut alerts, &machine, (0, HOUR, 10 * SECOND));
    assert_eq!(told(&actions).len(), 0);
    assert_eq!(states(&actions), [(0, StateName::Firing), (20, StateName::Resolved)]);
}

#[test]
fn silences_keep_quiet_and_an_end_that_was_told_as_firing_is_told() {
    let machine =
        Machine::default().with(web(), "cpu", |at| Some(if at < HOUR { 2.0 } else { 0.0 }));
    let silence = |from, to| Silence {
        id: "s".into(),
        matchers: vec!["service=web".parse().unwrap()],
        author: "ann".into(),
        reason: "deploy".into(),
        starts: START + from,
        ends: START + to,
    };
    let mut alerts = engine(vec![rule("cpu > 1", |_| {})]);
    alerts.on(Event::Silence(silence(0, 30 * MINUTE)), START).unwrap();
    let quiet = run(&mut alerts, &machine, (0, 29 * MINUTE, 10 * SECOND));
    assert_eq!(told(&quiet).len(), 0);
    assert_eq!(alerts.list()[0].silenced, ["s"]);
    let after = run(&mut alerts, &machine, (30 * MINUTE, 40 * MINUTE, 10 * SECOND));
    assert_eq!(told(&after).len(), 1, "it still fires when the silence is over");
    assert_eq!(alerts.silences().count(), 0);
    alerts.on(Event::Silence(silence(40 * MINUTE, 3 * HOUR)), START + 40 * MINUTE).unwrap();
    let end = run(&mut alerts, &machine, (41 * MINUTE, 2 * HOUR, 10 * SECOND));
    let reasons: Vec<Reason> = told(&end).iter().map(|n| n.reason).collect();
    assert_eq!(reasons, [Reason::All]);
    let empty = Silence { matchers: Vec::new(), ..silence(0, 9 * HOUR) };
    let refused = alerts.on(Event::Silence(empty), START + HOUR);
    assert!(matches!(refused, Err(SilenceError::Incomplete(_))));
}

#[test]
fn a_greater_alert_keeps_lesser_ones_quiet() {
    let (mut rules, machine) = ten();
    let machine = machine.with(Object::host(), "psi", |_| Some(1.0));
    let settings = RuleSettings { severity: "page".into(), ..RuleSettings::new("psi > 0.5") };
    rules.push(Rule::new("host_pressure", settings).unwrap());
    let inhibit = vec![crate::Inhibition {
        source: vec!["alertname=host_pressure".parse().unwrap()],
        target: vec!["severity=warning".parse().unwrap()],
        equal: Vec::new(),
    }];
    let mut alerts = Alerts::new(rules, Settings { inhibit, ..Settings::default() });
    let actions = run(&mut alerts, &machine, (0, 10 * MINUTE, 10 * SECOND));
    let told = told(&actions);
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].alerts[0].rule, "host_pressure");
    assert!(alerts.list().iter().filter(|row| row.inhibited).count() == 10);
}

#[test]
fn an_empty_bucket_gathers_what_comes() {
    let (mut rules, machine) = ten();
    rules[0].settings.group_by = vec!["alertname".into(), "service".into()];
    let rate = crate::RouteRate { every: secs(600), burst: 2 };
    let rates = [("log".to_owned(), rate)].into();
    let mut alerts = Alerts::new(rules, Settings { rates, ..Settings::default() });
    let actions = run(&mut alerts, &machine, (0, 5 * MINUTE, 10 * SECOND));
    assert_eq!(told(&actions).len(), 2);
    assert!(alerts.counts().held >= 8);
    let later = run(&mut alerts, &machine, (5 * MINUTE + 10_000, 2 * HOUR, 10 * SECOND));
    assert_eq!(told(&later).len(), 8, "held back, not lost");
}

#[test]
fn what_is_removed_ends_and_says_so() {
    let (rules, machine) = ten();
    let mut alerts = engine(rules);
    run(&mut alerts, &machine, (0, MINUTE, 10 * SECOND));
    let gone = alerts.on(Event::Gone(Object::new("service", "s3")), START + 2 * MINUTE).unwrap();
    assert_eq!(changes(&gone)[0].ended, Some(Ended::Gone));
    let all = alerts.on(Event::Rules(Vec::new()), START + 3 * MINUTE).unwrap();
    assert_eq!(changes(&all).len(), 9);
    let actions = run(&mut alerts, &machine, (4 * MINUTE, 10 * MINUTE, 10 * SECOND));
    let told = told(&actions);
    assert_eq!((told.len(), told[0].reason, told[0].alerts.len()), (1, Reason::All, 10));
}

/// What is told after the rule was replaced at ten minutes, within the quarter of an hour after it.
fn after_change(change: impl Fn(&mut RuleSettings)) -> Vec<Notification> {
    let machine = Machine::default().with(web(), "cpu", |_| Some(2.0));
    let first = rule("cpu > 1", |s| s.labels = [("team".into(), "a".into())].into());
    let second = rule("cpu > 1", |s| {
        s.labels = [("team".into(), "a".into())].into();
        change(s);
    });
    let mut alerts = engine(vec![first]);
    run(&mut alerts, &machine, (0, 10 * MINUTE, 10 * SECOND));
    let told_at_once = alerts.on(Event::Rules(vec![second]), START + 10 * MINUTE).unwrap();
    assert_eq!(told_at_once, []);
    let after = run(&mut alerts, &machine, (10 * MINUTE, 25 * MINUTE, 10 * SECOND));
    let day = run(&mut alerts, &machine, (25 * MINUTE, 24 * HOUR, MINUTE));
    // Whatever was told before: one group goes on, and repeats every four hours.
    assert_eq!(told(&day).len(), 5);
    assert!(told(&day).iter().all(|n| n.reason == Reason::Repeat && n.alerts.len() == 1));
    told(&after).into_iter().cloned().collect()
}

#[test]
fn a_rule_that_changes_while_it_fires_leaves_nothing_behind() {
    let words = |told: Vec<Notification>| -> Vec<(String, Status, Option<Ended>)> {
        let all = told.iter().flat_map(|n| n.alerts.iter().map(|a| (n.receiver.clone(), a)));
        all.map(|(to, a)| (to, a.status, a.ended)).collect()
    };
    let log = || "log".to_owned();
    let (moved, fires) = (Some(Ended::RuleChanged), Status::Firing);
    // Other labels are another alert of the same group: the old one ends, the new one fires.
    let labels = words(after_change(|s| s.labels = [("team".into(), "b".into())].into()));
    assert_eq!(labels, [(log(), fires, None), (log(), Status::Resolved, moved)]);
    // Another group: the old group's last word is that it ended there.
    let grouped = words(after_change(|s| s.group_by = vec!["team".into()]));
    assert_eq!(grouped.len(), 2, "{grouped:?}");
    assert!(grouped.contains(&(log(), fires, None)));
    assert!(grouped.contains(&(log(), Status::Resolved, moved)));
    // Somebody else.
    let others = words(after_change(|s| s.notify = vec!["pager".into()]));
    assert_eq!(others.len(), 2, "{others:?}");
    assert!(others.contains(&("pager".into(), fires, None)));
    assert!(others.contains(&(log(), Status::Resolved, moved)));
    assert_eq!(words(after_change(|s| s.summary = Some("another".into()))), []);
}

#[test]
fn a_restart_that_finds_no_rule_ends_what_its_predecessor_told() {
    let machine = Machine::default().with(web(), "cpu", |_| Some(2.0));
    let mut before = engine(vec![rule("cpu > 1", |_| {})]);
    run(&mut before, &machine, (0, 10 * MINUTE, 10 * SECOND));
    let mut alerts = Alerts::restore(Vec::new(), Settings::default(), before.save()).unwrap();
    let ended = alerts.on(Event::Rules(Vec::new()), START + 10 * MINUTE).unwrap();
    assert_eq!(changes(&ended)[0].ended, Some(Ended::RuleRemoved));
    let after = run(&mut alerts, &machine, (10 * MINUTE, 25 * MINUTE, 10 * SECOND));
    let told = told(&after);
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].alerts[0].ended, Some(Ended::RuleRemoved));
    assert_eq!((told[0].reason, alerts.list().len()), (Reason::All, 0));
}

#[test]
fn a_longer_repeat_counts_from_the_reload() {
    let machine = Machine::default().with(web(), "cpu", |_| Some(2.0));
    let mut alerts = engine(vec![rule("cpu > 1", |s| s.repeat = secs(600))]);
    let often = run(&mut alerts, &machine, (0, HOUR, 10 * SECOND));
    assert!(told(&often).len() >= 5);
    let seldom = vec![rule("cpu > 1", |s| s.repeat = secs(7_200))];
    alerts.on(Event::Rules(seldom), START + HOUR).unwrap();
    let after = run(&mut alerts, &machine, (HOUR, 3 * HOUR - MINUTE, 10 * SECOND));
    assert!(told(&after).len() <= 1, "{}", told(&after).len());
}

#[test]
fn a_daemon_that_was_down_does_not_count_the_time() {
    let machine = Machine::default().with(web(), "cpu", |_| Some(2.0));
    let five_minutes = vec![rule("cpu > 1", |s| s.hold = secs(300))];
    let mut alerts = engine(five_minutes.clone());
    run(&mut alerts, &machine, (0, 2 * MINUTE, 10 * SECOND));
    let json = serde_json::to_string(&alerts.save()).unwrap();
    let saved = serde_json::from_str(&json).unwrap();
    let mut alerts = Alerts::restore(five_minutes, Settings::default(), saved).unwrap();
    // Down for an hour: of the five minutes, two were seen.
    let actions = run(&mut alerts, &machine, (HOUR, HOUR + 4 * MINUTE, 10 * SECOND));
    assert_eq!(states(&actions), [(3_780, StateName::Firing)]);
}

#[test]
fn a_silent_object_is_stale_then_lost_and_both_are_told() {
    let machine = Machine::default().with(web(), "cpu", |at| (at < 10 * MINUTE).then_some(2.0));
    let mut alerts = engine(vec![rule("cpu > 1", |_| {})]);
    let actions = run(&mut alerts, &machine, (0, 26 * HOUR, 10 * SECOND));
    let stale = told(&actions).iter().any(|told| told.alerts[0].stale.is_some());
    assert!(stale, "that nothing is known is told");
    let last = told(&actions).last().unwrap().alerts[0].clone();
    assert_eq!((last.status, last.ended), (Status::Resolved, Some(Ended::Lost)));
}

proptest! {
    /// Restarted at any evaluation, in whatever state, the rest is told as if nothing had been.
    #[test]
    fn restarts_are_not_noticed(
        period in 20u64..2_000, gap in 0u64..400, at in 0u64..100, missing in 0u8..3, keep in 0u64..200,
    ) {
        let wave = move |t: Time| {
            let t = t / SECOND % period;
            (t >= gap % period).then_some(if t < period / 2 { 2.0 } else { 0.0 })
        };
        let machine = Machine::default().with(web(), "cpu", wave);
        let policy = [Missing::Keep, Missing::Alert, Missing::Ok][missing as usize];
        let rules = vec![rule("cpu > 1", |s| {
            (s.missing, s.keep_firing, s.hold) = (policy, secs(keep), secs(period % 50));
        })];
        let (mut one, mut other) = (engine(rules.clone()), engine(rules.clone()));
        let (end, step) = (1_000 * SECOND, 10 * SECOND);
        let whole = run(&mut one, &machine, (0, end, step));
        let mut parts = run(&mut other, &machine, (0, at * step, step));
        let json = serde_json::to_string(&other.save()).unwrap();
        let saved = serde_json::from_str(&json).unwrap();
        let mut other = Alerts::restore(rules, Settings::default(), saved).unwrap();
        parts.extend(run(&mut other, &machine, ((at + 1) * step, end, step)));
        prop_assert_eq!(whole, parts);
        prop_assert_eq!(one.save(), other.save());
    }
}
