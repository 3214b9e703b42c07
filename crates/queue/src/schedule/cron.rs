//! Cron expressions: five fields, or six with seconds first, and the `@` words.
//!
//! ```text
//! second  minute  hour  day of month  month  day of week
//!  0-59    0-59   0-23      1-31      1-12       0-7        * all · a,b list · a-b range · /n step · jan, mon names
//! (left out: 0)                                             0 and 7 are Sunday
//! ```
//!
//! When day of month and day of week are both restricted, either of them is enough, as in every cron since Vixie's; a
//! field that begins with `*` is not a restriction in this sense.

use std::ops::Range;
use std::time::Duration;

use ganger_core::Dur;
use jiff::civil::{Date, DateTime};

use super::field::{DAY, Field, HOUR, Kind, MINUTE, MONTH, SECOND, WEEKDAY};

/// A fire may be a leap day on a given weekday: at most 40 years away (1880-1920), so beyond that nothing comes.
const YEARS_MAX: i16 = 41;
/// The shortest interval: schedules are for work, and each fire is a commit.
const EVERY_MIN: Duration = Duration::from_secs(1);
/// The longest one; beyond it a date is meant.
const EVERY_MAX: Duration = Duration::from_secs(366 * 86_400);

/// What is wrong with a cron expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct CronError {
    /// Bytes of the expression that it is about.
    pub span: Range<usize>,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub help: Vec<String>,
}

impl CronError {
    pub(super) fn new(span: Range<usize>, message: impl Into<String>) -> Self {
        Self { span, message: message.into(), help: Vec::new() }
    }

    pub(super) fn help(mut self, help: String) -> Self {
        self.help.insert(0, help);
        self
    }
}

/// What an expression says: fields to match, or a real interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Parsed {
    /// Matched against the local time.
    Fields(Cron),
    /// `@every`.
    Every(Duration),
}

/// The fields of an expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cron {
    second: Field,
    minute: Field,
    hour: Field,
    day: Field,
    month: Field,
    weekday: Field,
}

impl Cron {
    /// Runs by interval rather than at set times: its minute or hour begins with `*`. The same line that cron itself
    /// draws between jobs that follow a clock change and jobs that are made up for or not repeated.
    pub(super) const fn is_wildcard(&self) -> bool {
        self.minute.star || self.hour.star
    }

    /// The first match at or after a local time, in a calendar without any clock change.
    pub(super) fn at_or_after(&self, from: DateTime) -> Option<DateTime> {
        let mut date = from.date();
        let last_year = date.year().saturating_add(YEARS_MAX);
        let mut clock = (from.hour() as u8, from.minute() as u8, from.second() as u8);
        if from.subsec_nanosecond() > 0 {
            let next = from.checked_add(jiff::Span::new().seconds(1)).ok()?;
            date = next.date();
            clock = (next.hour() as u8, next.minute() as u8, next.second() as u8);
        }
        while date.year() <= last_year {
            if !self.month.has(date.month() as u8) {
                date = first_of_next_month(date)?;
            } else if self.matches_day(date) {
                if let Some((h, m, s)) = self.clock_at_or_after(clock) {
                    return Some(date.at(h as i8, m as i8, s as i8, 0));
                }
                date = date.tomorrow().ok()?;
            } else {
                date = date.tomorrow().ok()?;
            }
            clock = (0, 0, 0);
        }
        None
    }

    fn matches_day(&self, date: Date) -> bool {
        let day = self.day.has(date.day() as u8);
        let weekday = self.weekday.has(date.weekday().to_sunday_zero_offset() as u8);
        if self.day.star || self.weekday.star { day && weekday } else { day || weekday }
    }

    fn clock_at_or_after(&self, (hour, minute, second): (u8, u8, u8)) -> Option<(u8, u8, u8)> {
        if self.hour.has(hour) {
            if self.minute.has(minute)
                && let Some(second) = self.second.at_least(second)
            {
                return Some((hour, minute, second));
            }
            if let Some(minute) = self.minute.at_least(minute + 1) {
                return Some((hour, minute, self.second.first()));
            }
        }
        let hour = self.hour.at_least(hour + 1)?;
        Some((hour, self.minute.first(), self.second.first()))
    }
}

fn first_of_next_month(date: Date) -> Option<Date> {
    date.first_of_month().checked_add(jiff::Span::new().months(1)).ok()
}

/// Reads an expression.
pub(super) fn parse(text: &str) -> Result<Parsed, CronError> {
    let start = text.len() - text.trim_start().len();
    let trimmed = text.trim();
    if trimmed.is_empty() {
        return Err(CronError::new(0..text.len(), "an empty schedule").help(EXAMPLE.into()));
    }
    if trimmed.starts_with('@') {
        return word(trimmed, start);
    }
    let fields: Vec<(usize, &str)> = trimmed
        .split_ascii_whitespace()
        .map(|field| (start + (field.as_ptr() as usize - trimmed.as_ptr() as usize), field))
        .collect();
    let span = start..start + trimmed.len();
    let kinds: &[&Kind] = match fields.len() {
        5 => &[&MINUTE, &HOUR, &DAY, &MONTH, &WEEKDAY],
        6 => &[&SECOND, &MINUTE, &HOUR, &DAY, &MONTH, &WEEKDAY],
        n => {
            let message =
                format!("a cron expression has 5 fields, or 6 with seconds; this has {n}");
            return Err(CronError::new(span, message).help(EXAMPLE.into()));
        }
    };
    let mut read = Vec::with_capacity(6);
    for ((at, field), kind) in fields.iter().zip(kinds) {
        read.push(Field::parse(field, *at, kind)?);
    }
    if read.len() == 5 {
        read.insert(0, Field::only(0));
    }
    let &[second, minute, hour, day, month, weekday] = &read[..] else {
        return Err(CronError::new(span, "a cron expression has 5 or 6 fields"));
    };
    let cron = Cron { second, minute, hour, day, month, weekday };
    let leap_year = DateTime::constant(2000, 1, 1, 0, 0, 0, 0);
    if cron.at_or_after(leap_year).is_none() {
        let days = fields.len() - 3..fields.len() - 1;
        let (first, last) = (fields[days.start], fields[days.end - 1]);
        return Err(CronError::new(first.0..last.0 + last.1.len(), "no month has such a day")
            .help("the last days of months differ: 28 is in all of them".into()));
    }
    Ok(Parsed::Fields(cron))
}

const EXAMPLE: &str =
    "for example `*/5 * * * *` every five minutes, `30 2 * * mon-fri` at 02:30, `@every 10s`";

fn word(text: &str, at: usize) -> Result<Parsed, CronError> {
    let span = at..at + text.len();
    if let Some(rest) = text.strip_prefix("@every") {
        let every = rest.trim();
        let from = at + text.len() - every.len();
        let wrong = |message: String| {
            let span = if every.is_empty() { span.clone() } else { from..from + every.len() };
            CronError::new(span, message).help("for example `@every 10s` or `@every 1h30m`".into())
        };
        let Dur(every) = every.parse::<Dur>().map_err(|error| wrong(error.to_string()))?;
        if !(EVERY_MIN..=EVERY_MAX).contains(&every) {
            let (min, max) = (Dur(EVERY_MIN), Dur(EVERY_MAX));
            return Err(wrong(format!("{} is out of range: {min} to {max}", Dur(every))));
        }
        return Ok(Parsed::Every(every));
    }
    let same = match text.to_ascii_lowercase().as_str() {
        "@hourly" => "0 * * * *",
        "@daily" | "@midnight" => "0 0 * * *",
        "@weekly" => "0 0 * * 0",
        "@monthly" => "0 0 1 * *",
        "@yearly" | "@annually" => "0 0 1 1 *",
        "@reboot" => {
            return Err(CronError::new(span, "`@reboot` is not a time").help(
                "what shall run at each start is a [service.NAME] with restart = \"never\"".into(),
            ));
        }
        _ => {
            return Err(CronError::new(span, format!("`{text}` is not a schedule"))
                .help("there are @every, @hourly, @daily, @weekly, @monthly and @yearly".into()));
        }
    };
    parse(same)
}
