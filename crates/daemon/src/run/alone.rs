//! A daemon that only answers: its store can't be opened, or too many daemons before it died at once.
//!
//! Children go on under the keeper and their exits stay with it. `down` works, by force. When the store was the trouble,
//! it is tried again now and then, and when it opens, this daemon makes room for a full one. After crashes it makes room
//! for one try a minute.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ganger_api::{ApiError, ErrorKind, Instance, Timestamp};
use ganger_core::BreakerState;
use ganger_core::InstanceState;
use ganger_keeper::wire::{Crash, Table};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::DaemonError;
use super::full::Ground;
use super::notices::{self, Ending};
use super::open::{self, Opened, StoreFault};
use super::start::{Base, Ended, ending};
use crate::app::{ApiOnly, App, Mode};
use crate::foreman;
use crate::http::{self, Doors};

/// Between two tries to open the store: somebody has to free the disk first.
const TRY_STORE: Duration = Duration::from_secs(10);
/// As long as a service's breaker stays open: then one daemon tries.
const PROBE: Duration = Duration::from_secs(60);
/// Spawn ids need an epoch; a daemon that starts nothing needs none of its own.
const NO_EPOCH: u32 = 0;

/// Why a daemon after many that died only answers.
pub(super) fn crashed(crash: &Crash) -> ApiError {
    let message = format!(
        "{} daemons in a row ended soon after their start, the last one {}; this one only answers",
        crash.quick_failures, crash.last
    );
    ApiError::new(ErrorKind::NoDaemon, message)
        .hint("`ganger logs ganger` shows what they said; another try is made in a minute")
}

/// Why a daemon without a store only answers.
pub(crate) fn no_store(error: &StoreFault) -> ApiError {
    ApiError::from_error(ErrorKind::NoDaemon, error)
        .cause("without its state the daemon starts and stops nothing; what runs goes on")
        .hint("it tries again every 10 s; `ganger logs` and `ganger down` work meanwhile")
}

/// Serves until told to end, or until a fresh daemon may do better. `state_dir`: where the store is tried.
pub(super) async fn serve(
    base: Base,
    why: ApiError,
    state_dir: Option<PathBuf>,
) -> Result<Ended, DaemonError> {
    let instances = instances(&base.inherited.table, &why);
    let ground = Ground::take(base, NO_EPOCH)?;
    serve_on(ground, why, instances, state_dir).await
}

pub(crate) async fn serve_on(
    ground: Ground,
    why: ApiError,
    instances: Vec<Instance>,
    state_dir: Option<PathBuf>,
) -> Result<Ended, DaemonError> {
    let Ground { state_dir: dir, about, startup, listener, .. } = ground;
    let mut tasks = JoinSet::new();
    let (end, ended) = watch::channel(false);
    let foreman = foreman::api_only(why.clone(), startup.adopted, end, &mut tasks);
    let (tell_about, about) = watch::channel(about);
    let only = ApiOnly { why, instances, foreman: foreman.clone() };
    let mode = Mode::ApiOnly(Box::new(only));
    let (close, closed) = watch::channel(None);
    let app = App::new(dir, about, closed.clone(), startup.processes.clone(), mode);
    let follow = tokio::spawn(notices::follow(startup.notices, tell_about, None, foreman));
    let doors = Doors { ours: http::routes(app), others: http::denied() };
    let serving = tokio::spawn(http::serve(listener, doors, closed));
    let _gone = startup.processes.ready().await;

    let ending = tokio::select! {
        ending = ending(ended, follow) => Some(ending),
        () = try_again(state_dir) => None,
    };
    let patience = ending.as_ref().map_or(http::END_TIMEOUT, Ending::patience);
    close.send_replace(Some(patience));
    drop(serving.await);
    Ok(match ending {
        Some(Ending::Down) => Ended::Down(startup.processes),
        Some(Ending::KeeperLost(lost)) => Ended::KeeperLost(lost),
        Some(Ending::Upgraded) => Ended::Upgraded,
        None => Ended::Again,
    })
}

/// Returns when a fresh daemon may do better: the store opens, or the crashes are a while ago.
async fn try_again(state_dir: Option<PathBuf>) {
    let Some(state_dir) = state_dir else { return tokio::time::sleep(PROBE).await };
    loop {
        tokio::time::sleep(TRY_STORE).await;
        let dir = state_dir.clone();
        let opened = tokio::task::spawn_blocking(move || opens(&dir)).await;
        match opened {
            Ok(Ok(())) => return,
            Ok(Err(error)) => tracing::debug!(%error, "the store still can't be opened"),
            Err(error) => tracing::warn!(%error, "trying the store failed"),
        }
    }
}

fn opens(state_dir: &Path) -> Result<(), StoreFault> {
    open::open(state_dir).map(Opened::close)
}

/// What runs, by the keeper's table.
fn instances(table: &Table, why: &ApiError) -> Vec<Instance> {
    let instance = |row: &ganger_keeper::wire::ChildRow| Instance {
        name: row.instance.name.clone(),
        slot: row.instance.slot,
        kind: row.kind,
        state: if row.exit.is_some() { InstanceState::Stopped } else { InstanceState::Running },
        ready: false,
        pid: row.exit.is_none().then_some(row.pid),
        restarts: 0,
        started_at: Some(Timestamp(row.started_at_ms)),
        reason: row.exit.as_ref().map_or_else(
            || format!("not supervised now: {}", why.message),
            |exit| exit.end.to_string(),
        ),
        next_try_s: None,
        failures: 0,
        cause: None,
        breaker: BreakerState::Closed,
        probes: vec![],
        status: None,
        doing: None,
        main_pid: None,
        connections: None,
    };
    let mut list: Vec<_> = table.children.iter().map(instance).collect();
    list.sort_by(|a, b| (&a.name, a.slot).cmp(&(&b.name, b.slot)));
    list
}
