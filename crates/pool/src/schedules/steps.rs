//! What a schedule orders, done: commits of fires, and the wait for the task before.

use std::sync::Arc;
use std::time::Duration;

use ganger_core::{Event, TaskId};
use ganger_queue::NewTask;
use ganger_queue::schedule::{Settle, Step, What};
use ganger_store::{Batch, Fire, Op, Writer};

use crate::dispatcher::now;
use crate::error::TaskError;
use crate::tasks::Tasks;

/// Between two tries to wait for a task, when too many wait or the store can't be read.
const AGAIN: Duration = Duration::from_secs(1);

/// A step on its way.
#[derive(Debug)]
pub(super) struct Doing {
    pub(super) tasks: Tasks,
    pub(super) writer: Writer,
    pub(super) name: Arc<str>,
    pub(super) queue: Arc<str>,
    pub(super) task: NewTask,
    pub(super) step: Step,
}

impl Doing {
    /// Commits it.
    pub(super) async fn done(self) -> (Step, Settle) {
        let Self { tasks, writer, name, queue, task, step } = self;
        let why = match &step.what {
            What::Skip(why) => Some(why.to_string().into()),
            What::Push | What::Hold => None,
        };
        let made_ms = now().wall_ms;
        let Step { fire_ms, after_ms, .. } = step;
        let fire = Fire { schedule: name, fire_ms, made_ms, after_ms, task: None, why };
        if step.what != What::Push {
            let batch = Batch::synced(vec![Op::Fire(Box::new(fire))]);
            let stored = writer.commit(batch).await.result;
            return (step, stored.map_or(Settle::Failed, |_| Settle::Recorded));
        }
        let settle = match tasks.push_fire(&queue, fire, task).await {
            Ok(pushed) => match pushed.ids.first() {
                Some(id) => Settle::Pushed(*id),
                None => Settle::Failed,
            },
            Err(
                error @ (TaskError::Push(_) | TaskError::NotJson { .. } | TaskError::NoQueue(_)),
            ) => Settle::Refused(error.to_string()),
            Err(error) => {
                tracing::warn!(schedule = &*queue, %error, "a fire could not be stored; it is tried again");
                Settle::Failed
            }
        };
        (step, settle)
    }
}

/// Returns when a task has ended, or is not known any more.
pub(super) async fn ended(tasks: Tasks, task: TaskId) {
    loop {
        match tasks.wait(task, None).await {
            Ok(_) | Err(TaskError::NoTask(_)) => return,
            Err(TaskError::ShuttingDown) => return std::future::pending().await,
            Err(error) => {
                tracing::warn!(%task, %error, "can't wait for a schedule's task; trying again");
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}

/// What is told of a step that is done.
pub(super) fn event(name: &str, step: &Step, settle: &Settle, by_hand: bool) -> Option<Event> {
    let at = jiff::Timestamp::from_millisecond(i64::try_from(step.fire_ms).ok()?).ok()?;
    let hand = if by_hand { " by hand" } else { "" };
    let (kind, reason) = match (&step.what, settle) {
        (What::Push, Settle::Pushed(task)) => {
            ("schedule.fired", format!("fire of {at}{hand}: task {task}"))
        }
        (What::Hold, Settle::Recorded) => (
            "schedule.waits",
            format!("fire of {at}{hand}: the task of the one before is unfinished"),
        ),
        (What::Skip(why), Settle::Recorded) => {
            ("schedule.skipped", format!("fire of {at}{hand}: {why}"))
        }
        _ => return None,
    };
    Some(Event {
        seq: 0,
        ts_ms: now().wall_ms,
        kind: kind.to_owned(),
        name: name.to_owned(),
        slot: None,
        from: None,
        to: None,
        reason,
        exit: None,
    })
}
