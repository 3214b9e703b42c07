//! The owner task of one place of a `command` pool.

use std::collections::VecDeque;
use std::future::Future;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use ganger_core::{InstanceId, InstanceKind, InstanceState, TaskId, Token};
use ganger_keeper::wire::{ExitReport, Scope};
use ganger_process::{Child, ExitAck, KeeperGone, SpawnError};
use ganger_queue::{Attempt, How, Now};
use ganger_supervise::InstanceView;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::output::judge;
use super::start::{note_of, plan};
use crate::attempt::{Answers, FromWorker, Joining, Report, Stop, ToWorker};
use crate::dispatcher::{Msg, now, until};
use crate::error::PoolError;
use crate::pace::{Pace, Room};
use crate::spec::PoolSpec;
use crate::template::Template;
use crate::worker::load::{Expired, Load, Manner, Stopped};
use crate::worker::{
    COMMANDS, Claimed, Command, ORDERS, Reply, Shared, WorkerHandle, attempt_of, failed,
    last_words, words_since,
};

/// What a runner begins with.
#[derive(Debug)]
pub(crate) struct RunnerParts {
    pub key: u64,
    pub slot: u32,
    pub spec: Arc<PoolSpec>,
    /// Processes of a former daemon in this place.
    pub adopted: Vec<Child>,
    pub claimed: Claimed,
    pub shared: Shared,
}

/// The owner task's state.
pub(crate) struct Runner {
    key: u64,
    id: InstanceId,
    spec: Arc<PoolSpec>,
    template: Template,
    shared: Shared,
    orders: mpsc::Receiver<ToWorker>,
    commands: mpsc::Receiver<Command>,
    view: watch::Sender<Option<Arc<InstanceView>>>,
    load: Load,
    pace: Pace,
    busy_since: Instant,
    stage: Stage,
    /// Processes of a former daemon that wait for their turn to be watched.
    adopted: VecDeque<Child>,
    stopped: Option<Stopping>,
    reports: Vec<Report>,
    began: Vec<(TaskId, Token, Option<u32>, Now)>,
    told: (Room, u32),
    /// Ends being judged: reading the output and the last words takes a moment.
    judging: JoinSet<(TaskId, How, Option<ExitAck>)>,
    answers: u64,
    /// Exits to acknowledge once so many answers are committed.
    acks: VecDeque<(u64, ExitAck)>,
    leaving: bool,
    /// When the process before this one ended, milliseconds since 1970.
    last_end_ms: u64,
}

enum Stage {
    Idle,
    Spawning(TaskId, Pin<Box<dyn Future<Output = Result<Child, SpawnError>> + Send>>),
    Running(Box<Running>),
}

struct Running {
    task: Option<TaskId>,
    child: Child,
    stdout: Option<OwnedFd>,
}

struct Stopping {
    why: String,
    leave: bool,
    reply: Option<Reply>,
    until: Instant,
    forced: bool,
}

enum Wake {
    Order(Option<ToWorker>),
    Command(Option<Command>),
    Born(Result<Child, SpawnError>),
    Exited(Result<ExitReport, KeeperGone>),
    Judged((TaskId, How, Option<ExitAck>)),
    Time,
}

impl Runner {
    /// Joins the dispatcher's table. The runner itself is to be run by the caller.
    pub(crate) async fn new(parts: RunnerParts) -> Result<(Self, WorkerHandle), PoolError> {
        let RunnerParts { key, slot, spec, adopted, claimed, shared } = parts;
        let template = template(&spec)?;
        let (order, orders) = mpsc::channel(ORDERS);
        let (command, commands) = mpsc::channel(COMMANDS);
        let (show, view) = watch::channel(None);
        let id = InstanceId::new(&spec.name, slot);
        let joining = Joining {
            key,
            name: id.to_string().into(),
            queues: spec.queues.iter().map(|q| q.as_str().into()).collect(),
            lanes: 1,
            to: order,
        };
        let attempts = claimed.iter().map(|row| (row.row.id, row.token)).collect();
        let now = now();
        let grace = spec.instance.stop.timeout;
        let mut load = Load::new(Manner { lanes: 1, window: 1, grace });
        let mut reports = Vec::new();
        let note = adopted.first().and_then(note_of);
        for row in claimed {
            let runs = note.as_ref().is_some_and(|n| (n.task, n.token) == (row.row.id, row.token));
            let (id, token) = (row.row.id, row.token);
            if runs {
                load.adopt(attempt_of(row, key), now);
            } else {
                // Never started: there would be a process, or its exit.
                reports.push(Report { id, token, began: None, pid: None, how: How::Released });
            }
        }
        for msg in [Msg::Join(joining), Msg::Adopt { key, attempts }] {
            // A closed inbox means shutdown; the first wait sees it too.
            let _ = shared.tell.send(msg).await;
        }
        let stopped = spec.stopped.then(|| Stopping {
            why: "stopped".into(),
            leave: false,
            reply: None,
            until: now.at,
            forced: false,
        });
        let runner = Self {
            key,
            id,
            spec,
            template,
            shared,
            orders,
            commands,
            view: show,
            load,
            pace: Pace::default(),
            busy_since: now.at,
            stage: Stage::Idle,
            adopted: adopted.into(),
            stopped,
            reports,
            began: Vec::new(),
            told: (Room::default(), 0),
            judging: JoinSet::new(),
            answers: 0,
            acks: VecDeque::new(),
            leaving: false,
            last_end_ms: 0,
        };
        Ok((runner, WorkerHandle { key, commands: command, view }))
    }

    /// Runs until the place is given up, or the pool, the dispatcher or the keeper is gone.
    pub(crate) async fn run(mut self) {
        self.show();
        loop {
            if self.next(now()).await.is_err() || self.flush().await.is_err() {
                return;
            }
            if self.leaving && self.is_idle() {
                let _ = self.shared.tell.send(Msg::Leave { key: self.key }).await;
                return;
            }
            let wake = self.wait().await;
            let now = now();
            let goes_on = match wake {
                Wake::Order(Some(order)) => self.on_order(order, now).await,
                Wake::Command(Some(command)) => self.on_command(command, now),
                Wake::Born(born) => self.on_born(born, now).await,
                Wake::Exited(report) => report.map(|report| self.on_exit(report)),
                Wake::Judged((id, how, ack)) => {
                    self.on_judged(id, how, ack, now);
                    Ok(())
                }
                Wake::Time => self.on_time(now).await,
                Wake::Order(None) | Wake::Command(None) => Err(KeeperGone),
            };
            if goes_on.is_err() {
                return;
            }
        }
    }

    async fn wait(&mut self) -> Wake {
        let stop_due = self.stopped.as_ref().filter(|s| !s.forced && !self.load.is_empty());
        let due = [self.load.deadline(), stop_due.map(|s| s.until)].into_iter().flatten().min();
        let stage = async {
            match &mut self.stage {
                Stage::Idle => std::future::pending().await,
                Stage::Spawning(_, born) => Wake::Born(born.await),
                Stage::Running(running) => Wake::Exited(running.child.exit().await),
            }
        };
        tokio::select! {
            biased;
            wake = stage => wake,
            Some(Ok(judged)) = self.judging.join_next() => Wake::Judged(judged),
            order = self.orders.recv() => Wake::Order(order),
            command = self.commands.recv() => Wake::Command(command),
            () = until(due) => Wake::Time,
        }
    }

    /// Starts what is next, where nothing runs.
    async fn next(&mut self, now: Now) -> Result<(), KeeperGone> {
        if !matches!(self.stage, Stage::Idle) {
            return Ok(());
        }
        if let Some(mut child) = self.adopted.pop_front() {
            return self.watch_adopted(&mut child).await.map(|()| self.run_child(child));
        }
        if self.stopped.is_some() {
            self.reports.extend(self.load.take_back());
            return Ok(());
        }
        while matches!(self.stage, Stage::Idle) {
            let mut next = None;
            self.load.send(now, |attempt| {
                next = Some(attempt.clone());
                false
            });
            let Some(attempt) = next else { break };
            self.spawn(&attempt, now);
        }
        Ok(())
    }

    /// A process of a former daemon: whose attempt it is, or nobody's any more.
    async fn watch_adopted(&mut self, child: &mut Child) -> Result<(), KeeperGone> {
        if self.task_of(child).is_none() {
            drop(child.end_tree().await?);
        }
        Ok(())
    }

    fn task_of(&self, child: &Child) -> Option<TaskId> {
        let note = note_of(child)?;
        self.load.ids().any(|id| id == note.task).then_some(note.task)
    }

    fn run_child(&mut self, mut child: Child) {
        let task = self.task_of(&child);
        let stdout = child.ends.stdout.take();
        self.load.set_pid(child.pid());
        self.stage = Stage::Running(Box::new(Running { task, child, stdout }));
        self.show();
    }

    fn spawn(&mut self, attempt: &Attempt, now: Now) {
        let base = self.spec.slot(self.id.slot).plan;
        match plan(&base, &self.template, attempt) {
            Ok((plan, stdin)) => {
                let processes = self.shared.around.processes.clone();
                let born = async move { processes.spawn(plan, vec![stdin]).await };
                self.stage = Stage::Spawning(attempt.id, Box::pin(born));
            }
            Err(error) => {
                // The same payload would fail the same way.
                let how = match failed(error.to_string()) {
                    How::Error { error, .. } => {
                        How::Error { error, retryable: false, retry_after: None }
                    }
                    other => other,
                };
                self.reports.extend(self.load.answered(attempt.id, how, now));
                self.answers += 1;
            }
        }
    }

    async fn on_born(
        &mut self,
        born: Result<Child, SpawnError>,
        now: Now,
    ) -> Result<(), KeeperGone> {
        let Stage::Spawning(id, _) = std::mem::replace(&mut self.stage, Stage::Idle) else {
            return Ok(());
        };
        match born {
            Ok(child) => {
                if let Some(token) = self.load.token(id) {
                    self.began.push((id, token, Some(child.pid()), now));
                }
                self.run_child(child);
                // Its end was asked for while it was being started.
                if self.load.only_condemned_run() { self.end_by_force().await } else { Ok(()) }
            }
            Err(SpawnError::KeeperGone(gone)) => Err(gone),
            Err(error) => {
                self.reports.extend(self.load.answered(id, failed(error.to_string()), now));
                self.answers += 1;
                Ok(())
            }
        }
    }

    fn on_exit(&mut self, report: ExitReport) {
        let Stage::Running(running) = std::mem::replace(&mut self.stage, Stage::Idle) else {
            return;
        };
        let Running { task, child, stdout } = *running;
        let ack = child.ack();
        let Some(id) = task else {
            self.acks.push_back((self.answers, ack));
            return;
        };
        let around = &self.shared.around;
        let (processes, logs) = (around.processes.clone(), around.logs.clone());
        let since = words_since(child.started_at_ms(), self.last_end_ms);
        self.last_end_ms = report.at_ms;
        let instance = self.id.clone();
        let cap = self.spec.output_max;
        self.judging.spawn(async move {
            let end = report.end;
            let judged = tokio::task::spawn_blocking(move || judge(&end, stdout, cap)).await;
            let mut how = judged.unwrap_or_else(|_| failed("the daemon is shutting down"));
            if let How::Error { error, .. } | How::Crash(error) = &mut how {
                error.stderr = last_words(processes, logs, instance, since).await;
            }
            (id, how, Some(ack))
        });
    }

    fn on_judged(&mut self, id: TaskId, how: How, ack: Option<ExitAck>, now: Now) {
        self.pace.note(1, now.at.saturating_duration_since(self.busy_since));
        self.busy_since = now.at;
        self.reports.extend(self.load.answered(id, how, now));
        self.answers += 1;
        if let Some(ack) = ack {
            self.acks.push_back((self.answers, ack));
        }
        self.show();
    }

    async fn on_order(&mut self, order: ToWorker, now: Now) -> Result<(), KeeperGone> {
        let ToWorker { attempts, committed, stops } = order;
        if self.load.is_empty() {
            self.busy_since = now.at;
        }
        self.load.take(attempts);
        for stop in stops {
            self.stop(stop, now).await?;
        }
        let committed = committed.map_or(0, |Answers { count, .. }| count);
        while self.acks.front().is_some_and(|(at, _)| *at <= committed) {
            if let Some((_, ack)) = self.acks.pop_front() {
                ack.confirm().await;
            }
        }
        Ok(())
    }

    async fn stop(&mut self, stop: Stop, now: Now) -> Result<(), KeeperGone> {
        match self.load.stop(stop, now) {
            Stopped::Unknown => Ok(()),
            Stopped::Reported(report) => {
                self.reports.push(*report);
                Ok(())
            }
            Stopped::Ask => self.ask_to_end().await,
        }
    }

    async fn ask_to_end(&mut self) -> Result<(), KeeperGone> {
        match &self.stage {
            Stage::Running(running) => {
                let stop = self.spec.instance.stop;
                running.child.signal(stop.signal, stop.scope).await
            }
            Stage::Idle | Stage::Spawning(..) => Ok(()),
        }
    }

    async fn on_time(&mut self, now: Now) -> Result<(), KeeperGone> {
        for expired in self.load.expire(now) {
            match expired {
                Expired::Cancel(_) => self.ask_to_end().await?,
                Expired::Stuck(_) => self.end_by_force().await?,
                Expired::Began(..) => {}
            }
        }
        if let Some(stopping) = &mut self.stopped
            && stopping.until <= now.at
            && !stopping.forced
        {
            stopping.forced = true;
            self.end_by_force().await?;
        }
        Ok(())
    }

    async fn end_by_force(&mut self) -> Result<(), KeeperGone> {
        if let Stage::Running(running) = &self.stage {
            running.child.signal(15, Scope::Tree).await?;
            // The exit says the same.
            drop(running.child.end_tree().await?);
        }
        Ok(())
    }

    fn on_command(&mut self, command: Command, now: Now) -> Result<(), KeeperGone> {
        match command {
            Command::Start(reply) => {
                self.stopped = None;
                let _ = reply.send(Ok(()));
            }
            // Every task has a fresh process anyway.
            Command::Restart(reply) => drop(reply.send(Ok(()))),
            Command::Stop { why, leave, reply } => {
                let until = now.at + self.spec.drain;
                self.stopped =
                    Some(Stopping { why, leave, reply: Some(reply), until, forced: false });
            }
            Command::Replace(spec) => {
                if let Ok(template) = template(&spec) {
                    self.template = template;
                    self.spec = spec;
                }
            }
        }
        self.show();
        Ok(())
    }

    fn is_idle(&self) -> bool {
        matches!(self.stage, Stage::Idle)
            && self.judging.is_empty()
            && self.adopted.is_empty()
            && self.load.is_empty()
    }

    async fn flush(&mut self) -> Result<(), KeeperGone> {
        if self.is_idle()
            && let Some(stopping) = &mut self.stopped
        {
            self.leaving |= stopping.leave;
            if let Some(reply) = stopping.reply.take() {
                let _ = reply.send(Ok(()));
            }
        }
        let pid = match &self.stage {
            Stage::Running(running) => running.child.pid(),
            Stage::Idle | Stage::Spawning(..) => 0,
        };
        let room = match self.stopped {
            Some(_) => Room::default(),
            None => self.pace.room(1, self.spec.prefetch),
        };
        let quiet = self.reports.is_empty() && self.began.is_empty();
        if quiet && self.told == (room, pid) {
            return Ok(());
        }
        self.told = (room, pid);
        let note = FromWorker {
            key: self.key,
            reports: std::mem::take(&mut self.reports),
            began: std::mem::take(&mut self.began),
            answers: Answers { session: 0, count: self.answers },
            room,
            lanes: 1,
            pid,
        };
        self.shared.tell.send(Msg::Worker(note)).await.map_err(|_| KeeperGone)
    }

    fn show(&self) {
        let (state, pid, started_at_ms) = match &self.stage {
            Stage::Running(r) => {
                (InstanceState::Running, Some(r.child.pid()), Some(r.child.started_at_ms()))
            }
            Stage::Spawning(..) => (InstanceState::Starting, None, None),
            Stage::Idle => (InstanceState::Stopped, None, None),
        };
        let reason = match (&self.stopped, state) {
            (Some(stopping), _) => stopping.why.clone(),
            (None, InstanceState::Stopped) => "waits for a task".into(),
            (None, _) => String::new(),
        };
        let view = InstanceView {
            id: self.id.clone(),
            kind: InstanceKind::Command,
            state,
            ready: self.stopped.is_none(),
            pid,
            restarts: 0,
            failures: 0,
            started_at_ms,
            reason,
            next_try_ms: None,
            completed: false,
        };
        self.view.send_replace(Some(Arc::new(view)));
        // Full: a ring already waits.
        let _ = self.shared.changed.try_send(());
    }
}

/// The templates of a pool: every argument but the program's own name.
pub(crate) fn template(spec: &PoolSpec) -> Result<Template, PoolError> {
    let arguments = spec.instance.plan.argv.get(1..).unwrap_or_default();
    Template::parse(arguments)
        .map_err(|source| PoolError::Template { name: spec.name.clone(), source })
}
