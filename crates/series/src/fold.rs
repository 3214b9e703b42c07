//! From samples to what is told of them: levels of gauges, increases of counters, put together by steps of time.
//!
//! ```text
//! gauge     sample at t                      → value, 1 second
//! counter   samples at p < t, t - p ≤ 60 s   → increase a second, t - p seconds; a smaller total means it began again at 0
//! ```
//!
//! A counter's first sample says nothing, nor does one after a longer gap: nobody knows when in between it grew. An increase belongs
//! to the second of its later sample. So that the first second of a window has one, [`LOOKBACK`] seconds before it are read too.

use std::ops::Range;

use crate::key::{Kind, Metric, Tick};
use crate::summary::Cell;

/// Longest gap over which a counter's increase is still known well enough.
pub(crate) const LOOKBACK: Tick = 60;

/// A sample.
pub(crate) type Point = (Tick, i64);

/// One thing to tell: when, value (of a counter: a second), seconds, the sample itself.
struct Observed {
    at: Tick,
    value: i64,
    seconds: u64,
    last: i64,
}

/// What samples in order of time say within `range`.
fn observed<'a>(
    kind: Kind,
    points: &'a [Point],
    range: &Range<Tick>,
) -> impl Iterator<Item = Observed> + use<'a> {
    let range = range.clone();
    let mut before: Option<Point> = None;
    points.iter().filter_map(move |&(at, last)| {
        let earlier = before.replace((at, last));
        if !range.contains(&at) {
            return None;
        }
        if kind == Kind::Gauge {
            return Some(Observed { at, value: last, seconds: 1, last });
        }
        let (then, total) = earlier?;
        let seconds = u64::try_from(at - then).ok().filter(|gap| *gap <= LOOKBACK as u64)?;
        let increase = if last < total { last } else { last.saturating_sub(total) };
        Some(Observed { at, value: increase, seconds, last })
    })
}

/// Adds an observation. A counter's increase over a gap is spread evenly; the remainder goes to one of the seconds, so that sums stay exact.
fn add(cell: &mut Option<Cell>, metric: &Metric, sketched: bool, seen: &Observed) {
    let mut one = |value: i64, seconds: u64| {
        if seconds == 0 {
            return;
        }
        match cell {
            Some(cell) => cell.add(value, seconds, seen.last),
            None => *cell = Some(Cell::of(value, seconds, seen.last, sketched)),
        }
    };
    if metric.kind() == Kind::Gauge || seen.seconds == 1 {
        return one(seen.value, 1);
    }
    let gap = seen.seconds as i64;
    let (each, rest) = (seen.value / gap, seen.value % gap);
    one(each + rest, 1);
    one(each, seen.seconds - 1);
}

/// All of `range` in one cell; none without an observation. The sketch is kept if `sketched`.
pub(crate) fn whole(
    metric: &Metric,
    points: &[Point],
    range: &Range<Tick>,
    sketched: bool,
) -> Option<Cell> {
    let mut cell = None;
    for seen in observed(metric.kind(), points, range) {
        add(&mut cell, metric, sketched, &seen);
    }
    cell
}

/// A cell for each step of `step` seconds (aligned to the epoch) that has an observation.
pub(crate) fn steps(
    metric: &Metric,
    points: &[Point],
    range: &Range<Tick>,
    step: Tick,
) -> Vec<(Tick, Cell)> {
    let mut out: Vec<(Tick, Cell)> = Vec::new();
    let mut open: Option<Cell> = None;
    let mut start = Tick::MIN;
    for seen in observed(metric.kind(), points, range) {
        let mine = seen.at - seen.at.rem_euclid(step);
        if mine != start {
            out.extend(open.take().map(|cell| (start, cell)));
            start = mine;
        }
        add(&mut open, metric, metric.is_sketched(), &seen);
    }
    out.extend(open.map(|cell| (start, cell)));
    out
}

/// Puts cells together into larger steps.
pub(crate) fn coarser(cells: &[(Tick, Cell)], step: Tick) -> Vec<(Tick, Cell)> {
    let mut out: Vec<(Tick, Cell)> = Vec::new();
    for (at, cell) in cells {
        let start = at - at.rem_euclid(step);
        match out.last_mut() {
            Some((last, sum)) if *last == start => sum.merge(cell),
            _ => out.push((start, cell.clone())),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn metric(kind: Kind) -> Metric {
        Metric::new("m", kind).unwrap().sketched()
    }

    #[test]
    fn increases_gaps_and_resets() {
        // Up by 5, after 3 s up by 10, begun again with 4, too long away, up by 1.
        let points = [(10, 100), (11, 105), (14, 115), (15, 4), (100, 50), (101, 51)];
        let cell = whole(&metric(Kind::Counter), &points, &(0..200), true).unwrap();
        let sum = cell.summary;
        assert_eq!((sum.count, sum.sum, sum.min, sum.max, sum.last), (1 + 3 + 1 + 1, 20, 1, 5, 51));
        assert_eq!(cell.sketch.unwrap().count(), 6);
        assert_eq!(whole(&metric(Kind::Counter), &points[..1], &(0..200), true), None);
    }

    #[test]
    fn the_second_before_a_window_is_looked_at_not_counted() {
        let points = [(59, 10), (60, 12), (61, 15)];
        let cell = whole(&metric(Kind::Counter), &points, &(60..61), false).unwrap();
        assert_eq!((cell.summary.count, cell.summary.sum), (1, 2));
        let cell = whole(&metric(Kind::Gauge), &points, &(60..61), false).unwrap();
        assert_eq!((cell.summary.count, cell.summary.sum), (1, 12));
    }

    proptest! {
        #[test]
        fn steps_of_any_size_add_up_to_the_whole(
            gaps in prop::collection::vec((1i64..90, -5i64..1_000), 1..200),
            counter in any::<bool>(),
            start in -1_000i64..1_000,
        ) {
            let metric = metric(if counter { Kind::Counter } else { Kind::Gauge });
            let mut at = start;
            let points: Vec<Point> = gaps.iter().map(|(gap, value)| { at += gap; (at, *value) }).collect();
            let range = start..at + 1;
            let whole = whole(&metric, &points, &range, true);
            let minutes = steps(&metric, &points, &range, 60);
            for cells in [coarser(&minutes, 3_600), coarser(&coarser(&minutes, 600), 7_200), minutes.clone()] {
                let mut sum: Option<Cell> = None;
                for (at, cell) in &cells {
                    prop_assert_eq!(at.rem_euclid(60), 0);
                    match &mut sum { Some(sum) => sum.merge(cell), None => sum = Some(cell.clone()) }
                }
                prop_assert_eq!(&sum, &whole);
            }
        }
    }
}
