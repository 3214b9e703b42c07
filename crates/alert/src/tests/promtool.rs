//! Scenarios in the form of promtool's rule tests: values at every step, and the states expected at some.

use super::*;
use crate::{Ended, Missing, replay};

/// promtool's series: values one step apart; `_` is missing; `3x5` is 3, five times.
fn series(text: &str) -> Vec<Option<f64>> {
    let one = |word: &str| {
        let (value, times) = word.split_once('x').unwrap_or((word, "1"));
        vec![value.parse().ok(); times.parse().unwrap()]
    };
    text.split_whitespace().flat_map(one).collect()
}

/// States at every change, with one minute a step.
fn scenario(rule: Rule, text: &str) -> Vec<(Time, StateName)> {
    let values = series(text);
    let last = values.len() as Time - 1;
    let machine = Machine::default()
        .with(web(), "cpu", move |at| values.get((at / MINUTE) as usize).copied().flatten());
    let mut alerts = engine(vec![rule]);
    let actions = run(&mut alerts, &machine, (0, last * MINUTE, MINUTE));
    states(&actions).into_iter().map(|(at, state)| (at / 60, state)).collect()
}

use StateName::{Firing, Inactive, KeepFiring, Missing as NoData, Pending, Resolved};

#[test]
fn no_for_fires_at_the_first_evaluation() {
    assert_eq!(scenario(rule("cpu > 1", |_| {}), "0 2 2 0"), [(1, Firing), (3, Resolved)]);
}

#[test]
fn pending_until_for_is_over_and_back_when_interrupted() {
    let five = || rule("cpu > 1", |s| s.hold = secs(300));
    assert_eq!(scenario(five(), "0 2x4 0 0"), [(1, Pending), (5, Inactive)]);
    assert_eq!(scenario(five(), "0 2x8 0"), [(1, Pending), (6, Firing), (9, Resolved)]);
}

#[test]
fn keep_firing_outlives_short_gaps() {
    let keep = || rule("cpu > 1", |s| s.keep_firing = secs(180));
    let found = scenario(keep(), "2 0 0 2 0x5");
    let expected = [(0, Firing), (1, KeepFiring), (3, Firing), (4, KeepFiring), (7, Resolved)];
    assert_eq!(found, expected);
}

#[test]
fn clear_has_its_own_threshold() {
    let number = || rule("cpu > 80%", |s| s.clear = Some("60%".into()));
    assert_eq!(scenario(number(), "0.9 0.7x5 0.5"), [(0, Firing), (6, Resolved)]);
    let condition = rule("cpu > 80%", |s| s.clear = Some("cpu < 0.2".into()));
    assert_eq!(scenario(condition, "0.9 0.7 0.5 0.1"), [(0, Firing), (3, Resolved)]);
}

#[test]
fn missing_data_never_ends_an_alert_silently() {
    let with = |missing| rule("cpu > 1", |s| s.missing = missing);
    let keep = scenario(with(Missing::Keep), "2 _ _ 2 0");
    assert_eq!(keep, [(0, Firing), (1, NoData), (3, Firing), (4, Resolved)]);
    let alert = scenario(with(Missing::Alert), "0 _ _ 0");
    assert_eq!(alert, [(1, NoData), (3, Resolved)]);
    let ok = scenario(with(Missing::Ok), "2 _ 0");
    assert_eq!(ok, [(0, Firing), (1, Resolved), (2, Inactive)]);
}

#[test]
fn time_without_data_does_not_count_for_for() {
    let five = rule("cpu > 1", |s| s.hold = secs(300));
    // Holds at 0 to 2, is not known at 3 to 6 and holds again from 7 on: the clock stood still from 3 to 7.
    let found = scenario(five, "2x3 _x4 2x4");
    assert_eq!(found, [(0, Pending), (3, NoData), (7, Pending), (9, Firing)]);
}

#[test]
fn every_object_of_a_pattern_is_its_own() {
    let mut machine = Machine::default();
    for n in 0..3u64 {
        let pool = Object::new("pool", format!("p{n}"));
        machine =
            machine.with(pool, "cpu", move |at| Some(if at / MINUTE >= n { 2.0 } else { 0.0 }));
    }
    let mut alerts = engine(vec![rule("cpu{pool:*} > 1", |s| s.on = None)]);
    let actions = run(&mut alerts, &machine, (0, 5 * MINUTE, MINUTE));
    let names: Vec<&str> = changes(&actions).iter().map(|c| c.object.name.as_str()).collect();
    assert_eq!(names, ["p0", "p1", "p2"]);
    assert_eq!(alerts.list().len(), 3);
}

#[test]
fn a_replay_says_when_it_would_have_fired() {
    let machine = Machine::default().with(web(), "cpu", |at| {
        // Every day at noon for twenty minutes.
        let noon = (12 * HOUR..12 * HOUR + 20 * MINUTE).contains(&(at % (24 * HOUR)));
        Some(if noon { 2.0 } else { 0.5 })
    });
    let noisy = rule("cpu > 1", |s| s.hold = secs(300));
    let step = Duration::from_secs(10);
    let found = replay(noisy, &machine, START, START + 7 * 24 * HOUR, step);
    assert_eq!((found.fired, found.episodes.len(), found.steps), (7, 7, 60_481));
    assert_eq!(found.notifications, 14);
    let first = &found.episodes[0];
    assert_eq!(first.from - START, 12 * HOUR + 5 * MINUTE);
    assert_eq!(first.until.map(|at| at - START), Some(12 * HOUR + 20 * MINUTE));
    assert_eq!(first.ended, Some(Ended::Cleared));
    assert_eq!(first.evidence.as_ref().and_then(|e| e.value), Some(2.0));
    let long = replay(rule("cpu > 9", |_| {}), &machine, START, START + 365 * 24 * HOUR, step);
    assert!(long.steps <= crate::STEPS_MAX + 1 && long.step > step, "{long:?}");
    assert_eq!(long.fired, 0);
}

#[test]
fn rules_that_mean_nothing_are_refused() {
    let fault = |change: fn(&mut RuleSettings)| {
        let mut settings = RuleSettings::new("rss > 512MiB");
        change(&mut settings);
        Rule::new("r", settings).unwrap_err()
    };
    assert_eq!(fault(|s| s.when = "rss >".into()).key, "when");
    assert_eq!(fault(|s| s.on = Some("web".into())).key, "on");
    assert_eq!(fault(|s| s.clear = Some("600MiB".into())).key, "clear");
    assert_eq!(fault(|s| s.notify.clear()).key, "notify");
    assert_eq!(fault(|s| s.repeat = secs(0)).key, "repeat");
    let two = fault(|s| s.when = "cpu{pool:*} > cpu{service:*}".into());
    assert!(two.to_string().contains("which of service:* is meant"), "{two}");
}
