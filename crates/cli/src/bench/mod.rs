//! `ganger bench [spawn|dispatch|queue]`: how fast this machine runs tasks, each figure beside the machine's own limit.
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

mod args;
mod limits;
mod load;
mod measure;
mod plan;
mod report;
mod scene;
mod worker;

use std::process::ExitCode;

pub(crate) use args::Args;
pub(crate) use worker::{VERB as WORKER_VERB, run as run_worker};

use crate::error::CliError;
use crate::link;
use crate::ui::Ui;
use scene::Scene;

/// Runs what was asked for and prints one line (or one JSON document) per figure, as soon as it is known.
pub(crate) fn run(args: &Args, ui: &Ui) -> Result<ExitCode, CliError> {
    let mut report = report::Report::new(ui, args.json());
    let runtime = link::runtime()?;
    for pinned in [false, true] {
        let wanted = plan::figures(args, pinned);
        if wanted.is_empty() {
            continue;
        }
        let scene = Scene::start(args, pinned)?;
        let done = runtime.block_on(async {
            for figure in &wanted {
                report.add(measure::figure(&scene, figure, args.runs()).await?)?;
            }
            Ok::<(), CliError>(())
        });
        // Also when a figure failed: nothing may be left running.
        let ended = scene.end();
        done?;
        ended?;
    }
    report.done()?;
    Ok(ExitCode::SUCCESS)
}
