//! What the engine knows about why a task does not run.

use std::time::Duration;

use ganger_core::{TaskId, TaskState};
use ganger_store::{ReadyRow, TaskRow};

use super::lane::Lane;
use super::row::QueueState;
use super::{Engine, Now, Phase, QueueIx, Running};
use crate::limits::{Demand, Group, Limits, Room};
use crate::why::{Cause, HOLDERS_MAX, Holder, LimitOf};

impl Engine {
    /// What of the queue's rules keeps a task from running. `task`: as it was read a moment ago.
    #[must_use]
    pub fn why(&self, ix: QueueIx, task: &TaskRow, now: Now) -> Vec<Cause> {
        if let Some(run) = self.running.get(&task.id) {
            return vec![Cause::Running {
                by: holder(run),
                timeout: run.timeout,
                stopping: run.cancel || run.expired,
                progress: run.said.as_ref().and_then(|saying| saying.said().progress.clone()),
            }];
        }
        let row = self.row(ix);
        let mut causes = Vec::new();
        let until_ms = task.run_at_ms.unwrap_or(now.wall_ms);
        match task.state {
            TaskState::Scheduled => causes.push(Cause::Scheduled { until_ms }),
            TaskState::Retryable => causes.push(Cause::Retry {
                until_ms,
                attempt: task.attempt,
                max: row.config.retry.max,
                error: task.error.as_ref().map(|error| error.message.clone()),
            }),
            TaskState::Available | TaskState::Running => {}
            TaskState::Completed | TaskState::Cancelled | TaskState::Discarded => {
                let error = task.error.as_ref().map(|error| error.message.clone());
                return vec![Cause::Finished { state: task.state, at_ms: task.ended_at_ms, error }];
            }
        }
        if row.gate.paused {
            let (since_ms, by_config) = (row.gate.since_ms, row.gate.by_config);
            causes.push(Cause::Paused { since_ms, by_config });
        }
        if let (Some(at), Some(error)) = (self.hold_until, &self.held)
            && !row.is_memory()
        {
            let wait = at.saturating_duration_since(now.at);
            causes.push(Cause::StoreHeld { error: error.to_string(), wait });
        }
        let found = row.waiting().find(|waiting| waiting.row.id == task.id);
        let ready = found.map_or_else(|| ready_row(task), |waiting| waiting.row.clone());
        if let Some(limits) = &row.limits {
            self.limits_on(ix, limits, &ready, now, &mut causes);
        }
        if task.state == TaskState::Available {
            let known = found.is_some();
            causes.extend(ahead(row, &ready, known));
        }
        causes
    }

    /// That a task waits for the result of another one, as it was read a moment ago.
    #[must_use]
    pub fn follows(&self, ix: QueueIx, leader: &TaskRow, now: Now) -> Cause {
        let by = self.running.get(&leader.id).map(holder);
        let eta = by.as_ref().and_then(|by| self.eta(ix, std::slice::from_ref(by), now));
        let state = by.as_ref().map_or(leader.state, |_| TaskState::Running);
        Cause::Follows { leader: leader.id, state, by, eta }
    }

    /// What a worker holds, begun first.
    #[must_use]
    pub fn held_by(&self, worker: u64) -> Vec<Holder> {
        let mut held: Vec<_> =
            self.running.values().filter(|run| run.worker == worker).map(holder).collect();
        held.sort_by_key(|holder| (holder.since_ms.is_none(), holder.since_ms, holder.task));
        held
    }

    /// How long an attempt of a queue takes; `None` before the first has ended.
    #[must_use]
    pub fn service_time(&self, ix: QueueIx) -> Option<Duration> {
        self.row(ix).pace.service()
    }

    fn limits_on(
        &self,
        ix: QueueIx,
        limits: &Limits,
        ready: &ReadyRow,
        now: Now,
        causes: &mut Vec<Cause>,
    ) {
        let demand = limits.demand(ready);
        let groups = demand.groups().map(Some);
        for group in std::iter::once(None).chain(groups) {
            let gauge = match group {
                None => Some(limits.whole()),
                Some(group) => limits.group(group),
            };
            let Some(gauge) = gauge else { continue };
            let of = match group {
                None => LimitOf::Queue,
                Some(Group::Kind(name)) => LimitOf::Kind(name.clone()),
                Some(Group::Key(name)) => LimitOf::Key(name.clone()),
            };
            match gauge.room(now.at) {
                Room::Yes => {}
                Room::At(at) => {
                    causes.push(Cause::Rate { of, wait: at.saturating_duration_since(now.at) });
                }
                Room::AfterOne => {
                    let counts = |demand: &Demand| match group {
                        None => true,
                        Some(group) => demand.groups().any(|other| other == group),
                    };
                    let runs = self
                        .running
                        .values()
                        .filter(|run| run.ix == ix && run.demand.as_deref().is_some_and(counts));
                    let held_by: Vec<_> = runs.map(holder).take(HOLDERS_MAX).collect();
                    let eta = self.eta(ix, &held_by, now);
                    let max = gauge.limit.running.unwrap_or(gauge.running);
                    causes.push(Cause::Limit { of, max, held_by, eta });
                }
            }
        }
    }

    /// When the first of these may have ended, by what attempts take on the average.
    #[must_use]
    pub fn eta(&self, ix: QueueIx, holders: &[Holder], now: Now) -> Option<Duration> {
        let service = self.service_time(ix)?;
        let ran = |since: u64| Duration::from_millis(now.wall_ms.saturating_sub(since));
        let oldest = holders.iter().filter_map(|holder| holder.since_ms).min()?;
        Some(service.saturating_sub(ran(oldest)))
    }
}

fn holder(run: &Running) -> Holder {
    let began = matches!(run.phase, Phase::Started | Phase::Ending);
    Holder {
        task: run.row.id,
        worker: run.worker_name.clone(),
        since_ms: run.started_at_ms.filter(|_| began),
    }
}

/// Those that would be taken before it, as far as memory knows.
fn ahead(row: &QueueState, ready: &ReadyRow, known: bool) -> Option<Cause> {
    let before = |priority: u8, seq: i64| {
        (std::cmp::Reverse(priority), seq) < (std::cmp::Reverse(ready.priority.0), ready.seq)
    };
    let aside = |id: TaskId| row.limits.as_ref().is_some_and(|limits| limits.holds(id).is_some());
    let waiting = row.waiting().filter(|waiting| !aside(waiting.row.id));
    let tasks = waiting.filter(|w| !known || before(w.row.priority.0, w.row.seq)).count();
    let at_least = !known && row.lanes().any(Lane::has_tail);
    (tasks > 0).then_some(Cause::Ahead { tasks: tasks as u64, at_least, eta: None })
}

/// What can be said of a task that is only in the store.
fn ready_row(task: &TaskRow) -> ReadyRow {
    ReadyRow {
        id: task.id,
        priority: task.priority,
        seq: task.id.raw(),
        kind: task.kind.clone(),
        payload: task.payload.clone(),
        attempt: task.attempt,
        base: 0,
        crashes: task.crashes,
        options: None,
    }
}
