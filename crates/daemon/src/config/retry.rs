//! `retry` and `dead` of a queue: how they are written, and what they mean.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use ganger_core::task_backoff::{Curve, Formula, Jitter, Shape, WAIT_MAX};
use ganger_core::{Dur, DurRange, Size, TaskBackoff};
use ganger_queue::retry::{CLASS_RULES_MAX, CRASH_LIMIT};
use schemars::JsonSchema;
use toml::de::DeValue;

use super::model::{Dead, Retry, RetryOn};
use super::resolve::{in_range, not_zero};
use super::values::{Bytes, Time, Times};
use super::walk::{At, FromNode, Key, Named, Node, Walk, section};

/// Attempts are numbered in a small column, and nobody retries more often by hand.
const ATTEMPTS_MAX: u32 = 1_000;
const ATTEMPTS: u32 = 5;
/// Longest name of an error class, patterns included.
const CLASS_MAX: usize = 200;
/// A larger factor or power reaches the longest wait at the second failure.
const GROWTH_MAX: f64 = 100.0;

section! {
    /// What happens after a failed attempt.
    struct RawRetry in "`retry`" {
        /// Attempts in all. Default: 5.
        max: u32,
        /// The waits: first..longest, or one for `curve = "fixed"`. Default: "1s..10m".
        backoff: Times,
        /// How the waits grow: "fixed", "linear", "exponential" (default), "polynomial", or as another queue does it by
        /// default: "sidekiq", "river", "oban", "graphile", "faktory".
        curve: CurveWord,
        /// Growth per attempt of an exponential curve. Default: 2.
        factor: Growth,
        /// Exponent of a polynomial curve. Default: 2.
        power: Growth,
        /// What chance does to a wait: "none", "equal" (half of it is certain) or "full" (default).
        jitter: JitterWord,
        /// No further attempt would begin later than this after the push. Default: any age.
        max_age: Time,
        /// Attempts that may end by crash or timeout; the last of them is the task's last, and it is quarantined. 0: no limit
        /// but `max`. Default: 3.
        crash_limit: u32,
        /// Classes of errors after which no attempt is made: "ValidationError", "http.*".
        non_retryable: Vec<At<String>>,
        /// Other rules by class of error: [queue.NAME.retry.on.ConnectionError], [queue.NAME.retry.on."http.*"].
        on: Named<RawRetryOn>,
    }
}

section! {
    /// What is different after errors of one class. An exact name wins over a pattern, a longer pattern over a shorter.
    struct RawRetryOn in "`retry.on.*`" {
        /// Attempts in all. Default: the queue's.
        max: u32,
        /// The waits: first..longest, or one for `curve = "fixed"`.
        backoff: Times,
        /// How the waits grow; see the queue's.
        curve: CurveWord,
        /// Growth per attempt of an exponential curve.
        factor: Growth,
        /// Exponent of a polynomial curve.
        power: Growth,
        /// What chance does to a wait.
        jitter: JitterWord,
    }
}

section! {
    /// How many dead letters are kept; the oldest leave first.
    struct RawDead in "`dead`" {
        /// So many. Default: 100000.
        max_count: u64,
        /// So long. Default: "180d".
        max_age: Time,
        /// So many bytes of payloads and errors. Default: "256M".
        max_size: Bytes,
    }
}

/// Dead letters of a queue where nothing else is said: Sidekiq keeps 10,000 for 180 days; a disk holds more.
const DEAD_COUNT: u64 = 100_000;
const DEAD_AGE: Dur = Dur(Duration::from_secs(180 * 86_400));
const DEAD_SIZE: Size = Size(256 << 20);

/// The bounds of a queue's dead letters.
pub(super) fn dead(raw: Option<&RawDead>, walk: &mut Walk<'_>) -> Dead {
    let Some(raw) = raw else { return Dead::default() };
    let max_age = raw.max_age.get().map_or(DEAD_AGE, |time| time.0);
    not_zero(&raw.max_age.span(), max_age, walk);
    Dead {
        max_count: raw.max_count.or(DEAD_COUNT),
        max_age,
        max_size: raw.max_size.get().map_or(DEAD_SIZE, |size| size.0),
    }
}

impl Default for Dead {
    fn default() -> Self {
        Self { max_count: DEAD_COUNT, max_age: DEAD_AGE, max_size: DEAD_SIZE }
    }
}

/// A curve or another queue's formula.
#[derive(Debug, Clone, Copy, JsonSchema)]
#[schemars(inline)]
pub(super) struct CurveWord(
    #[schemars(with = "String", extend("enum" = ["fixed", "linear", "exponential", "polynomial", "sidekiq", "faktory", "river", "oban", "graphile"]))]
     Kind,
);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Fixed,
    Linear,
    Exponential,
    Polynomial,
    Named(Formula),
}

impl FromNode for CurveWord {
    fn from_node(node: &Node<'_>, walk: &mut Walk<'_>) -> Option<Self> {
        let mut words = vec![
            ("fixed", Kind::Fixed),
            ("linear", Kind::Linear),
            ("exponential", Kind::Exponential),
            ("polynomial", Kind::Polynomial),
        ];
        words.extend(Formula::ALL.iter().map(|formula| (formula.as_str(), Kind::Named(*formula))));
        walk.word(node, &words).map(Self)
    }
}

/// What chance does to a wait.
#[derive(Debug, Clone, Copy, JsonSchema)]
#[schemars(inline)]
pub(super) struct JitterWord(
    #[schemars(with = "String", extend("enum" = ["none", "equal", "full"]))] Jitter,
);

impl FromNode for JitterWord {
    fn from_node(node: &Node<'_>, walk: &mut Walk<'_>) -> Option<Self> {
        let words = [("none", Jitter::None), ("equal", Jitter::Equal), ("full", Jitter::Full)];
        walk.word(node, &words).map(Self)
    }
}

/// A factor or power.
#[derive(Debug, Clone, Copy, JsonSchema)]
#[schemars(inline)]
pub(super) struct Growth(#[schemars(range(min = 1, max = 100))] f64);

impl FromNode for Growth {
    fn from_node(node: &Node<'_>, walk: &mut Walk<'_>) -> Option<Self> {
        let text = match node.get_ref() {
            DeValue::Integer(number) => number.to_string(),
            DeValue::Float(number) => number.to_string(),
            _ => {
                walk.mismatch(node, "a number");
                return None;
            }
        };
        let number = text.parse().ok().filter(|n| (1.0..=GROWTH_MAX).contains(n));
        if number.is_none() {
            walk.error(node.span(), format!("{text} is out of range: 1 to {GROWTH_MAX}"));
        }
        number.map(Self)
    }
}

/// The keys of waits, of the queue or of a class.
#[derive(Clone, Copy)]
struct Waits<'a> {
    backoff: &'a Key<Times>,
    curve: &'a Key<CurveWord>,
    factor: &'a Key<Growth>,
    power: &'a Key<Growth>,
    jitter: &'a Key<JitterWord>,
}

/// The rules of a queue's `retry`, or the defaults.
pub(super) fn retry(raw: Option<&RawRetry>, walk: &mut Walk<'_>) -> Retry {
    let Some(raw) = raw else { return Retry::default() };
    let waits = Waits {
        backoff: &raw.backoff,
        curve: &raw.curve,
        factor: &raw.factor,
        power: &raw.power,
        jitter: &raw.jitter,
    };
    let max_age = raw.max_age.get().map(|time| time.0);
    not_zero(&raw.max_age.span(), max_age.unwrap_or(Dur(Duration::MAX)), walk);
    let on = classes(raw, walk);
    Retry {
        max: in_range(&raw.max, ATTEMPTS, 1, ATTEMPTS_MAX, walk),
        backoff: backoff(waits, TaskBackoff::DEFAULT, walk).unwrap_or_default(),
        max_age,
        crash_limit: in_range(&raw.crash_limit, CRASH_LIMIT, 0, ATTEMPTS_MAX, walk),
        non_retryable: raw
            .non_retryable
            .get()
            .into_iter()
            .flatten()
            .map(|at| at.value.clone())
            .collect(),
        on,
    }
}

fn classes(raw: &RawRetry, walk: &mut Walk<'_>) -> BTreeMap<String, RetryOn> {
    let never = raw.non_retryable.get().map_or(&[][..], Vec::as_slice);
    for class in never {
        class_name(&class.value, class.span.clone(), walk);
    }
    let mut on = BTreeMap::new();
    for (name, At { value: rule, .. }) in raw.on.get().iter().flat_map(|named| &named.0) {
        class_name(&name.value, name.span.clone(), walk);
        if never.iter().any(|class| class.value == name.value) {
            walk.error(name.span.clone(), format!("`{}` is in `non_retryable` too", name.value))
                .help("errors of it are retried or they are not: leave one of the two out".into());
        }
        let waits = Waits {
            backoff: &rule.backoff,
            curve: &rule.curve,
            factor: &rule.factor,
            power: &rule.power,
            jitter: &rule.jitter,
        };
        let max =
            (!rule.max.is_absent()).then(|| in_range(&rule.max, ATTEMPTS, 1, ATTEMPTS_MAX, walk));
        let backoff = backoff(waits, TaskBackoff::DEFAULT, walk);
        on.insert(name.value.clone(), RetryOn { max, backoff });
    }
    if on.len() + never.len() > CLASS_RULES_MAX {
        let span = raw.on.span().or_else(|| raw.non_retryable.span()).unwrap_or_default();
        walk.error(span, format!("rules for {} classes of errors", on.len() + never.len()))
            .help(format!("at most {CLASS_RULES_MAX}; a pattern like \"http.*\" stands for many"));
    }
    on
}

fn class_name(name: &str, span: Range<usize>, walk: &mut Walk<'_>) {
    if name.trim().is_empty() || name.len() > CLASS_MAX {
        walk.error(span, "this is not the class of an error")
            .help(format!("the class as the worker's language names it, 1 to {CLASS_MAX} bytes, with `*` for any text"));
    }
}

/// The waits as written; `None` when none of their keys is there.
fn backoff(keys: Waits<'_>, default: TaskBackoff, walk: &mut Walk<'_>) -> Option<TaskBackoff> {
    let Waits { backoff, curve, factor, power, jitter } = keys;
    let kind = curve.get().map_or(Kind::Exponential, |word| word.0);
    let mut foreign = |key: &str, span: Option<Range<usize>>, why: &str| {
        if let Some(span) = span {
            walk.error(span, format!("`{key}` has no meaning here: {why}"));
        }
    };
    if let Kind::Named(formula) = kind {
        let why = format!("curve = \"{formula}\" is a whole formula of its own");
        foreign("backoff", backoff.span(), &why);
        foreign("jitter", jitter.span(), &why);
    }
    if kind != Kind::Exponential {
        foreign("factor", factor.span(), "only curve = \"exponential\" has one");
    }
    if kind != Kind::Polynomial {
        foreign("power", power.span(), "only curve = \"polynomial\" has one");
    }
    let absent =
        backoff.is_absent() && curve.is_absent() && factor.is_absent() && jitter.is_absent();
    if absent && power.is_absent() {
        return None;
    }
    let TaskBackoff::Curve(Curve { base, max, .. }) = default else { return None };
    let range = backoff.get().map_or(DurRange { from: Dur(base), to: Dur(max) }, |times| times.0);
    if kind == Kind::Fixed && range.from != range.to && !backoff.is_absent() {
        walk.error(
            backoff.span().unwrap_or_default(),
            format!("a fixed wait is one duration, not {range}"),
        )
        .help(format!("write backoff = \"{}\"", range.from));
    } else if range.to.0 > WAIT_MAX {
        walk.error(
            backoff.span().unwrap_or_default(),
            format!("{} is longer than any wait", range.to),
        )
        .help(format!("at most {}", Dur(WAIT_MAX)));
    }
    let growth = |key: &Key<Growth>| key.get().map_or(2.0, |growth| growth.0);
    let shape = match kind {
        Kind::Named(formula) => return Some(TaskBackoff::Named(formula)),
        Kind::Fixed => Shape::Fixed,
        Kind::Linear => Shape::Linear,
        Kind::Exponential => Shape::Exponential(growth(factor)),
        Kind::Polynomial => Shape::Polynomial(growth(power)),
    };
    let (base, max) = (range.from.0, range.to.0);
    let jitter = jitter.get().map_or(Jitter::Full, |word| word.0);
    Some(TaskBackoff::Curve(Curve { shape, base, max, jitter }))
}
