//! The series against a naive model, damaged byte by byte, killed, bounded.
#![expect(clippy::unwrap_used, reason = "the whole program is a test")]

mod bounds;
mod damage;
mod kill;
mod model;
mod windows;

use ganger_series::{Key, Kind, Metric, Options, Schema};

/// Ten o'clock of a day in 2026, in seconds since the epoch: the start of an hour.
const START: i64 = 1_767_261_600;

fn key(name: &str, slot: u32) -> Key {
    Key::new(name, slot).unwrap()
}

/// A sketched counter, a sketched gauge, a plain gauge.
fn schema() -> Schema {
    Schema::new(vec![
        Metric::new("cpu", Kind::Counter).unwrap().sketched(),
        Metric::new("rss", Kind::Gauge).unwrap().sketched(),
        Metric::new("fds", Kind::Gauge).unwrap(),
    ])
    .unwrap()
}

fn options(folder: &tempfile::TempDir) -> Options {
    Options::new(folder.path().join("series"))
}
