//! Tasks: looking, retrying, cancelling.

use std::collections::HashMap;

use axum::Json;
use axum::extract::{Path, State};
use bytes::Bytes;
use ganger_api::{
    Attempt, AttemptUsage, ExportedTask, PriorityRequest, Seconds, Task, TaskExport, TaskPage,
    TaskQuery, TaskSummary, TaskWord, Timestamp, V1, VerbAnswer,
};
use ganger_core::{TaskId, TaskState};
use ganger_pool::TaskError;
use ganger_queue::Failure;
use ganger_store::{AttemptError, AttemptRow, Cursor, Said, TaskRow};
use serde_json::value::RawValue;

use super::error::{Answer, Fault, usage};
use super::extract::{Body, Params};
use super::task_log::{progress, word};
use crate::app::App;

/// Tasks of a page when nothing is asked for: one screen.
const PAGE: u32 = 50;
/// Log lines shown with a task; `/tasks/{id}/log` has them all.
const LOG_SHOWN: usize = 10;
/// Most tasks of a page.
const PAGE_MAX: u32 = 1_000;

pub(crate) async fn list(
    State(app): State<App>,
    Params(query): Params<TaskQuery>,
) -> Answer<TaskPage> {
    let full = app.full()?;
    let page = full.tasks.list(asked(query)?).await?;
    let running = page.tasks.iter().filter(|row| row.state == TaskState::Running);
    let said = full.tasks.progress(running.map(|row| row.id).collect()).await?;
    let said: HashMap<TaskId, ganger_store::Progress> = said.into_iter().collect();
    let summary = |row: TaskRow| {
        let progress = said.get(&row.id).map(progress);
        TaskSummary { progress, ..summary(row) }
    };
    let tasks = page.tasks.into_iter().map(summary).collect();
    Ok(Json(TaskPage { v: V1, tasks, next: page.next.map(|next| next.to_string()) }))
}

/// A page with everything but single attempts; pages end early at some MiB.
pub(crate) async fn export(
    State(app): State<App>,
    Params(query): Params<TaskQuery>,
) -> Answer<TaskExport> {
    let page = app.full()?.tasks.list(asked(query)?).await?;
    let tasks = page.tasks.into_iter().map(exported).collect();
    Ok(Json(TaskExport { v: V1, tasks, next: page.next.map(|next| next.to_string()) }))
}

fn asked(query: TaskQuery) -> Result<ganger_store::TaskQuery, Fault> {
    let after = query.after.as_deref().map(str::parse).transpose();
    Ok(ganger_store::TaskQuery {
        queue: query.queue,
        state: query.state,
        kind: query.kind,
        tag: query.tag,
        since_ms: query.since.map(|at| at.0),
        until_ms: query.until.map(|at| at.0),
        text: query.text,
        limit: usize::try_from(query.limit.unwrap_or(PAGE).clamp(1, PAGE_MAX)).unwrap_or(1),
        after: after.map_err(|e: ganger_store::rows::CursorError| usage(e.to_string()))?,
    })
}

pub(crate) async fn one(State(app): State<App>, Path(id): Path<String>) -> Answer<Task> {
    let row = app.full()?.tasks.get(task_id(&id)?).await?;
    Ok(Json(task(row)))
}

pub(crate) async fn retry(State(app): State<App>, Path(id): Path<String>) -> Answer<VerbAnswer> {
    app.full()?.tasks.retry(task_id(&id)?).await?;
    Ok(Json(VerbAnswer { v: V1, done: vec![id], notes: Vec::new() }))
}

pub(crate) async fn cancel(State(app): State<App>, Path(id): Path<String>) -> Answer<VerbAnswer> {
    app.full()?.tasks.cancel(task_id(&id)?).await?;
    Ok(Json(VerbAnswer { v: V1, done: vec![id], notes: Vec::new() }))
}

pub(crate) async fn priority(
    State(app): State<App>,
    Path(id): Path<String>,
    Body(wanted): Body<PriorityRequest>,
) -> Answer<VerbAnswer> {
    app.full()?.tasks.reprioritise(task_id(&id)?, wanted.priority).await?;
    Ok(Json(VerbAnswer { v: V1, done: vec![id], notes: Vec::new() }))
}

/// Every task of a queue that waits and fits, page by page: each page is one commit, so nobody waits long for it.
pub(crate) async fn priorities(
    State(app): State<App>,
    Path(queue): Path<String>,
    Body(wanted): Body<PriorityRequest>,
) -> Answer<VerbAnswer> {
    let tasks = &app.full()?.tasks;
    let waits = [TaskState::Available, TaskState::Scheduled, TaskState::Retryable];
    let states = match wanted.state {
        Some(state) if waits.contains(&state) => vec![state],
        Some(state) => return Err(usage(format!("a task that is {state} does not wait"))),
        None => waits.to_vec(),
    };
    let mut moved = 0u64;
    for state in states {
        let mut query = ganger_store::TaskQuery {
            queue: Some(queue.clone()),
            state: Some(state),
            kind: wanted.kind.clone(),
            limit: PAGE_MAX as usize,
            ..ganger_store::TaskQuery::default()
        };
        loop {
            let page = tasks.list(query.clone()).await?;
            let fits = |row: &&TaskRow| row.priority != wanted.priority;
            let page_ids = page.tasks.iter().filter(fits).map(|row| row.id);
            let all = page_ids.map(|id| tasks.reprioritise(id, wanted.priority));
            for done in futures_util::future::join_all(all).await {
                match done {
                    Ok(()) => moved += 1,
                    // It was taken, or ended, since the page was read.
                    Err(TaskError::Failed(Failure::Refused { .. }) | TaskError::NoTask(_)) => {}
                    Err(other) => return Err(other.into()),
                }
            }
            query.after = page.next;
            if query.after.is_none() {
                break;
            }
        }
    }
    let notes = vec![format!("{moved} tasks have priority {}", wanted.priority)];
    Ok(Json(VerbAnswer { v: V1, done: vec![queue], notes }))
}

pub(super) fn task_id(text: &str) -> Result<TaskId, Fault> {
    text.parse().map_err(|e: ganger_core::ids::IdError| usage(e.to_string()))
}

fn summary(row: TaskRow) -> TaskSummary {
    TaskSummary {
        id: row.id,
        queue: row.queue.to_string(),
        kind: row.kind.as_deref().unwrap_or_default().to_owned(),
        state: row.state,
        priority: row.priority,
        attempts: row.attempt,
        error: row.error.as_ref().map(error_text),
        created_at: created_at(row.id),
        progress: None,
    }
}

fn exported(row: TaskRow) -> ExportedTask {
    ExportedTask {
        v: V1,
        id: row.id,
        cursor: Cursor::behind(&row).to_string(),
        queue: row.queue.to_string(),
        kind: row.kind.as_deref().unwrap_or_default().to_owned(),
        state: row.state,
        priority: row.priority,
        tags: tags(&row),
        payload: raw(&row.payload),
        result: row.result.as_ref().map(raw),
        error: row.error.as_ref().map(error_text),
        attempts: row.attempt,
        created_at: created_at(row.id),
        ended_at: row.ended_at_ms.map(Timestamp),
    }
}

fn tags(row: &TaskRow) -> Vec<String> {
    row.tags.iter().map(ToString::to_string).collect()
}

fn task(row: TaskRow) -> Task {
    let said = row.attempts.last().and_then(|attempt| attempt.said.clone());
    Task {
        v: V1,
        id: row.id,
        queue: row.queue.to_string(),
        kind: row.kind.as_deref().unwrap_or_default().to_owned(),
        state: row.state,
        priority: row.priority,
        payload: raw(&row.payload),
        cached: row.control.as_ref().is_some_and(|control| control.cached),
        result_expired: row.state == TaskState::Completed && row.result.is_none(),
        result: row.result.as_ref().map(raw),
        error: row.error.as_ref().map(error_text),
        reason: row.reason.map(|reason| reason.to_string()),
        crashes: (row.crashes > 0).then_some(row.crashes),
        tags: tags(&row),
        progress: said.as_ref().and_then(|said| said.progress.as_ref()).map(progress),
        log: last_lines(row.attempt, said.as_deref()),
        attempts: row.attempts.into_iter().map(attempt).collect(),
        created_at: Some(created_at(row.id)),
        due_at: row.run_at_ms.map(Timestamp),
    }
}

/// The last lines of an attempt, as the route for all of them writes them.
fn last_lines(attempt: u32, said: Option<&Said>) -> Vec<TaskWord> {
    let Some(said) = said else { return Vec::new() };
    let newest = said.numbered().rev().take(LOG_SHOWN);
    let mut words: Vec<TaskWord> = newest.map(|(n, line)| word(attempt, n, line)).collect();
    words.reverse();
    words
}

fn attempt(row: AttemptRow) -> Attempt {
    let said = row.said.as_deref();
    Attempt {
        n: row.n,
        worker: (!row.worker.is_empty()).then(|| row.worker.to_string()),
        pid: (row.pid != 0).then_some(row.pid),
        started_at: row.started_at_ms.map(Timestamp),
        ended_at: row.ended_at_ms.map(Timestamp),
        outcome: row.outcome.map(|word| word.as_str().to_owned()),
        error: row.error.as_ref().map(error_text),
        progress: said.and_then(|said| said.progress.as_ref()).map(progress),
        log_lines: said.map(|said| said.total).filter(|n| *n > 0),
        log_dropped: said.map(Said::dropped).filter(|n| *n > 0),
        usage: row.error.and_then(|error| error.usage).map(|usage| used(&usage)),
    }
}

fn used(usage: &ganger_core::Usage) -> AttemptUsage {
    AttemptUsage {
        cpu_s: Seconds((usage.user_us + usage.system_us) as f64 / 1e6),
        peak_rss: usage.peak_rss,
    }
}

/// An id carries the moment it was made.
fn created_at(id: TaskId) -> Timestamp {
    Timestamp(id.drawn_at_ms())
}

/// Stored JSON as it is. Text that is none (it can't be, but a file can be damaged) becomes a JSON string.
pub(crate) fn raw(bytes: &Bytes) -> Box<RawValue> {
    let text = String::from_utf8_lossy(bytes).into_owned();
    RawValue::from_string(text).unwrap_or_else(|_| {
        serde_json::value::to_raw_value(&String::from_utf8_lossy(bytes))
            .expect("a string is always JSON")
    })
}

/// An error as one text: class, message, last lines of stderr.
pub(crate) fn error_text(error: &AttemptError) -> String {
    let mut text = match &error.class {
        Some(class) if !error.message.starts_with(class.as_str()) => {
            format!("{class}: {}", error.message)
        }
        _ => error.message.clone(),
    };
    if !error.stderr.is_empty() {
        text.push_str("; last lines of stderr:\n");
        text.push_str(&error.stderr.join("\n"));
    }
    text
}
