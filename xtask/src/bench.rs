//! `cargo xtask bench`: ganger beside its peers, in one run on one machine.
//!
//! Every round runs each peer and each of ganger's figures once, one after the other, so that a noisy minute hits all
//! of them; medians over the rounds are compared. Peers whose interpreter or package is missing are left out by name.

mod accept;
mod limits;
mod monitor;
mod peers;
mod reload;
mod services;
mod walls;

pub(crate) use accept::accept;
pub(crate) use limits::limits;
pub(crate) use monitor::monitor;
pub(crate) use peers::peers;
pub(crate) use reload::{Wish as ReloadWish, reload, serve};
pub(crate) use services::services;
pub(crate) use walls::{Wish as WallsWish, walls};

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use comfy_table::{CellAlignment, Table, presets};
use serde::Deserialize;

use crate::{build, sh};

/// The peer that comes from npm, pinned so that runs compare.
const WORKERPOOL: &str = "workerpool@10.0.3";

/// One program that prints `{"value": tasks a second}`.
struct Peer {
    name: &'static str,
    /// Program, script under bench/, further arguments.
    run: &'static [&'static str],
}

/// Task counts make a run of one to three seconds.
const PEERS: [Peer; 5] = [
    Peer { name: "node fork, 1 child", run: &["node", "peers/node-fork.cjs", "1", "200000"] },
    Peer { name: "node fork, 2 children", run: &["node", "peers/node-fork.cjs", "2", "200000"] },
    Peer { name: "npm workerpool, process", run: &["node", "peers/workerpool.cjs", "30000"] },
    Peer {
        name: "multiprocessing imap",
        run: &["python3", "peers/python_pool.py", "imap", "40000"],
    },
    Peer {
        name: "ProcessPoolExecutor map",
        run: &["python3", "peers/python_pool.py", "executor", "10000"],
    },
];

/// A ratio that is told: ganger's figure, the peer's, and what ganger means to reach.
const RATIOS: [(&str, &str, f64); 5] = [
    ("dispatch/node", "node fork, 1 child", 0.6),
    ("dispatch/node", "node fork, 2 children", 0.6),
    ("dispatch/node", "npm workerpool, process", 4.0),
    ("dispatch/python", "multiprocessing imap", 2.0),
    ("dispatch/python", "ProcessPoolExecutor map", 8.0),
];

/// A line of `ganger bench --json`.
#[derive(Debug, Deserialize)]
struct Line {
    name: String,
    value: f64,
    unit: String,
    limit: f64,
    limit_name: String,
}

/// Values of all rounds by name.
type Figures = BTreeMap<String, Vec<f64>>;

/// What a start costs beside many open descriptors.
pub(crate) fn spawn() -> Result<()> {
    let mut command = build::cargo()?;
    command.args(["run", "--release", "--package", "ganger-sys", "--example", "spawn-cost"]);
    sh::run(&mut command)
}

/// Runs all rounds and prints the tables.
pub(crate) fn bench(rounds: u32) -> Result<()> {
    let binary = build::ganger(true)?;
    let bench = build::root()?.join("bench");
    let scratch = build::cache_dir("bench")?;
    let modules = npm_modules(&scratch);
    let mut figures = Figures::new();
    let mut limits: BTreeMap<String, (f64, String, String)> = BTreeMap::new();
    for round in 1..=rounds {
        println!("round {round} of {rounds}");
        for peer in &PEERS {
            match run_peer(peer, &bench, modules.as_deref()) {
                Ok(value) => figures.entry(peer.name.to_owned()).or_default().push(value),
                Err(error) if round == 1 => println!("left out: {}: {error:#}", peer.name),
                Err(_) => {}
            }
        }
        for line in run_ganger(&binary, &bench, &scratch)? {
            limits.insert(line.name.clone(), (line.limit, line.limit_name, line.unit));
            figures.entry(line.name).or_default().push(line.value);
        }
    }
    print_figures(&figures, &limits);
    print_ratios(&figures);
    Ok(())
}

/// Installs the npm peer once; `None`, and a word why, where that can't be.
fn npm_modules(scratch: &Path) -> Option<PathBuf> {
    let modules = scratch.join("node_modules");
    if modules.join("workerpool").is_dir() {
        return Some(modules);
    }
    let mut npm = Command::new("npm");
    npm.args(["install", "--silent", "--no-audit", "--no-fund", "--prefix"]).arg(scratch);
    match sh::capture(npm.arg(WORKERPOOL)) {
        Ok(_) => Some(modules),
        Err(error) => {
            println!("{WORKERPOOL} can't be installed: {error:#}");
            None
        }
    }
}

fn run_peer(peer: &Peer, bench: &Path, modules: Option<&Path>) -> Result<f64> {
    #[derive(Deserialize)]
    struct Said {
        value: f64,
    }
    let [program, rest @ ..] = peer.run else { anyhow::bail!("a peer has a program") };
    let mut command = Command::new(program);
    command.args(rest).current_dir(bench);
    if let Some(modules) = modules {
        command.env("BENCH_MODULES", modules);
    }
    let text = sh::capture(&mut command)?;
    let said: Said = serde_json::from_str(text.trim())
        .with_context(|| format!("{} printed something unexpected: {text}", peer.name))?;
    Ok(said.value)
}

/// One run of every figure; workers whose interpreter is missing are left out.
fn run_ganger(binary: &Path, bench: &Path, scratch: &Path) -> Result<Vec<Line>> {
    let mut command = Command::new(binary);
    // The state lies where it is called: on the target folder's disk.
    command.current_dir(scratch).args(["bench", "--runs", "1", "--json"]);
    for (name, interpreter, script) in
        [("node", "node", "workers/noop.cjs"), ("python", "python3", "workers/noop.py")]
    {
        if sh::which(interpreter).is_some() {
            let script = bench.join(script);
            command.arg("--worker").arg(format!("{name}={interpreter} {}", script.display()));
        }
    }
    let text = sh::capture(&mut command)?;
    let lines = text.lines().map(serde_json::from_str).collect::<Result<Vec<Line>, _>>();
    lines.with_context(|| format!("`ganger bench` printed something unexpected: {text}"))
}

fn print_figures(figures: &Figures, limits: &BTreeMap<String, (f64, String, String)>) {
    let mut table = new_table(&["what", "median", "min", "max", "unit", "machine's own limit"]);
    for (name, values) in figures {
        let (limit, unit) = limits.get(name).map_or_else(
            || (String::new(), "tasks/s".to_owned()),
            |(limit, what, unit)| (format!("{limit:.0} {what}"), unit.clone()),
        );
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        let most = values.iter().copied().fold(0.0, f64::max);
        table.add_row([
            name.clone(),
            format!("{:.0}", median(values)),
            format!("{least:.0}"),
            format!("{most:.0}"),
            unit,
            limit,
        ]);
    }
    right_align(&mut table, 1..4);
    println!("\n{table}\n");
}

fn print_ratios(figures: &Figures) {
    let mut table = new_table(&["ganger", "beside", "ratio", "aim"]);
    for (ours, peer, aim) in RATIOS {
        if let (Some(ours_values), Some(peer_values)) = (figures.get(ours), figures.get(peer)) {
            let ratio = median(ours_values) / median(peer_values);
            let mark = if ratio >= aim { "" } else { "  below" };
            table.add_row([
                ours.to_owned(),
                peer.to_owned(),
                format!("{ratio:.2}"),
                format!("{aim}{mark}"),
            ]);
        }
    }
    right_align(&mut table, 2..3);
    println!("{table}");
}

fn new_table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED).set_header(header.iter().copied());
    table
}

fn right_align(table: &mut Table, columns: std::ops::Range<usize>) {
    for at in columns {
        if let Some(column) = table.column_mut(at) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}

fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}
