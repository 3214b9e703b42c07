//! When a schedule fires: the next moment after another, across every clock change of its zone.
//!
//! Times here are milliseconds since 1970; local time exists only inside. As in cron and systemd:
//!
//! | the zone's clock | a job by interval (`*` begins its minute or hour) | a job at set times |
//! | --- | --- | --- |
//! | goes forward (a gap) | local times that do not exist are not fires | those in the gap fire once, at the gap's end |
//! | goes back (a fold) | repeated local times are fires again | repeated local times are not fires again |
//!
//! `@every` knows no zone: it fires at whole multiples of its interval since 1970, so that neither a restart nor a change of
//! the clock of the wall moves it. The walk goes from one stretch of constant offset to the next; inside a stretch local time
//! is a plain calendar, so nothing is ever probed minute by minute.

use std::fmt;
use std::sync::Arc;

use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};
use jiff::{SignedDuration, Timestamp};

use super::cron::{Cron, CronError, Parsed, parse};

/// Changes of an offset looked at for one fire: two a year, as far as a cron expression may look.
const CHANGES_MAX: usize = 100;

/// What a schedule's configuration says wrongly about time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Not a cron expression.
    #[error(transparent)]
    Cron(#[from] CronError),
    /// No such zone.
    #[error("there is no time zone `{0}`: use a name like \"Europe/Berlin\" or \"UTC\"")]
    Zone(String),
    /// Not a moment.
    #[error("`{text}` is not a moment: write it like \"2026-12-24T18:00:00Z\" ({why})")]
    At {
        /// What was given.
        text: String,
        /// What is wrong with it.
        why: String,
    },
}

/// When a schedule fires.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    kind: Kind,
    text: Arc<str>,
    zone: TimeZone,
}

#[derive(Debug, Clone, PartialEq)]
enum Kind {
    Cron(Cron),
    /// Milliseconds.
    Every(u64),
    Once(u64),
}

impl Plan {
    /// A cron expression in a zone.
    ///
    /// # Errors
    /// [`PlanError`].
    pub fn cron(text: &str, zone: &str) -> Result<Self, PlanError> {
        let zone = self::zone(zone)?;
        let kind = match parse(text)? {
            Parsed::Fields(cron) => Kind::Cron(cron),
            Parsed::Every(every) => Kind::Every(u64::try_from(every.as_millis()).unwrap_or(1)),
        };
        Ok(Self { kind, text: text.trim().into(), zone })
    }

    /// One moment, as RFC 3339 text.
    ///
    /// # Errors
    /// [`PlanError`].
    pub fn once(text: &str, zone: &str) -> Result<Self, PlanError> {
        let zone = self::zone(zone)?;
        let wrong = |why: String| PlanError::At { text: text.to_owned(), why };
        let at: Timestamp = text.parse().map_err(|e: jiff::Error| wrong(e.to_string()))?;
        let at = u64::try_from(at.as_millisecond()).map_err(|_| wrong("before 1970".into()))?;
        Ok(Self { kind: Kind::Once(at), text: text.into(), zone })
    }

    /// The expression as it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The zone's name.
    #[must_use]
    pub fn zone(&self) -> &str {
        self.zone.iana_name().unwrap_or("UTC")
    }

    /// A moment as the zone's clocks show it, with offset and zone.
    #[must_use]
    pub fn local(&self, at_ms: u64) -> String {
        timestamp(at_ms).to_zoned(self.zone.clone()).to_string()
    }

    /// True for a single moment.
    #[must_use]
    pub const fn is_once(&self) -> bool {
        matches!(self.kind, Kind::Once(_))
    }

    /// The first fire later than a moment; `None` when none ever comes.
    #[must_use]
    pub fn after(&self, ms: u64) -> Option<u64> {
        match &self.kind {
            Kind::Cron(cron) => next(cron, &self.zone, timestamp(ms))
                .and_then(|at| u64::try_from(at.as_millisecond()).ok()),
            Kind::Every(every) => (ms / every).checked_add(1)?.checked_mul(*every),
            Kind::Once(at) => (*at > ms).then_some(*at),
        }
    }
}

/// The plan's text with its zone: two plans with the same fire at the same moments.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::Cron(_) => write!(f, "{} {}", self.text, self.zone()),
            Kind::Every(_) | Kind::Once(_) => f.write_str(&self.text),
        }
    }
}

fn zone(name: &str) -> Result<TimeZone, PlanError> {
    if name.eq_ignore_ascii_case("utc") {
        return Ok(TimeZone::UTC);
    }
    TimeZone::get(name).map_err(|_| PlanError::Zone(name.to_owned()))
}

/// This machine's time zone by name, where it has one.
#[must_use]
pub fn local_zone() -> Option<String> {
    TimeZone::try_system().ok().and_then(|zone| zone.iana_name().map(str::to_owned))
}

fn timestamp(ms: u64) -> Timestamp {
    i64::try_from(ms)
        .ok()
        .and_then(|ms| Timestamp::from_millisecond(ms).ok())
        .unwrap_or(Timestamp::MAX)
}

/// The first fire after `from`, stretch by stretch.
fn next(cron: &Cron, zone: &TimeZone, from: Timestamp) -> Option<Timestamp> {
    let fixed = !cron.is_wildcard();
    let just_after = from.checked_add(SignedDuration::from_nanos(1)).ok()?;
    let mut offset = zone.to_offset(from);
    let mut start = offset.to_datetime(just_after);
    if fixed {
        start = start.max(unrepeated(zone, from, offset));
    }
    let mut changes =
        zone.following(from).map(|change| (change.timestamp(), change.offset())).take(CHANGES_MAX);
    loop {
        let found = cron.at_or_after(start);
        let change = changes.by_ref().find(|(_, after)| *after != offset);
        let Some((at, after)) = change else {
            return found.and_then(|local| instant(local, offset));
        };
        if let Some(fire) = found.and_then(|local| instant(local, offset)).filter(|t| *t < at) {
            return Some(fire);
        }
        let (ends, begins) = (offset.to_datetime(at), after.to_datetime(at));
        if fixed && found.is_some_and(|local| ends <= local && local < begins) {
            return Some(at);
        }
        // After a fold, what a fixed job did before the change is not done again.
        start = if fixed { begins.max(ends) } else { begins };
        offset = after;
    }
}

/// Where the local times begin that the stretch around `from` does not repeat.
fn unrepeated(zone: &TimeZone, from: Timestamp, offset: Offset) -> DateTime {
    // Looked at from one tick later, so that a change at `from` itself counts as before it.
    let seen = from.checked_add(SignedDuration::from_nanos(1)).unwrap_or(from);
    for change in zone.preceding(seen).take(CHANGES_MAX) {
        let at = change.timestamp();
        let just_before = at.checked_sub(SignedDuration::from_nanos(1)).unwrap_or(at);
        let before = zone.to_offset(just_before);
        if before != offset {
            return before.to_datetime(at);
        }
    }
    DateTime::MIN
}

fn instant(local: DateTime, offset: Offset) -> Option<Timestamp> {
    offset.to_timestamp(local).ok()
}
