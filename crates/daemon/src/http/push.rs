//! `POST /queues/{name}/tasks`: one JSON object, a list, or lines. Answers when the tasks are as durable as the queue
//! promises.

use axum::Json;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, header};
use ganger_api::{IDEMPOTENCY_HEADER, NDJSON, OnError, PushQuery, Pushed, RefusedTask, V1};
use ganger_pool::{Group, TaskError};
use ganger_queue::{Failure, PushError};

use super::error::{Answer, Fault, usage};
use super::extract::{Params, whole};
use super::ndjson::{Parsed, Parser};
use crate::app::App;

/// Longest idempotency key, of the request or of a task: it is stored with every push.
const KEY_MAX: usize = 200;

pub(crate) async fn push(
    State(app): State<App>,
    Path(queue): Path<String>,
    Params(query): Params<PushQuery>,
    request: Request,
) -> Answer<Pushed> {
    let tasks = &app.full()?.tasks;
    let headers = request.headers();
    let key = request_key(headers)?;
    let lines = headers.get(header::CONTENT_TYPE).is_some_and(|media| media == NDJSON);
    let skip = query.on_error == OnError::Skip;
    let body = whole(request, &()).await?;
    let (mut parsed, mut refused) = (Vec::new(), Vec::new());
    match (lines, skip) {
        (true, false) => Parser::default().lines(&body, &mut parsed)?,
        (true, true) => Parser::default().good_lines(&body, &mut parsed, &mut refused),
        (false, _) => parsed = Parser::default().json(&body)?,
    }
    drop(body);
    if skip {
        let payload_max = tasks.payload_max(&queue).await?;
        parsed.retain(|parsed| match unfit(parsed, payload_max) {
            None => true,
            Some(error) => {
                refused.push(RefusedTask { line: parsed.line, error });
                false
            }
        });
        refused.sort_unstable_by_key(|one| one.line);
        if parsed.is_empty() && !refused.is_empty() {
            return Ok(Json(Pushed {
                v: V1,
                ids: Vec::new(),
                duplicate: false,
                existing: Vec::new(),
                refused,
            }));
        }
    }
    let lines: Vec<u64> = parsed.iter().map(|parsed| parsed.line).collect();
    let mut groups = groups(parsed)?;
    name_groups(&mut groups, key);
    let answers = tasks.push_groups(&queue, groups).await;
    let answers = answers.map_err(|error| at_line(error, &lines))?;
    let duplicate = answers.iter().all(|pushed| pushed.duplicate);
    let held = |pushed: &ganger_pool::Pushed| -> Vec<_> {
        pushed.known.iter().filter_map(|at| pushed.ids.get(*at).copied()).collect()
    };
    let existing = answers.iter().flat_map(held).collect();
    let ids = answers.into_iter().flat_map(|pushed| pushed.ids).collect();
    Ok(Json(Pushed { v: V1, ids, duplicate, existing, refused }))
}

/// Groups without a key of their own get one of the request's.
fn name_groups(groups: &mut [Group], key: Option<String>) {
    let Some(key) = key else { return };
    for (at, group) in groups.iter_mut().enumerate().filter(|(_, group)| group.key.is_none()) {
        group.key = Some(if at == 0 { key.as_str().into() } else { format!("{key}/{at}").into() });
    }
}

/// Why a task can't be pushed, where that is its own fault.
fn unfit(parsed: &Parsed, payload_max: usize) -> Option<String> {
    let len = parsed.task.payload.len();
    if len > payload_max {
        return Some(format!("its payload has {len} bytes, the queue takes {payload_max}"));
    }
    let bad_key = parsed.key.as_deref().map(check_key)?.err()?;
    Some(bad_key.0.message)
}

/// Says in terms of the body which task is at fault.
fn at_line(error: TaskError, lines: &[u64]) -> Fault {
    let index = match &error {
        TaskError::Push(PushError::PayloadTooLarge { index, .. })
        | TaskError::NotJson { index, .. }
        | TaskError::Push(PushError::NotInMemory { index, .. })
        | TaskError::Failed(Failure::NotUnique { index, .. }) => Some(*index),
        _ => None,
    };
    let Fault(api) = Fault::from(error);
    match index.and_then(|index| lines.get(index)) {
        Some(line) => Fault(api.at_line(*line)),
        None => Fault(api),
    }
}

fn request_key(headers: &HeaderMap) -> Result<Option<String>, Fault> {
    let Some(key) = headers.get(IDEMPOTENCY_HEADER) else { return Ok(None) };
    let key = key.to_str().map_err(|_| usage("the idempotency key is not plain text"))?;
    check_key(key)?;
    Ok(Some(key.to_owned()))
}

fn check_key(key: &str) -> Result<(), Fault> {
    if key.is_empty() || key.len() > KEY_MAX {
        return Err(usage(format!("a key has 1 to {KEY_MAX} bytes, this one has {}", key.len())));
    }
    Ok(())
}

fn groups(parsed: Vec<Parsed>) -> Result<Vec<Group>, Fault> {
    if parsed.is_empty() {
        return Err(usage("there is no task in this"));
    }
    let mut groups: Vec<Group> = Vec::new();
    for Parsed { task, key, line } in parsed {
        let checked = key.as_deref().map(check_key).transpose();
        checked.map_err(|Fault(error)| Fault(error.at_line(line)))?;
        match groups.last_mut() {
            Some(last) if last.key.is_none() && key.is_none() => last.tasks.push(task),
            _ => groups.push(Group { key, tasks: vec![task] }),
        }
    }
    Ok(groups)
}
