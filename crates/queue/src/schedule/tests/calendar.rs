//! Tables: fires around the changes of zones, as cron(8) and systemd.time(7) describe them.

use jiff::Timestamp;

use crate::schedule::Plan;

pub(super) fn ms(text: &str) -> u64 {
    let at: Timestamp = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
    u64::try_from(at.as_millisecond()).unwrap()
}

/// The next fires as local time with offset, without the date's year.
fn fires(cron: &str, zone: &str, from: &str, n: usize) -> Vec<String> {
    let plan = Plan::cron(cron, zone).unwrap();
    let mut at = ms(from);
    let mut seen = Vec::new();
    for _ in 0..n {
        at = plan.after(at).unwrap();
        let local = plan.local(at);
        seen.push(local[5..].split('[').next().unwrap().to_owned());
    }
    seen
}

#[test]
fn set_times_in_a_gap_fire_once_right_after_it() {
    let from = "2026-03-28T12:00:00+01:00";
    assert_eq!(
        fires("30 2 * * *", "Europe/Berlin", from, 2),
        ["03-29T03:00:00+02:00", "03-30T02:30:00+02:00"]
    );
    assert_eq!(
        fires("0,30 2 * * *", "Europe/Berlin", from, 3),
        ["03-29T03:00:00+02:00", "03-30T02:00:00+02:00", "03-30T02:30:00+02:00"]
    );
    // The fire made up for and one of its own at the same moment are one.
    assert_eq!(
        fires("0 2,3 * * *", "Europe/Berlin", from, 3),
        ["03-29T03:00:00+02:00", "03-30T02:00:00+02:00", "03-30T03:00:00+02:00"]
    );
    assert_eq!(fires("0 0 3 * * *", "Europe/Berlin", from, 1), ["03-29T03:00:00+02:00"]);
}

#[test]
fn set_times_in_a_fold_fire_once() {
    let from = "2026-10-24T12:00:00+02:00";
    assert_eq!(
        fires("30 2 * * *", "Europe/Berlin", from, 2),
        ["10-25T02:30:00+02:00", "10-26T02:30:00+01:00"]
    );
    // Asked from inside the second pass of the hour.
    assert_eq!(
        fires("30 2 * * *", "Europe/Berlin", "2026-10-25T02:10:00+01:00", 1),
        ["10-26T02:30:00+01:00"]
    );
    assert_eq!(
        fires("0 3 * * *", "Europe/Berlin", "2026-10-25T02:10:00+01:00", 1),
        ["10-25T03:00:00+01:00"]
    );
}

#[test]
fn intervals_are_real_ones() {
    assert_eq!(
        fires("*/20 * * * *", "Europe/Berlin", "2026-03-29T01:30:00+01:00", 3),
        ["03-29T01:40:00+01:00", "03-29T03:00:00+02:00", "03-29T03:20:00+02:00"]
    );
    assert_eq!(
        fires("30 * * * *", "Europe/Berlin", "2026-10-25T01:45:00+02:00", 3),
        ["10-25T02:30:00+02:00", "10-25T02:30:00+01:00", "10-25T03:30:00+01:00"]
    );
    let every = Plan::cron("@every 90m", "Europe/Berlin").unwrap();
    let first = every.after(ms("2026-10-25T00:10:00Z")).unwrap();
    let second = every.after(first).unwrap();
    assert_eq!((first % 5_400_000, second - first), (0, 5_400_000));
}

#[test]
fn lord_howe_changes_by_half_an_hour() {
    let zone = "Australia/Lord_Howe";
    // 2:00 +10:30 becomes 2:30 +11:00.
    assert_eq!(
        fires("15 2 * * *", zone, "2026-10-03T12:00:00+10:30", 2),
        ["10-04T02:30:00+11:00", "10-05T02:15:00+11:00"]
    );
    assert_eq!(
        fires("*/15 * * * *", zone, "2026-10-04T01:40:00+10:30", 3),
        ["10-04T01:45:00+10:30", "10-04T02:30:00+11:00", "10-04T02:45:00+11:00"]
    );
    // 2:00 +11:00 becomes 1:30 +10:30.
    assert_eq!(
        fires("45 1 * * *", zone, "2026-04-04T12:00:00+11:00", 2),
        ["04-05T01:45:00+11:00", "04-06T01:45:00+10:30"]
    );
    assert_eq!(
        fires("*/15 1 * * *", zone, "2026-04-05T01:20:00+11:00", 5),
        [
            "04-05T01:30:00+11:00",
            "04-05T01:45:00+11:00",
            "04-05T01:30:00+10:30",
            "04-05T01:45:00+10:30",
            "04-06T01:00:00+10:30"
        ]
    );
    assert_eq!(
        fires("15,45 1 * * *", zone, "2026-04-05T01:20:00+11:00", 3),
        ["04-05T01:45:00+11:00", "04-06T01:15:00+10:30", "04-06T01:45:00+10:30"]
    );
}

#[test]
fn a_day_that_is_not_there_is_a_gap_too() {
    // Samoa had no 30 December 2011.
    assert_eq!(
        fires("30 9 * * *", "Pacific/Apia", "2011-12-29T12:00:00-10:00", 2),
        ["12-31T00:00:00+14:00", "12-31T09:30:00+14:00"]
    );
}

#[test]
fn days_weekdays_and_leap_days() {
    let utc = |cron, from, n| fires(cron, "UTC", from, n);
    assert_eq!(
        utc("0 0 29 2 *", "2096-03-01T00:00:00Z", 1),
        ["02-29T00:00:00+00:00"],
        "2100 is no leap year"
    );
    // Both restricted: either is enough.
    assert_eq!(
        utc("0 12 13 * fri", "2026-11-10T00:00:00Z", 3),
        ["11-13T12:00:00+00:00", "11-20T12:00:00+00:00", "11-27T12:00:00+00:00"]
    );
    // A field that begins with a star restricts further.
    assert_eq!(
        utc("0 12 */2 * fri", "2026-11-10T00:00:00Z", 2),
        ["11-13T12:00:00+00:00", "11-27T12:00:00+00:00"]
    );
    assert_eq!(
        utc("0 0 31 * *", "2026-01-31T00:00:00Z", 2),
        ["03-31T00:00:00+00:00", "05-31T00:00:00+00:00"]
    );
    assert_eq!(utc("59 59 23 31 12 *", "2026-12-31T23:59:58.500Z", 1), ["12-31T23:59:59+00:00"]);
    assert_eq!(utc("* * * * * *", "2026-12-31T23:59:59.999Z", 1), ["01-01T00:00:00+00:00"]);
}
