//! A daemon with a store: everything works.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ganger_core::{InstanceKind, SpawnId};
use ganger_exec::{Executor, Load, Parts as ExecParts, Seen, Shut};
use ganger_keeper::wire::Survivor;
use ganger_logs::LogReader;
use ganger_pool::{PoolParts, Pools, ScheduleParts, Schedules};
use ganger_process::{Child, Processes, Startup};
use ganger_store::WriterThread;
use ganger_supervise::checks::exec::is_check;
use ganger_supervise::services::Resumed;
use ganger_supervise::{ServiceSpec, Services, SlotResume, Snapshot, Surroundings};
use tokio::net::UnixListener;
use tokio::sync::{broadcast, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};

use super::DaemonError;
use super::notices::{self, Ending};
use super::open::Opened;
use super::start::{Base, Ended, connect, ending, listener};
use crate::app::{About, App, Full, Mode};
use crate::convert;
use crate::desired::Desired;
use crate::foreman::{self, Crew, Parts, Specs, pool_error};
use crate::http::{self, Doors};
use crate::incidents::{self, Locks};
use crate::left::Left;
use crate::recorder::{Events, recorder};
use crate::{alerts, anomalies, monitor, program};

/// Owners end within milliseconds of their last handle; a commit on a slow disk may take seconds.
const LET_GO: Duration = Duration::from_secs(5);
/// Taken-over instances are published within one tick of their owner; nobody is kept waiting for a late one.
const FIRST_LOOK: Duration = Duration::from_secs(1);

/// What a daemon stands on once the keeper's socket is connected.
#[derive(Debug)]
pub(crate) struct Ground {
    pub(crate) state_dir: PathBuf,
    pub(crate) about: About,
    pub(crate) startup: Startup,
    /// What adopted children are for.
    pub(crate) kinds: HashMap<SpawnId, InstanceKind>,
    pub(crate) listener: UnixListener,
    /// Processes of an earlier run that the keeper could not end.
    pub(crate) survivors: Vec<Survivor>,
}

impl Ground {
    /// Connects to the keeper and takes its listener.
    pub(super) fn take(base: Base, epoch: u32) -> Result<Self, DaemonError> {
        let Base { state_dir, keeper, inherited, about } = base;
        let kinds = inherited.table.children.iter().map(|row| (row.id, row.kind)).collect();
        let survivors = inherited.table.survivors.clone();
        let mut startup = connect(keeper, inherited, epoch)?;
        let listener = listener(startup.api.take())?;
        Ok(Self { state_dir, about, startup, kinds, listener, survivors })
    }
}

/// Serves until everything is down or the keeper is gone.
pub(crate) async fn serve(ground: Ground, opened: Opened) -> Result<Ended, DaemonError> {
    let Ground { state_dir, about, startup, kinds, listener, survivors } = ground;
    let Opened { writer, thread, readers, desired, resting } = opened;
    let (processes, mut held) = (startup.processes, startup.held);
    let mut tasks = JoinSet::new();
    let (events, recorder) = recorder(writer.clone());
    let (last, over) = oneshot::channel();
    let recording = tokio::spawn(recorder.run(over));
    let reason = format!("version {}, pid {}", env!("CARGO_PKG_VERSION"), std::process::id());
    events.tell("daemon.start", "", reason).await;

    let is_service = |child: &Child| kinds.get(&child.id()) == Some(&InstanceKind::Service);
    let (left, adopted): (Vec<_>, Vec<_>) =
        startup.adopted.into_iter().partition(ganger_exec::is_run);
    let (checks, adopted): (Vec<_>, Vec<_>) = adopted.into_iter().partition(is_check);
    let (hooks, adopted): (Vec<_>, Vec<_>) = adopted.into_iter().partition(program::is_told);
    let locks = Locks::default();
    let (exec, seen) = executor(&processes, &desired, &state_dir, (left, &locks), &mut tasks).await;
    let (services, workers): (Vec<_>, Vec<_>) = adopted.into_iter().partition(is_service);
    let (restart_rate, rate) = watch::channel(desired.config.supervision.restarts);
    let (permits, budget) = ganger_supervise::budget::start(rate);
    tasks.spawn(budget);
    let (execs, runner) = ganger_supervise::checks::exec::start(processes.clone(), checks);
    tasks.spawn(runner);
    let (exchange, switching) = ganger_ipc::broker::start(u64::from(writer.epoch()));
    tasks.spawn(switching);
    let around = Surroundings {
        processes: processes.clone(),
        told: events.told(),
        listeners: Default::default(),
        primaries: Default::default(),
        exchange: exchange.clone(),
        permits,
        execs,
        run_dir: state_dir.join("run"),
        logs: LogReader::new(state_dir.join("logs")),
    };
    let supervised = Services::start_owner(around.clone(), services, &mut held);
    let queues = desired.config.queues.iter();
    let queues = queues.map(|(name, q)| (name.clone(), convert::queue_config(q))).collect();
    let parts = ganger_pool::Parts {
        writer: writer.clone(),
        readers: readers.clone(),
        told: events.told(),
        queues,
    };
    let work = ganger_pool::start(parts, &mut tasks).await.map_err(DaemonError::Store)?;
    let (specs, coming, resting) = wanted(&desired, resting, &events).await;
    let parts = PoolParts {
        tasks: work.tasks.clone(),
        claims: work.claims,
        specs: specs.pools,
        adopted: workers,
        survivors: survivors.clone(),
        resumed: resting.workers,
        around,
    };
    let pools = Pools::start(parts, &mut tasks).await;
    let pools = pools.map_err(|error| DaemonError::Resume(pool_error(error)))?;
    let groups = crate::config::group_specs(&desired.config.groups);
    // Who is gone for this is gone for the next call too, which says so.
    let _gone = supervised.services.set_groups(groups).await;
    let resumed = Resumed { slots: resting.services, coming };
    if let Err(error) = supervised.services.resume(specs.services, resumed).await {
        // A daemon that ends for it would end again and again; one that says so can be given a better configuration.
        tracing::error!(%error, "can't go on with the services");
        events.tell("daemon.resume_failed", "", error.to_string()).await;
    }
    first_look(supervised.snapshot.clone(), &desired).await;

    let parts = ScheduleParts {
        tasks: work.tasks.clone(),
        writer: writer.clone(),
        readers: readers.clone(),
        told: events.told(),
        schedules: specs.schedules,
    };
    let schedules = Schedules::start(parts, &mut tasks).await;
    let schedules = schedules
        .map_err(|source| DaemonError::System { what: "can't go on with schedules", source })?;

    let (close, closed) = watch::channel(None);
    let (incidents, settings) = watch::channel(desired.config.incident.clone());
    tasks.spawn(incidents::watch(incidents::Parts {
        exec: exec.clone(),
        seen,
        folder: convert::audit_options(&desired.config.audit, &state_dir).folder,
        events: events.clone(),
        settings,
        locks,
        processes: processes.clone(),
        left: hooks,
        ending: closed.clone(),
    }));
    let snapshots = (supervised.snapshot.clone(), pools.snapshot());
    let (monitor, watching) = monitor::start(&state_dir).unzip();
    if let Some(monitor) = monitor.clone() {
        tasks.spawn(monitor::tell(monitor::Parts {
            monitor,
            services: snapshots.0,
            workers: snapshots.1,
            events: events.listen(),
            ending: closed.clone(),
        }));
    }
    let (exec_socket, wanted_socket) = watch::channel(desired.config.server.exec_socket.clone());
    let (end, ended) = watch::channel(false);
    let (listeners, primaries) = (supervised.listeners, supervised.primaries);
    let (services, workers, stuck) = (supervised.snapshot, pools.snapshot(), pools.stuck());
    let supervision = supervised.services.clone();
    let crew = Crew {
        services: supervised.services,
        pools,
        tasks: work.tasks.clone(),
        schedules: schedules.clone(),
        restart_rate,
        exec: exec.clone(),
        incidents,
        exec_socket,
    };
    let reloads = supervised.reloads;
    let parts = Parts {
        crew,
        writer: writer.clone(),
        events: events.clone(),
        desired,
        reloads: reloads.clone(),
        state_dir: state_dir.clone(),
        end,
    };
    let foreman = foreman::spawn(parts, &mut tasks);
    let (tell_findings, findings) = watch::channel(Arc::default());
    let (board, anomalies) = watch::channel(Arc::default());
    if let Some(monitor) = monitor.clone() {
        tasks.spawn(anomalies::watch(anomalies::Parts {
            state_dir: state_dir.clone(),
            desired: foreman.follow(),
            monitor,
            tasks: work.tasks.clone(),
            events: events.clone(),
            board,
            findings: tell_findings,
            ending: closed.clone(),
        }));
    }
    let (alerts, alerting) = alerts::start(alerts::Parts {
        state_dir: state_dir.clone(),
        desired: foreman.follow(),
        monitor: monitor.clone(),
        services: services.clone(),
        workers: workers.clone(),
        tasks: work.tasks.clone(),
        findings,
        events: events.clone(),
        processes: processes.clone(),
        ending: closed.clone(),
    });
    tasks.spawn(alerting);
    let (tell_about, about) = watch::channel(about);
    let full = Full {
        foreman: foreman.clone(),
        supervision,
        listeners,
        primaries,
        exchange,
        reloads,
        services,
        workers,
        left: Left { survivors, stuck },
        tasks: work.tasks,
        schedules,
        events: events.clone(),
        readers,
        writer,
        exec: exec.clone(),
        alerts,
        anomalies,
        monitor,
    };
    let mode = Mode::Full(Box::new(full));
    let app = App::new(state_dir, about, closed.clone(), processes.clone(), mode);
    let notices = startup.notices;
    let follow = notices::follow(notices, tell_about, Some(events.clone()), foreman);
    let follow = tokio::spawn(follow);
    let doors = Doors { ours: http::routes(app.clone()), others: http::others(app) };
    let outer = http::Outer { router: doors.others.clone(), events, wanted: wanted_socket };
    tasks.spawn(outer.serve(closed.clone()));
    let serving = tokio::spawn(http::serve(listener, doors, closed));
    // Fails only without a keeper, and then the notices say so too.
    let _gone = processes.ready().await;

    let ending = ending(ended, follow).await;
    close.send_replace(Some(ending.patience()));
    // It only ends with what it serves; a panic in it has been logged.
    drop(serving.await);
    // Its callers are gone with their connections, so that what runs is being ended.
    exec.close(ending.word(), LET_GO).await;
    let owners = Owners { services: supervised.task, tasks, last, recording, thread, watching };
    owners.let_go().await;
    Ok(match ending {
        Ending::Down => Ended::Down(processes),
        Ending::KeeperLost(lost) => Ended::KeeperLost(lost),
        Ending::Upgraded => Ended::Upgraded,
    })
}

/// The executor, with the policies that are in force; what a former daemon left of runs is ended and recorded.
async fn executor(
    processes: &Processes,
    desired: &Desired,
    state_dir: &Path,
    (left, locks): (Vec<Child>, &Locks),
    tasks: &mut JoinSet<()>,
) -> (Executor, broadcast::Receiver<Arc<Seen>>) {
    let log = crate::convert::audit_options(&desired.config.audit, state_dir);
    let locks = locks.clone();
    let shut = Shut::new(move |principal| locks.why(principal));
    let parts = ExecParts { processes: processes.clone(), log: log.clone(), left, shut };
    let (exec, owner) = Executor::start(parts);
    // From before the first record.
    let seen = exec.records();
    tasks.spawn(owner);
    let file = desired.file().map(|file| file.path.display().to_string());
    let policies = desired.config.policies.clone();
    match exec.load(Load { policies, log, file, resumed: true }).await {
        Ok(doubtful) => doubtful.iter().for_each(|why| tracing::warn!("{why}")),
        Err(error) => tracing::error!(%error, "no policy is in force"),
    }
    (exec, seen)
}

/// Where instances were left, by who owns them now.
#[derive(Debug)]
struct Resting {
    services: Vec<SlotResume>,
    workers: Vec<SlotResume>,
}

/// What shall run. What this machine can't give any more is told and left out: the rest must go on.
async fn wanted(
    desired: &Desired,
    resting: Vec<SlotResume>,
    events: &Events,
) -> (Specs, Vec<ServiceSpec>, Resting) {
    let (specs, coming, faults) = Specs::resumed(desired);
    for fault in faults {
        tracing::error!(error = %fault, "can't go on with it");
        events.tell("daemon.resume_failed", &fault.name, fault.to_string()).await;
    }
    let of_pool = |slot: &SlotResume| desired.config.pools.contains_key(&slot.id.name);
    let (workers, services) = resting.into_iter().partition(of_pool);
    (specs, coming, Resting { services, workers })
}

/// Waits until taken-over services are published: the first caller must not see an empty list.
async fn first_look(mut snapshot: watch::Receiver<Arc<Snapshot>>, desired: &Desired) {
    let wanted = |name: &&String| desired.replicas(name).is_some_and(|replicas| replicas > 0);
    let names = desired.config.services.keys().filter(wanted);
    let services = if desired.down { 0 } else { names.count() };
    let published = snapshot.wait_for(|snapshot| {
        let names = snapshot.instances.chunk_by(|a, b| a.id.name == b.id.name);
        names.count() >= services
    });
    if tokio::time::timeout(FIRST_LOOK, published).await.is_err() {
        tracing::warn!("not every service is published yet");
    }
}

/// Everything that must have ended before another daemon may open the store.
#[derive(Debug)]
struct Owners {
    services: JoinHandle<()>,
    tasks: JoinSet<()>,
    /// Dropped or sent: the recorder writes what it has and ends.
    last: oneshot::Sender<()>,
    recording: JoinHandle<()>,
    thread: WriterThread,
    watching: Option<std::thread::JoinHandle<()>>,
}

impl Owners {
    /// Waits for them in the order in which they need each other: who tells, who records, who writes.
    async fn let_go(mut self) {
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(LET_GO, all).await.is_err() {
            tracing::warn!("not everything ended in time; what was acknowledged is stored");
            self.tasks.shutdown().await;
        }
        self.services.abort();
        // Aborted or ended: both is what is wanted.
        drop(self.services.await);
        drop(self.last);
        if tokio::time::timeout(LET_GO, &mut self.recording).await.is_err() {
            tracing::warn!("the last events could not be recorded in time");
            self.recording.abort();
            drop(self.recording.await);
        }
        let thread = self.thread;
        let closing = tokio::task::spawn_blocking(move || thread.join());
        if tokio::time::timeout(LET_GO, closing).await.is_err() {
            tracing::warn!("the store was not closed in time");
        }
        if let Some(watching) = self.watching {
            let closing = tokio::task::spawn_blocking(move || watching.join());
            if tokio::time::timeout(LET_GO, closing).await.is_err() {
                tracing::warn!("the series were not closed in time: their last minute may be lost");
            }
        }
    }
}
