//! `cargo xtask bench services`: what a crash costs, ganger beside supervisord and PM2, in one run.
//!
//! *Restart*: a probe among many resting services is killed again and again; the clock runs from the kill to the first line that
//! the replacement writes. *Crash loops*: a thousand services that can't live, what they cost, and what their neighbours notice.
//! What is missing is installed into the target folder: supervisor by pip, PM2 by npm.

mod loops;
mod managers;
mod probe;

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::{new_table, right_align};
use crate::{build, sh};
pub(super) use managers::pm2;
use managers::{Kind, Manager};
use probe::{Probe, Spread};

/// Pinned so that runs compare.
const PM2: &str = "pm2@7.0.4";
const SUPERVISOR: &str = "supervisor==4.3.0";
/// What a crash of one among many should cost, in milliseconds: median and the 99th of a hundred.
const AIM: (f64, f64) = (3.0, 10.0);

/// A line of the table: who, beside how many, how often killed. Slow ones are killed less often.
struct Row {
    kind: Kind,
    others: usize,
    kills: usize,
}

const ROWS: [Row; 5] = [
    Row { kind: Kind::Ganger, others: 1_000, kills: 300 },
    Row { kind: Kind::Supervisord, others: 1_000, kills: 20 },
    Row { kind: Kind::Ganger, others: 100, kills: 300 },
    Row { kind: Kind::Supervisord, others: 100, kills: 20 },
    Row { kind: Kind::Pm2, others: 100, kills: 100 },
];

/// Runs all rounds and prints the tables.
pub(crate) fn services(rounds: u32) -> Result<()> {
    let binary = build::ganger(true)?;
    let tools = build::cache_dir("bench")?;
    install(&tools);
    let mut bare = Spread::default();
    let mut spreads: Vec<Spread> = ROWS.iter().map(|_| Spread::default()).collect();
    for round in 1..=rounds {
        println!("round {round} of {rounds}");
        bare.extend(probe::bare(&tools, 100)?);
        for (row, spread) in ROWS.iter().zip(&mut spreads) {
            match restarts(row, &binary, &tools) {
                Ok(times) => spread.extend(times),
                Err(error) => println!("left out: {}: {error:#}", row.name()),
            }
        }
    }
    print_restarts(&bare, &spreads);
    loops::loops(&binary, &tools)
}

impl Row {
    fn name(&self) -> String {
        format!("{} beside {} services", self.kind.name(), self.others)
    }
}

fn restarts(row: &Row, binary: &Path, tools: &Path) -> Result<Vec<f64>> {
    let folder = tempfile::Builder::new().prefix("services-").tempdir_in(tools)?;
    let mut probe = Probe::new(folder.path())?;
    let manager = Manager::start(row.kind, binary, tools, folder.path(), row.others)?;
    let first = probe.line().context("the probe was not started")?;
    manager.settled(row.others)?;
    let times = probe.killed(first, row.kills);
    drop(manager);
    times
}

/// What can't be installed leaves its peer out, and that is said when it is run.
fn install(tools: &Path) {
    if !tools.join("python/supervisor").is_dir() {
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "install", "--quiet", "--target"])
            .arg(tools.join("python"))
            .arg(SUPERVISOR);
        say(sh::capture(&mut pip));
    }
    install_pm2(tools);
}

/// PM2 alone.
pub(super) fn install_pm2(tools: &Path) {
    if !tools.join("node_modules/pm2").is_dir() {
        let mut npm = Command::new("npm");
        npm.args(["install", "--silent", "--no-audit", "--no-fund", "--prefix"])
            .arg(tools)
            .arg(PM2);
        say(sh::capture(&mut npm));
    }
}

fn say(result: Result<String>) {
    if let Err(error) = result {
        println!("can't be installed: {error:#}");
    }
}

fn print_restarts(bare: &Spread, spreads: &[Spread]) {
    let mut table = new_table(&["kill to replacement, ms", "p50", "p99", "max", "kills", "aim"]);
    let mut add = |name: String, spread: &Spread, aim: String| {
        let ms = |q: f64| spread.at(q).map_or_else(|| "-".to_owned(), |ms| format!("{ms:.2}"));
        table.add_row([name, ms(0.5), ms(0.99), ms(1.0), spread.len().to_string(), aim]);
    };
    add("the machine: fork and exec of the probe".into(), bare, String::new());
    for (row, spread) in ROWS.iter().zip(spreads) {
        let met = spread.at(0.5) <= Some(AIM.0) && spread.at(0.99) <= Some(AIM.1);
        let aim = match row.kind {
            Kind::Ganger => {
                format!("p50 {}, p99 {}{}", AIM.0, AIM.1, if met { "" } else { "  missed" })
            }
            _ => String::new(),
        };
        add(row.name(), spread, aim);
    }
    right_align(&mut table, 1..5);
    println!("\n{table}\n");
}
