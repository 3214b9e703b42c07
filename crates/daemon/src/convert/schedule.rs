//! A schedule's rules.

use std::sync::Arc;

use ganger_queue::NewTask;
use ganger_queue::schedule::ScheduleConfig;
use ganger_store::TaskOptions;

use super::{ConvertError, Why};
use crate::config::{Schedule, ScheduleRetry};

/// The rules as the queue crate has them.
pub(crate) fn schedule_config(
    name: &str,
    schedule: &Schedule,
) -> Result<ScheduleConfig, ConvertError> {
    let plan = schedule.plan().map_err(|error| ConvertError {
        kind: "schedule",
        name: name.to_owned(),
        why: Why::Plan(error),
    })?;
    let ScheduleRetry { max, backoff, max_age, crash_limit } = schedule.retry;
    let options = TaskOptions {
        max_attempts: max,
        timeout: schedule.timeout.map(|timeout| timeout.0),
        backoff,
        max_age: max_age.map(|age| age.0),
        crash_limit,
        ..TaskOptions::default()
    };
    let task = NewTask {
        kind: schedule.kind.as_deref().map(Arc::from),
        priority: schedule.priority,
        payload: schedule.payload.clone().into(),
        options: (options != TaskOptions::default()).then(|| Box::new(options)),
        ..NewTask::default()
    };
    Ok(ScheduleConfig {
        plan,
        jitter: schedule.jitter.0,
        queue: schedule.queue.as_str().into(),
        task,
        overlap: schedule.overlap,
        missed: schedule.missed,
        missed_max: schedule.missed_max,
        paused: schedule.paused,
    })
}
