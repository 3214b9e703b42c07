//! `limits`, `lanes` and `strict` of a queue.

use std::str::FromStr;

use ganger_core::Dur;
use ganger_queue::{Lanes, Limit, LimitRules, Rate};
use schemars::JsonSchema;
use toml::de::DeValue;

use super::raw;
use super::walk::{At, FromNode, Key, Named, Node, Walk, section};

/// Weights are shares of a whole that people can picture.
const WEIGHT_MAX: u32 = 1_000;
/// More at once than a machine has processes for.
const RUNNING_MAX: u32 = 1_000_000;
/// More tokens than a queue can hand out.
const COUNT_MAX: u32 = 10_000_000;

section! {
    /// How many tasks run at once and how often one starts, over all, per kind and per key.
    struct QueueLimits in "`limits` of a queue" {
        /// Most tasks of the queue at once, counted from the claim to the confirmed end. Default: no bound.
        running: u32,
        /// Most tasks begun in a time: "100/s", "10/m", "5/30s". Default: no bound.
        rate: RateText,
        /// Most tasks begun at once after a quiet time. Default: the count of `rate`.
        burst: u32,
        /// Kinds with limits of their own: how many at once, or a table of `running`, `rate`, `burst`.
        kind: Named<OneLimit>,
        /// The payload field that is a task's key; dots go into objects. A task's own `concurrency_key` wins.
        key: String,
        /// Limits of each key: how many at once, or a table of `running`, `rate`, `burst`.
        per_key: OneLimit,
    }
}

section! {
    /// How many at once, and how often.
    struct LimitTable in "a limit" {
        /// Most tasks at once, counted from the claim to the confirmed end. Default: no bound.
        running: u32,
        /// Most tasks begun in a time: "100/s", "10/m", "5/30s". Default: no bound.
        rate: RateText,
        /// Most tasks begun at once after a quiet time. Default: the count of `rate`.
        burst: u32,
    }
}

section! {
    /// Shares of turns while several lanes have tasks. high: priorities 160-255, normal: 96-159, low: 0-95.
    struct LaneWeights in "`lanes`" {
        /// Default: 80.
        high: u32,
        /// Default: 15.
        normal: u32,
        /// Default: 5.
        low: u32,
    }
}

/// So many in a time.
#[derive(Debug, Clone, Copy, JsonSchema)]
#[schemars(inline)]
pub(super) struct RateText(
    #[schemars(with = "String", regex(pattern = r"^[0-9]+ ?/ ?[0-9.]*(us|ms|s|m|h|d)$|\$\{"))] Rate,
);

impl FromStr for RateText {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fail =
            || format!("`{text}` is not a rate: write it like \"100/s\", \"10/m\" or \"5/30s\"");
        let (count, per) = text.split_once('/').ok_or_else(fail)?;
        let count: u32 = count.trim().parse().map_err(|_| fail())?;
        let per = per.trim();
        let one = if per.starts_with(|c: char| c.is_ascii_digit()) { "" } else { "1" };
        let per: Dur = format!("{one}{per}").parse().map_err(|_| fail())?;
        if count == 0 || per.0.is_zero() {
            return Err(format!("`{text}` lets nothing through; `paused = true` does that"));
        }
        if count > COUNT_MAX || per.0 / count < std::time::Duration::from_nanos(100) {
            return Err(format!("`{text}` is more than a queue can hand out: leave it out"));
        }
        Ok(Self(Rate { count, per: per.0, burst: count }))
    }
}

impl FromNode for RateText {
    fn from_node(node: &Node<'_>, walk: &mut Walk<'_>) -> Option<Self> {
        super::values::parsed(node, walk, "a rate like \"100/s\"")
    }
}

/// A number of tasks at once, or a table.
#[derive(Debug, JsonSchema)]
#[schemars(untagged, inline)]
pub(super) enum OneLimit {
    Running(u32),
    Table(Box<LimitTable>),
}

impl FromNode for OneLimit {
    fn from_node(node: &Node<'_>, walk: &mut Walk<'_>) -> Option<Self> {
        match node.get_ref() {
            DeValue::Table(_) => {
                LimitTable::from_node(node, walk).map(|table| Self::Table(Box::new(table)))
            }
            _ => {
                let running = u32::from_node(node, walk)?;
                if !(1..=RUNNING_MAX).contains(&running) {
                    walk.error(
                        node.span(),
                        format!("{running} is out of range: 1 to {RUNNING_MAX}"),
                    );
                    return None;
                }
                Some(Self::Running(running))
            }
        }
    }
}

/// How many at once and how often, of queues and of policies.
pub(super) fn limit(
    running: &Key<u32>,
    rate: &Key<RateText>,
    burst: &Key<u32>,
    walk: &mut Walk<'_>,
) -> Limit {
    let most = super::resolve::in_range(running, 1, 1, RUNNING_MAX, walk);
    let tokens = super::resolve::in_range(burst, 1, 1, COUNT_MAX, walk);
    if let Some(span) = burst.span().filter(|_| rate.is_absent()) {
        walk.error(span, "`burst` means nothing without `rate`");
    }
    let rate = rate.get().map(|RateText(rate)| Rate {
        burst: if burst.get().is_some() { tokens } else { rate.burst },
        ..*rate
    });
    Limit { running: running.get().map(|_| most), rate }
}

fn one(found: &OneLimit, walk: &mut Walk<'_>) -> Limit {
    match found {
        OneLimit::Running(running) => Limit { running: Some(*running), rate: None },
        OneLimit::Table(table) => limit(&table.running, &table.rate, &table.burst, walk),
    }
}

/// The limits of a queue.
pub(super) fn limits(queue: &raw::Queue, walk: &mut Walk<'_>) -> LimitRules {
    let Some(found) = queue.limits.get() else { return LimitRules::default() };
    let per_key = found.per_key.get().map(|found| one(found, walk)).unwrap_or_default();
    if let Some(At { span, value }) = &found.key.0 {
        if found.per_key.is_absent() {
            walk.error(span.clone(), "`key` means nothing without `per_key`")
                .help("per_key = 1 runs one task of each key at a time".into());
        }
        if value.is_empty() || value.split('.').any(str::is_empty) {
            walk.error(span.clone(), "this is no path of a payload field")
                .help("write it like \"tenant\" or \"user.id\"".into());
        }
    }
    let kinds = found.kind.get().into_iter().flat_map(|named| &named.0);
    LimitRules {
        queue: limit(&found.running, &found.rate, &found.burst, walk),
        kinds: kinds.map(|(name, kind)| (name.value.clone(), one(&kind.value, walk))).collect(),
        per_key,
        key: found.key.get().cloned(),
    }
}

/// How turns are dealt to the lanes of a queue.
pub(super) fn lanes(queue: &raw::Queue, walk: &mut Walk<'_>) -> Lanes {
    let strict = queue.strict.or(false);
    if strict {
        if let Some(span) = queue.lanes.span() {
            walk.error(span, "weights mean nothing in a strict queue")
                .help("leave out `lanes`, or `strict`".into());
        }
        return Lanes::Strict;
    }
    let Some(found) = queue.lanes.get() else { return Lanes::default() };
    let mut weight = |key, default| super::resolve::in_range(key, default, 1, WEIGHT_MAX, walk);
    Lanes::Weighted([weight(&found.high, 80), weight(&found.normal, 15), weight(&found.low, 5)])
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn rates_are_read() {
        let rate = |text: &str| text.parse::<RateText>().map(|RateText(rate)| rate);
        let wanted = Rate { count: 100, per: Duration::from_secs(1), burst: 100 };
        assert_eq!(rate("100/s"), Ok(wanted));
        assert_eq!(rate("5 / 30s").map(|r| r.interval()), Ok(Duration::from_secs(6)));
        for bad in ["", "5", "/s", "x/s", "1/x", "0/s", "1/0s", "99999999/s"] {
            assert!(rate(bad).is_err(), "{bad}");
        }
    }
}
