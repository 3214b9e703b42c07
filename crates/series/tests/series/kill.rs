//! A writer that is killed again and again: at most a minute of samples is lost each time, no mark that was told, nothing is invented.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ganger_series::{Reader, What};

use crate::{START, key};

/// Kills of an ordinary run; `GANGER_KILLS=200` for more.
const KILLS: u32 = 20;

/// The example `writer`, which Cargo builds with the tests.
pub(crate) fn writer() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let folder = own.parent().unwrap().parent().unwrap();
    let path = folder.join("examples/writer");
    assert!(path.exists(), "no {}: build the crate's examples", path.display());
    path
}

/// What the writer writes at a tick, in each slot: the same formula as in `examples/writer.rs`.
fn value(tick: i64, slot: u32) -> i64 {
    let mixed = (tick as u64 ^ u64::from(slot) << 40).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 34) as i64
}

/// Every sample that is there is what was written then. Gives back the ticks that slot 0 has.
pub(crate) fn check_values(reader: &Reader, from: i64, to: i64) -> Vec<i64> {
    let mut ticks = Vec::new();
    for slot in 0..3 {
        let read = reader.samples(&key("w", slot), "level", i64::MIN..i64::MAX).unwrap();
        for (tick, level) in &read {
            assert!((from..to).contains(tick), "tick {tick} was never");
            assert_eq!(*level, value(*tick, slot), "slot {slot} at {tick}");
        }
        if slot == 0 {
            ticks = read.into_iter().map(|(tick, _)| tick).collect();
        }
    }
    ticks
}

struct Said {
    ticks: Vec<i64>,
    marks: Vec<i64>,
}

/// Runs the writer from `start` on and kills it when it has said so many lines.
fn run(folder: &Path, start: i64, lines: usize) -> Said {
    let mut child = Command::new(writer())
        .arg(folder)
        .args([start.to_string(), "1000000".into()])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = Said { ticks: Vec::new(), marks: Vec::new() };
    let hear = |line: String, said: &mut Said| match line.split_once(' ') {
        Some(("tick", n)) => said.ticks.extend(n.parse::<i64>()),
        Some(("mark", n)) => said.marks.extend(n.parse::<i64>()),
        _ => {}
    };
    let mut out = BufReader::new(child.stdout.take().unwrap()).lines();
    for line in out.by_ref().take(lines) {
        hear(line.unwrap(), &mut said);
    }
    child.kill().unwrap();
    // What it said before it died counts too; a line that was torn does not.
    for line in out.map_while(Result::ok) {
        let is_whole = line.split_once(' ').is_some_and(|(_, n)| n.len() == 10);
        if is_whole {
            hear(line, &mut said);
        }
    }
    child.wait().unwrap();
    said
}

#[test]
fn kills_cost_a_minute_and_no_mark() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("series");
    let kills = std::env::var("GANGER_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(KILLS);
    let mut random = fastrand::Rng::with_seed(200);
    let mut start = START;
    let (mut ticks, mut marks, mut lost) = (Vec::new(), Vec::new(), 0);
    for kill in 0..kills {
        // Between a second and twenty minutes of its time: some die while they open, some while they seal or roll up.
        let lines = if kill % 4 == 0 { random.usize(0..5) } else { random.usize(0..1_300) };
        let said = run(&path, start, lines);
        let Some(last) = said.ticks.last().copied() else { continue };
        let reader = Reader::open(&path).unwrap();
        let there = check_values(&reader, START, last + 60);
        let mine: Vec<i64> =
            said.ticks.iter().copied().filter(|t| there.binary_search(t).is_err()).collect();
        assert!(mine.len() <= 60, "{} samples lost by kill {kill}", mine.len());
        assert!(mine.iter().all(|tick| *tick > last - 60), "lost {mine:?} before {last}");
        lost += mine.len();
        ticks.extend(said.ticks.iter().filter(|tick| there.binary_search(tick).is_ok()));
        marks.extend(said.marks);
        start = last + 61;
    }
    // All that was there after each kill is there after all of them.
    let reader = Reader::open(&path).unwrap();
    let there = check_values(&reader, START, start);
    assert!(ticks.iter().all(|tick| there.binary_search(tick).is_ok()), "lost later on");
    let found = reader.marks(None, i64::MIN..i64::MAX).unwrap();
    for mark in &marks {
        assert!(found.iter().any(|found| found.at_ms == mark * 1_000), "mark {mark} is lost");
    }
    assert!(found.iter().all(|mark| matches!(mark.what, What::Exit { .. })));
    assert!(marks.len() > 10 && ticks.len() > 3_000, "{} {}", marks.len(), ticks.len());
    println!(
        "{kills} kills: {} samples told, {lost} lost, {} marks told, 0 lost",
        ticks.len() + lost,
        marks.len()
    );
}
