//! `cargo xtask test`: everything, in the order in which a failure is cheapest to learn of.
//!
//! As root on Debian it first installs what is missing. Without root it names what is missing and which tests it
//! therefore skips; skipped is never counted as passed. A failed step doesn't hide the ones behind it.

mod counts;
mod needs;
mod steps;

pub(crate) use needs::install;

use std::time::Instant;

use anyhow::Result;

use crate::tally::Tally;

/// What one step needs: given the machine, it says how it went.
type Step = fn(&needs::Machine) -> Result<Tally>;

/// Name and work of each step, in order.
const STEPS: [(&str, Step); 10] = [
    ("format", steps::format),
    ("lints", steps::lints),
    ("documentation", steps::documentation),
    ("tests", steps::tests),
    ("sdk/node", steps::sdk_node),
    ("sdk/python", steps::sdk_python),
    ("kernel", steps::kernel),
    ("quickstart", steps::quickstart),
    ("examples", steps::examples),
    ("torture", steps::torture),
];

/// Runs the steps whose name is in `only`, or all.
pub(crate) fn test(only: &[String]) -> Result<Tally> {
    let mut all = Tally::default();
    let machine = needs::prepare(&mut all);
    for (name, step) in STEPS {
        if !only.is_empty() && !only.iter().any(|word| word == name) {
            continue;
        }
        println!("== {name}");
        let since = Instant::now();
        let tally = step(&machine).unwrap_or_else(|error| {
            println!("{error:#}");
            let mut tally = Tally::default();
            tally.fail(name);
            tally
        });
        println!("== {name}: {tally} ({:.0} s)", since.elapsed().as_secs_f64());
        all.add(tally);
    }
    Ok(all)
}
