//! What the series cost, on recorded data of real processes.
//!
//! ```text
//! cargo run --release -p ganger-series --example bench -- record FILE [SECONDS] [HZ]
//! cargo run --release -p ganger-series --example bench -- run FILE
//! ```
//!
//! `record` starts programs that do what workers do and samples their `/proc`, with every other process that is there for long enough; at
//! more than 1 Hz a sample stands for a second. `run` prints bytes a sample, times, and memory at 1,000 processes.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark prints, and stops on errors"
)]

mod measure;
mod record;

use std::path::Path;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["record", file, ref rest @ ..] => {
            let seconds = rest.first().map_or(360, |s| s.parse().unwrap());
            let hz = rest.get(1).map_or(10, |s| s.parse().unwrap());
            record::record(Path::new(file), seconds, hz);
        }
        ["run", file] => measure::run(Path::new(file)),
        _ => println!("bench record FILE [SECONDS] [HZ] | bench run FILE"),
    }
}
