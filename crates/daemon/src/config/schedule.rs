//! `[schedule.NAME]`: how it is written, and what it means.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use ganger_core::{Dur, Priority, TaskBackoff};
use ganger_queue::schedule::{
    MISSED_DEFAULT, MISSED_MAX, Missed, Overlap, Plan, PlanError, local_zone,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use toml::de::DeValue;

use super::model::Queue;
use super::resolve::{in_range, not_zero};
use super::retry::{RawRetry, retry};
use super::values::Time;
use super::walk::{At, FromNode, Node, Walk, section};
use super::words;

/// Fires later than this are other fires.
const JITTER_MAX: Duration = Duration::from_secs(86_400);
/// Zone of the expression when none is named.
const ZONE: &str = "UTC";
/// This machine's zone.
const LOCAL: &str = "local";

section! {
    /// Tasks pushed at set times.
    struct RawSchedule in "[schedule.*]" {
        /// When: five fields "minute hour day month weekday", six with seconds first, or "@hourly", "@daily", "@weekly",
        /// "@monthly", "@yearly", "@every 10s". Names, lists, ranges and steps: "*/5 9-17 * * mon-fri".
        cron: String,
        /// Once, at this moment: "2026-12-24T18:00:00+01:00".
        at: Moment,
        /// Zone of `cron`: "Europe/Berlin", or "local" for this machine's. Default: "UTC".
        timezone: String,
        /// Each fire is late by up to this, evenly drawn, so that many machines don't all fire at once. Default: none.
        jitter: Time,
        /// The queue its tasks go to.
        queue: String,
        /// What kind of work they are.
        kind: String,
        /// Their payload: a table, or JSON as text. Default: null.
        payload: Payload,
        /// "high", "normal" (default), "low", or 0 to 255.
        priority: PriorityValue,
        /// What happens after a failed attempt, where it differs from the queue's rules.
        retry: RawRetry,
        /// An attempt that takes longer is ended and failed. Default: the queue's.
        timeout: Time,
        /// While the task of the fire before is unfinished, the next one is pushed all the same ("allow", default), left out
        /// ("skip"), waits for its end ("queue"), or cancels it first ("replace").
        overlap: OverlapWord,
        /// Fires whose time passed while nobody was there are left out ("skip"), the last of them is made up for ("latest",
        /// default), or "all" are.
        missed: MissedWord,
        /// How many fires at most `missed = "all"` makes up for, the newest. Default: 100.
        missed_max: u32,
        /// Fires nothing. Default: false.
        paused: bool,
    }
}

/// `[schedule.NAME]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    /// A cron expression; exactly one of this and `at`.
    pub cron: Option<String>,
    /// One moment, RFC 3339.
    pub at: Option<String>,
    /// IANA name.
    pub timezone: String,
    /// Each fire is late by up to this.
    pub jitter: Dur,
    /// Where its tasks go.
    pub queue: String,
    /// What kind of work they are.
    pub kind: Option<String>,
    /// JSON text.
    pub payload: String,
    /// Larger first.
    pub priority: Priority,
    /// What differs from the queue's rules.
    pub retry: ScheduleRetry,
    /// An attempt that takes longer is ended; `None`: as the queue says.
    pub timeout: Option<Dur>,
    /// What a fire does while the task of the one before is unfinished.
    pub overlap: Overlap,
    /// What becomes of missed fires.
    pub missed: Missed,
    /// How many of them `all` makes up for.
    pub missed_max: u32,
    /// Fires nothing.
    pub paused: bool,
}

/// Retry rules of a schedule's tasks; what is `None` is the queue's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct ScheduleRetry {
    /// Attempts in all.
    pub max: Option<u32>,
    /// The waits between them.
    pub backoff: Option<TaskBackoff>,
    /// No further attempt begins later than this after the push.
    pub max_age: Option<Dur>,
    /// Attempts that may end by crash or timeout.
    pub crash_limit: Option<u32>,
}

impl Schedule {
    /// When it fires.
    ///
    /// # Errors
    /// Its expression, moment or zone is none. Never for what [`super::load`] has made.
    pub fn plan(&self) -> Result<Plan, PlanError> {
        match (&self.cron, &self.at) {
            (Some(cron), _) => Plan::cron(cron, &self.timezone),
            (None, Some(at)) => Plan::once(at, &self.timezone),
            (None, None) => Plan::cron("", &self.timezone),
        }
    }
}

/// Resolves one; what is wrong is reported to `walk`.
pub(super) fn resolve(
    name: &At<String>,
    raw: &RawSchedule,
    queues: &BTreeMap<String, Queue>,
    walk: &mut Walk<'_>,
) -> Schedule {
    let schedule = Schedule {
        cron: raw.cron.get().cloned(),
        at: raw.at.get().map(|at| at.0.clone()),
        timezone: timezone(raw, walk),
        jitter: raw.jitter.get().map_or(Dur::default(), |time| time.0),
        queue: raw.queue.get().cloned().unwrap_or_default(),
        kind: raw.kind.get().cloned(),
        payload: raw.payload.get().map_or_else(|| "null".to_owned(), |p| p.0.clone()),
        priority: raw.priority.get().map_or(Priority::NORMAL, |p| p.0),
        retry: own_retry(raw.retry.get(), walk),
        timeout: raw.timeout.get().map(|time| time.0),
        overlap: raw.overlap.get().map_or(Overlap::Allow, |word| word.0),
        missed: raw.missed.get().map_or(Missed::Latest, |word| word.0),
        missed_max: in_range(&raw.missed_max, MISSED_DEFAULT, 1, MISSED_MAX, walk),
        paused: raw.paused.get().copied().unwrap_or(false),
    };
    not_zero(&raw.timeout.span(), schedule.timeout.unwrap_or(Dur(Duration::MAX)), walk);
    if schedule.jitter.0 > JITTER_MAX {
        let span = raw.jitter.span().unwrap_or_default();
        walk.error(span, format!("a jitter of {} is too long", schedule.jitter))
            .help(format!("at most {}", Dur(JITTER_MAX)));
    }
    if !raw.missed_max.is_absent() && schedule.missed != Missed::All {
        let span = raw.missed_max.span().unwrap_or_default();
        walk.error(span, "`missed_max` has no meaning here: only missed = \"all\" has one");
    }
    when(name, raw, &schedule, walk);
    target(name, raw, &schedule, queues, walk);
    schedule
}

fn when(name: &At<String>, raw: &RawSchedule, schedule: &Schedule, walk: &mut Walk<'_>) {
    match (raw.cron.is_absent(), raw.at.is_absent()) {
        (true, true) => {
            walk.error(name.span.clone(), format!("schedule `{}` has no time", name.value)).help(
                "cron = \"*/5 * * * *\", cron = \"@every 10s\", or at = \"2026-12-24T18:00:00Z\""
                    .into(),
            );
            return;
        }
        (false, false) => {
            let span = raw.at.span().unwrap_or_else(|| name.span.clone());
            walk.error(
                span,
                "`at` and `cron` can't both be: one is once, the other again and again",
            );
            return;
        }
        _ => {}
    }
    // What could not be read has been reported.
    let Some(span) = raw.cron.span().or_else(|| raw.at.span()) else { return };
    match schedule.plan() {
        Ok(_) => {}
        Err(PlanError::Cron(error)) => {
            let text = schedule.cron.as_deref().unwrap_or_default();
            let diagnostic = walk.error(inside(&span, text, &error.span), &error.message);
            for help in error.help {
                diagnostic.help(help);
            }
        }
        Err(PlanError::Zone(zone)) => {
            let span = raw.timezone.span().unwrap_or(span);
            walk.error(span, format!("there is no time zone `{zone}`")).help(
                "a name of the IANA database like \"Europe/Berlin\", \"UTC\", or \"local\"".into(),
            );
        }
        Err(error @ PlanError::At { .. }) => drop(walk.error(span, error)),
    }
}

/// A part of a string's text, in the file: exact where the text stands there as it is between two quotes.
fn inside(written: &Range<usize>, text: &str, part: &Range<usize>) -> Range<usize> {
    if written.len() == text.len() + 2 && !part.is_empty() {
        written.start + 1 + part.start..written.start + 1 + part.end
    } else {
        written.clone()
    }
}

fn timezone(raw: &RawSchedule, walk: &mut Walk<'_>) -> String {
    let Some(At { span, value }) = &raw.timezone.0 else { return ZONE.to_owned() };
    if value != LOCAL {
        return value.clone();
    }
    local_zone().unwrap_or_else(|| {
        walk.error(span.clone(), "this machine's time zone has no name")
            .help("name it: timezone = \"Europe/Berlin\"; it stands in /etc/timezone or TZ".into());
        ZONE.to_owned()
    })
}

fn target(
    name: &At<String>,
    raw: &RawSchedule,
    schedule: &Schedule,
    queues: &BTreeMap<String, Queue>,
    walk: &mut Walk<'_>,
) {
    if raw.queue.is_absent() {
        walk.error(name.span.clone(), format!("schedule `{}` has no queue", name.value))
            .help("queue = \"NAME\", and a section [queue.NAME]".into());
    }
    let Some(At { span, value }) = &raw.queue.0 else { return };
    let Some(queue) = queues.get(value) else {
        let near = words::nearest(value, queues.keys().map(String::as_str));
        let diagnostic = walk.error(span.clone(), format!("there is no queue `{value}`"));
        if let Some(near) = near {
            diagnostic.label(format!("did you mean `{near}`?"));
        }
        diagnostic.help(format!("add [queue.{value}]"));
        return;
    };
    let length = schedule.payload.len() as u64;
    if length > queue.max_payload.0 {
        let (span, max) = (raw.payload.span().unwrap_or_default(), queue.max_payload);
        walk.error(span, format!("{length} bytes are more than queue `{value}` takes: {max}"));
    }
}

fn own_retry(raw: Option<&RawRetry>, walk: &mut Walk<'_>) -> ScheduleRetry {
    let Some(raw) = raw else { return ScheduleRetry::default() };
    for (key, span) in [("non_retryable", raw.non_retryable.span()), ("on", raw.on.span())] {
        if let Some(span) = span {
            walk.error(span, format!("`{key}` belongs to the queue, not to one of its schedules"))
                .help("write it into `retry` of the queue".into());
        }
    }
    let rules = retry(Some(raw), walk);
    let no_waits = raw.backoff.is_absent()
        && raw.curve.is_absent()
        && raw.factor.is_absent()
        && raw.power.is_absent()
        && raw.jitter.is_absent();
    ScheduleRetry {
        max: (!raw.max.is_absent()).then_some(rules.max),
        backoff: (!no_waits).then_some(rules.backoff),
        max_age: rules.max_age,
        crash_limit: (!raw.crash_limit.is_absent()).then_some(rules.crash_limit),
    }
}

/// A word of a closed vocabulary that another crate has.
macro_rules! word {
    ($name:ident($inner:ident), $words:tt, $($variant:ident),+) => {
        /// See the key.
        #[derive(Debug, Clone, Copy, JsonSchema)]
        #[schemars(inline)]
        pub(super) struct $name(#[schemars(with = "String", extend("enum" = $words))] $inner);

        impl FromNode for $name {
            fn from_node(node: &Node<'_>, walk: &mut Walk<'_>) -> Option<Self> {
                let all = [$($inner::$variant),+].map(|word| (word.as_str(), word));
                walk.word(node, &all).map(Self)
            }
        }
    };
}

word!(OverlapWord(Overlap), ["allow", "skip", "queue", "replace"], Allow, Skip, Queue, Replace);
word!(MissedWord(Missed), ["skip", "latest", "all"], Skip, Latest, All);

/// A moment, as a string or as TOML has it.
#[derive(Debug, Clone, JsonSchema)]
#[schemars(inline)]
pub(super) struct Moment(String);

impl FromNode for Moment {
    fn from_node(node: &Node<'_>, walk: &mut Walk<'_>) -> Option<Self> {
        match node.get_ref() {
            DeValue::Datetime(moment) => Some(Self(moment.to_string())),
            _ => String::from_node(node, walk).map(Self),
        }
    }
}

/// A payload as JSON text.
#[derive(Debug, Clone)]
pub(super) struct Payload(String);

impl JsonSchema for Payload {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Payload".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!(true)
    }
}

impl FromNode for Payload {
    fn from_node(node: &Node<'_>, walk: &mut Walk<'_>) -> Option<Self> {
        if !node.get_ref().is_str() {
            return json(node, walk).map(|value| Self(value.to_string()));
        }
        let text = String::from_node(node, walk)?;
        if let Err(error) = serde_json::from_str::<&serde_json::value::RawValue>(&text) {
            walk.error(node.span(), format!("this text is not JSON: {error}")).help(
                "a table (payload = { file = \"a.png\" }), or JSON: payload = '\"a text\"'".into(),
            );
            return None;
        }
        Some(Self(text))
    }
}

/// TOML as JSON; strings inside take `${VAR}` like everywhere.
fn json(node: &Node<'_>, walk: &mut Walk<'_>) -> Option<serde_json::Value> {
    Some(match node.get_ref() {
        DeValue::String(_) => String::from_node(node, walk)?.into(),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => number.into(),
            Err(_) => u64::from_node(node, walk)?.into(),
        },
        DeValue::Float(number) => number.as_str().parse::<f64>().ok()?.into(),
        DeValue::Boolean(value) => (*value).into(),
        DeValue::Datetime(moment) => moment.to_string().into(),
        DeValue::Array(items) => {
            let items: Option<Vec<_>> = items.iter().map(|item| json(item, walk)).collect();
            items?.into()
        }
        DeValue::Table(table) => {
            let mut map = serde_json::Map::new();
            for (key, value) in table {
                map.insert(key.get_ref().to_string(), json(value, walk)?);
            }
            map.into()
        }
    })
}

/// A priority: a word or a number.
#[derive(Debug, Clone, Copy)]
pub(super) struct PriorityValue(pub(super) Priority);

impl JsonSchema for PriorityValue {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "PriorityValue".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": ["string", "integer"] })
    }
}

impl FromNode for PriorityValue {
    fn from_node(node: &Node<'_>, walk: &mut Walk<'_>) -> Option<Self> {
        let text = match node.get_ref() {
            DeValue::Integer(number) => number.to_string(),
            _ => String::from_node(node, walk)?,
        };
        let priority = text.parse::<Priority>();
        if let Err(error) = &priority {
            walk.error(node.span(), error);
        }
        priority.ok().map(Self)
    }
}
