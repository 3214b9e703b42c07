//! The daemon is killed again and again under a steady load of connections, in each mode that they can come to instances.
//!
//! ```text
//! web      eight Node workers, so many requests a second, a connection for each; a numbered line for each request
//! rest1…   fifty services that write numbered lines
//! mortal   exits with the code it is told while no daemon lives
//! oracle   requests answered, processes the same, lines neither lost nor doubled, exits told with their codes
//! ```
//!
//! Nothing may be noticed. Where ganger accepts, a killed daemon may have one connection in its hands.

mod oracle;
mod site;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::killer;
use super::verdict::Verdict;
use crate::build;
use crate::ganger::Ganger;
use crate::web::{Load, Mode, Running, Seen};
use site::Site;

const WORKERS: u32 = 8;
const OTHERS: u32 = 50;
/// Requests a second, and by how many clients: a client waits through the time without a daemon.
const RATE: f64 = 1_000.0;
const CLIENTS: u32 = 100;
/// Between two kills, in milliseconds.
const PAUSE_MS: std::ops::Range<u64> = 100..600;
/// Between two looks whether another daemon answers: each is a program of its own, on the cores that are measured.
const LOOK: Duration = Duration::from_millis(5);
/// Another daemon must answer within this, and `mortal` be up again.
const PATIENCE: Duration = Duration::from_secs(30);

/// One kill.
#[derive(Debug, Clone, Copy)]
struct Kill {
    /// Milliseconds until another daemon answered, with the start of a program that asks.
    gap_ms: f64,
    /// The code that `mortal` exited with in that time.
    code: u8,
}

/// What happened in one mode.
#[derive(Debug)]
struct Story {
    kills: Vec<Kill>,
    seen: Seen,
    before: site::Processes,
}

pub(crate) fn run(binary: &Path, kills: u32, seed: u64, verdict: &mut Verdict) -> Result<()> {
    let mut random = fastrand::Rng::with_seed(seed);
    for mode in Mode::ALL {
        let name = mode.name();
        println!("cluster: {kills} kills of the daemon under {RATE} requests/s, mode {name}");
        let folder = tempfile::Builder::new()
            .prefix("cluster-")
            .tempdir_in(build::cache_dir("torture")?)
            .context("could not make a folder")?;
        let site = Site::build(binary, folder.path(), mode)?;
        let done = one(&site, kills, &mut random, verdict);
        if done.is_err() {
            super::oracle::show_daemon_log(&site.ganger);
        }
        site.ganger.down()?;
        done?;
    }
    Ok(())
}

fn one(site: &Site, kills: u32, random: &mut fastrand::Rng, verdict: &mut Verdict) -> Result<()> {
    site.up()?;
    let before = site.processes()?;
    let load =
        Load { address: site.address, clients: CLIENTS, rate: RATE, keep_alive: false }.start();
    let killed = kill(site, kills, random, &load);
    let seen = load.finish();
    let story = Story { kills: killed?, seen: seen?, before };
    oracle::ask(site, &story, verdict)
}

/// Kills one daemon after the other.
fn kill(site: &Site, kills: u32, random: &mut fastrand::Rng, load: &Running) -> Result<Vec<Kill>> {
    let mut done = vec![];
    for n in 1..=kills {
        std::thread::sleep(Duration::from_millis(random.u64(PAUSE_MS)));
        let mortal = killer::open(site.mortal()?)?;
        let old = site.ganger.status()?.daemon.pid;
        let code = random.u8(2..=99);
        load.mark(n);
        let since = Instant::now();
        killer::end(old).with_context(|| format!("kill {n}: daemon {old}"))?;
        site.let_mortal_exit(code)?;
        // The keeper may have another daemon by then; what counts is that none knew of this process when it was told to exit.
        killer::gone(&mortal).context("mortal")?;
        let gap = another(&site.ganger, old).with_context(|| format!("after kill {n}"))?;
        done.push(Kill { gap_ms: gap.duration_since(since).as_secs_f64() * 1e3, code });
    }
    Ok(done)
}

/// When another daemon than `old` answers.
fn another(ganger: &Ganger, old: i32) -> Result<Instant> {
    let deadline = Instant::now() + PATIENCE;
    while ganger.status().map_or(old, |status| status.daemon.pid) == old {
        if Instant::now() > deadline {
            bail!("no other daemon in {PATIENCE:?}");
        }
        std::thread::sleep(LOOK);
    }
    Ok(Instant::now())
}
