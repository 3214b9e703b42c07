//! `POST /queues/{name}/tasks`: one JSON object, a list, or lines. Answers when the tasks are as durable as the queue
//! promises.

use axum::Json;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, header};
use ganger_api::{IDEMPOTENCY_HEADER, NDJSON, Pushed, V1};
use ganger_queue::NewTask;

use super::error::{Answer, Fault, usage};
use super::extract::whole;
use super::ndjson::{Parsed, Parser};
use crate::app::App;

/// Longest idempotency key, of the request or of a task: it is stored with every push.
const KEY_MAX: usize = 200;

pub(crate) async fn push(
    State(app): State<App>,
    Path(queue): Path<String>,
    request: Request,
) -> Answer<Pushed> {
    let tasks = &app.full()?.tasks;
    let headers = request.headers();
    let key = request_key(headers)?;
    let lines = headers.get(header::CONTENT_TYPE).is_some_and(|media| media == NDJSON);
    let body = whole(request, &()).await?;
    let parsed = if lines {
        let mut parsed = Vec::new();
        Parser::default().lines(&body, &mut parsed)?;
        parsed
    } else {
        Parser::default().json(&body)?
    };
    drop(body);
    let mut ids = Vec::with_capacity(parsed.len());
    for (at, group) in groups(parsed)?.into_iter().enumerate() {
        let key = match (group.key, &key) {
            (Some(own), _) => Some(own.into_string()),
            (None, Some(key)) if at == 0 => Some(key.clone()),
            (None, Some(key)) => Some(format!("{key}/{at}")),
            (None, None) => None,
        };
        ids.extend(tasks.push(&queue, key.as_deref(), group.tasks).await?.ids);
    }
    Ok(Json(Pushed { v: V1, ids }))
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

/// Tasks that are pushed together: all of them, or one with a key of its own.
#[derive(Debug)]
struct Group {
    key: Option<Box<str>>,
    tasks: Vec<NewTask>,
}

fn groups(parsed: Vec<Parsed>) -> Result<Vec<Group>, Fault> {
    if parsed.is_empty() {
        return Err(usage("there is no task in this"));
    }
    let mut groups: Vec<Group> = Vec::new();
    for Parsed { task, key } in parsed {
        key.as_deref().map(check_key).transpose()?;
        match groups.last_mut() {
            Some(last) if last.key.is_none() && key.is_none() => last.tasks.push(task),
            _ => groups.push(Group { key, tasks: vec![task] }),
        }
    }
    Ok(groups)
}
