//! What walls cost: `cargo run --release -p ganger-sandbox --example walls -- [rounds N | clients N SECONDS] [--json] [WAY…]`.
//!
//! `rounds`: each round starts `/bin/true` once in every way and waits for its end, so that whatever else the machine does is shared by
//! all. `clients`: so many at once, of ganger's own ways as the keeper does it, who is one thread and waits for none. `WAY`: only ways
//! whose name contains one of these. Without `--json` it is a table. All times are milliseconds.
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a measurement for the terminal")]

mod ways;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;
use ways::{Took, Way};

const ROUNDS: usize = 300;
/// Of a round among clients.
const SLICE: Duration = Duration::from_secs(1);

/// One way's figures over all rounds.
#[derive(Debug, Serialize)]
struct Row {
    way: &'static str,
    p50: f64,
    least: f64,
    /// One in ten was quicker: what the machine does when it does nothing else.
    p10: f64,
    p99: f64,
    /// Processor time of one run, by whoever starts it, and by what is started; the median.
    cpu_here: f64,
    cpu_there: f64,
}

/// One way's figure among clients.
#[derive(Debug, Serialize)]
struct Rate {
    way: &'static str,
    runs_per_s: f64,
}

fn main() {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    let json = args.iter().position(|arg| arg == "--json").map(|at| args.remove(at)).is_some();
    let number = |at: usize| args.get(at).and_then(|text| text.parse::<usize>().ok());
    let words = |from: usize| args.get(from..).unwrap_or_default().to_vec();
    if args.first().is_some_and(|arg| arg == "clients") {
        let (clients, seconds) = (number(1).unwrap(), number(2).unwrap());
        return clients_of(clients, seconds, &ways::all(&words(3)), json);
    }
    let named = args.first().is_some_and(|arg| arg == "rounds");
    let rounds = if named { number(1).unwrap() } else { ROUNDS };
    rounds_of(rounds, &ways::all(&words(if named { 2 } else { 0 })), json);
}

fn rounds_of(rounds: usize, ways: &[Way], json: bool) {
    let mut took: Vec<Vec<Took>> = vec![Vec::new(); ways.len()];
    for _ in 0..rounds {
        for (way, took) in ways.iter().zip(&mut took) {
            took.push(way.run());
        }
    }
    if !json {
        println!(
            "{:<28} {:>7} {:>7} {:>7} {:>7} {:>7} {:>7} {:>7} {:>7}",
            "ms", "p50", "least", "p10", "p99", "cpu", "here", "+ p50", "+ p10"
        );
    }
    let mut bare = None;
    for (way, took) in ways.iter().zip(&took) {
        let row = Row::of(way.name, took);
        if json {
            println!("{}", serde_json::to_string(&row).unwrap());
            continue;
        }
        let (p50, p10) = *bare.get_or_insert((row.p50, row.p10));
        println!(
            "{:<28} {:>7.2} {:>7.2} {:>7.2} {:>7.2} {:>7.2} {:>7.2} {:>7.2} {:>7.2}",
            row.way,
            row.p50,
            row.least,
            row.p10,
            row.p99,
            row.cpu_here + row.cpu_there,
            row.cpu_here,
            row.p50 - p50,
            row.p10 - p10
        );
    }
}

impl Row {
    fn of(way: &'static str, took: &[Took]) -> Self {
        let at = |of: fn(&Took) -> Duration, per_cent: usize| {
            let mut all: Vec<Duration> = took.iter().map(of).collect();
            all.sort_unstable();
            all[(all.len() * per_cent / 100).min(all.len() - 1)].as_secs_f64() * 1e3
        };
        Self {
            way,
            p50: at(|took| took.wall, 50),
            least: at(|took| took.wall, 0),
            p10: at(|took| took.wall, 10),
            p99: at(|took| took.wall, 99),
            cpu_here: at(|took| took.here, 50),
            cpu_there: at(|took| took.there, 50),
        }
    }
}

/// Each client starts its own, which is the quickest for programs that are sandboxes themselves.
fn each(clients: usize, way: &Way) -> u64 {
    let (began, runs) = (Instant::now(), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..clients {
            scope.spawn(|| {
                while began.elapsed() < SLICE {
                    way.run();
                    runs.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    runs.into_inner()
}

/// In slices of a second, one way after the other, so that a bad moment hits all.
fn clients_of(clients: usize, seconds: usize, ways: &[Way], json: bool) {
    let mut done = vec![(0u64, Duration::ZERO); ways.len()];
    for _ in 0..seconds {
        for (way, (count, time)) in ways.iter().zip(&mut done) {
            let began = Instant::now();
            *count += if way.is_walled() { way.runs(clients, SLICE) } else { each(clients, way) };
            *time += began.elapsed();
        }
    }
    for (way, (count, time)) in ways.iter().zip(done) {
        let rate = Rate { way: way.name, runs_per_s: count as f64 / time.as_secs_f64() };
        if json {
            println!("{}", serde_json::to_string(&rate).unwrap());
        } else {
            println!("{:<28} {:>8.0} runs/s", rate.way, rate.runs_per_s);
        }
    }
}
