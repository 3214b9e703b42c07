//! `cargo xtask bench walls`: what containment costs, beside programs that do nothing else, in one run; and what many runs leave behind.
//!
//! *Starts*: `/bin/true` from its start to its end, bare, in every profile and by bubblewrap (and nsjail, where it is), one after the other
//! in each round, as `crates/sandbox/examples/walls` does it: by the calls that the keeper makes. *Four at once*: runs a second. *Left
//! behind*, with `--runs`: so many through a daemon, and what of kernel objects is there before and after.

mod left;

use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{new_table, right_align};
use crate::{build, sh};

/// What everything costs at most over a bare start, in milliseconds; the second without a network of its own.
const AIMS: [(&str, f64); 2] = [("strict", 1.5), ("strict, host's network", 0.7)];
const BWRAP: &str = "bwrap --unshare-all";
/// Of what bubblewrap costs over a bare start.
const SHARE: f64 = 0.5;
/// Runs a second, as a multiple of bubblewrap's.
const TIMES: f64 = 3.0;
const CLIENTS: &str = "4";

/// What is wanted.
#[derive(Debug, Clone, clap::Args)]
// Beside other groups of the same verb.
#[group(id = "walls")]
pub(crate) struct Wish {
    /// Of `walls`: starts in each way; with 0 only the runs below.
    #[arg(long, default_value_t = 500)]
    starts: u32,
    /// Of `walls`: so many runs through a daemon, and what they leave behind: 100000.
    #[arg(long, default_value_t = 0)]
    runs: u32,
}

/// A line of the example's `rounds`.
#[derive(Debug, Deserialize)]
struct Row {
    way: String,
    p50: f64,
    least: f64,
    p10: f64,
    p99: f64,
    cpu_here: f64,
    cpu_there: f64,
}

/// A line of its `clients`.
#[derive(Debug, Deserialize)]
struct Rate {
    way: String,
    runs_per_s: f64,
}

/// Runs everything and prints the tables. An error where something is left behind; figures depend on the machine's other load, so that a goal
/// which is missed is said and no more.
pub(crate) fn walls(rounds: u32, wish: &Wish) -> Result<()> {
    if sh::which("bwrap").is_none()
        && let Err(error) = crate::test::install(&["bubblewrap"])
    {
        println!("left out: bubblewrap: {error:#}");
    }
    if wish.starts > 0 {
        starts(&example(&["rounds", &wish.starts.to_string()])?)?;
        rates(&example(&["clients", CLIENTS, &rounds.max(1).to_string()])?)?;
    }
    if wish.runs > 0 {
        left::runs(wish.runs)?;
    }
    Ok(())
}

fn example<T: DeserializeOwned>(args: &[&str]) -> Result<Vec<T>> {
    let mut command: Command = build::cargo()?;
    command.args(["run", "--release", "--quiet", "--package", "ganger-sandbox"]);
    command.args(["--example", "walls", "--"]).args(args).arg("--json");
    let text = sh::capture(&mut command)?;
    let lines = text.lines().map(serde_json::from_str).collect::<Result<Vec<T>, _>>();
    lines.with_context(|| format!("the example printed something unexpected: {text}"))
}

fn starts(rows: &[Row]) -> Result<()> {
    let by = |way: &str| rows.iter().find(|row| row.way == way);
    let Some(bare) = by("bare") else { bail!("the example told nothing of bare starts") };
    let theirs = by(BWRAP).map(|row| row.p50 - bare.p50);
    let header = ["ms", "p50", "p10", "least", "p99", "processor", "+ p50", "+ p10", "aim + p50"];
    let mut table = new_table(&header);
    for row in rows {
        let more = row.p50 - bare.p50;
        let aim = AIMS.iter().find(|(way, _)| *way == row.way).map(|(_, aim)| *aim);
        let half = theirs.map_or(f64::INFINITY, |theirs| theirs * SHARE);
        let aim = aim.map(|aim| if row.way == "strict" { aim.min(half) } else { aim });
        table.add_row([
            row.way.clone(),
            format!("{:.2}", row.p50),
            format!("{:.2}", row.p10),
            format!("{:.2}", row.least),
            format!("{:.2}", row.p99),
            format!("{:.2}", row.cpu_here + row.cpu_there),
            format!("{more:.2}"),
            format!("{:.2}", row.p10 - bare.p10),
            aim.map_or_else(String::new, |aim| {
                format!("{aim:.2}{}", if more > aim { "  missed" } else { "" })
            }),
        ]);
    }
    right_align(&mut table, 1..9);
    println!("{table}\n");
    if let (Some(strict), Some(theirs)) = (by("strict"), theirs) {
        let share = 100.0 * (strict.p50 - bare.p50) / theirs;
        println!("strict costs {share:.0} % of what {BWRAP} costs, aim {:.0} %\n", SHARE * 100.0);
    }
    Ok(())
}

fn rates(rates: &[Rate]) -> Result<()> {
    let theirs = rates.iter().find(|rate| rate.way == BWRAP).map(|rate| rate.runs_per_s);
    let mut table = new_table(&["4 at once", "runs/s", "times bwrap's", "aim"]);
    for rate in rates {
        let times = theirs.map(|theirs| rate.runs_per_s / theirs);
        let aim = times.filter(|_| rate.way == "strict").map(|times| times >= TIMES);
        table.add_row([
            rate.way.clone(),
            format!("{:.0}", rate.runs_per_s),
            times.map_or_else(String::new, |times| format!("{times:.2}")),
            aim.map_or_else(String::new, |met| {
                format!("{TIMES}{}", if met { "" } else { "  missed" })
            }),
        ]);
    }
    right_align(&mut table, 1..3);
    println!("{table}\n");
    Ok(())
}
