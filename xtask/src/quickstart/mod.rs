//! `cargo xtask quickstart [FOLDER] [--exit]`: the first thing a new user runs.
//!
//! Builds the release binary, starts `examples/quickstart`, pushes one task per file of a real folder at three
//! priorities, shows progress, prints the results and where to look next, and stays up until Ctrl-C.

mod files;
mod push;
mod report;

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};

use crate::build;
use crate::ganger::Ganger;

/// True if every task completed. Without a `built` binary one is built.
pub(crate) fn quickstart(
    folder: Option<PathBuf>,
    exit: bool,
    built: Option<PathBuf>,
) -> Result<bool> {
    let root = build::root()?;
    let folder = match folder {
        Some(folder) => {
            folder.canonicalize().with_context(|| format!("no folder at {}", folder.display()))?
        }
        None => root.clone(),
    };
    let binary = match built {
        Some(binary) => binary,
        None => {
            println!("building ganger (release; some minutes the first time)");
            build::ganger(true)?
        }
    };
    let ganger = Ganger::new(binary.clone(), root.join("examples/quickstart"));
    let ended = run(&ganger, &folder, exit, &binary);
    // Also when something above failed: a quick start must leave nothing behind.
    let down = ganger.down();
    if ended.is_ok() {
        down?;
        println!("everything is down; its state stays in {}/.ganger", ganger.folder().display());
    }
    ended
}

fn run(ganger: &Ganger, folder: &Path, exit: bool, binary: &Path) -> Result<bool> {
    let work = files::list(folder)?;
    println!("starting examples/quickstart");
    ganger.up()?;
    ganger.wait(&["service:clock=ready", "service:load=ready"], "30s")?;
    print!("{}", ganger.run(&["ps"])?);
    println!("pushing {} tasks, one per file of {}", work.len(), folder.display());
    let since = Instant::now();
    let results = push::all(ganger, &work)?;
    let good = report::print(folder, &work, &results, since.elapsed());
    if exit {
        return Ok(good);
    }
    report::next_steps(ganger.folder(), binary);
    wait_for_ctrl_c()?;
    Ok(good)
}

fn wait_for_ctrl_c() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("could not start waiting for Ctrl-C")?;
    runtime
        .block_on(async {
            let mut terminate =
                tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
            tokio::select! {
                pressed = tokio::signal::ctrl_c() => pressed,
                _ = terminate.recv() => Ok(()),
            }
        })
        .context("could not wait for Ctrl-C")?;
    println!("\nstopping");
    Ok(())
}
