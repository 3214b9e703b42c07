//! The owner task of one instance: one wait point, each wake-up becomes one event of the machine.

mod commands;

use std::collections::VecDeque;
use std::future::Future;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use ganger_core::{BreakerState, InstanceId, InstanceKind, InstanceState};
use ganger_keeper::wire::{ExitReport, Plan};
use ganger_process::{Child, Ends, KeeperGone, SpawnError};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::blob::{Blob, fingerprint};
use super::handle::{Command, InstanceNotice, Reply};
use super::outbox::{Item, Outbox};
use super::record::{breaker_event, exit_event, how, ready_event, state_event, view, wall_ms};
use super::start::{Begin, Surroundings};
use super::state::{Action, Adopted, Event, Machine, State, Waiting};
use crate::ready::{Found, NotifySocket, Probe};
use crate::spec::{InstanceSpec, ReadyBy, Stop};
use crate::view::InstanceView;

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
    Born(Result<Child, SpawnError>),
    Exited(Result<ExitReport, KeeperGone>),
    TreeEnded(Result<Vec<u32>, KeeperGone>),
    Command(Option<Command>),
    Found(Found),
    Deadline,
    Permitted,
    Sent,
}

pub(super) struct Task {
    spec: Arc<InstanceSpec>,
    fingerprint: String,
    machine: Machine,
    child: Option<Child>,
    /// How the living child is ended: by the spec it was started from.
    stop: Stop,
    spawning: Option<Later<Result<Child, SpawnError>>>,
    ending: Option<Later<Result<Vec<u32>, KeeperGone>>>,
    /// The permit that is asked for; dropped when the machine no longer waits for it.
    asking: Option<Later<()>>,
    probe: Option<Probe>,
    notify: Option<NotifySocket>,
    held_notify: Option<OwnedFd>,
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
            machine: Machine::new(spec.policy(), ""),
            stop: spec.stop,
            spec,
            child: None,
            spawning: None,
            ending: None,
            asking: None,
            probe: None,
            notify: None,
            held_notify,
            commands,
            tickets: vec![],
            outbox,
            shown: None,
            around,
        }
    }

    /// Runs until every handle is dropped or the keeper is gone. Either way the process lives on.
    pub(super) async fn run(mut self, begin: Begin) {
        if self.begin(begin).await.is_err() {
            return;
        }
        loop {
            let wake = self.wait().await;
            if self.on_wake(wake).await.is_err() {
                return;
            }
        }
    }

    async fn begin(&mut self, begin: Begin) -> Result<(), KeeperGone> {
        match begin {
            Begin::AtRest(reason) => {
                self.machine = Machine::new(self.spec.policy(), reason);
                self.publish();
                Ok(())
            }
            Begin::Up => self.step(Event::Start).await,
            Begin::Resumed(resume) if !resume.is_rest() => self.step(Event::Start).await,
            Begin::Resumed(resume) => {
                let state = match resume.state {
                    InstanceState::Backoff => {
                        let left = resume.next_try_ms.unwrap_or(0).saturating_sub(wall_ms());
                        let until = Instant::now() + Duration::from_millis(left);
                        let open = match resume.breaker {
                            Some(breaker) => breaker == BreakerState::Open,
                            None => resume.reason.starts_with(super::state::BREAKER_OPEN),
                        };
                        let waiting = if open { Waiting::Breaker } else { Waiting::Retry };
                        State::Backoff { until: until.into_std(), waiting, asked: false }
                    }
                    InstanceState::Failed => State::Failed,
                    _ => State::Stopped { completed: resume.completed },
                };
                self.machine.resume(state, resume.reason, resume.restarts, resume.failures);
                self.publish();
                Ok(())
            }
            Begin::Adopted(child) => {
                let note = self.adopt(child).await?;
                let changed = note.spec != self.fingerprint;
                if changed { self.step(Event::Restart).await } else { Ok(()) }
            }
            Begin::Unwanted(child, why) => {
                self.adopt(child).await?;
                self.step(Event::Stop(why)).await
            }
        }
    }

    /// Takes over a child of a former daemon and gives what its note says.
    async fn adopt(&mut self, mut child: Child) -> Result<Blob, KeeperGone> {
        let blob = Blob::read(child.blob());
        let seen = Adopted {
            ready: blob.ready,
            stopping: blob.stopping.map(Into::into),
            age: Duration::from_millis(wall_ms().saturating_sub(child.started_at_ms())),
        };
        let now = Instant::now().into_std();
        let (machine, actions) = Machine::adopt(self.spec.policy(), seen, now);
        self.machine = machine;
        self.machine.set_counts(blob.restarts, blob.failures, blob.half_open);
        self.take_ends(&mut child, true);
        self.child = Some(child);
        if self.readiness() == Some(&ReadyBy::Notify) && self.open_notify().await.is_ok() {
            self.open_probe();
        }
        self.perform(actions).await?;
        self.publish();
        Ok(blob)
    }

    /// The one wait point. Order matters where several are due at once: an exit is seen before a command acts on it.
    async fn wait(&mut self) -> Wake {
        let deadline = self.machine.deadline().map(Instant::from_std);
        let Self { child, spawning, ending, asking, probe, commands, outbox, .. } = self;
        tokio::select! {
            biased;
            exit = async { child.as_mut().expect("the branch asks for a child").exit().await },
                if child.is_some() => Wake::Exited(exit),
            born = optional(spawning) => Wake::Born(born),
            stuck = optional(ending) => Wake::TreeEnded(stuck),
            command = commands.recv() => Wake::Command(command),
            found = async { probe.as_mut().expect("the branch asks for a probe").next().await },
                if probe.is_some() => Wake::Found(found),
            () = optional(asking) => Wake::Permitted,
            () = at(deadline) => Wake::Deadline,
            () = outbox.pump() => Wake::Sent,
        }
    }

    async fn on_wake(&mut self, wake: Wake) -> Result<(), KeeperGone> {
        match wake {
            Wake::Born(born) => self.on_born(born).await,
            Wake::Exited(report) => self.on_exit(report?).await,
            Wake::TreeEnded(stuck) => {
                self.ending = None;
                self.step(Event::TreeEnded(stuck?)).await
            }
            Wake::Command(command) => self.on_command(command.ok_or(KeeperGone)?).await,
            Wake::Found(Found::Ready) => self.step(Event::Ready).await,
            Wake::Found(Found::Never(why)) => {
                self.probe = None;
                self.step(Event::NeverReady(why)).await
            }
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
                self.take_ends(&mut child, false);
                self.child = Some(child);
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
        self.probe = None;
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
                Action::EndProbe => {
                    self.probe = self.probe.take().and_then(Probe::after_ready);
                }
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
        self.leave_note().await
    }

    fn ask(&mut self) {
        let (permits, id) = (self.around.permits.clone(), self.spec.id().clone());
        let gave_up = self.machine.breaker() == BreakerState::Open;
        let ask = permits.ask(id, self.spec.priority, self.machine.crashes(), gave_up);
        self.asking = Some(Box::pin(ask));
    }

    async fn spawn(&mut self) -> Result<(), KeeperGone> {
        self.stop = self.spec.stop;
        let plan = match self.plan().await {
            Ok(plan) => plan,
            Err(why) => {
                let refused = SpawnError::Refused { instance: self.spec.id().clone(), why };
                self.spawning = Some(Box::pin(std::future::ready(Err(refused))));
                return Ok(());
            }
        };
        let processes = self.around.processes.clone();
        self.spawning = Some(Box::pin(async move { processes.spawn(plan, vec![]).await }));
        Ok(())
    }

    /// The plan of the next start: the spec's with this start's note and, where asked for, a notify socket.
    async fn plan(&mut self) -> Result<Plan, String> {
        let mut plan = self.spec.plan.clone();
        plan.blob = self.note();
        if self.readiness() == Some(&ReadyBy::Notify) {
            self.open_notify().await?;
            if let Some(socket) = &self.notify {
                socket.forget();
                plan.env.set("NOTIFY_SOCKET", socket.name());
            }
        }
        Ok(plan)
    }

    async fn open_notify(&mut self) -> Result<(), String> {
        if self.notify.is_some() {
            return Ok(());
        }
        let (id, profile) = (self.spec.id(), &self.spec.plan.profile);
        let held = self.held_notify.take();
        let socket = NotifySocket::open(&self.around.run_dir, id, profile, held)
            .map_err(|error| error.to_string())?;
        if let Some(copy) = socket.to_hold() {
            // Without a keeper the start itself fails next and says so.
            let _gone = self.around.processes.hold(NotifySocket::held_name(id), copy).await;
        }
        self.notify = Some(socket);
        Ok(())
    }

    fn readiness(&self) -> Option<&ReadyBy> {
        self.spec.ready.as_ref().map(|ready| &ready.by)
    }

    fn open_probe(&mut self) {
        let Some(child) = &self.child else { return };
        if self.probe.is_some() {
            return;
        }
        let socket = self.notify.as_ref();
        let started = child.started_at_ms();
        self.probe = self
            .readiness()
            .and_then(|by| Probe::open(by, self.spec.id(), started, socket, &self.around.logs));
    }

    /// Tells the holder of the process and hands it the ends; a service's own channel is read here.
    fn take_ends(&mut self, child: &mut Child, adopted: bool) {
        let mut ends = std::mem::take(&mut child.ends);
        let own = self.spec.plan.kind == InstanceKind::Service
            && self.readiness() == Some(&ReadyBy::Channel);
        if own && let Some(channel) = ends.channel.take() {
            self.probe = Probe::channel(channel);
        }
        self.tell_started(child, adopted, ends);
    }

    fn tell_started(&mut self, child: &Child, adopted: bool, ends: Ends) {
        self.outbox.notice(InstanceNotice::Started {
            spawn: child.id(),
            pid: child.pid(),
            started_at_ms: child.started_at_ms(),
            adopted,
            ends,
        });
    }

    fn note(&self) -> String {
        let readiness = self.spec.ready.is_some();
        Blob::of(&self.machine, self.fingerprint.clone(), readiness).write()
    }

    /// Keeps the living child's note true for the next daemon.
    async fn leave_note(&mut self) -> Result<(), KeeperGone> {
        let note = self.note();
        match &mut self.child {
            Some(child) if child.blob() != note => child.set_blob(note).await,
            _ => Ok(()),
        }
    }

    /// Says what changed, and answers the tickets that are settled by it.
    fn publish(&mut self) {
        let now = Instant::now().into_std();
        let spec = &self.spec;
        let new = view(spec.id(), spec.plan.kind, &self.machine, self.child.as_ref(), now);
        let old = self.shown.take();
        let same = old.as_ref().is_some_and(|old| is_same(old, &new));
        let new = if same { old.clone().unwrap_or_else(|| Arc::new(new)) } else { Arc::new(new) };
        self.shown = Some(Arc::clone(&new));
        if !same {
            self.outbox.notice(InstanceNotice::State(Arc::clone(&new)));
            let before = old.as_ref().map_or(InstanceState::Stopped, |old| old.state);
            let moved = match &old {
                Some(old) => old.state != new.state || old.reason != new.reason,
                None => new.state != InstanceState::Stopped,
            };
            if moved {
                self.outbox.tell(Item::Now(Box::new(state_event(before, &new))));
            }
            let breaker = old.as_ref().map_or(BreakerState::Closed, |old| old.breaker);
            if new.breaker != breaker && old.is_some() {
                self.outbox.tell(Item::Now(Box::new(breaker_event(breaker, &new))));
            }
            if new.ready && before != new.state && self.spec.ready.is_some() {
                self.outbox.tell(Item::Now(Box::new(ready_event(spec.id()))));
            }
        }
        self.settle(&new);
    }

    fn settle(&mut self, view: &InstanceView) {
        for (goal, reply) in std::mem::take(&mut self.tickets) {
            match outcome(&goal, self.machine.state(), view) {
                // Who no longer waits needs no answer.
                Some(answer) => drop(reply.send(answer).err()),
                None => self.tickets.push((goal, reply)),
            }
        }
    }
}

fn outcome(goal: &Goal, state: &State, view: &InstanceView) -> Option<Result<(), String>> {
    match (goal, state) {
        (Goal::Up, State::Running { .. } | State::Stopped { completed: true }) => Some(Ok(())),
        (Goal::Up, State::Stopped { .. } | State::Backoff { .. } | State::Failed) => {
            Some(Err(view.reason.clone()))
        }
        (Goal::Down, State::Stopped { .. } | State::Failed) => Some(Ok(())),
        (Goal::Gone, State::Stopped { .. } | State::Failed | State::Backoff { .. }) => Some(Ok(())),
        (Goal::Down | Goal::Gone, State::Starting { .. } | State::Running { .. }) => {
            Some(Err("it was started again meanwhile".into()))
        }
        _ => None,
    }
}

/// Equal but for the next try's wall-clock time, which is computed anew each time.
fn is_same(old: &InstanceView, new: &InstanceView) -> bool {
    old.next_try_ms.is_some() == new.next_try_ms.is_some()
        && *old == InstanceView { next_try_ms: old.next_try_ms, ..new.clone() }
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
