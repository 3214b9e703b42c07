//! A writer to be killed: three objects, a row each virtual second, a mark each minute that is waited for, everything said on stdout.
//!
//! `writer FOLDER START TICKS`. Minutes come a thousand times faster than real ones, so it waits for the mark behind each: the disk gets the
//! minute that it has in real life.
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a test's helper speaks on stdout")]

use std::io::Write;

use ganger_core::{End, Usage};
use ganger_series::{Key, Kind, Mark, Metric, Options, Schema, Series, What};

/// Any value that tells tick and slot.
fn value(tick: i64, slot: u32) -> i64 {
    let mixed = (tick as u64 ^ u64::from(slot) << 40).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 34) as i64
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let (start, ticks): (i64, i64) = (args[2].parse().unwrap(), args[3].parse().unwrap());
    let mut options = Options::new(&args[1]);
    options.fine.max_age = std::time::Duration::from_secs(1 << 30);
    let mut series = Series::open(options, start).unwrap();
    let schema = Schema::new(vec![
        Metric::new("level", Kind::Gauge).unwrap().sketched(),
        Metric::new("total", Kind::Counter).unwrap(),
    ])
    .unwrap();
    let ids: Vec<_> =
        (0..3).map(|slot| series.object(&Key::new("w", slot).unwrap(), &schema).unwrap()).collect();
    let mut out = std::io::stdout();
    for tick in start..start + ticks {
        series.begin(tick).unwrap();
        for (slot, id) in ids.iter().enumerate() {
            series.push(*id, &[value(tick, slot as u32), tick]).unwrap();
        }
        if tick % 60 == 0 {
            let end = End::Exited { code: 0 };
            let what = What::Exit { end, ran_ms: Some(1), cost: Usage::default() };
            let mark = Mark { at_ms: tick * 1_000, name: "w".into(), slot: Some(0), what };
            if series.mark(&mark).wait().is_ok() {
                writeln!(out, "mark {tick}").unwrap();
            }
        }
        // One write a line: what was said was said whole.
        writeln!(out, "tick {tick}").unwrap();
    }
    let ticket = series.settle();
    if let Some(ticket) = ticket {
        ticket.wait();
    }
    let counts = series.counts();
    series.close().wait();
    println!(
        "dropped={} sealed={} journal_failed={} marks={} marks_failed={}",
        counts.samples_dropped,
        counts.samples_sealed,
        counts.journal_failed,
        counts.marks,
        counts.marks_failed
    );
}
