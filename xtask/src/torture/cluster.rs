//! The daemon is killed again and again under a steady load of connections, in each mode that they can come to instances.
//!
//! Eight Node workers and fifty services that rest; so many requests a second, each on a connection of its own. Nothing may be noticed: each
//! request is answered and every process stays the same. With `node_cluster` a killed daemon may have one connection in its hands.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::verdict::Verdict;
use crate::build;
use crate::ganger::Ganger;
use crate::web::{self, Load, Mode, Seen};

const WORKERS: u32 = 8;
const OTHERS: u32 = 50;
/// Requests a second, and by how many clients: a client waits through the time without a daemon.
const RATE: f64 = 1_000.0;
const CLIENTS: u32 = 100;
/// Between two kills, in milliseconds.
const PAUSE_MS: std::ops::Range<u64> = 100..600;
/// Between two looks whether another daemon answers: each is a program of its own, on the cores that are measured.
const LOOK: Duration = Duration::from_millis(5);
/// Another daemon must answer within this.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn run(binary: &Path, kills: u32, seed: u64, verdict: &mut Verdict) -> Result<()> {
    let mut random = fastrand::Rng::with_seed(seed);
    for mode in Mode::ALL {
        let name = mode.name();
        println!("cluster: {kills} kills of the daemon under {RATE} requests/s, mode {name}");
        let folder = tempfile::Builder::new()
            .prefix("cluster-")
            .tempdir_in(build::cache_dir("torture")?)
            .context("could not make a folder")?;
        let ganger = Ganger::new(binary.to_path_buf(), folder.path().to_path_buf());
        let done = one(&ganger, mode, kills, &mut random, verdict);
        ganger.down()?;
        done?;
    }
    Ok(())
}

fn one(
    ganger: &Ganger,
    mode: Mode,
    kills: u32,
    random: &mut fastrand::Rng,
    verdict: &mut Verdict,
) -> Result<()> {
    let name = mode.name();
    web::program(ganger.folder())?;
    let address = web::free_port()?;
    let mut text = format!("version = 1\n{}", mode.section(WORKERS, address));
    for n in 1..=OTHERS {
        write!(text, "[service.rest{n}]\ncommand = [\"sleep\", \"100000\"]\n")?;
    }
    std::fs::write(ganger.folder().join("ganger.toml"), text)?;
    web::up(ganger, address)?;
    let before = processes(ganger)?;
    let over = AtomicBool::new(false);
    let (seen, killed) = std::thread::scope(|scope| {
        let over = &over;
        let load = Load { address, clients: CLIENTS, rate: Some(RATE) };
        let clients = scope.spawn(move || load.until(over));
        let killed = kill(ganger, kills, random);
        over.store(true, Ordering::Relaxed);
        (clients.join(), killed)
    });
    let gaps = killed?;
    let Ok(seen) = seen else { bail!("the load broke") };
    tell(&seen, &gaps);
    // What a killed daemon has accepted and not handed over is gone with it.
    let lost = if mode == Mode::Cluster { kills as usize } else { 0 };
    let failed = if seen.failed.len() > lost { &*seen.failed } else { &[] };
    let claim =
        format!("cluster, {name}: of {} requests no more than {lost} failed", seen.latencies.len());
    verdict.claim(&claim, failed);
    verdict.so(
        &format!("cluster, {name}: all {WORKERS} workers answered"),
        seen.by.len() == WORKERS as usize,
        &format!("{:?}", seen.by),
    );
    let after = processes(ganger)?;
    let other: Vec<String> = before
        .iter()
        .filter(|(who, pid)| after.get(*who) != Some(pid))
        .map(|(who, pid)| format!("{who}: {pid:?} before, {:?} after", after.get(who)))
        .collect();
    verdict.claim(&format!("cluster, {name}: {} processes are the same", before.len()), &other);
    Ok(())
}

/// Kills one daemon after the other; gives how long each time was without one, in milliseconds.
fn kill(ganger: &Ganger, kills: u32, random: &mut fastrand::Rng) -> Result<Vec<f64>> {
    let mut gaps = vec![];
    for n in 1..=kills {
        std::thread::sleep(Duration::from_millis(random.u64(PAUSE_MS)));
        let old = ganger.status()?.daemon.pid;
        super::killer::end(old).with_context(|| format!("kill {n}: daemon {old}"))?;
        let since = Instant::now();
        while ganger.status().map_or(old, |status| status.daemon.pid) == old {
            if since.elapsed() > PATIENCE {
                bail!("no other daemon {PATIENCE:?} after kill {n}");
            }
            std::thread::sleep(LOOK);
        }
        gaps.push(since.elapsed().as_secs_f64() * 1e3);
    }
    Ok(gaps)
}

/// Instance and pid; a restart shows as another pid.
fn processes(ganger: &Ganger) -> Result<BTreeMap<String, (Option<i32>, u64)>> {
    let mut all = BTreeMap::new();
    for (n, instance) in ganger.ps()?.into_iter().enumerate() {
        all.insert(format!("{n} {}", instance.name), (instance.pid, instance.restarts));
    }
    Ok(all)
}

fn tell(seen: &Seen, gaps: &[f64]) {
    let mut gaps = gaps.to_vec();
    gaps.sort_by(f64::total_cmp);
    let gap =
        |share: f64| gaps.get(((gaps.len() - 1) as f64 * share) as usize).copied().unwrap_or(0.0);
    println!(
        "  {} answers in {:.0} s, {:.0}/s; {} failed; p50 {:.1} ms, p99 {:.1} ms, max {:.0} ms; max/mean {:.2}; without a daemon, with a start of `ganger status`, p50 {:.0} ms, max {:.0} ms",
        seen.latencies.len(),
        seen.took,
        seen.rate(),
        seen.failed.len(),
        seen.at(0.5),
        seen.at(0.99),
        seen.at(1.0),
        seen.max_over_mean(WORKERS),
        gap(0.5),
        gap(1.0),
    );
    for failed in seen.failed.iter().take(10) {
        println!("    {failed}");
    }
}
