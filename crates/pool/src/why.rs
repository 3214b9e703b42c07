//! Why a task does not run: what the queue says, and what the workers do. Pure; sentences are made elsewhere.

use std::sync::Arc;
use std::time::Duration;

use ganger_core::TaskState;
use ganger_queue::why::{Cause, HOLDERS_MAX, Holder};
use ganger_store::TaskRow;
use ganger_supervise::InstanceView;

/// What the dispatcher knows.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// What the queue's rules say.
    pub queue: Vec<Cause>,
    /// The workers that take from its queue.
    pub workers: Vec<WorkerFact>,
    /// How long an attempt takes.
    pub service: Option<Duration>,
    /// When one of the workers may have room.
    pub eta: Option<Duration>,
    /// Nothing is handed out any more.
    pub going_down: bool,
}

/// One worker as the dispatcher sees it.
#[derive(Debug, Clone)]
pub struct WorkerFact {
    /// Its instance.
    pub name: Arc<str>,
    /// It could be given a task now.
    pub free: bool,
    /// Attempts that run at once.
    pub lanes: u32,
    /// What it holds, begun first.
    pub holds: Vec<Holder>,
}

/// One pool that takes from the task's queue.
#[derive(Debug, Clone)]
pub struct PoolFact {
    /// Its name.
    pub name: String,
    /// A person stopped it.
    pub stopped: bool,
    /// Workers wanted.
    pub wanted: u32,
    /// Its workers.
    pub instances: Vec<Arc<InstanceView>>,
}

/// Every cause, those of the task itself first.
#[must_use]
pub fn causes(task: &TaskRow, facts: Facts, pools: &[PoolFact]) -> Vec<Cause> {
    let Facts { queue, workers, service, eta, going_down } = facts;
    // What holds the one it waits for is that one's matter.
    let alone = |cause: &Cause| {
        matches!(cause, Cause::Finished { .. } | Cause::Running { .. } | Cause::Follows { .. })
    };
    if queue.iter().any(alone) {
        return queue;
    }
    let lanes: u32 = workers.iter().map(|worker| worker.lanes).sum();
    let mut causes: Vec<Cause> = queue
        .into_iter()
        .map(|cause| match cause {
            Cause::Ahead { tasks, at_least, .. } => {
                let rounds = u32::try_from(tasks.div_ceil(u64::from(lanes.max(1)))).ok();
                let eta = service.zip(rounds).and_then(|(each, n)| each.checked_mul(n));
                Cause::Ahead { tasks, at_least, eta: eta.filter(|_| lanes > 0) }
            }
            other => other,
        })
        .collect();
    if going_down {
        causes.push(Cause::GoingDown);
    }
    if pools.is_empty() {
        causes.push(Cause::NoPool);
    }
    for pool in pools {
        causes.extend(of_pool(pool));
    }
    if task.state == TaskState::Available && !workers.iter().any(|worker| worker.free) {
        causes.extend(busy(&workers, eta));
    }
    causes
}

fn of_pool(pool: &PoolFact) -> Vec<Cause> {
    if pool.stopped {
        return vec![Cause::PoolStopped { pool: pool.name.clone() }];
    }
    if pool.wanted == 0 {
        return vec![Cause::NoWorkers { pool: pool.name.clone() }];
    }
    let down = |view: &&Arc<InstanceView>| !view.ready || !view.stuck.is_empty();
    let cause = |view: &Arc<InstanceView>| Cause::WorkerDown {
        worker: view.id.to_string(),
        state: view.state.to_string(),
        reason: view.reason.clone(),
        next_try_ms: view.next_try_ms,
        stuck: !view.stuck.is_empty(),
    };
    pool.instances.iter().filter(down).map(cause).collect()
}

/// Workers that are up and hold what they may.
fn busy(workers: &[WorkerFact], eta: Option<Duration>) -> Option<Cause> {
    let at_work: Vec<_> = workers.iter().filter(|worker| !worker.holds.is_empty()).collect();
    let tasks: Vec<Holder> =
        at_work.iter().flat_map(|worker| &worker.holds).take(HOLDERS_MAX).cloned().collect();
    let workers = at_work.len() as u64;
    (workers > 0).then_some(Cause::Busy { workers, tasks, eta })
}
