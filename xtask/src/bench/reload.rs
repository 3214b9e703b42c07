//! `cargo xtask bench reload`: what a reload costs those who ask meanwhile, ganger beside PM2, in one run.
//!
//! Plain servers of Node, Express, Python and Rust are reloaded again and again while clients ask, each by a new connection
//! or on one that is kept alive; every request is counted. With `--bad` the new version is no good and the old one has to serve
//! on. What is missing (Express, PM2) is installed into the target folder by npm.

mod cells;
mod managers;
mod server;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::{new_table, right_align};
use crate::web::{Fault, Load, Seen};
use crate::{build, sh};
use cells::{Cell, Place, Way};
use managers::Manager;

pub(crate) use server::serve;

/// Clients; enough that some ask at every moment of a reload.
const CLIENTS: u32 = 32;
/// Pinned so that runs compare.
const EXPRESS: &str = "express@5.3.0";
/// Requests before the first reload and after the last: a share of those that a reload has.
const MARGIN: u64 = 2;

/// What is run.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Wish {
    /// Of `reload`: how many reloads of each program.
    #[arg(long, default_value_t = 20)]
    reloads: u32,
    /// Of `reload`: at least so many requests meanwhile.
    #[arg(long, default_value_t = 50_000)]
    requests: u64,
    /// Of `reload`: requests a second of all clients together.
    #[arg(long, default_value_t = 1_000)]
    rate: u32,
    /// Of `reload`: 3 reloads, 3,000 requests.
    #[arg(long)]
    quick: bool,
    /// Of `reload`: only lines of the table that contain one of these words.
    #[arg(long, value_name = "WORD")]
    only: Vec<String>,
    /// Of `reload`: the new version is no good: it has to be taken back, three times.
    #[arg(long)]
    bad: Option<Bad>,
}

/// What is wrong with the new version.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Bad {
    NeverReady,
    #[value(name = "dies-after-2s")]
    DiesAfter2s,
}

impl Bad {
    const fn word(self) -> &'static str {
        match self {
            Self::NeverReady => "never-ready",
            Self::DiesAfter2s => "dies-after-2s",
        }
    }
}

/// A line of the table, filled in.
struct Row {
    cell: Cell,
    seen: Seen,
    reloads: u32,
    /// What was told of versions that were taken back.
    told: Vec<String>,
}

/// Runs everything and prints the tables; an error where a line that aims at none has failed requests.
pub(crate) fn reload(wish: &Wish) -> Result<()> {
    let binary = build::ganger(true)?;
    let tools = build::cache_dir("bench")?;
    install(&tools);
    let own = build::own_copy()?;
    let apps = build::root()?.join("xtask/src/bench/reload/apps");
    let python = sh::capture(std::process::Command::new("python3").args(["-c", PYTHON]));
    let python = python.unwrap_or_else(|_| "python3".into());
    let place = Place { apps: &apps, tools: &tools, own: &own, python: python.trim() };
    let mut rows = vec![];
    let wanted = |cell: &Cell| {
        let name = cell.to_string();
        let named = wish.only.is_empty() || wish.only.iter().any(|word| name.contains(word));
        named && (wish.bad.is_none() || cell.aims_at_zero())
    };
    for cell in Cell::all().into_iter().filter(wanted) {
        match run(cell, wish, &binary, &place) {
            Ok(row) => {
                let (requests, failed) = (row.seen.requests(), row.seen.failed.len());
                println!("{cell}: {failed} of {requests} failed, {} reloads", row.reloads);
                rows.push(row);
            }
            Err(error) => println!("left out: {cell}: {error:#}"),
        }
    }
    print(&rows);
    let missed = rows.iter().filter(|row| row.missed()).count();
    if rows.is_empty() || missed > 0 {
        bail!("{missed} of {} lines have failed requests and should have none", rows.len());
    }
    Ok(())
}

const PYTHON: &str = "import sys; print(sys.executable)";

fn install(tools: &Path) {
    super::services::install_pm2(tools);
    if !tools.join("node_modules/express").is_dir() {
        let mut npm = std::process::Command::new("npm");
        npm.args(["install", "--silent", "--no-audit", "--no-fund", "--prefix"]);
        if let Err(error) = sh::capture(npm.arg(tools).arg(EXPRESS)) {
            println!("{EXPRESS} can't be installed: {error:#}");
        }
    }
}

fn run(cell: Cell, wish: &Wish, binary: &Path, place: &Place<'_>) -> Result<Row> {
    let folder = tempfile::Builder::new().prefix("reload-").tempdir_in(place.tools)?;
    let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let manager = Manager::start(cell, binary, place, folder.path(), port)?;
    let (reloads, requests) = match (wish.bad, wish.quick) {
        (Some(_), _) => (3, 0),
        (None, true) => (3, 3_000),
        (None, false) => (wish.reloads, wish.requests),
    };
    let load = Load {
        address: SocketAddr::from(([127, 0, 0, 1], port)),
        clients: CLIENTS,
        rate: f64::from(wish.rate),
        keep_alive: cell.keep_alive,
    }
    .start();
    // Reloads are spread over the requests; where they take longer, more requests are made.
    let part = requests / (u64::from(reloads) + MARGIN);
    let mut told = vec![];
    let mut done = 0;
    let reloaded = (|| -> Result<()> {
        for n in 1..=reloads {
            load.reach((u64::from(n) * part).max(u64::from(wish.rate)));
            load.mark(n);
            match wish.bad {
                None => manager.reload()?,
                Some(bad) => told.push(manager.refuse(cell, place, port, bad.word())?),
            }
            load.mark(0);
            done = n;
        }
        load.reach(requests);
        Ok(())
    })();
    let seen = load.finish();
    reloaded.with_context(|| format!("after {done} reloads"))?;
    Ok(Row { cell, seen: seen?, reloads: done, told })
}

impl Row {
    fn missed(&self) -> bool {
        self.cell.aims_at_zero() && !self.seen.failed.is_empty()
    }
}

fn print(rows: &[Row]) {
    let header =
        ["reloaded under load", "requests", "failed", "p50 ms", "p99 ms", "reloads", "pids", "aim"];
    let mut table = new_table(&header);
    for row in rows {
        let ms = |q| row.seen.latency(q).map_or_else(|| "-".to_owned(), |ms| format!("{ms:.1}"));
        let aim = match (row.cell.aims_at_zero(), row.missed()) {
            (false, _) => "",
            (true, false) => "0",
            (true, true) => "0  missed",
        };
        table.add_row([
            row.cell.to_string(),
            row.seen.requests().to_string(),
            row.seen.failed.len().to_string(),
            ms(0.5),
            ms(0.99),
            row.reloads.to_string(),
            row.seen.by.len().to_string(),
            aim.to_owned(),
        ]);
    }
    right_align(&mut table, 1..7);
    println!("\n{table}\n");
    for row in rows {
        let mut faults: BTreeMap<&Fault, (u64, BTreeSet<u32>)> = BTreeMap::new();
        for failed in &row.seen.failed {
            let entry = faults.entry(&failed.fault).or_default();
            entry.0 += 1;
            entry.1.insert(failed.during);
        }
        for ((phase, what), (count, during)) in faults {
            println!("{}: {count} x {phase:?}: {what}; in reloads {during:?}", row.cell);
        }
        for told in &row.told {
            println!("{}: {told}", row.cell);
        }
    }
}
