//! What owners ask of the routing task.

use std::os::fd::OwnedFd;

use ganger_core::{InstanceKind, SpawnId};
use ganger_keeper::wire::{ExitReport, Offer, Plan, Scope, Upgrade};
use ganger_sandbox::Report;
use tokio::sync::{mpsc, oneshot};

use crate::child::Ends;
use crate::error::{SpawnError, UpgradeError};

/// What a started child's handle is made of.
#[derive(Debug)]
pub(crate) struct Born {
    pub(crate) id: SpawnId,
    pub(crate) kind: InstanceKind,
    pub(crate) pid: u32,
    pub(crate) started_at_ms: u64,
    pub(crate) report: Report,
    pub(crate) ends: Ends,
    pub(crate) exit: oneshot::Receiver<ExitReport>,
}

#[derive(Debug)]
pub(crate) enum Control {
    Spawn { plan: Box<Plan>, fds: Vec<OwnedFd>, reply: oneshot::Sender<Result<Born, SpawnError>> },
    Signal { id: SpawnId, signal: i32, scope: Scope },
    EndTree { id: SpawnId, reply: oneshot::Sender<Vec<u32>> },
    Ack { id: SpawnId },
    SetBlob { id: SpawnId, blob: String },
    Hold { name: String, fd: OwnedFd },
    Release { name: String },
    RetireLog { name: String, slot: u32, reply: oneshot::Sender<()> },
    FlushLogs { reply: oneshot::Sender<()> },
    Examine { path: String, reply: oneshot::Sender<Result<Offer, UpgradeError>> },
    Upgrade { reply: oneshot::Sender<Result<Upgrade, UpgradeError>> },
    Ready,
    Shutdown,
}

/// The routing task's ears.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) control: mpsc::Receiver<Control>,
    /// Starts whose starter is gone: end the child and forget it.
    pub(crate) abandoned: mpsc::UnboundedReceiver<SpawnId>,
}

/// Gives an answer. Who no longer waits needs none.
pub(crate) fn answer<T>(reply: oneshot::Sender<T>, value: T) {
    drop(reply.send(value).err());
}
