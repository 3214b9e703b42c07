//! How an instance's owner task comes to be.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use ganger_core::{InstanceId, InstanceState};
use ganger_logs::read::LogReader;
use ganger_process::{Child, Processes};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::handle::{InstanceHandle, InstanceNotice};
use super::task::Task;
use crate::spec::InstanceSpec;
use crate::view::{SlotResume, Told};

/// Commands in flight per instance: a person's few, and the service's own.
const COMMANDS: usize = 16;

/// What every instance of a daemon shares.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// Starts and holds children.
    pub processes: Processes,
    /// To the holder: one channel may serve many instances.
    pub notices: mpsc::Sender<(InstanceId, InstanceNotice)>,
    /// To whoever records events.
    pub told: mpsc::Sender<Told>,
    /// Folder for notify sockets: `<state dir>/run`.
    pub run_dir: PathBuf,
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
    /// Where a former daemon left it without a process.
    Resumed(SlotResume),
}

/// Starts an instance's owner task as a member of `tasks`. It ends when every handle is dropped or the keeper is gone;
/// its process lives on. `notify` is its notify socket, if a former daemon had the keeper hold one.
pub fn start(
    spec: InstanceSpec,
    begin: Begin,
    notify: Option<OwnedFd>,
    surroundings: Surroundings,
    tasks: &mut JoinSet<()>,
) -> InstanceHandle {
    let (sender, commands) = mpsc::channel(COMMANDS);
    let id = spec.id().clone();
    let task = Task::new(Arc::new(spec), notify, surroundings, commands);
    tasks.spawn(task.run(begin));
    InstanceHandle { id, commands: sender }
}

/// True when a resumed instance is to be started rather than left at rest.
pub(super) const fn wants_start(resume: &SlotResume) -> bool {
    matches!(
        resume.state,
        InstanceState::Starting | InstanceState::Running | InstanceState::Stopping
    )
}
