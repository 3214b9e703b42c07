//! `cargo xtask torture queue`: the crash oracle of the durable queue.
//!
//! ```text
//! client ── push (CLI) ──► ganger-tortured ──► 2 workers with the SDK, 3 of our own that also answer like zombies
//!   │ notes acknowledgements   ▲  │ ends itself at a named place          │ note S, E with fence and pid, fsynced
//!   │ and completions          │  │ (crates/sys/src/torture.rs)           ▼
//!   │                        killer ── SIGKILL: daemon, keeper, both, workers, everything ── reads ── ledger
//!   └──────────────────────────► oracle ◄────────────────────────────────────────────────────────────────┘
//! ```
//!
//! Three runs: kills (the page cache survives them), then power cuts with `fsync` and with `relaxed`, in which what SQLite had
//! not synced is forgotten. The ledger lies outside ganger and survives all of them.

mod client;
mod killer;
mod notes;
mod oracle;
mod site;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::Wish;
use super::verdict::Verdict;
use crate::build;
use client::{Clients, Knowledge};
use killer::{Kill, Killer};
use notes::Tail;
use site::Site;

pub(crate) use notes::work as fenced;

/// After the last kill everything acknowledged must be done within this.
const DRAIN: Duration = Duration::from_secs(120);
/// For so many kills there is one power cut with `fsync`.
const KILLS_PER_CUT: u32 = 5;
/// And one with `relaxed`, where seconds pass between them.
const KILLS_PER_PATIENT_CUT: u32 = 20;

/// What happened in one run.
#[derive(Debug)]
pub(crate) struct Story {
    pub(crate) kills: Vec<Kill>,
    /// Daemons that ended themselves: place and CLOCK_MONOTONIC.
    pub(crate) crashed: Vec<(String, u64)>,
    pub(crate) known: Knowledge,
    /// Power cuts with `relaxed`: what a cut may take.
    pub(crate) may_forget: Option<Duration>,
}

/// Runs all three.
pub(crate) fn run(wish: &Wish, verdict: &mut Verdict) -> Result<()> {
    let binary = build::tortured(wish.release)?;
    let cuts = (wish.queue_kills / KILLS_PER_CUT).max(3);
    one(&binary, "fsync", false, wish.queue_kills, wish.seed, verdict)?;
    one(&binary, "fsync", true, cuts, wish.seed + 1, verdict)?;
    let patient = (wish.queue_kills / KILLS_PER_PATIENT_CUT).max(3);
    one(&binary, "relaxed", true, patient, wish.seed + 2, verdict)
}

fn one(
    binary: &Path,
    durability: &str,
    power: bool,
    kills: u32,
    seed: u64,
    verdict: &mut Verdict,
) -> Result<()> {
    let what = if power { "power cuts" } else { "kills" };
    println!("queue: {kills} {what} with durability {durability}, seed {seed}");
    let site = Site::build(binary, durability, power)?;
    let may_forget = (power && durability == "relaxed").then_some(oracle::RELAXED_WINDOW);
    let red = verdict.red();
    let ended = tortured(&site, power, may_forget, kills, seed).and_then(|story| {
        tell(&story);
        oracle::ask(&site, &story, power, verdict)
    });
    let down = site.ganger.down();
    if ended.is_err() {
        super::oracle::show_daemon_log(&site.ganger);
    }
    if ended.is_err() || verdict.red() > red {
        println!("  kept: {}", site.keep().display());
    }
    ended.and(down)
}

/// Starts everything, pushes, looks and kills at the same time, then lets the queue run empty.
fn tortured(
    site: &Site,
    power: bool,
    may_forget: Option<Duration>,
    kills: u32,
    seed: u64,
) -> Result<Story> {
    site.ganger.up()?;
    let clients = Clients::default();
    let mut killer = Killer {
        site,
        random: fastrand::Rng::with_seed(seed),
        power,
        patient: may_forget.is_some(),
        tail: Tail::new(&site.ledger)?,
        armed: false,
    };
    let kills = std::thread::scope(|scope| {
        scope.spawn(|| clients.push(&site.ganger, seed));
        let looking = scope.spawn(|| clients.look(&site.state_dir));
        let kills = killer.run(kills);
        let deadline = Instant::now() + DRAIN;
        clients.enough.store(true, Ordering::Relaxed);
        while kills.is_ok() && !looking.is_finished() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
        clients.stop.store(true, Ordering::Relaxed);
        kills
    })?;
    let known = std::mem::take(&mut *clients.known());
    Ok(Story { kills, crashed: killer::crashed(site)?, known, may_forget })
}

fn tell(story: &Story) {
    let mut kinds: BTreeMap<String, u32> = BTreeMap::new();
    for kill in &story.kills {
        *kinds.entry(format!("{:?}", kill.kind).to_lowercase()).or_default() += 1;
    }
    let mut places: BTreeMap<&str, u32> = BTreeMap::new();
    for (place, _) in &story.crashed {
        *places.entry(place).or_default() += 1;
    }
    let list = |counts: Vec<String>| counts.join(", ");
    println!("  kills: {}", list(kinds.iter().map(|(kind, n)| format!("{n} {kind}")).collect()));
    println!(
        "  the daemon ended itself: {}",
        list(places.iter().map(|(place, n)| format!("{n} at {place}")).collect())
    );
    let known = &story.known;
    println!(
        "  {} tasks acknowledged, {} seen completed, {} pushes refused for want of anybody there, {} failed",
        known.acknowledged.len(),
        known.seen.len(),
        known.refused,
        known.failed.len()
    );
}
