//! `cargo xtask bench monitor`: what it costs to watch a thousand processes each second, ganger beside those whom people use for it.
//!
//! All watch the same processes, which ganger started: first a thousand that do nothing, then a thousand that use 0.5 ms of a processor each
//! second. Of ganger the threads are counted that watch and keep: `monitor` and `series` in the daemon. Last one tree of ten
//! thousand processes, by ganger alone.

mod peers;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::{new_table, right_align};
use crate::ganger::Ganger;
use crate::{build, sh};
use peers::Peer;

/// Processes that are watched side by side.
const PROCESSES: usize = 1_000;
/// Processes of the one tree.
const TREE: usize = 10_000;
/// How long each is measured.
const WINDOW: Duration = Duration::from_secs(20);
/// All must be up within this.
const PATIENCE: Duration = Duration::from_secs(240);
/// The name by which peers find the processes.
const NAME: &str = "ganger-load";
/// What ganger may cost, of a processor, idle and busy; and how often process-exporter must cost that.
const SHARE: (f64, f64) = (0.003, 0.008);
/// The same with storage and detectors, which is nearly all that a daemon does whose services rest.
const WHOLE: (f64, f64) = (0.01, 0.02);
const TIMES: f64 = 30.0;
/// What a look at the tree may take.
const TICK_MS: f64 = 60.0;

/// What the processes do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Load {
    Idle,
    Busy,
    Tree,
}

/// Shares of one processor.
#[derive(Debug, Clone, Copy)]
struct Share {
    watching: f64,
    keeping: f64,
    daemon: f64,
}

/// Runs both loads with all peers, then the tree, and prints the tables.
pub(crate) fn monitor() -> Result<()> {
    let binary = build::ganger(true)?;
    let tools = build::cache_dir("bench")?;
    let load = compiled(&tools)?;
    let peers = peers::all(&tools);
    for (kind, aims) in [(Load::Idle, (SHARE.0, WHOLE.0)), (Load::Busy, (SHARE.1, WHOLE.1))] {
        side_by_side(kind, aims, &binary, &tools, &load, &peers)?;
    }
    one_tree(&binary, &tools, &load)
}

fn side_by_side(
    kind: Load,
    (aim, whole): (f64, f64),
    binary: &Path,
    tools: &Path,
    load: &Path,
    peers: &[Peer],
) -> Result<()> {
    let what = if kind == Load::Idle { "idle" } else { "0.5 ms of CPU a second each" };
    let mut table = new_table(&[
        &format!("{PROCESSES} processes, {what}"),
        "% of a processor",
        "times ganger",
        "aim",
    ]);
    let folder = tempfile::Builder::new().prefix("monitor-").tempdir_in(tools)?;
    let up = Up::start(binary, folder.path(), load, kind)?;
    let own = up.share(WINDOW)?;
    let percent = |share: f64| format!("{:.3}", share * 100.0);
    let missed = |good: bool| if good { "" } else { "  missed" };
    table.add_row([
        "ganger: sampler".to_owned(),
        percent(own.watching),
        "1.0".into(),
        format!("{}{}", percent(aim), missed(own.watching <= aim)),
    ]);
    let all = own.watching + own.keeping;
    table.add_row(["ganger: with storage".to_owned(), percent(all), String::new(), String::new()]);
    table.add_row([
        "ganger: with detectors, the whole daemon".into(),
        percent(own.daemon),
        String::new(),
        format!("{}{}", percent(whole), missed(own.daemon <= whole)),
    ]);
    for peer in peers {
        match peer.share(NAME, WINDOW) {
            Ok(share) => {
                let times = share / own.watching;
                let aim = match peer.is_exporter() {
                    true => format!("{TIMES}x{}", missed(times >= TIMES)),
                    false => String::new(),
                };
                table.add_row([peer.name(), percent(share), format!("{times:.1}"), aim]);
            }
            Err(error) => println!("left out: {}: {error:#}", peer.name()),
        }
    }
    right_align(&mut table, 1..3);
    println!("{table}");
    Ok(())
}

fn one_tree(binary: &Path, tools: &Path, load: &Path) -> Result<()> {
    let folder = tempfile::Builder::new().prefix("monitor-").tempdir_in(tools)?;
    let up = Up::start(binary, folder.path(), load, Load::Tree)?;
    let share = up.share(WINDOW)?;
    // A look a second.
    let tick_ms = share.watching * 1e3;
    let missed = if tick_ms <= TICK_MS { "" } else { "  missed" };
    println!(
        "a tree of {TREE} processes: {tick_ms:.1} ms of CPU a look (aim {TICK_MS} ms{missed}); {} descriptors open in the daemon",
        up.descriptors()?
    );
    Ok(())
}

/// A daemon with the load; ended when dropped.
struct Up {
    ganger: Ganger,
    daemon: i32,
}

impl Up {
    fn start(binary: &Path, folder: &Path, load: &Path, kind: Load) -> Result<Self> {
        let mut text = String::from("version = 1\n");
        if kind == Load::Tree {
            write!(text, "[service.tree]\ncommand = [{load:?}, \"tree\", \"{TREE}\"]\n")?;
        } else {
            let word = if kind == Load::Idle { "idle" } else { "busy" };
            for n in 1..=PROCESSES {
                write!(text, "[service.load{n}]\ncommand = [{load:?}, \"{word}\"]\n")?;
            }
        }
        std::fs::write(folder.join("ganger.toml"), text)?;
        let ganger = Ganger::new(binary.to_path_buf(), folder.to_path_buf());
        ganger.up()?;
        let mut up = Self { ganger, daemon: 0 };
        up.daemon = up.ganger.status()?.daemon.pid;
        let wanted = if kind == Load::Tree { TREE } else { PROCESSES };
        let deadline = Instant::now() + PATIENCE;
        while named(NAME)?.len() < wanted {
            if Instant::now() > deadline {
                bail!("{} of {wanted} are up after {PATIENCE:?}", named(NAME)?.len());
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        // What starting them left behind, and their first looks, are not what is measured.
        std::thread::sleep(Duration::from_secs(5));
        Ok(up)
    }

    fn share(&self, window: Duration) -> Result<Share> {
        let used = || -> Result<[f64; 3]> {
            let threads = threads(self.daemon)?;
            let of = |name: &str| -> f64 {
                threads.iter().filter(|(comm, _)| comm == name).map(|(_, used)| used).sum()
            };
            Ok([of("monitor"), of("series"), threads.iter().map(|(_, used)| used).sum()])
        };
        let (since, before) = (Instant::now(), used()?);
        std::thread::sleep(window);
        let (after, passed) = (used()?, since.elapsed().as_secs_f64());
        let [watching, keeping, daemon] = std::array::from_fn(|n| (after[n] - before[n]) / passed);
        Ok(Share { watching, keeping, daemon })
    }

    fn descriptors(&self) -> Result<usize> {
        Ok(std::fs::read_dir(format!("/proc/{}/fd", self.daemon))?.count())
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        if let Err(error) = self.ganger.down() {
            println!("could not be ended: {error:#}");
        }
    }
}

/// Name and processor time in seconds of each thread, by the nanosecond (the first field of schedstat, sched-stats.rst).
fn threads(pid: i32) -> Result<Vec<(String, f64)>> {
    let mut all = Vec::new();
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let task = task?.path();
        let comm = std::fs::read_to_string(task.join("comm"))?;
        let stat = std::fs::read_to_string(task.join("schedstat"))?;
        let ns: f64 = stat.split(' ').next().context("an empty schedstat")?.parse()?;
        all.push((comm.trim().to_owned(), ns / 1e9));
    }
    Ok(all)
}

/// Pids of all processes with this name.
fn named(name: &str) -> Result<Vec<i32>> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let entry = entry?;
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // Who has ended in the meantime isn't one.
        let comm = std::fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
        if comm.trim() == name {
            all.push(pid);
        }
    }
    Ok(all)
}

fn compiled(tools: &Path) -> Result<PathBuf> {
    let program = tools.join(NAME);
    let source = build::root()?.join("bench/monitor/load.c");
    sh::capture(Command::new("cc").arg("-O2").arg("-o").arg(&program).arg(source))?;
    Ok(program)
}
