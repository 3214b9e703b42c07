//! Checks that are programs: one task for the daemon runs them, through the keeper like every child.
//!
//! ```text
//!  instance ── run ──► in line ──► running ── exit 0 ─────────────► good
//!                        │ at most AT_ONCE;  │ other exit ────────► bad: the code and its last line of stderr
//!                        │ one per instance  │ time over ─────────► bad; its tree is ended, and only then
//!                        │                   │ nobody waits ──────► the instance's next check may run
//!                        └ too long in line ► unasked
//! ```
//!
//! A check that a former daemon left running is ended first.

use std::collections::{HashMap, VecDeque};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use ganger_core::{Dur, InstanceId, InstanceKind};
use ganger_keeper::wire::{ExitReport, Output, Plan, Stdin};
use ganger_process::{Child, Processes};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{Id, JoinSet};
use tokio::time::{sleep, timeout};

use super::Bad;
use crate::spec::ExecCheck;

/// Programs at once, for the whole daemon: a check costs two processes' worth of work on a machine that may be short of it.
const AT_ONCE: usize = 16;
/// How long a check may stand in line, or wait for the end of the one before it. Longer says something about the machine,
/// not about the process.
const LINE_WAIT: Duration = Duration::from_secs(10);
/// Checks on their way to the runner; instances that find it full wait a little earlier.
const ORDERS: usize = 256;
/// What is kept of a check's stderr; the kernel refuses it more (EPERM).
const STDERR_MAX: u64 = 64 << 10;
/// Of the last line, in a reason: characters.
const LINE_MAX: usize = 200;
/// In an instance's name: no service or pool may be called so.
const SUFFIX: &str = ":check";

struct Order {
    plan: Plan,
    limit: Duration,
    reply: oneshot::Sender<Result<(), Bad>>,
}

/// Way to the runner of checks; cheap to clone. The default runs none.
#[derive(Debug, Clone, Default)]
pub struct Execs(Option<mpsc::Sender<Order>>);

impl std::fmt::Debug for Order {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Order").field("instance", &self.plan.instance).finish_non_exhaustive()
    }
}

impl Execs {
    /// Runs one check. Dropping the future ends its tree.
    pub(crate) async fn run(&self, plan: Plan, limit: Duration) -> Result<(), Bad> {
        let none = || Bad::Unasked("nobody runs checks by program here".into());
        let sender = self.0.as_ref().ok_or_else(none)?;
        let (reply, answer) = oneshot::channel();
        let asked = async {
            sender.send(Order { plan, limit, reply }).await.map_err(|_| none())?;
            answer.await.map_err(|_| none())?
        };
        match timeout(limit + LINE_WAIT, asked).await {
            Ok(answer) => answer,
            Err(_) => {
                Err(Bad::Unasked("the check before it has not ended, or too many wait".into()))
            }
        }
    }
}

/// The runner, to be spawned; it ends when every [`Execs`] is dropped or the keeper is gone. `left` are checks of a former
/// daemon ([`is_check`]): they are ended.
pub fn start(processes: Processes, left: Vec<Child>) -> (Execs, impl Future<Output = ()> + Send) {
    let (sender, orders) = mpsc::channel(ORDERS);
    let runner = Runner {
        processes,
        orders,
        line: VecDeque::new(),
        runs: JoinSet::new(),
        busy: HashMap::new(),
    };
    (Execs(Some(sender)), runner.run(left))
}

/// A child that is a check.
#[must_use]
pub fn is_check(child: &Child) -> bool {
    child.instance().name.ends_with(SUFFIX)
}

/// The plan of a check of the instance that was started from `of` and whose main process is `main`.
pub(super) fn plan(check: &ExecCheck, of: &Plan, main: u32) -> Plan {
    let instance = InstanceId::new(format!("{}{SUFFIX}", of.instance.name), of.instance.slot);
    let mut plan = Plan {
        env: of.env.clone(),
        cwd: of.cwd.clone(),
        profile: of.profile.clone(),
        stdin: Stdin::Null,
        stdout: Output::Null,
        stderr: Output::Capture { cap_bytes: STDERR_MAX },
        ..Plan::new(instance, InstanceKind::Command, &check.program, check.argv.clone())
    };
    // As systemd's commands have it.
    plan.env.set("MAINPID", main.to_string());
    // It gets none of the service's sockets.
    plan.env.unset("LISTEN_FDS");
    plan.env.unset("LISTEN_FDNAMES");
    plan
}

struct Runner {
    processes: Processes,
    orders: mpsc::Receiver<Order>,
    line: VecDeque<Order>,
    runs: JoinSet<()>,
    busy: HashMap<Id, InstanceId>,
}

impl Runner {
    async fn run(mut self, left: Vec<Child>) {
        for child in left {
            let id = child.instance().clone();
            let run = self.runs.spawn(end(child));
            self.busy.insert(run.id(), id);
        }
        loop {
            self.begin();
            tokio::select! {
                order = self.orders.recv(), if self.line.len() < ORDERS => match order {
                    Some(order) => self.line.push_back(order),
                    None => return,
                },
                Some(done) = self.runs.join_next_with_id(), if !self.runs.is_empty() => {
                    let id = match done {
                        Ok((id, ())) => id,
                        Err(error) => error.id(),
                    };
                    self.busy.remove(&id);
                }
            }
        }
    }

    /// Begins what may begin, in order.
    fn begin(&mut self) {
        self.line.retain(|order| !order.reply.is_closed());
        let mut at = 0;
        while at < self.line.len() && self.busy.len() < AT_ONCE {
            if self.busy.values().any(|busy| *busy == self.line[at].plan.instance) {
                at += 1;
                continue;
            }
            let Some(order) = self.line.remove(at) else { return };
            let id = order.plan.instance.clone();
            let run = self.runs.spawn(carry_out(self.processes.clone(), order));
            self.busy.insert(run.id(), id);
        }
    }
}

/// Runs one check and answers; it is over when its tree is.
async fn carry_out(processes: Processes, order: Order) {
    let Order { plan, limit, mut reply } = order;
    let mut child = match processes.spawn(plan, vec![]).await {
        Ok(child) => child,
        Err(error) => {
            // Who no longer waits needs no answer.
            let _gone = reply.send(Err(Bad::Unasked(error.to_string())));
            return;
        }
    };
    let stderr = child.ends.stderr.take();
    let report = tokio::select! {
        report = child.exit() => Some(report),
        () = sleep(limit) => None,
        () = reply.closed() => None,
    };
    match report {
        Some(Ok(report)) => {
            child.ack().confirm().await;
            let _gone = reply.send(judge(&report, stderr));
        }
        Some(Err(gone)) => {
            let _gone = reply.send(Err(Bad::Unasked(gone.to_string())));
        }
        None => {
            let _gone =
                reply.send(Err(Bad::No(format!("its check took longer than {}", Dur(limit)))));
            end(child).await;
        }
    }
}

async fn end(mut child: Child) {
    // Without a keeper nothing can be ended; the next one does it before it starts anything.
    drop(child.end_tree().await);
    if child.exit().await.is_ok() {
        child.ack().confirm().await;
    }
}

fn judge(report: &ExitReport, stderr: Option<OwnedFd>) -> Result<(), Bad> {
    if report.end.is_success() {
        return Ok(());
    }
    let said = stderr.and_then(last_line).map_or(String::new(), |line| format!(": {line}"));
    Err(Bad::No(format!("its check {}{said}", report.end)))
}

fn last_line(stderr: OwnedFd) -> Option<String> {
    let file = std::fs::File::from(stderr);
    let mut bytes = vec![0; usize::try_from(STDERR_MAX).unwrap_or(0)];
    let read = file.read_at(&mut bytes, 0).ok()?;
    let text = String::from_utf8_lossy(&bytes[..read]);
    let line = text.lines().rev().map(str::trim).find(|line| !line.is_empty())?;
    Some(line.chars().filter(|c| !c.is_control()).take(LINE_MAX).collect())
}
