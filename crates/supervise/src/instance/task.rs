//! The owner task of one instance: one wait point, each wake-up becomes one event of the machine.

mod begin;
mod commands;
mod launch;
mod publish;
mod signs;
mod worker;

use std::collections::VecDeque;
use std::future::Future;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::Arc;

use ganger_core::{BreakerState, InstanceId};
use ganger_keeper::wire::{ExitReport, Scope};
use ganger_process::{Child, KeeperGone, SpawnError};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::blob::{Blob, fingerprint};
use super::handle::{Command, InstanceNotice, Reply};
use super::outbox::{Item, Outbox};
use super::record::{exit_event, how};
use super::start::{Begin, Surroundings};
use super::state::{Action, Event, Machine, State};
use crate::ready::{NotifySocket, Sign, Watch};
use crate::spec::{InstanceSpec, Stop};
use crate::view::{InstanceView, Signs};
use signs::{Refusals, SaidReady};
use worker::Worker;

/// What a watchdog that was silent gets: its default leaves a core (signal(7)).
const SIGABRT: i32 = 6;

type Later<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What a ticket waits for.
enum Goal {
    Up,
    Down,
    /// No process, whatever is to follow.
    Gone,
}

/// What woke the task.
enum Wake {
    Born(Box<Result<Child, SpawnError>>),
    Exited(Result<ExitReport, KeeperGone>),
    TreeEnded(Result<Vec<u32>, KeeperGone>),
    Command(Option<Command>),
    Sign(Sign),
    Deadline,
    Permitted,
    Sent,
}

pub(super) struct Task {
    spec: Arc<InstanceSpec>,
    fingerprint: String,
    /// The process is of another spec than the next one will be.
    outdated: bool,
    machine: Machine,
    child: Option<Child>,
    /// How the living child is ended: by the spec it was started from.
    stop: Stop,
    spawning: Option<Later<Result<Child, SpawnError>>>,
    ending: Option<Later<Result<Vec<u32>, KeeperGone>>>,
    /// The permit that is asked for; dropped when the machine no longer waits for it.
    asking: Option<Later<()>>,
    watch: Watch,
    /// What was said before its stage of the start asked for it.
    said: SaidReady,
    board: Option<watch::Sender<Signs>>,
    refusals: Refusals,
    notify: Option<NotifySocket>,
    held_notify: Option<OwnedFd>,
    /// Of a process that gets its connections over its channel.
    worker: Option<Box<Worker>>,
    commands: mpsc::Receiver<Command>,
    tickets: Vec<(Goal, Reply)>,
    outbox: Outbox,
    shown: Option<Arc<InstanceView>>,
    around: Surroundings,
}

impl Task {
    pub(super) fn new(
        spec: Arc<InstanceSpec>,
        held_notify: Option<OwnedFd>,
        around: Surroundings,
        notices: mpsc::Sender<(InstanceId, InstanceNotice)>,
        commands: mpsc::Receiver<Command>,
    ) -> Self {
        let outbox = Outbox::new(spec.id().clone(), notices, around.told.clone());
        Self {
            fingerprint: fingerprint(&spec),
            outdated: false,
            machine: Machine::new(spec.policy(), ""),
            stop: spec.stop,
            spec,
            child: None,
            spawning: None,
            ending: None,
            asking: None,
            watch: Watch::default(),
            said: SaidReady::default(),
            board: None,
            refusals: Refusals::default(),
            notify: None,
            held_notify,
            worker: None,
            commands,
            tickets: vec![],
            outbox,
            shown: None,
            around,
        }
    }

    /// Runs until every handle is dropped or the keeper is gone. Either way the process lives on.
    ///
    /// A thousand instances hold this future for days: it keeps no room for itself twice (as an argument and as what is
    /// used), nor for what is waited for in a moment only.
    pub(super) async fn run(mut self: Box<Self>, begin: Box<Begin>) {
        if Box::pin(self.begin(*begin)).await.is_err() {
            return;
        }
        loop {
            let wake = self.wait().await;
            if Box::pin(self.on_wake(wake)).await.is_err() {
                return;
            }
        }
    }

    /// The one wait point. Order matters where several are due at once: an exit is seen before a command acts on it.
    async fn wait(&mut self) -> Wake {
        let deadline = self.machine.deadline().map(Instant::from_std);
        let Self { child, spawning, ending, asking, watch, commands, outbox, .. } = self;
        tokio::select! {
            biased;
            exit = async { child.as_mut().expect("the branch asks for a child").exit().await },
                if child.is_some() => Wake::Exited(exit),
            born = optional(spawning) => Wake::Born(Box::new(born)),
            stuck = optional(ending) => Wake::TreeEnded(stuck),
            command = commands.recv() => Wake::Command(command),
            () = optional(asking) => Wake::Permitted,
            () = at(deadline) => Wake::Deadline,
            () = outbox.pump() => Wake::Sent,
            // Last: a process that talks without end must not keep its own deadlines from being met.
            sign = watch.next(), if watch.any() => Wake::Sign(sign),
        }
    }

    async fn on_wake(&mut self, wake: Wake) -> Result<(), KeeperGone> {
        match wake {
            Wake::Born(born) => self.on_born(*born).await,
            Wake::Exited(report) => self.on_exit(report?).await,
            Wake::TreeEnded(stuck) => {
                self.ending = None;
                self.step(Event::TreeEnded(stuck?)).await
            }
            Wake::Command(command) => self.on_command(command.ok_or(KeeperGone)?).await,
            Wake::Sign(sign) => self.on_sign(sign).await,
            Wake::Deadline => self.step(Event::Deadline).await,
            Wake::Permitted => {
                self.asking = None;
                self.step(Event::Permitted).await
            }
            Wake::Sent => Ok(()),
        }
    }

    async fn on_born(&mut self, born: Result<Child, SpawnError>) -> Result<(), KeeperGone> {
        self.spawning = None;
        match born {
            Ok(mut child) => {
                self.take_ends(&mut child, false).await;
                self.child = Some(child);
                self.listen();
                self.step(Event::Spawned).await
            }
            Err(SpawnError::KeeperGone(gone)) => Err(gone),
            Err(error) => self.step(Event::CouldNotSpawn(error.to_string())).await,
        }
    }

    /// The machine comes first: a replacement's start leaves in this wake-up, the record follows.
    async fn on_exit(&mut self, report: ExitReport) -> Result<(), KeeperGone> {
        let Some(child) = self.child.take() else { return Ok(()) };
        self.ending = None;
        let asked = matches!(self.machine.state(), State::Stopping { .. });
        let success = report.end.is_success();
        let (cause, stuck) = (report.end.failure_cause(), report.stuck.clone());
        let event = Event::Exited { success, cause, how: how(&report), stuck };
        let actions = self.machine.step(event, Instant::now().into_std(), fastrand::f64());
        self.end_watch();
        self.end_worker().await;
        self.perform(actions).await?;
        self.outbox.notice(InstanceNotice::Ended(report.clone()));
        let words =
            (!success && !asked).then(|| (self.around.processes.clone(), self.around.logs.clone()));
        let told = exit_event(report, child.ack(), words);
        self.outbox.tell(Item::Soon(Box::pin(told)));
        self.publish();
        Ok(())
    }

    async fn step(&mut self, event: Event) -> Result<(), KeeperGone> {
        let actions = self.machine.step(event, Instant::now().into_std(), fastrand::f64());
        self.perform(actions).await?;
        self.publish();
        Ok(())
    }

    async fn perform(&mut self, actions: Vec<Action>) -> Result<(), KeeperGone> {
        let mut actions = VecDeque::from(actions);
        while let Some(action) = actions.pop_front() {
            match action {
                Action::Spawn => self.spawn().await?,
                Action::Ask if self.around.permits.is_free() => {
                    let now = Instant::now().into_std();
                    actions.extend(self.machine.step(Event::Permitted, now, 0.0));
                }
                Action::Ask => self.ask(),
                Action::Probe => self.open_probe(),
                Action::EndProbe => self.watch.stage = None,
                Action::Abort => {
                    if let Some(child) = &self.child {
                        child.signal(SIGABRT, Scope::Main).await?;
                    }
                }
                Action::Drain => self.drain_worker().await,
                // Without its channel it gets the signal.
                Action::Signal if self.stop.message && self.send_shutdown().await => {}
                Action::Signal => {
                    if let Some(child) = &self.child {
                        child.signal(self.stop.signal, self.stop.scope).await?;
                    }
                }
                Action::EndTree => {
                    if let Some(child) = &self.child {
                        let ended = child.end_tree().await?;
                        self.ending = Some(Box::pin(ended.stuck()));
                    }
                }
            }
        }
        if !self.machine.asks() {
            self.asking = None;
        }
        self.follow_live();
        self.leave_note().await
    }

    fn ask(&mut self) {
        let (permits, id) = (self.around.permits.clone(), self.spec.id().clone());
        let gave_up = self.machine.breaker() == BreakerState::Open;
        let ask = permits.ask(id, self.spec.priority, self.machine.crashes(), gave_up);
        self.asking = Some(Box::pin(ask));
    }

    fn note(&self) -> String {
        let readiness = self.spec.ready.is_some() || self.spec.startup.is_some();
        let blob = Blob::of(&self.machine, self.fingerprint.clone(), readiness);
        Blob { worker: self.worker.as_ref().map(|worker| worker.note()), ..blob }.write()
    }

    /// Keeps the living child's note true for the next daemon.
    async fn leave_note(&mut self) -> Result<(), KeeperGone> {
        let note = self.note();
        match &mut self.child {
            Some(child) if child.blob() != note => child.set_blob(note).await,
            _ => Ok(()),
        }
    }
}

async fn optional<T>(later: &mut Option<Later<T>>) -> T {
    match later {
        Some(later) => later.await,
        None => std::future::pending().await,
    }
}

async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
