//! From exec to serving, and from the end of serving to exit.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use ganger_process::{Inherited, KeeperLost, Link, Notice, Processes, Startup};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing_subscriber::EnvFilter;

use super::full::Ground;
use super::notices::Ending;
use super::{DaemonError, alone, full, open};
use crate::app::About;

/// One thread answers HTTP while another drives processes and tasks; more would only cost memory.
const THREADS: usize = 2;
/// Threads for reads of the store and of logs. Idle ones end after ten seconds.
const BLOCKING_MAX: usize = 160;
/// A new keeper starts a logger and a daemon, and that opens the store.
const TAKE_OVER: Duration = Duration::from_secs(30);
/// The keeper answers within milliseconds; the logger may have full pipes to move first.
const KEEPER_HEARS: Duration = Duration::from_secs(5);
/// Tasks that have ended by then are all that matter.
const RUNTIME_END: Duration = Duration::from_secs(2);

/// Tracing on stderr, which is the log `ganger`. `GANGER_LOG` filters it like `RUST_LOG` does elsewhere.
pub(super) fn log_to_stderr() {
    let filter = EnvFilter::try_from_env("GANGER_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    // Set twice only by tests in one process; the first stays.
    drop(
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(std::io::stderr)
            .with_ansi(false)
            .try_init(),
    );
}

/// What every kind of daemon starts from.
#[derive(Debug)]
pub(super) struct Base {
    pub(super) state_dir: PathBuf,
    pub(super) keeper: OwnedFd,
    pub(super) inherited: Inherited,
    pub(super) about: About,
}

/// What serving ended with.
#[derive(Debug)]
pub(crate) enum Ended {
    /// Everything is stopped: the keeper is to go too.
    Down(Processes),
    /// The keeper is gone.
    KeeperLost(Box<KeeperLost>),
    /// A fresh daemon would do better.
    Again,
    /// The keeper runs another binary and starts that one's daemon.
    Upgraded,
}

pub(super) fn run() -> Result<ExitCode, DaemonError> {
    let (keeper, inherited) = Inherited::from_env()?;
    let table = &inherited.table;
    let degraded = table.degraded.iter().map(|d| ganger_api::Degraded {
        what: d.what.clone(),
        why: d.why.clone(),
        fix: d.fix.clone(),
    });
    let about = About {
        keeper_pid: table.keeper_pid,
        logger_pid: table.logger_pid,
        degraded: degraded.collect(),
        log_bytes_dropped: 0,
        upgrade: table.upgrade.clone(),
    };
    let base = Base { state_dir: PathBuf::from(&table.state_dir), keeper, inherited, about };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .max_blocking_threads(BLOCKING_MAX)
        .thread_name("ganger-daemon")
        .enable_all()
        .build()
        .map_err(|source| DaemonError::System { what: "can't start threads", source })?;
    let ended = serve(&runtime, base)?;
    let result = runtime.block_on(finish(ended));
    runtime.shutdown_timeout(RUNTIME_END);
    result
}

/// Opens the store, and with it decides which kind of daemon this is.
fn serve(runtime: &Runtime, base: Base) -> Result<Ended, DaemonError> {
    if let Some(crash) = base.inherited.crash().filter(|crash| crash.api_only) {
        let why = alone::crashed(crash);
        return runtime.block_on(alone::serve(base, why, None));
    }
    let on_trial = base.inherited.table.upgrade.as_ref().is_some_and(|last| last.on_trial);
    match open::open(&base.state_dir) {
        Ok(store) => runtime.block_on(async {
            let ground = Ground::take(base, store.writer.epoch())?;
            full::serve(ground, store).await
        }),
        Err(error) if on_trial => Err(DaemonError::OnTrial(alone::no_store(&error))),
        Err(error) => {
            tracing::error!(%error, "the store can't be opened; serving the API only");
            let why = alone::no_store(&error);
            let state_dir = base.state_dir.clone();
            runtime.block_on(alone::serve(base, why, Some(state_dir)))
        }
    }
}

async fn finish(ended: Ended) -> Result<ExitCode, DaemonError> {
    match ended {
        Ended::Down(processes) => {
            tracing::info!("everything is down");
            // A keeper that is gone by now has nothing left to end. The answer to a later request proves that it has
            // heard this one; it waits for this process to go.
            if processes.shutdown().await.is_ok() {
                let heard = tokio::time::timeout(KEEPER_HEARS, processes.flush_logs()).await;
                tracing::debug!(?heard, "the keeper is to go too");
            }
        }
        Ended::KeeperLost(lost) => {
            let exe = std::env::current_exe().map_err(|source| DaemonError::System {
                what: "can't find my own program",
                source,
            })?;
            tracing::warn!(
                keeper = lost.keeper_pid(),
                children = lost.children(),
                "the keeper is gone; starting a new one"
            );
            let keeper = lost.start_keeper(&exe)?;
            drop(lost);
            keeper.taken_over(TAKE_OVER).await?;
            tracing::info!("a new keeper has taken over");
        }
        Ended::Upgraded => tracing::info!("ending, so that the new version's daemon takes over"),
        Ended::Again => tracing::info!("ending, so that a fresh daemon tries again"),
    }
    Ok(ExitCode::SUCCESS)
}

/// The connection to the keeper and what came with it.
pub(super) fn connect(
    keeper: OwnedFd,
    inherited: Inherited,
    epoch: u32,
) -> Result<Startup, DaemonError> {
    let link = Link::connect(keeper).map_err(|source| DaemonError::System {
        what: "can't watch the keeper's socket",
        source,
    })?;
    Ok(Processes::start(link, inherited, epoch))
}

/// The listener the keeper holds.
pub(super) fn listener(api: Option<OwnedFd>) -> Result<tokio::net::UnixListener, DaemonError> {
    let missing = || std::io::Error::other("the keeper's table names none");
    api.ok_or_else(missing)
        .and_then(crate::http::listener)
        .map_err(|source| DaemonError::System { what: "can't listen on the API socket", source })
}

/// Waits for the first reason to end. Nothing of the notices' follower is left then: it holds handles of owners that end
/// with their last one.
pub(super) async fn ending(
    mut end: watch::Receiver<bool>,
    mut following: JoinHandle<Ending>,
) -> Ending {
    tokio::select! {
        _ = end.wait_for(|end| *end) => {}
        ending = &mut following => return ending.unwrap_or(Ending::Down),
    }
    following.abort();
    drop(following.await);
    Ending::Down
}

/// What belongs to no child.
pub(super) type Notices = tokio::sync::mpsc::Receiver<Notice>;
