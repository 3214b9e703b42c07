//! `cargo xtask torture`: kills ganger's own processes at random while a real gang works, then asks an oracle.
//!
//! ```text
//! gang    services (counter, flood, mortal), a queue, four pools of different kinds; works through the CLI only
//! pusher  pushes tasks all the time, notes which were acknowledged
//! killer  SIGKILLs daemon, keeper, logger or keeper and daemon together, at moments drawn from the seed
//! ledger  workers append start and end of every attempt, with pid and CLOCK_MONOTONIC, through O_APPEND
//! oracle  after all that: pids kept, logs without gap or double, every acknowledged task done once and right
//! queue   another scenario: the crash oracle of the durable queue, with a build of its own (see `queue`)
//! cluster another scenario: the daemon is killed under connections (see `cluster`)
//! tree    a process tree that ignores SIGTERM, leaves its session and re-forks all the time is ended whole
//! ```
//!
//! The scenario's parts are modules of their own so that later scenarios can be put together from them.

mod cast;
mod cluster;
mod gang;
pub(crate) mod http;
mod killer;
mod ledger;
mod oracle;
pub(crate) mod procs;
mod pusher;
mod queue;
mod series;
mod tree;
mod verdict;

use std::path::PathBuf;

use anyhow::Result;
use clap::ValueEnum;

pub(crate) use cast::{Role, play};

use crate::build;
use crate::tally::Tally;
use verdict::Verdict;

/// What is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Target {
    /// The daemon: nobody may notice.
    Daemon,
    /// The keeper: pids, logs, stop and restart survive; exit codes may be lost, and that is said.
    Keeper,
    /// The logger: no line is lost or doubled.
    Logger,
    /// Keeper and daemon within 50 ms: after `up`, no second copy of anything.
    Both,
    /// The queue's crash oracle: daemon, keeper and workers, at random and at places inside the daemon, and power cuts.
    Queue,
    /// The daemon, under connections in each mode that they can come to instances.
    Cluster,
    /// Nothing of ours: a hostile process tree is ended by `stop`, `down` and `run`.
    Tree,
}

/// How much of it.
#[derive(Debug, Clone)]
pub(crate) struct Wish {
    /// `None`: all targets in turn.
    pub(crate) target: Option<Target>,
    pub(crate) kills: u32,
    /// Instead of a number of kills: go on for so long.
    pub(crate) seconds: Option<u64>,
    /// At least so many tasks; more are pushed while the killing goes on.
    pub(crate) tasks: u32,
    pub(crate) seed: u64,
    /// Kills of the queue's crash oracle.
    pub(crate) queue_kills: u32,
    /// Build the queue's daemon in release; the debug build is there sooner.
    pub(crate) release: bool,
}

impl Wish {
    /// What `cargo xtask test` runs: about a minute.
    pub(crate) const fn short(seed: u64) -> Self {
        let (kills, queue_kills) = (6, 15);
        Self { target: None, kills, seconds: None, tasks: 1_500, seed, queue_kills, release: false }
    }
}

/// Runs it and prints one line per claim. Without a `built` binary one is built.
pub(crate) fn torture(wish: &Wish, built: Option<PathBuf>) -> Result<Tally> {
    println!("torture: seed {}", wish.seed);
    let mut verdict = Verdict::default();
    if wish.target == Some(Target::Queue) {
        queue::run(wish, &mut verdict)?;
        return Ok(verdict.into_tally());
    }
    let binary = built.map_or_else(|| build::ganger(true), Ok)?;
    let killed: &[Target] = match wish.target {
        None => &[Target::Daemon, Target::Logger, Target::Keeper],
        Some(Target::Daemon) => &[Target::Daemon],
        Some(Target::Keeper) => &[Target::Keeper],
        Some(Target::Logger) => &[Target::Logger],
        Some(Target::Both) => &[Target::Both],
        Some(Target::Tree | Target::Queue | Target::Cluster) => &[],
    };
    if !killed.is_empty() {
        gang::run(&binary, wish, killed, &mut verdict)?;
    }
    if wish.target.is_none() {
        let both = Wish { kills: 1, tasks: 300, ..wish.clone() };
        gang::run(&binary, &both, &[Target::Both], &mut verdict)?;
    }
    if wish.target == Some(Target::Cluster) {
        cluster::run(&binary, wish.kills, wish.seed, &mut verdict)?;
    }
    if matches!(wish.target, None | Some(Target::Tree)) {
        tree::run(&binary, &mut verdict)?;
    }
    if wish.target.is_none() {
        queue::run(wish, &mut verdict)?;
    }
    Ok(verdict.into_tally())
}
