//! The owner task of one place of a `command` pool.

use std::collections::VecDeque;
use std::future::Future;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use ganger_core::{InstanceId, TaskId, Token};
use ganger_keeper::wire::ExitReport;
use ganger_process::{Child, ExitAck, KeeperGone, SpawnError};
use ganger_queue::{How, Now};
use ganger_supervise::InstanceView;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::start::note_of;
use crate::attempt::{Joining, Report, ToWorker};
use crate::dispatcher::{Msg, now, until};
use crate::error::PoolError;
use crate::pace::{Pace, Room};
use crate::spec::PoolSpec;
use crate::template::Template;
use crate::worker::load::{Load, Manner};
use crate::worker::{
    COMMANDS, Claimed, Command, ORDERS, Reply, Shared, Words, WorkerHandle, attempt_of,
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
    pub(super) key: u64,
    pub(super) id: InstanceId,
    pub(super) spec: Arc<PoolSpec>,
    pub(super) template: Template,
    pub(super) shared: Shared,
    pub(super) orders: mpsc::Receiver<ToWorker>,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) view: watch::Sender<Option<Arc<InstanceView>>>,
    pub(super) load: Load,
    pub(super) pace: Pace,
    pub(super) busy_since: Instant,
    pub(super) stage: Stage,
    /// Processes of a former daemon that wait for their turn to be watched.
    pub(super) adopted: VecDeque<Child>,
    pub(super) stopped: Option<Stopping>,
    pub(super) reports: Vec<Report>,
    pub(super) began: Vec<(TaskId, Token, Option<u32>, Now)>,
    pub(super) told: (Room, u32),
    /// Ends being judged: reading the output and the last words takes a moment.
    pub(super) judging: JoinSet<(TaskId, How, Option<ExitAck>)>,
    pub(super) answers: u64,
    /// Exits to acknowledge once so many answers are committed.
    pub(super) acks: VecDeque<(u64, ExitAck)>,
    /// Ends by force under way: what would not go.
    pub(super) ending: JoinSet<Vec<u32>>,
    /// Of the present process: what could not be proven dead.
    pub(super) stuck: Vec<u32>,
    pub(super) leaving: bool,
    pub(super) words: Words,
}

pub(super) enum Stage {
    Idle,
    Spawning(TaskId, Pin<Box<dyn Future<Output = Result<Child, SpawnError>> + Send>>),
    Running(Box<Running>),
}

pub(super) struct Running {
    pub(super) task: Option<TaskId>,
    pub(super) child: Child,
    pub(super) stdout: Option<OwnedFd>,
}

pub(super) struct Stopping {
    pub(super) why: String,
    pub(super) leave: bool,
    pub(super) reply: Option<Reply>,
    pub(super) until: Option<Instant>,
    pub(super) forced: bool,
}

enum Wake {
    Order(Option<ToWorker>),
    Command(Option<Command>),
    Born(Box<Result<Child, SpawnError>>),
    Exited(Result<ExitReport, KeeperGone>),
    Judged((TaskId, How, Option<ExitAck>)),
    TreeEnded(Vec<u32>),
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
                reports.push(Report {
                    id,
                    token,
                    began: None,
                    pid: None,
                    said: None,
                    how: How::Released,
                });
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
            until: Some(now.at),
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
            ending: JoinSet::new(),
            stuck: Vec::new(),
            leaving: false,
            words: Words::default(),
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
                return self.leave().await;
            }
            let wake = self.wait().await;
            let now = now();
            let goes_on = match wake {
                Wake::Order(Some(order)) => self.on_order(order, now).await,
                Wake::Command(Some(command)) => self.on_command(command, now),
                Wake::Born(born) => self.on_born(*born, now).await,
                Wake::Exited(report) => report.map(|report| self.on_exit(report)),
                Wake::Judged((id, how, ack)) => {
                    self.on_judged(id, how, ack, now);
                    Ok(())
                }
                Wake::TreeEnded(stuck) => {
                    self.on_tree_ended(stuck);
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

    /// The place is given up. What is on its way here goes back; what comes later, the dispatcher keeps.
    async fn leave(&mut self) {
        self.orders.close();
        while let Some(order) = self.orders.recv().await {
            self.load.take(order.attempts);
        }
        let back = self.load.take_back();
        self.reports.extend(back);
        if self.flush().await.is_ok() {
            let _ = self.shared.tell.send(Msg::Leave { key: self.key }).await;
        }
    }

    async fn wait(&mut self) -> Wake {
        let stop_due = self.stopped.as_ref().filter(|s| !s.forced && !self.load.is_empty());
        let due =
            [self.load.deadline(), stop_due.and_then(|s| s.until)].into_iter().flatten().min();
        let stage = async {
            match &mut self.stage {
                Stage::Idle => std::future::pending().await,
                Stage::Spawning(_, born) => Wake::Born(Box::new(born.await)),
                Stage::Running(running) => Wake::Exited(running.child.exit().await),
            }
        };
        tokio::select! {
            biased;
            wake = stage => wake,
            Some(Ok(judged)) = self.judging.join_next() => Wake::Judged(judged),
            Some(ended) = self.ending.join_next() => Wake::TreeEnded(ended.unwrap_or_default()),
            order = self.orders.recv() => Wake::Order(order),
            command = self.commands.recv() => Wake::Command(command),
            () = until(due) => Wake::Time,
        }
    }
}

/// The templates of a pool: every argument but the program's own name.
pub(crate) fn template(spec: &PoolSpec) -> Result<Template, PoolError> {
    let arguments = spec.instance.plan.argv.get(1..).unwrap_or_default();
    Template::parse(arguments)
        .map_err(|source| PoolError::Template { name: spec.name.clone(), source })
}
