//! Random expressions in zones with changes, against a model that looks at every minute that really passes.

use std::collections::BTreeSet;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, civil::DateTime};
use proptest::prelude::*;

use super::calendar::ms;
use crate::schedule::Plan;

/// A field as text, and what it means.
#[derive(Debug, Clone)]
struct Shown {
    text: String,
    values: BTreeSet<i8>,
    star: bool,
}

fn field(min: i8, max: i8) -> impl Strategy<Value = Shown> {
    let all = move || (min..=max).collect::<BTreeSet<_>>();
    prop_oneof![
        3 => Just(()).prop_map(move |()| Shown { text: "*".into(), values: all(), star: true }),
        2 => (2..=max).prop_map(move |n| Shown {
            text: format!("*/{n}"),
            values: (min..=max).step_by(n as usize).collect(),
            star: true,
        }),
        2 => proptest::collection::btree_set(min..=max, 1..4).prop_map(|values| {
            let texts: Vec<_> = values.iter().map(ToString::to_string).collect();
            Shown { text: texts.join(","), values, star: false }
        }),
        1 => (min..=max, min..=max).prop_map(|(a, b)| {
            let (a, b) = (a.min(b), a.max(b));
            Shown { text: format!("{a}-{b}"), values: (a..=b).collect(), star: false }
        }),
    ]
}

/// Zones and days in which something happens there.
const SCENES: [(&str, &str); 10] = [
    ("Europe/Berlin", "2026-03-28T00:00:00Z"),
    ("Europe/Berlin", "2026-10-24T00:00:00Z"),
    ("America/New_York", "2026-03-07T12:00:00Z"),
    ("America/New_York", "2026-10-31T12:00:00Z"),
    ("Australia/Lord_Howe", "2026-04-04T00:00:00Z"),
    ("Australia/Lord_Howe", "2026-10-03T00:00:00Z"),
    ("America/Sao_Paulo", "2018-11-03T12:00:00Z"),
    ("Africa/Casablanca", "2026-02-14T00:00:00Z"),
    ("Pacific/Apia", "2011-12-29T12:00:00Z"),
    ("UTC", "2026-02-27T00:00:00Z"),
];
/// Minutes looked at: two and a half days.
const MINUTES: i64 = 3_600;

struct Model {
    fields: [Shown; 5],
    zone: TimeZone,
}

impl Model {
    fn matches(&self, local: DateTime) -> bool {
        let [minute, hour, day, month, weekday] = &self.fields;
        let on_day = day.values.contains(&local.day());
        let weekday_now = local.weekday().to_sunday_zero_offset();
        let on_weekday = weekday.values.contains(&weekday_now);
        let days =
            if day.star || weekday.star { on_day && on_weekday } else { on_day || on_weekday };
        minute.values.contains(&local.minute())
            && hour.values.contains(&local.hour())
            && month.values.contains(&local.month())
            && days
    }

    /// Every minute from a day before `from` on; those after `from` that fire.
    fn fires(&self, from: Timestamp) -> Vec<Timestamp> {
        let interval = self.fields[0].star || self.fields[1].star;
        let minute = SignedDuration::from_mins(1);
        let mut at = from - SignedDuration::from_hours(26);
        // The latest local minute that has been.
        let mut seen = self.zone.to_datetime(at - minute);
        let mut fires = Vec::new();
        while at < from + SignedDuration::from_mins(MINUTES) {
            let local = self.zone.to_datetime(at);
            let mut fire = self.matches(local) && (interval || local > seen);
            if !interval {
                let mut skipped = seen + minute;
                while skipped < local {
                    fire |= self.matches(skipped);
                    skipped += minute;
                }
            }
            if fire && at > from {
                fires.push(at);
            }
            seen = seen.max(local);
            at += minute;
        }
        fires
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]
    #[test]
    fn as_the_model_says(
        scene in 0..SCENES.len(),
        later in 0..1_440_i64,
        minute in field(0, 59), hour in field(0, 23), day in field(1, 31),
        month in field(1, 12), weekday in field(0, 6),
    ) {
        let (zone, day_of) = SCENES[scene];
        let from = Timestamp::from_millisecond(ms(day_of) as i64).unwrap()
            + SignedDuration::from_mins(later);
        let text =
            [&minute, &hour, &day, &month, &weekday].map(|f| f.text.as_str()).join(" ");
        let Ok(plan) = Plan::cron(&text, zone) else { return Ok(()) };
        let fields = [minute, hour, day, month, weekday];
        let model = Model { fields, zone: TimeZone::get(zone).unwrap() };
        let end = from + SignedDuration::from_mins(MINUTES);
        let mut at = from.as_millisecond().unsigned_abs();
        for expected in model.fires(from) {
            let got = plan.after(at).unwrap();
            prop_assert_eq!(
                got, expected.as_millisecond().unsigned_abs(),
                "{} in {} after {}: {} and not {}", text, zone, plan.local(at), plan.local(got),
                plan.local(expected.as_millisecond().unsigned_abs())
            );
            at = got;
        }
        let beyond = plan.after(at);
        prop_assert!(beyond.is_none_or(|ms| ms >= end.as_millisecond().unsigned_abs()), "{beyond:?}");
    }
}
