//! What routes can reach: handles to owners and the views they publish. Cheap to clone, nothing in it changes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ganger_api::{ApiError, Connections, Degraded, ErrorKind, Instance, Timestamp};
use ganger_exec::Executor;
use ganger_ipc::broker::Exchange;
use ganger_keeper::wire::Upgrade;
use ganger_logs::LogReader;
use ganger_monitor::Monitor;
use ganger_pool::{Schedules, Tasks};
use ganger_process::Processes;
use ganger_store::{Readers, SqliteReader, Writer};
use ganger_supervise::{InstanceView, Listeners, Primaries, Reloads, Services, Snapshot};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::alerts::Alerting;
use crate::anomalies::Board;
use crate::desired::Desired;
use crate::foreman::Foreman;
use crate::http::{Closing, Fault};
use crate::left::Left;
use crate::recorder::Events;

/// Listeners to logs and events at a time: each log listener has a thread.
const FOLLOWERS_MAX: usize = 128;
/// The logger moves what is in its pipes within milliseconds; reading does not wait for a stuck one.
const FLUSH_WAIT: Duration = Duration::from_secs(1);

/// What changes about ganger's own processes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct About {
    pub(crate) keeper_pid: u32,
    pub(crate) logger_pid: Option<u32>,
    pub(crate) degraded: Vec<Degraded>,
    /// Log bytes dropped on full disks, as the logger told.
    pub(crate) log_bytes_dropped: u64,
    /// The last replacement of ganger's own program.
    pub(crate) upgrade: Option<Upgrade>,
}

/// As the store tells it: a log that nobody holds stays near 4 MiB.
const LOG_TOLD: u64 = 256 << 20;

/// The handles of a daemon that does everything.
#[derive(Debug)]
pub(crate) struct Full {
    pub(crate) foreman: Foreman,
    /// Asked for a fresh look only; verbs go through the foreman.
    pub(crate) supervision: Services,
    pub(crate) listeners: Listeners,
    pub(crate) primaries: Primaries,
    pub(crate) exchange: Exchange,
    pub(crate) reloads: watch::Receiver<Reloads>,
    pub(crate) services: watch::Receiver<Arc<Snapshot>>,
    pub(crate) workers: watch::Receiver<Arc<Snapshot>>,
    pub(crate) left: Left,
    pub(crate) tasks: Tasks,
    pub(crate) schedules: Schedules,
    pub(crate) events: Events,
    pub(crate) readers: Readers<SqliteReader>,
    pub(crate) writer: Writer,
    pub(crate) exec: Executor,
    pub(crate) alerts: Alerting,
    pub(crate) anomalies: watch::Receiver<Arc<Board>>,
    /// Absent where `/proc` can't be read.
    pub(crate) monitor: Option<Monitor>,
}

impl Full {
    /// What is desired now.
    pub(crate) fn desired(&self) -> Arc<Desired> {
        self.foreman.desired()
    }
}

/// A daemon that only answers.
#[derive(Debug)]
pub(crate) struct ApiOnly {
    /// Why.
    pub(crate) why: ApiError,
    /// What runs, as the keeper's table says.
    pub(crate) instances: Vec<Instance>,
    /// Ends everything: the one verb that needs no store.
    pub(crate) foreman: Foreman,
}

/// How much of a daemon this is.
#[derive(Debug)]
pub(crate) enum Mode {
    Full(Box<Full>),
    ApiOnly(Box<ApiOnly>),
}

#[derive(Debug)]
struct Inner {
    started: Instant,
    state_dir: PathBuf,
    about: watch::Receiver<About>,
    closing: Closing,
    processes: Processes,
    logs: LogReader,
    followers: Arc<Semaphore>,
    mode: Mode,
}

/// The handle that routes get.
#[derive(Debug, Clone)]
pub(crate) struct App(Arc<Inner>);

impl App {
    pub(crate) fn new(
        state_dir: PathBuf,
        about: watch::Receiver<About>,
        closing: Closing,
        processes: Processes,
        mode: Mode,
    ) -> Self {
        Self(Arc::new(Inner {
            started: Instant::now(),
            logs: LogReader::new(state_dir.join("logs")),
            state_dir,
            about,
            closing,
            processes,
            followers: Arc::new(Semaphore::new(FOLLOWERS_MAX)),
            mode,
        }))
    }

    /// Everything, or why there is not everything.
    pub(crate) fn full(&self) -> Result<&Full, ApiError> {
        match &self.0.mode {
            Mode::Full(full) => Ok(full),
            Mode::ApiOnly(only) => Err(only.why.clone()),
        }
    }

    pub(crate) fn uptime(&self) -> Duration {
        self.0.started.elapsed()
    }

    pub(crate) fn state_dir(&self) -> &Path {
        &self.0.state_dir
    }

    pub(crate) fn about(&self) -> About {
        self.0.about.borrow().clone()
    }

    /// Told when nobody is accepted any more.
    pub(crate) fn closing(&self) -> Closing {
        self.0.closing.clone()
    }

    pub(crate) fn processes(&self) -> &Processes {
        &self.0.processes
    }

    pub(crate) fn logs(&self) -> LogReader {
        self.0.logs.clone()
    }

    /// What works less than it should.
    pub(crate) fn degraded(&self) -> Vec<Degraded> {
        let mut degraded = self.about().degraded;
        if let Mode::ApiOnly(only) = &self.0.mode {
            degraded.push(Degraded {
                what: "this daemon only answers; it starts and stops nothing".to_owned(),
                why: only.why.message.clone(),
                fix: only.why.hints.join("; "),
            });
        }
        if let Mode::Full(full) = &self.0.mode {
            let (services, workers) =
                (full.services.borrow().clone(), full.workers.borrow().clone());
            degraded.extend(of_instances(services.instances.iter().chain(&workers.instances)));
            full.left.correct(&mut degraded);
            degraded.extend(held_log(full.writer.stats().log_bytes));
        }
        degraded
    }

    /// Every instance, by name and slot, not older than any event or answer that was seen before.
    pub(crate) async fn instances(&self) -> Vec<Instance> {
        let full = match &self.0.mode {
            Mode::ApiOnly(only) => return only.instances.clone(),
            Mode::Full(full) => full,
        };
        // Without its owner the last snapshot is what there is to see.
        drop(full.supervision.published().await);
        let now = Timestamp::now();
        let (services, workers) = (full.services.borrow().clone(), full.workers.borrow().clone());
        let views = services.instances.iter().chain(&workers.instances);
        let mut all: Vec<_> = views.map(|view| crate::http::instance(view, now)).collect();
        all.sort_by(|a, b| (&a.name, a.slot).cmp(&(&b.name, b.slot)));
        let connections = full.primaries.look(None).await;
        for instance in &mut all {
            let own = connections.get(&instance.name).into_iter().flatten();
            instance.connections = own
                .filter(|one| Some(one.pid) == instance.pid)
                .map(|one| Connections { taken: one.taken, in_flight: one.in_flight })
                .next();
        }
        all
    }

    /// Has everything written so far brought to the files, if the logger answers in time.
    pub(crate) async fn flush_logs(&self) {
        let flushed = tokio::time::timeout(FLUSH_WAIT, self.0.processes.flush_logs()).await;
        if !matches!(flushed, Ok(Ok(()))) {
            tracing::debug!("reading logs without the newest: the logger did not answer");
        }
    }

    /// Room for one more listener.
    pub(crate) fn follower(&self) -> Result<OwnedSemaphorePermit, Fault> {
        Arc::clone(&self.0.followers).try_acquire_owned().map_err(|_| {
            let message = format!("{FOLLOWERS_MAX} listeners follow logs or events already");
            Fault(ApiError::new(ErrorKind::Conflict, message).hint("end one of them first"))
        })
    }

    /// Stops everything, then ganger itself. What is told is what a person should know.
    pub(crate) async fn down(&self) -> Result<Vec<String>, ApiError> {
        match &self.0.mode {
            Mode::Full(full) => full.foreman.down().await,
            Mode::ApiOnly(only) => only.foreman.down().await,
        }
    }
}

/// What instances asked for and don't get, each thing once, with the names it concerns.
/// A write-ahead log that a reader keeps from coming home.
fn held_log(bytes: u64) -> Option<Degraded> {
    (bytes >= LOG_TOLD).then(|| Degraded {
        what: "the state database's write-ahead log can't come home".to_owned(),
        why: format!(
            "a reader holds it; it has {} MiB, and at 1024 MiB pushes are refused",
            bytes >> 20
        ),
        fix: "end the long backup, check or sqlite3 shell; `fuser .ganger/state.db-shm` names it"
            .to_owned(),
    })
}

fn of_instances<'a>(views: impl Iterator<Item = &'a Arc<InstanceView>>) -> Vec<Degraded> {
    let mut all: BTreeMap<(&str, &str, &str), BTreeSet<&str>> = BTreeMap::new();
    for view in views {
        for item in &view.degraded {
            let key = (item.what.as_str(), item.why.as_str(), item.fix.as_str());
            all.entry(key).or_default().insert(&view.id.name);
        }
    }
    all.into_iter()
        .map(|((what, why, fix), names)| Degraded {
            what: format!("{what} of {}", names.into_iter().collect::<Vec<_>>().join(", ")),
            why: why.to_owned(),
            fix: fix.to_owned(),
        })
        .collect()
}
