//! What a frame of a segment holds: an object's samples of a window, or its summaries of an hour or a day; and the journal's
//! minutes.
//!
//! ```text
//! group    = key, schema, body                       samples: `body`
//!          | key, schema, first step, bitmap, cells  summaries: per metric a bitmap of the steps it has, then its cells
//! ```
//!
//! Each is whole in itself: whatever is lost or thrown away beside it, it can be read.

use crate::body::{Effort, put_column, put_ticks, skip_column, take_column, take_ticks};
use crate::bytes::{Take, put_bytes, put_int, put_uint};
use crate::fold::Point;
use crate::key::{Key, Kind, Metric, Schema, Tick};
use crate::summary::Cell;

/// Steps of a group of summaries: 60 minutes or 24 hours.
const STEPS_MAX: usize = 60;

/// A metric with what was read of it.
pub(crate) type Column<T> = (Metric, Vec<T>);

/// Reads the key and leaves the rest.
pub(crate) fn key(payload: &[u8]) -> Option<(Key, Take<'_>)> {
    let mut take = Take(payload);
    Some((Key::take(&mut take)?, take))
}

/// An object's key and the first tick of its group, of a frame's beginning: what an index needs. The schema lies between, so a
/// group of samples or summaries says its first tick in front of it.
pub(crate) fn front(payload: &[u8]) -> Option<(Key, Tick)> {
    let (key, mut rest) = key(payload)?;
    Some((key, rest.int()?))
}

/// Appends a group of samples.
pub(crate) fn put_samples(
    out: &mut Vec<u8>,
    key: &Key,
    schema: &Schema,
    ticks: &[Tick],
    columns: &[Vec<i64>],
) {
    key.put(out);
    put_int(out, ticks.first().copied().unwrap_or(0));
    schema.put(out);
    put_body(out, ticks, columns, Effort::Dense);
}

/// Appends ticks and columns.
pub(crate) fn put_body(out: &mut Vec<u8>, ticks: &[Tick], columns: &[Vec<i64>], effort: Effort) {
    put_ticks(out, ticks);
    for column in columns {
        put_column(out, column, effort);
    }
}

/// The samples of a group: of all metrics, or of the one wanted. None: damaged, or another object's.
pub(crate) fn samples(payload: &[u8], of: &Key, want: Option<&str>) -> Option<Vec<Column<Point>>> {
    let (key, mut rest) = key(payload)?;
    if key != *of {
        return None;
    }
    rest.int()?;
    let schema = Schema::take(&mut rest)?;
    body(rest, &schema, want)
}

/// The samples of a body, without the places where there are none.
pub(crate) fn body(
    mut from: Take<'_>,
    schema: &Schema,
    want: Option<&str>,
) -> Option<Vec<Column<Point>>> {
    let ticks = take_ticks(&mut from)?;
    let mut out = Vec::new();
    for metric in schema.metrics() {
        if want.is_some_and(|want| want != metric.name()) {
            skip_column(&mut from)?;
            continue;
        }
        let column = take_column(&mut from, ticks.len())?;
        let points = ticks.iter().copied().zip(column);
        out.push((metric.clone(), points.filter(|(_, v)| *v != crate::body::ABSENT).collect()));
    }
    Some(out)
}

/// Appends a group of summaries from `first` on, each `step` seconds.
pub(crate) fn put_cells(
    out: &mut Vec<u8>,
    key: &Key,
    first: Tick,
    step: Tick,
    columns: &[Column<(Tick, Cell)>],
) {
    key.put(out);
    put_int(out, first);
    put_uint(out, columns.len() as u64);
    for (metric, cells) in columns {
        let flags = u8::from(metric.kind() == Kind::Counter) | u8::from(metric.is_sketched()) << 1;
        out.push(flags);
        put_bytes(out, metric.name().as_bytes());
        let mut bits = 0u64;
        for (at, _) in cells {
            bits |= 1 << ((at - first) / step).clamp(0, STEPS_MAX as Tick - 1);
        }
        put_uint(out, bits);
        let mut bytes = Vec::new();
        let (mut before, mut total) = (0, 0);
        for (_, cell) in cells {
            cell.put(&mut bytes, &mut before, metric.kind() == Kind::Counter, &mut total);
        }
        put_bytes(out, &bytes);
    }
}

/// The summaries of a group: of all metrics, or of the one wanted. None: damaged, or another object's.
pub(crate) fn cells(
    payload: &[u8],
    of: &Key,
    step: Tick,
    want: Option<&str>,
) -> Option<Vec<Column<(Tick, Cell)>>> {
    let (key, mut rest) = key(payload)?;
    if key != *of {
        return None;
    }
    let first = rest.int()?;
    let mut out = Vec::new();
    for _ in 0..rest.count(crate::key::METRICS_MAX)? {
        let flags = rest.byte()?;
        let name = std::str::from_utf8(rest.bytes()?).ok()?;
        let kind = if flags & 1 == 1 { Kind::Counter } else { Kind::Gauge };
        let bits = rest.uint()?;
        let mut bytes = Take(rest.bytes()?);
        if want.is_some_and(|want| want != name) {
            continue;
        }
        let metric = Metric::new(name, kind).ok()?;
        let metric = if flags & 2 == 2 { metric.sketched() } else { metric };
        let mut cells = Vec::with_capacity(bits.count_ones() as usize);
        let (mut before, mut total) = (0, 0);
        for at in (0..64).filter(|at| bits >> at & 1 == 1) {
            let cell = Cell::take(
                &mut bytes,
                &mut before,
                kind == Kind::Counter,
                &mut total,
                metric.is_sketched(),
            )?;
            cells.push((first.checked_add(at * step)?, cell));
        }
        out.push((metric, cells));
    }
    Some(out)
}
