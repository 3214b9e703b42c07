//! `ganger bench [spawn|dispatch|queue|scale]`: how fast this machine runs tasks, each figure beside the machine's own limit.
//!
//! A private daemon in a temporary folder does the work; this process is its client over the Unix socket, as any other
//! would be, and the clock stops when it holds every result. Runs of ganger and of the limit alternate, so that a noisy
//! minute hits both; medians are told. Latency at depth 1 is measured pinned to one CPU and not pinned: on a virtual
//! machine an idle CPU's wake-up alone can cost ten times the work.
//!
//! ```text
//! this process ──ndjson over HTTP──► daemon ──► two workers        value
//! this process ──pipe──► worker, fork+exec, fdatasync              limit
//! ```
//!
//! What a figure is meant to reach stands beside it as its goal, where it has one: a bench tells, it never fails for it.

mod args;
mod cycle;
mod fires;
mod idle;
mod limits;
mod load;
mod measure;
mod numbers;
mod plan;
mod report;
mod scale;
mod scene;
mod worker;

use std::process::ExitCode;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

pub(crate) use args::Args;
pub(crate) use worker::{VERB as WORKER_VERB, run as run_worker};

use crate::error::{CliError, Kind};
use crate::link;
use crate::ui::Ui;
use plan::Figure;
use scene::Scene;

/// A figure that takes longer hangs: its workers fail, say. A run is made 1.5 s long, and there are at most 100.
const FIGURE_LIMIT: Duration = Duration::from_secs(600);
/// The same with the usual five runs.
const USUAL_LIMIT: Duration = Duration::from_secs(90);

/// Runs what was asked for and prints one line (or one JSON document) per figure, as soon as it is known.
pub(crate) fn run(args: &Args, ui: &Ui) -> Result<ExitCode, CliError> {
    let mut report = report::Report::new(ui, args.json());
    let runtime = link::runtime()?;
    for pinned in [false, true] {
        let wanted = plan::figures(args, pinned);
        let scale = !pinned && args.wants(args::What::Scale);
        if wanted.is_empty() && !scale {
            continue;
        }
        let scene = Scene::start(args, pinned)?;
        let done = runtime.block_on(async {
            tokio::select! {
                done = all(&scene, args, &wanted, scale, &mut report) => done,
                () = interrupted() => Err(CliError::new(Kind::Failed, "interrupted")),
            }
        });
        // Also when a figure failed: nothing may be left running.
        let ended = scene.end();
        done?;
        ended?;
    }
    report.done()?;
    Ok(ExitCode::SUCCESS)
}

async fn all(
    scene: &Scene,
    args: &Args,
    wanted: &[Figure],
    scale: bool,
    report: &mut report::Report<'_>,
) -> Result<(), CliError> {
    figures(scene, wanted, args.runs(), report).await?;
    if scale {
        scale::figures(scene, args.waiting(), args.runs(), report).await?;
    }
    Ok(())
}

/// Measures one after the other. A figure that hangs is an error that says where to look.
async fn figures(
    scene: &Scene,
    wanted: &[Figure],
    runs: u32,
    report: &mut report::Report<'_>,
) -> Result<(), CliError> {
    /// Up to so many runs [`USUAL_LIMIT`] is plenty.
    const FEW: u32 = 10;
    let limit = if runs <= FEW { USUAL_LIMIT } else { FIGURE_LIMIT };
    for figure in wanted {
        let measured = tokio::time::timeout(limit, measure::figure(scene, figure, runs)).await;
        for line in measured.unwrap_or_else(|_| Err(scene.hangs(figure, limit)))? {
            report.add(line)?;
        }
    }
    Ok(())
}

/// Ctrl-C or SIGTERM: the scene's daemon must not outlive the bench.
async fn interrupted() {
    let both = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
    let (Ok(mut interrupt), Ok(mut terminate)) = both else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
