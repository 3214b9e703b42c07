//! One child as its owner sees it.

use std::os::fd::OwnedFd;

use ganger_core::{InstanceId, InstanceKind, SpawnId};
use ganger_keeper::wire::{ExitReport, Scope};
use ganger_sandbox::Report;
use tokio::sync::{mpsc, oneshot};

use crate::control::{Born, Control};
use crate::error::KeeperGone;

/// The daemon's ends of a child's channel and pipes. The keeper holds a copy of each until the exit is acknowledged, so
/// closing one here tells the child nothing; [`Child::close_stdin`] is for a program that must see the end of its input.
#[derive(Debug, Default)]
pub struct Ends {
    /// Worker channel.
    pub channel: Option<OwnedFd>,
    /// Write end of its stdin.
    pub stdin: Option<OwnedFd>,
    /// Read end of its stdout, or the memfd.
    pub stdout: Option<OwnedFd>,
    /// Read end of its stderr, or the memfd.
    pub stderr: Option<OwnedFd>,
}

/// A started child. Dropping it ends nothing: the process lives on and its exit stays with the keeper until some daemon
/// acknowledges it.
#[derive(Debug)]
pub struct Child {
    id: SpawnId,
    instance: InstanceId,
    kind: InstanceKind,
    pid: u32,
    started_at_ms: u64,
    blob: String,
    report: Report,
    adopted: bool,
    /// Channel and pipes; take what you need.
    pub ends: Ends,
    exit: oneshot::Receiver<ExitReport>,
    exited: Option<ExitReport>,
    control: mpsc::Sender<Control>,
}

impl Child {
    pub(crate) fn new(
        instance: InstanceId,
        born: Born,
        blob: String,
        adopted: bool,
        control: mpsc::Sender<Control>,
    ) -> Self {
        let Born { id, kind, pid, started_at_ms, report, ends, exit } = born;
        Self {
            id,
            instance,
            kind,
            pid,
            started_at_ms,
            blob,
            report,
            adopted,
            ends,
            exit,
            exited: None,
            control,
        }
    }

    /// Which spawn it is.
    #[must_use]
    pub const fn id(&self) -> SpawnId {
        self.id
    }

    /// Which place it fills.
    #[must_use]
    pub const fn instance(&self) -> &InstanceId {
        &self.instance
    }

    /// What it is for.
    #[must_use]
    pub const fn kind(&self) -> InstanceKind {
        self.kind
    }

    /// Its process id, for people; signals go by pidfd.
    #[must_use]
    pub const fn pid(&self) -> u32 {
        self.pid
    }

    /// Wall-clock milliseconds since 1970 of its start.
    #[must_use]
    pub const fn started_at_ms(&self) -> u64 {
        self.started_at_ms
    }

    /// The note of a former daemon, or the plan's.
    #[must_use]
    pub fn blob(&self) -> &str {
        &self.blob
    }

    /// What holds it and what doesn't.
    #[must_use]
    pub const fn report(&self) -> &Report {
        &self.report
    }

    /// Started by a former daemon.
    #[must_use]
    pub const fn adopted(&self) -> bool {
        self.adopted
    }

    /// Sends a signal. To a child that is gone: nothing happens.
    ///
    /// # Errors
    /// No keeper.
    pub async fn signal(&self, signal: i32, scope: Scope) -> Result<(), KeeperGone> {
        self.ask(Control::Signal { id: self.id, signal, scope }).await
    }

    /// Ends the whole tree by force. The ticket may be dropped; the tree ends all the same.
    ///
    /// # Errors
    /// No keeper.
    pub async fn end_tree(&self) -> Result<EndedTree, KeeperGone> {
        let (reply, answer) = oneshot::channel();
        self.ask(Control::EndTree { id: self.id, reply }).await?;
        Ok(EndedTree(answer))
    }

    /// Closes every copy of the write end of its stdin but the one in [`Child::ends`], which the owner closes: then the
    /// child reads the end of its input.
    ///
    /// # Errors
    /// No keeper.
    pub async fn close_stdin(&self) -> Result<(), KeeperGone> {
        self.ask(Control::Release { name: format!("stdin:{}", self.id) }).await
    }

    /// Waits for its exit: the main process is reaped and its tree is empty (but for what the report calls stuck).
    ///
    /// # Errors
    /// The keeper ended first; the exit will be told to the next daemon.
    ///
    /// # Cancel safety
    /// Safe: a dropped wait loses nothing, and a second call gives the same report.
    pub async fn exit(&mut self) -> Result<ExitReport, KeeperGone> {
        if self.exited.is_none() {
            let report = (&mut self.exit).await.map_err(|_| KeeperGone)?;
            self.exited = Some(report);
        }
        self.exited.clone().ok_or(KeeperGone)
    }

    /// The right to say that the exit is recorded.
    #[must_use]
    pub fn ack(&self) -> ExitAck {
        ExitAck { id: self.id, control: self.control.clone() }
    }

    /// Replaces the note for the next daemon, at most 4 KiB.
    ///
    /// # Errors
    /// No keeper.
    pub async fn set_blob(&mut self, blob: String) -> Result<(), KeeperGone> {
        self.blob.clone_from(&blob);
        self.ask(Control::SetBlob { id: self.id, blob }).await
    }

    async fn ask(&self, control: Control) -> Result<(), KeeperGone> {
        self.control.send(control).await.map_err(|_| KeeperGone)
    }
}

/// The answer to [`Child::end_tree`].
#[derive(Debug)]
pub struct EndedTree(oneshot::Receiver<Vec<u32>>);

impl EndedTree {
    /// Waits until the tree is empty; gives the pids that would not go.
    ///
    /// # Errors
    /// The keeper ended first.
    pub async fn stuck(self) -> Result<Vec<u32>, KeeperGone> {
        self.0.await.map_err(|_| KeeperGone)
    }
}

/// Held by whoever records an exit. Until it is confirmed the keeper tells the exit to each new daemon again.
#[derive(Debug, Clone)]
pub struct ExitAck {
    id: SpawnId,
    control: mpsc::Sender<Control>,
}

impl ExitAck {
    /// Which spawn.
    #[must_use]
    pub const fn id(&self) -> SpawnId {
        self.id
    }

    /// The row that records the exit is committed: the keeper may forget the child. Without a keeper nothing happens and
    /// the next daemon hears of the exit once more.
    pub async fn confirm(self) {
        // A gone keeper keeps the exit; that is the documented outcome, not an error.
        let _gone = self.control.send(Control::Ack { id: self.id }).await;
    }
}
