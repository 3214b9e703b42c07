//! What is a cron expression and what is not, and how that is said.

use crate::schedule::{Plan, PlanError};

fn wrong(text: &str) -> (String, String, String) {
    match Plan::cron(text, "UTC") {
        Err(PlanError::Cron(error)) => {
            let help = error.help.join(" · ");
            (text[error.span.clone()].to_owned(), error.message, help)
        }
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn errors_point_at_the_part_that_is_wrong() {
    let (at, message, help) = wrong("61 * * * *");
    assert_eq!((at.as_str(), message.as_str()), ("61", "the minute field takes 0 to 59, not 61"));
    assert!(help.contains("`*/5`"), "{help}");
    let (at, message, _) = wrong("*/5  1,25 * * *");
    assert_eq!((at.as_str(), message.as_str()), ("25", "the hour field takes 0 to 23, not 25"));
    let (at, _, help) = wrong("*/90 * * * *");
    assert_eq!(at, "90");
    assert!(help.starts_with("for real intervals write `@every 90m`"), "{help}");
    let (at, _, help) = wrong("0 22-2 * * *");
    assert_eq!(at, "22-2");
    assert!(help.starts_with("write it as two ranges: `22-23,0-2`"), "{help}");
    assert_eq!(wrong("0 0 * foo *").0, "foo");
    assert_eq!(wrong("0 0 L * *").0, "L");
    assert_eq!(wrong("0 0 30 2 *").0, "30 2");
    assert_eq!(wrong("0,,5 0 * * *").0, "");
    assert_eq!(wrong("*/0 0 * * *").0, "0");
    assert_eq!(wrong("+5 0 * * *").0, "+5");
    assert_eq!(wrong("* * *").1, "a cron expression has 5 fields, or 6 with seconds; this has 3");
    assert_eq!(wrong("@every 10").0, "10");
    assert_eq!(wrong("@every 1ms").0, "1ms");
    assert_eq!(wrong("@every").0, "@every");
    assert_eq!(wrong("@fortnightly").0, "@fortnightly");
    assert!(wrong("@reboot").2.contains("[service.NAME]"));
    assert!(wrong("").2.contains("@every 10s"));
    assert!(matches!(Plan::cron("* * * * *", "Mars/Base"), Err(PlanError::Zone(_))));
    assert!(matches!(Plan::once("tomorrow", "UTC"), Err(PlanError::At { .. })));
}

#[test]
fn the_same_in_other_words() {
    let same = |a: &str, b: &str| {
        let (a, b) = (Plan::cron(a, "UTC").unwrap(), Plan::cron(b, "UTC").unwrap());
        let mut at = 1_790_000_000_000;
        for _ in 0..200 {
            let next = a.after(at).unwrap();
            assert_eq!(Some(next), b.after(at), "{a} and {b}");
            at = next;
        }
    };
    same("@hourly", "0 * * * *");
    same("@weekly", "0 0 * * 7");
    same("0 0 * JAN-mar MON-FRI", "0 0 * 1,2,3 1-5");
    same("0 0 * * fri-sun", "0 0 * * 0,5,6");
    same("10/20 * * * *", "10,30,50 * * * *");
    same("0 */5 * * * *", "*/5 * * * *");
    same("  5   4 * * *  ", "5 4 * * *");
}

#[test]
fn plans_tell_themselves() {
    let plan = Plan::cron(" 5 4 * * * ", "Europe/Berlin").unwrap();
    assert_eq!(plan.to_string(), "5 4 * * * Europe/Berlin");
    let once = Plan::once("2026-12-24T18:00:00+01:00", "UTC").unwrap();
    let at = 1_798_131_600_000;
    assert_eq!((once.after(at - 1), once.after(at)), (Some(at), None));
}
