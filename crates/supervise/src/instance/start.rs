//! How an instance's owner task comes to be.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use ganger_core::InstanceId;
use ganger_ipc::broker::Exchange;
use ganger_logs::read::LogReader;
use ganger_process::{Child, Processes};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::handle::{InstanceHandle, InstanceNotice};
use super::record::exit_event;
use super::task::Task;
use crate::checks::exec::Execs;
use crate::listeners::Listeners;
use crate::pass::Primaries;
use crate::permit::Permits;
use crate::spec::{InstanceSpec, Stop};
use crate::view::{SlotResume, Told};

/// Commands in flight per instance: a person's few, and the service's own.
const COMMANDS: usize = 16;

/// What every instance of a daemon shares.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// Starts and holds children.
    pub processes: Processes,
    /// To whoever records events.
    pub told: mpsc::Sender<Told>,
    /// Folder for notify sockets: `<state dir>/run`.
    pub run_dir: PathBuf,
    /// Whom to ask before a restart after a failure.
    pub permits: Permits,
    /// Who runs probes that are programs.
    pub execs: Execs,
    /// What services listen on; the owner of services has its own.
    pub listeners: Listeners,
    /// Who hands connections to instances; the owner of services has its own.
    pub primaries: Primaries,
    /// Who has services' channels.
    pub exchange: Exchange,
    /// For readiness by log line and for last lines of stderr.
    pub logs: LogReader,
}

/// Where an instance begins.
#[derive(Debug)]
pub enum Begin {
    /// Stopped, for this reason.
    AtRest(String),
    /// With a start.
    Up,
    /// With a child of a former daemon. One that was started from another spec is replaced.
    Adopted(Child),
    /// With a child of a former daemon that was started from another spec and is not replaced here: a reload does that.
    Kept(Child),
    /// With a child of a former daemon that is to be ended, and why.
    Unwanted(Child, String),
    /// Where a former daemon left it without a process.
    Resumed(SlotResume),
}

/// Starts an instance's owner task as a member of `tasks`. It ends when every handle is dropped or the keeper is gone;
/// its process lives on. `notices` goes to the holder and may serve many instances. `notify` is its notify socket, if a former daemon had the keeper hold one.
pub fn start(
    spec: InstanceSpec,
    begin: Begin,
    notify: Option<OwnedFd>,
    surroundings: Surroundings,
    notices: mpsc::Sender<(InstanceId, InstanceNotice)>,
    tasks: &mut JoinSet<()>,
) -> InstanceHandle {
    let (sender, commands) = mpsc::channel(COMMANDS);
    let id = spec.id().clone();
    let task = Task::new(Arc::new(spec), notify, surroundings, notices, commands);
    tasks.spawn(Box::new(task).run(Box::new(begin)));
    InstanceHandle { id, commands: sender }
}

/// Ends a child that has no place any more, and has its exit recorded.
pub async fn dispose(mut child: Child, told: mpsc::Sender<Told>) {
    let stop = Stop::default();
    let asked = child.signal(stop.signal, stop.scope).await;
    if asked.is_ok() && tokio::time::timeout(stop.timeout, child.exit()).await.is_err() {
        // The ticket is not needed: the exit says the same, and a keeper that is gone ends both waits.
        drop(child.end_tree().await);
    }
    if let Ok(report) = child.exit().await {
        let event = exit_event(report, child.ack(), None).await;
        drop(told.send(event).await);
    }
}
