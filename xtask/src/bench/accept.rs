//! `cargo xtask bench accept`: connections a second through Node's own cluster primary and through ganger in each of its modes.
//!
//! The same program of Node workers answers each request, on a connection of its own, with its pid: once by Node's `net`, where a connection is little
//! but its way to the worker, and once by Node's `http`, whose own work for a request is several times that. Primary and workers have the same
//! cores in all ways; the load has one of its own, or with `--together` the same. Rounds take turns, medians are compared. The machine's own limit is the load beside a server that only accepts and answers.
//! What the accepting process uses of a processor for each connection holds on a busy machine too, where the other figures don't.

mod cores;
mod flood;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};

use super::{median, new_table, right_align};
use crate::ganger::Ganger;
use crate::web::{self, Mode};
use crate::{build, sh};
use cores::Cores;
use flood::{Flood, Seen};

const WORKERS: u32 = 2;
const CLIENTS: u32 = 32;
/// Of each way in each round.
const TIME: Duration = Duration::from_secs(4);
/// Before it: code gets hot, tables get large.
const WARM_UP: Duration = Duration::from_secs(1);
/// Connections a second beside Node's primary, and the busiest worker beside the mean.
const AIM: (f64, f64) = (1.3, 1.1);
const NODE: &str = "Node's primary";
/// What the workers answer by, and the variable that says so.
const ANSWERS: [(&str, &[&str]); 2] = [("net", &["BARE"]), ("http", &[])];

/// Figures of all rounds.
#[derive(Debug, Default)]
struct Row {
    rate: Vec<f64>,
    p50: Vec<f64>,
    p99: Vec<f64>,
    spread: Vec<f64>,
    /// Microseconds of processor for each connection, of who accepts.
    cpu: Vec<f64>,
    failed: usize,
}

/// Runs all rounds and prints the table.
pub(crate) fn accept(rounds: u32, together: bool) -> Result<()> {
    let binary = build::ganger(true)?;
    let cores = Cores::split(together)?;
    let folder =
        tempfile::Builder::new().prefix("accept-").tempdir_in(build::cache_dir("bench")?)?;
    web::program(folder.path())?;
    let mut tables: [BTreeMap<&str, Row>; 2] = Default::default();
    for round in 1..=rounds {
        println!("round {round} of {rounds}");
        for (rows, (_, set)) in tables.iter_mut().zip(ANSWERS) {
            rows.entry("").or_default().add(&(bare(cores)?, f64::NAN));
            rows.entry(NODE).or_default().add(&node(folder.path(), set, cores)?);
            for mode in Mode::ALL {
                let site = Site { binary: &binary, folder: folder.path(), set, mode };
                rows.entry(mode.name()).or_default().add(&ganger(&site, cores)?);
            }
        }
    }
    for (rows, (by, _)) in tables.iter().zip(ANSWERS) {
        print(rows, by);
    }
    let mut version = Command::new("node");
    println!(
        "{WORKERS} workers, {CLIENTS} clients, a connection for each request, {cores}; node {}, {}",
        sh::capture(version.arg("--version"))?.trim(),
        sh::capture(Command::new(binary).arg("--version"))?.trim(),
    );
    Ok(())
}

/// What was seen, and what the process that accepts used for each connection, in microseconds.
fn measure(address: SocketAddr, accepts: Option<u32>, cores: Cores) -> Result<(Seen, f64)> {
    cores.load()?;
    let run = |time: Duration| {
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(time);
                over.store(true, Ordering::Relaxed);
            });
            Flood { address, clients: CLIENTS }.until(&over)
        })
    };
    run(WARM_UP);
    let used = || accepts.map_or(Ok(f64::NAN), processor_time);
    let before = used()?;
    let seen = run(TIME);
    let each = (used()? - before) / seen.latencies.len() as f64;
    Ok((seen, each))
}

/// Of all threads of a process, in microseconds (schedstat: the kernel counts nanoseconds).
fn processor_time(pid: u32) -> Result<f64> {
    let mut sum = 0.0;
    let folder = format!("/proc/{pid}/task");
    for thread in std::fs::read_dir(&folder).with_context(|| format!("can't read {folder}"))? {
        let text = std::fs::read_to_string(thread?.path().join("schedstat")).unwrap_or_default();
        let ns = text.split(' ').next().and_then(|ns| ns.parse::<f64>().ok());
        sum += ns.unwrap_or(0.0) / 1e3;
    }
    Ok(sum)
}

/// What load and kernel alone can do.
fn bare(cores: Cores) -> Result<Seen> {
    cores.serve()?;
    let listener = TcpListener::bind("127.0.0.1:0").context("there is no free port")?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        let mut request = [0; 256];
        while let Ok((mut stream, _)) = listener.accept() {
            // A client that has gone is its own affair; the last connection ends this.
            let Ok(n) = stream.read(&mut request) else { continue };
            if n == 0 {
                break;
            }
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n1");
        }
    });
    let (seen, _) = measure(address, None, cores)?;
    // Says nothing: that is its end.
    drop(std::net::TcpStream::connect(address));
    Ok(seen)
}

/// Ended when dropped.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // Workers of a cluster end with their primary.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn node(folder: &Path, set: &[&str], cores: Cores) -> Result<(Seen, f64)> {
    cores.serve()?;
    let address = web::free_port()?;
    let mut command = Command::new("node");
    command.arg("server.js").current_dir(folder).stdin(Stdio::null()).stdout(Stdio::null());
    command.env("PORT", address.port().to_string()).env("WORKERS", WORKERS.to_string());
    command.envs(set.iter().map(|name| (name, "1")));
    let primary = Ended(command.spawn().context("could not start node")?);
    web::answers(address)?;
    // The others may still be on their way.
    std::thread::sleep(WARM_UP);
    measure(address, Some(primary.0.id()), cores)
}

/// One of ganger's ways.
struct Site<'a> {
    binary: &'a Path,
    folder: &'a Path,
    set: &'a [&'a str],
    mode: Mode,
}

fn ganger(site: &Site<'_>, cores: Cores) -> Result<(Seen, f64)> {
    let Site { binary, folder, set, mode } = *site;
    cores.serve()?;
    let address = web::free_port()?;
    let text = format!("version = 1\n{}", mode.section(WORKERS, address, set));
    std::fs::write(folder.join("ganger.toml"), text)?;
    let ganger = Ganger::new(binary.to_path_buf(), folder.to_path_buf());
    let seen = web::up(&ganger, address).and_then(|()| {
        let daemon = u32::try_from(ganger.status()?.daemon.pid)?;
        measure(address, (mode == Mode::Cluster).then_some(daemon), cores)
    });
    ganger.down()?;
    seen
}

impl Row {
    fn add(&mut self, (seen, cpu): &(Seen, f64)) {
        self.cpu.push(*cpu);
        self.rate.push(seen.rate());
        self.p50.push(seen.at(0.5));
        self.p99.push(seen.at(0.99));
        self.spread.push(web::max_over_mean(&seen.by, WORKERS));
        self.failed += seen.failed.len();
    }
}

fn print(rows: &BTreeMap<&str, Row>, by: &str) {
    let who = format!("who accepts ({by} answers)");
    let columns = [
        &*who,
        "connections/s",
        "p50, ms",
        "p99, ms",
        "max/mean",
        "failed",
        "beside Node's",
        "who accepts: CPU µs each",
        "aim",
    ];
    let mut table = new_table(&columns);
    let node = rows.get(NODE).map_or(f64::NAN, |row| median(&row.rate));
    let node_p99 = rows.get(NODE).map_or(f64::NAN, |row| median(&row.p99));
    let order = [("", "the machine: one thread, no workers"), (NODE, NODE)];
    let modes = Mode::ALL.map(|mode| (mode.name(), mode.name()));
    for (key, name) in order.into_iter().chain(modes) {
        let Some(row) = rows.get(key) else { continue };
        let (ratio, spread) = (median(&row.rate) / node, median(&row.spread));
        let met =
            row.failed == 0 && ratio >= AIM.0 && spread <= AIM.1 && median(&row.p99) <= node_p99;
        let cpu = median(&row.cpu);
        let cpu = if cpu.is_nan() { "-".to_owned() } else { format!("{cpu:.0}") };
        let aim = match key == Mode::Cluster.name() {
            true => format!(
                "{}x, p99 no worse, max/mean {}{}",
                AIM.0,
                AIM.1,
                if met { "" } else { "  missed" }
            ),
            false => String::new(),
        };
        table.add_row([
            name.to_owned(),
            format!("{:.0}", median(&row.rate)),
            format!("{:.2}", median(&row.p50)),
            format!("{:.2}", median(&row.p99)),
            if key.is_empty() { "-".to_owned() } else { format!("{spread:.3}") },
            row.failed.to_string(),
            format!("{ratio:.2}x"),
            cpu,
            aim,
        ]);
    }
    right_align(&mut table, 1..8);
    println!("\n{table}");
}
