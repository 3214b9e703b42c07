//! Dead letters: finding them, bringing them back, forgetting them.

use axum::Json;
use axum::extract::{Path, State};
use bytes::Bytes;
use ganger_api::{
    DeadDone, DeadEdit, DeadLetter, DeadPage, DeadQuery, DeadRequest, Timestamp, V1, VerbAnswer,
};
use ganger_pool::{DeadVerb, Death, TaskError};
use ganger_queue::Failure;
use ganger_store::DeadRow;

use super::error::{Answer, Fault, usage};
use super::extract::{Body, Params};
use super::tasks::{error_text, task_id};
use crate::app::App;

/// Letters of a page when nothing is asked for: one screen.
const PAGE: u32 = 50;
/// Letters done by one call when nothing is asked for: a commit of some ten milliseconds.
const STEP: u32 = 200;
/// Most letters of a page or a call.
const PAGE_MAX: u32 = 1_000;
/// Letters shown by a dry run.
const SAMPLE: usize = 5;

pub(crate) async fn list(
    State(app): State<App>,
    Params(query): Params<DeadQuery>,
) -> Answer<DeadPage> {
    let page = app.full()?.tasks.dead(read(query, PAGE)?).await?;
    let letters = page.rows.into_iter().map(letter).collect();
    Ok(Json(DeadPage { v: V1, letters, next: page.next.map(|next| next.to_string()) }))
}

pub(crate) async fn replay(
    State(app): State<App>,
    Body(request): Body<DeadRequest>,
) -> Answer<DeadDone> {
    each(&app, request, DeadVerb::Replay).await
}

pub(crate) async fn purge(
    State(app): State<App>,
    Body(request): Body<DeadRequest>,
) -> Answer<DeadDone> {
    each(&app, request, DeadVerb::Purge).await
}

pub(crate) async fn edit(
    State(app): State<App>,
    Path(id): Path<String>,
    Body(edit): Body<DeadEdit>,
) -> Answer<VerbAnswer> {
    let payload = Bytes::from(String::from(Box::<str>::from(edit.payload)));
    app.full()?.tasks.edit(task_id(&id)?, payload).await?;
    Ok(Json(VerbAnswer { v: V1, done: vec![id], notes: Vec::new() }))
}

async fn each(app: &App, request: DeadRequest, verb: DeadVerb) -> Answer<DeadDone> {
    let DeadRequest { ids, filter, dry_run } = request;
    if ids.len() > PAGE_MAX as usize {
        return Err(usage(format!("{} ids in one request, the most is {PAGE_MAX}", ids.len())));
    }
    if dry_run && ids.is_empty() {
        return count(app, filter).await;
    }
    let (deaths, next) = if ids.is_empty() {
        let page = app.full()?.tasks.dead(read(filter, STEP)?).await?;
        let death = |row: DeadRow| Death { id: row.id, attempt: Some(row.attempt) };
        (page.rows.into_iter().map(death).collect::<Vec<_>>(), page.next)
    } else {
        (ids.into_iter().map(|id| Death { id, attempt: None }).collect(), None)
    };
    let mut done = DeadDone {
        v: V1,
        found: deaths.len() as u64,
        done: 0,
        skipped: 0,
        sample: Vec::new(),
        next: next.map(|next| next.to_string()),
    };
    if dry_run {
        return Ok(Json(done));
    }
    for result in app.full()?.tasks.with_dead(verb, &deaths).await? {
        match result {
            Ok(()) => done.done += 1,
            Err(TaskError::NoTask(_) | TaskError::Failed(Failure::Refused { .. })) => {
                done.skipped += 1;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Json(done))
}

/// Looks through all pages; each is a short read of its own.
async fn count(app: &App, filter: DeadQuery) -> Answer<DeadDone> {
    let mut query = read(DeadQuery { limit: Some(PAGE_MAX), ..filter }, PAGE_MAX)?;
    let (mut found, mut sample) = (0, Vec::new());
    loop {
        let page = app.full()?.tasks.dead(query.clone()).await?;
        found += page.rows.len() as u64;
        let room = SAMPLE.saturating_sub(sample.len());
        sample.extend(page.rows.into_iter().take(room).map(letter));
        match page.next {
            Some(next) => query.after = Some(next),
            None => break,
        }
    }
    Ok(Json(DeadDone { v: V1, found, done: 0, skipped: 0, sample, next: None }))
}

fn read(query: DeadQuery, limit: u32) -> Result<ganger_store::DeadQuery, Fault> {
    let limit = query.limit.unwrap_or(limit).clamp(1, PAGE_MAX);
    let reason = query.reason.as_deref().map(str::parse).transpose();
    let after = query.after.as_deref().map(str::parse).transpose();
    Ok(ganger_store::DeadQuery {
        queue: query.queue,
        kind: query.kind,
        class: query.class,
        text: query.text,
        reason: reason.map_err(|e: ganger_store::batch::UnknownDeadReason| usage(e.to_string()))?,
        since_ms: query.since.map(|at| at.0),
        until_ms: query.until.map(|at| at.0),
        limit: usize::try_from(limit).unwrap_or(1),
        after: after.map_err(|e: ganger_store::rows::CursorError| usage(e.to_string()))?,
    })
}

fn letter(row: DeadRow) -> DeadLetter {
    DeadLetter {
        id: row.id,
        queue: row.queue.to_string(),
        kind: row.kind.as_deref().unwrap_or_default().to_owned(),
        priority: row.priority,
        attempts: row.attempt,
        crashes: row.crashes,
        reason: row.reason.map(|reason| reason.to_string()),
        class: row.error.as_ref().and_then(|error| error.class.clone()),
        error: row.error.as_ref().map(error_text),
        created_at: Timestamp(row.id.drawn_at_ms()),
        died_at: Timestamp(row.died_at_ms),
    }
}
