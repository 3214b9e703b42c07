//! The samples of one object over some ticks, as bytes.
//!
//! ```text
//! body   = first tick, ticks n, 0 | 1 bitmap of (last - first + 1) bits      once for all metrics: one clock
//!          then a column each: tag, length, bytes
//! tag    = Absent | Constant | Deltas | Runs | Pco, 0x80: with a bitmap of n bits before, set where there is a value
//! ```
//!
//! A column takes whichever of the codings is shortest. Constant ones cost three bytes; what changes now and then is runs;
//! pco (a numerical codec with its own choice of deltas) is only tried for sealed groups, because it takes 80 µs for 600 values.

use pco::wrapped::{FileCompressor, FileDecompressor};
use pco::{ChunkConfig, PagingSpec};

use crate::bytes::{Take, put_bytes, put_int, put_uint};
use crate::key::Tick;

/// Says "no value" in a row. No counter gets there, and a level that does is not one.
pub const ABSENT: i64 = i64::MIN;
/// Ticks of a sealed group: ten minutes, so that an hour is six groups and a block is enough for pco to pay.
pub(crate) const WINDOW: Tick = 600;
/// Values below which pco's own head costs more than it saves.
const PCO_LEAST: usize = 24;
/// pco's level: beyond 4 it only takes longer for blocks of 600 (measured: same bytes at 8).
const PCO_LEVEL: usize = 4;

/// How hard to try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effort {
    /// For the journal.
    Quick,
    /// For sealed groups.
    Dense,
}

mod tag {
    pub(super) const ABSENT: u8 = 0;
    pub(super) const CONSTANT: u8 = 1;
    pub(super) const DELTAS: u8 = 2;
    pub(super) const RUNS: u8 = 3;
    pub(super) const PCO: u8 = 4;
    /// Some values are missing.
    pub(super) const HOLES: u8 = 0x80;
}

/// Appends the ticks, which rise and span at most [`WINDOW`].
pub(crate) fn put_ticks(out: &mut Vec<u8>, ticks: &[Tick]) {
    let (Some(first), Some(last)) = (ticks.first(), ticks.last()) else {
        put_int(out, 0);
        return put_uint(out, 0);
    };
    put_int(out, *first);
    put_uint(out, ticks.len() as u64);
    let span = (last - first + 1) as usize;
    if span == ticks.len() {
        return out.push(0);
    }
    out.push(1);
    put_uint(out, span as u64);
    put_bits(out, span, ticks.iter().map(|tick| (tick - first) as usize));
}

/// Reads ticks; none if they are not such as [`put_ticks`] writes.
pub(crate) fn take_ticks(from: &mut Take<'_>) -> Option<Vec<Tick>> {
    let first = from.int()?;
    let n = from.count(WINDOW as usize)?;
    if n == 0 {
        return Some(Vec::new());
    }
    first.checked_add(WINDOW)?;
    if from.byte()? == 0 {
        return Some((first..first + n as Tick).collect());
    }
    let span = from.count(WINDOW as usize)?;
    let bits = from.exactly(span.div_ceil(8))?;
    let ticks: Vec<Tick> = ones(bits, span).map(|at| first + at as Tick).collect();
    (ticks.len() == n).then_some(ticks)
}

/// Appends one column: a value a tick, or [`ABSENT`].
pub(crate) fn put_column(out: &mut Vec<u8>, values: &[i64], effort: Effort) {
    let here = values.iter().filter(|value| **value != ABSENT).count();
    if here == 0 {
        out.push(tag::ABSENT);
        return put_uint(out, 0);
    }
    let mut bytes = Vec::new();
    let dense: Vec<i64>;
    let (holes, present) = if here == values.len() {
        (0, values)
    } else {
        let set = values.iter().enumerate().filter(|(_, value)| **value != ABSENT);
        put_bits(&mut bytes, values.len(), set.map(|(at, _)| at));
        dense = values.iter().copied().filter(|value| *value != ABSENT).collect();
        (tag::HOLES, &dense[..])
    };
    let (tag, coded) = shortest(present, effort);
    bytes.extend_from_slice(&coded);
    out.push(tag | holes);
    put_bytes(out, &bytes);
}

/// The next column of `n` values.
pub(crate) fn take_column(from: &mut Take<'_>, n: usize) -> Option<Vec<i64>> {
    let tag = from.byte()?;
    let mut from = Take(from.bytes()?);
    if tag == tag::ABSENT {
        return Some(vec![ABSENT; n]);
    }
    if tag & tag::HOLES == 0 {
        return values(tag, from, n);
    }
    let bits = from.exactly(n.div_ceil(8))?;
    let present = values(tag & !tag::HOLES, from, ones(bits, n).count())?;
    let mut column = vec![ABSENT; n];
    for (at, value) in ones(bits, n).zip(present) {
        column[at] = value;
    }
    Some(column)
}

/// Goes by a column.
pub(crate) fn skip_column(from: &mut Take<'_>) -> Option<()> {
    from.byte()?;
    from.bytes().map(|_| ())
}

fn shortest(values: &[i64], effort: Effort) -> (u8, Vec<u8>) {
    let mut best = Vec::new();
    let first = values[0];
    if values.iter().all(|value| *value == first) {
        put_int(&mut best, first);
        return (tag::CONSTANT, best);
    }
    put_deltas(&mut best, values);
    let mut tag = tag::DELTAS;
    let mut runs = Vec::new();
    put_runs(&mut runs, values);
    if runs.len() < best.len() {
        (tag, best) = (tag::RUNS, runs);
    }
    if effort == Effort::Dense && values.len() >= PCO_LEAST && best.len() > PCO_LEAST {
        // It fails on settings only, and these are constant.
        if let Some(packed) = packed(values).filter(|packed| packed.len() < best.len()) {
            (tag, best) = (tag::PCO, packed);
        }
    }
    (tag, best)
}

fn values(tag: u8, mut from: Take<'_>, n: usize) -> Option<Vec<i64>> {
    match tag {
        tag::CONSTANT => Some(vec![from.int()?; n]),
        tag::DELTAS => {
            let mut value = 0i64;
            let mut values = Vec::with_capacity(n);
            for _ in 0..n {
                value = value.wrapping_add(from.int()?);
                values.push(value);
            }
            Some(values)
        }
        tag::RUNS => {
            let mut value = 0i64;
            let mut values = Vec::with_capacity(n);
            while values.len() < n {
                value = value.wrapping_add(from.int()?);
                let run = from.count(n - values.len() - 1)? + 1;
                values.resize(values.len() + run, value);
            }
            Some(values)
        }
        tag::PCO => unpacked(from.0, n),
        _ => None,
    }
}

fn put_deltas(out: &mut Vec<u8>, values: &[i64]) {
    let mut before = 0i64;
    for value in values {
        put_int(out, value.wrapping_sub(before));
        before = *value;
    }
}

/// Each run: how the value differs from the one before, and how often it comes again.
fn put_runs(out: &mut Vec<u8>, values: &[i64]) {
    let mut before = 0i64;
    for run in values.chunk_by(|a, b| a == b) {
        put_int(out, run[0].wrapping_sub(before));
        put_uint(out, run.len() as u64 - 1);
        before = run[0];
    }
}

fn packed(values: &[i64]) -> Option<Vec<u8>> {
    let config = ChunkConfig::default()
        .with_compression_level(PCO_LEVEL)
        .with_paging_spec(PagingSpec::Exact(vec![values.len()]));
    let file = FileCompressor::default();
    let mut out = file.write_header(Vec::new()).ok()?;
    let mut chunk = file.chunk_compressor(values, &config).ok()?;
    out = chunk.write_meta(out).ok()?;
    chunk.write_page(0, out).ok()
}

fn unpacked(bytes: &[u8], n: usize) -> Option<Vec<i64>> {
    let (file, rest) = FileDecompressor::new(bytes).ok()?;
    let (mut chunk, rest) = file.chunk_decompressor::<i64, _>(rest).ok()?;
    let mut values = vec![0; n];
    let progress = chunk.page_decompressor(rest, n).ok()?.read(&mut values).ok()?;
    (progress.n_processed == n).then_some(values)
}

fn put_bits(out: &mut Vec<u8>, n: usize, set: impl Iterator<Item = usize>) {
    let start = out.len();
    out.resize(start + n.div_ceil(8), 0);
    for at in set {
        out[start + at / 8] |= 1 << (at % 8);
    }
}

fn ones(bits: &[u8], n: usize) -> impl Iterator<Item = usize> {
    (0..n).filter(|at| bits[at / 8] >> (at % 8) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn back(values: &[i64], effort: Effort) -> (u8, usize) {
        let mut out = Vec::new();
        put_column(&mut out, values, effort);
        let mut take = Take(&out);
        assert_eq!(take_column(&mut take, values.len()).unwrap(), values);
        assert!(take.0.is_empty());
        let mut take = Take(&out);
        skip_column(&mut take).unwrap();
        assert!(take.0.is_empty());
        (out[0], out.len())
    }

    #[test]
    fn each_shape_gets_its_coding() {
        assert_eq!(back(&[7; 600], Effort::Dense), (tag::CONSTANT, 3));
        assert_eq!(back(&[ABSENT; 600], Effort::Dense), (tag::ABSENT, 2));
        let steps: Vec<i64> = (0..600).map(|n| n / 200).collect();
        assert_eq!(back(&steps, Effort::Dense).0, tag::RUNS);
        let noise: Vec<i64> = (0..600).map(|n: i64| n * 50 + (n * 7919) % 13).collect();
        let (quick, long) = back(&noise, Effort::Quick);
        let (dense, short) = back(&noise, Effort::Dense);
        assert_eq!((quick, dense), (tag::DELTAS, tag::PCO));
        assert!(short < long, "{short} {long}");
    }

    fn value() -> impl Strategy<Value = i64> {
        prop_oneof![4 => -3i64..3, 2 => any::<i64>(), 1 => Just(ABSENT), 1 => Just(i64::MAX)]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn any_column_comes_back(values in prop::collection::vec(value(), 1..200), dense in any::<bool>()) {
            back(&values, if dense { Effort::Dense } else { Effort::Quick });
        }

        #[test]
        fn any_ticks_come_back(first in 0i64..1 << 40, set in prop::collection::btree_set(0..WINDOW, 0..100)) {
            let ticks: Vec<Tick> = set.iter().map(|at| first + at).collect();
            let mut out = Vec::new();
            put_ticks(&mut out, &ticks);
            prop_assert_eq!(take_ticks(&mut Take(&out)), Some(ticks));
        }

        #[test]
        fn noise_is_refused_or_read_never_worse(bytes in prop::collection::vec(any::<u8>(), 0..200), n in 0usize..600) {
            let _ = take_ticks(&mut Take(&bytes));
            let mut take = Take(&bytes);
            while let Some(column) = take_column(&mut take, n) {
                prop_assert_eq!(column.len(), n);
            }
        }
    }
}
