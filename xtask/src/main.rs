//! Developer commands: `cargo xtask quickstart|test|test-kernel|node-conformance|torture|attacks|stories|benign|nab|bench`.
//!
//! This program builds the workspace with cargo and drives the `ganger` binary from outside, as a user would: it links
//! none of our crates but the pure `ganger-detect` (to score it), so it is built in a moment and can't see what a user can't see.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a developer's command line tool talks to its terminal"
)]

mod actor;
mod attacks;
mod bench;
mod benign;
mod build;
mod conformance;
mod ganger;
mod kernel;
mod nab;
mod quickstart;
mod sh;
mod stories;
mod tally;
mod test;
mod torture;
mod web;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "Developer commands of ganger", version)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Build, start examples/quickstart, push one task per file of a folder, show the results.
    Quickstart {
        /// The folder [default: this repository].
        folder: Option<PathBuf>,
        /// Stop when the tasks are done; exit 0 only if all of them completed.
        #[arg(long)]
        exit: bool,
    },
    /// Install what the tests need (as root) and run them all.
    Test {
        /// Run only these steps: format, lints, documentation, tests, sdk/node, sdk/python, kernel, quickstart,
        /// examples, torture.
        only: Vec<String>,
    },
    /// Run the kernel-facing tests under an emulated Debian 6.1 kernel with cgroup v2.
    TestKernel {
        /// Run only units whose name contains one of these words.
        only: Vec<String>,
    },
    /// Run Node's own tests of fork, its channel and cluster, as they are and with our codec between parent and child, and compare.
    NodeConformance {
        /// Run only tests whose name contains one of these words.
        only: Vec<String>,
        /// A folder with test/common, test/fixtures and test/parallel of Node's repository [default: fetched for the installed Node].
        #[arg(long)]
        suite: Option<PathBuf>,
        /// The repository they are fetched from.
        #[arg(long, default_value = "https://github.com/nodejs/node.git")]
        from: String,
        /// The Node that runs them [default: the one along PATH].
        #[arg(long)]
        node: Option<PathBuf>,
        /// Only cut the stream into messages and put them together again, instead of acknowledging and sending handles ourselves.
        #[arg(long)]
        pass: bool,
        /// Fail below so many per cent of the tests that pass without the relay.
        #[arg(long, default_value_t = 95.0)]
        least: f64,
    },
    /// Kill daemon, keeper and logger at random while a gang works, then check that nothing was lost.
    Torture {
        /// What to kill [default: all but `cluster`, in turn].
        target: Option<torture::Target>,
        /// How many kills [default: 20; of `cluster` 50 in each mode; of `queue` 1,000, and a quarter as many power cuts].
        #[arg(long)]
        kills: Option<u32>,
        /// Instead of a number of kills: how long.
        #[arg(long)]
        seconds: Option<u64>,
        /// At least so many tasks.
        #[arg(long, default_value_t = 20_000)]
        tasks: u32,
        /// The same seed draws the same pauses, payloads and priorities.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Build the queue's daemon in the debug profile: it is there sooner.
        #[arg(long)]
        debug: bool,
    },
    /// Attack what ganger contains: each attack once as it is, which must succeed, and once against the sandbox or a policy.
    Attacks(attacks::Wish),
    /// Run what people run all day under the profiles of the sandbox and under policies: all of it must work.
    Benign(benign::Wish),
    /// Play attacks against a daemon, each of which must raise its incident within two seconds, and an honest day that must raise none.
    Stories(stories::Wish),
    /// Run ganger beside its peers on this machine and compare.
    Bench {
        /// `peers`: durable queues end to end, beside BullMQ, Celery and graphile-worker; `services`: what a crash
        /// costs, beside supervisord and PM2, and a thousand crash loops; `reload`: requests that fail while web servers
        /// are replaced, beside PM2; `spawn`: a start beside many open descriptors; `accept`: connections a second through
        /// Node's own cluster primary and ganger's modes; `limits`: how exactly limits hold, with cgroups and without; `walls`:
        /// what containment costs, beside bubblewrap; `monitor`: a thousand processes watched each second, beside process-exporter,
        /// Netdata, psutil and pidusage. Peers are installed where needed.
        /// Without it: dispatch beside Node's and Python's process pools, and ganger's own figures.
        what: Option<Which>,
        /// Rounds; medians over them are compared.
        #[arg(long, default_value_t = 5)]
        rounds: u32,
        /// `accept`: the load has no core of its own.
        #[arg(long)]
        together: bool,
        #[command(flatten)]
        reload: bench::ReloadWish,
        #[command(flatten)]
        walls: bench::WallsWish,
    },
    /// Score the detector of single metrics on the Numenta Anomaly Benchmark, beside published detectors.
    Nab(nab::Wish),
    /// Be the Rust server of `bench reload`.
    #[command(hide = true)]
    Serve,
    /// Play a role in a torture.
    #[command(hide = true)]
    Cast {
        #[command(subcommand)]
        role: torture::Role,
    },
}

/// Which comparison.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Which {
    Peers,
    Services,
    Reload,
    Spawn,
    Accept,
    Limits,
    Monitor,
    Walls,
}

fn main() -> ExitCode {
    let result = match Cli::parse().verb {
        Verb::Quickstart { folder, exit } => return quickstart(folder, exit),
        Verb::Test { only } => test::test(&only),
        Verb::TestKernel { only } => kernel::test_kernel(&only),
        Verb::NodeConformance { only, suite, from, node, pass, least } => {
            conformance::conformance(&conformance::Wish { only, suite, from, node, pass, least })
        }
        Verb::Torture { target, kills, seconds, tasks, seed, debug } => {
            let queue = target == Some(torture::Target::Queue);
            let queue_kills = kills.unwrap_or(if queue { 1_000 } else { 50 });
            let cluster = target == Some(torture::Target::Cluster);
            let kills = kills.unwrap_or(if cluster { 50 } else { 20 });
            let release = !debug;
            let wish = torture::Wish { target, kills, seconds, tasks, seed, queue_kills, release };
            torture::torture(&wish, None)
        }
        Verb::Attacks(wish) => attacks::attacks(&wish),
        Verb::Benign(wish) => benign::benign(&wish),
        Verb::Stories(wish) => stories::stories(&wish),
        Verb::Nab(wish) => return played(nab::run(&wish)),
        Verb::Bench { what: None, rounds, .. } => return played(bench::bench(rounds)),
        Verb::Bench { what: Some(Which::Peers), rounds, .. } => {
            return played(bench::peers(rounds));
        }
        Verb::Bench { what: Some(Which::Services), rounds, .. } => {
            return played(bench::services(rounds));
        }
        Verb::Bench { what: Some(Which::Accept), rounds, together, .. } => {
            return played(bench::accept(rounds, together));
        }
        Verb::Bench { what: Some(Which::Limits), rounds, .. } => {
            return played(bench::limits(rounds));
        }
        Verb::Bench { what: Some(Which::Reload), reload, .. } => {
            return played(bench::reload(&reload));
        }
        Verb::Bench { what: Some(Which::Walls), rounds, walls, .. } => {
            return played(bench::walls(rounds, &walls));
        }
        Verb::Bench { what: Some(Which::Monitor), .. } => return played(bench::monitor()),
        Verb::Serve => return played(bench::serve()),
        Verb::Bench { what: Some(Which::Spawn), .. } => return played(bench::spawn()),
        Verb::Cast { role } => return played(torture::play(role)),
    };
    match result {
        Ok(tally) => tally.report(),
        Err(error) => {
            println!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn quickstart(folder: Option<PathBuf>, exit: bool) -> ExitCode {
    match quickstart::quickstart(folder, exit, None) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            println!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// A role speaks on stderr only: its stdout belongs to whoever listens.
fn played(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
