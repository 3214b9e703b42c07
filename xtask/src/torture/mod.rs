//! `cargo xtask torture`: kills ganger's own processes at random while a real gang works, then asks an oracle.
//!
//! ```text
//! gang    services (counter, flood, mortal), a queue, four pools of different kinds; works through the CLI only
//! pusher  pushes tasks all the time, notes which were acknowledged
//! killer  SIGKILLs daemon, keeper, logger or keeper and daemon together, at moments drawn from the seed
//! ledger  workers append start and end of every attempt, with pid and CLOCK_MONOTONIC, through O_APPEND
//! oracle  after all that: pids kept, logs without gap or double, every acknowledged task done once and right
//! tree    a process tree that ignores SIGTERM, leaves its session and re-forks all the time is ended whole
//! ```
//!
//! The scenario's parts are modules of their own so that later scenarios can be put together from them.

mod cast;
mod gang;
mod http;
mod killer;
mod ledger;
mod oracle;
mod procs;
mod pusher;
mod series;
mod tree;
mod verdict;

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
}

impl Wish {
    /// What `cargo xtask test` runs: about a minute.
    pub(crate) const fn short(seed: u64) -> Self {
        Self { target: None, kills: 6, seconds: None, tasks: 1_500, seed }
    }
}

/// Runs it and prints one line per claim.
pub(crate) fn torture(wish: &Wish) -> Result<Tally> {
    println!("torture: seed {}", wish.seed);
    let binary = build::ganger(true)?;
    let mut verdict = Verdict::default();
    let killed: &[Target] = match wish.target {
        None => &[Target::Daemon, Target::Logger, Target::Keeper],
        Some(Target::Daemon) => &[Target::Daemon],
        Some(Target::Keeper) => &[Target::Keeper],
        Some(Target::Logger) => &[Target::Logger],
        Some(Target::Both) => &[Target::Both],
        Some(Target::Tree) => &[],
    };
    if !killed.is_empty() {
        gang::run(&binary, wish, killed, &mut verdict)?;
    }
    if wish.target.is_none() {
        let both = Wish { kills: 1, tasks: 300, ..wish.clone() };
        gang::run(&binary, &both, &[Target::Both], &mut verdict)?;
    }
    if matches!(wish.target, None | Some(Target::Tree)) {
        tree::run(&binary, &mut verdict)?;
    }
    Ok(verdict.into_tally())
}
