//! `GET /logs/{name}`: what children said, as a stream of events.

use std::os::fd::OwnedFd;

use axum::extract::{Path, State};
use axum::response::Response;
use bytes::Bytes;
use futures_util::Stream;
use ganger_api::client::LogQuery;
use ganger_api::{ApiError, ErrorKind, LogLine, Timestamp, V1};
use ganger_core::Dur;
use ganger_logs::{Line, LogReader, Query, ReadError};
use rustix::pipe::{PipeFlags, pipe_with};
use tokio::sync::mpsc;

use super::error::{Fault, not_found, usage};
use super::extract::Params;
use super::sse;
use crate::app::App;

/// Lines that wait for a slow listener; behind it the reader waits, and the files hold the rest.
const LINES: usize = 1_024;
/// Lines of one write.
const LINES_PER_CHUNK: usize = 256;

pub(crate) async fn logs(
    State(app): State<App>,
    Path(name): Path<String>,
    Params(params): Params<LogQuery>,
) -> Result<Response, Fault> {
    let query = query(&name, &params)?;
    let permit = app.follower()?;
    app.flush_logs().await;
    let logs = app.logs();
    known(&app, &logs, &name)?;
    let (lines, heard) = mpsc::channel(LINES);
    let (stop, stopped) = pipe_with(PipeFlags::CLOEXEC).map_err(|errno| {
        let error = std::io::Error::from(errno);
        Fault(ApiError::from_error(ErrorKind::Failed, &error))
    })?;
    // The reader blocks on files, so it has a thread; dropping the answer closes the pipe, and that ends it.
    let follow = params.follow;
    let reading = tokio::task::spawn_blocking(move || {
        if let Err(error) = read(&logs, &query, follow.then_some(stop), &lines) {
            // The listener may be gone by now.
            drop(lines.blocking_send(Err(error)));
        }
    });
    Ok(sse::answer(chunks(heard), follow.then(|| app.closing()), (permit, stopped, reading)))
}

type Heard = Result<Line, ReadError>;

fn read(
    logs: &LogReader,
    query: &Query,
    follow: Option<OwnedFd>,
    to: &mpsc::Sender<Heard>,
) -> Result<(), ReadError> {
    match follow {
        None => send(logs.read(query)?, to),
        Some(stop) => send(logs.follow(query, stop)?, to),
    }
    Ok(())
}

fn send(mut lines: impl Iterator<Item = Heard>, to: &mpsc::Sender<Heard>) {
    // A listener that went away takes nothing, and that ends the reading.
    while lines.next().is_some_and(|line| to.blocking_send(line).is_ok()) {}
}

/// What has gathered since the last write is one chunk: no write per line of a busy log, no delay for a quiet one.
fn chunks(heard: mpsc::Receiver<Heard>) -> impl Stream<Item = Bytes> + Send {
    futures_util::stream::unfold(heard, |mut heard| async {
        let mut batch = Vec::with_capacity(LINES_PER_CHUNK);
        if heard.recv_many(&mut batch, LINES_PER_CHUNK).await == 0 {
            return None;
        }
        let mut out = Vec::new();
        for line in batch {
            match line {
                Ok(line) => sse::write(&mut out, None, &log_line(line)),
                Err(error) => {
                    sse::write_error(&mut out, &ApiError::from_error(ErrorKind::Failed, &error));
                }
            }
        }
        Some((out.into(), heard))
    })
}

/// A line as the API writes it.
pub(crate) fn log_line(line: Line) -> LogLine {
    LogLine {
        v: V1,
        ts: Timestamp(line.ts_ms()),
        name: line.name.to_string(),
        slot: line.slot,
        stream: line.stream,
        line: line.line,
    }
}

fn query(name: &str, params: &LogQuery) -> Result<Query, Fault> {
    let mut query = Query::of([name]);
    query.tail_n = params.tail;
    query.since_ms = params.since.as_deref().map(moment).transpose()?;
    match &params.grep {
        Some(pattern) => query.grep(pattern).map_err(|e| usage(e.to_string())),
        None => Ok(query),
    }
}

/// RFC 3339, or a duration back from now.
fn moment(text: &str) -> Result<u64, Fault> {
    if let Ok(back) = text.parse::<Dur>() {
        let ms = u64::try_from(back.0.as_millis()).unwrap_or(u64::MAX);
        return Ok(Timestamp::now().0.saturating_sub(ms));
    }
    text.parse::<Timestamp>()
        .map(|at| at.0)
        .map_err(|_| usage(format!("`{text}` is no moment: write 10m, 2h or 2026-11-22T10:00:00Z")))
}

fn known(app: &App, logs: &LogReader, name: &str) -> Result<(), Fault> {
    let mut names = logs.names().unwrap_or_default();
    if let Ok(full) = app.full() {
        let desired = full.desired();
        names.extend(desired.config.services.keys().chain(desired.config.pools.keys()).cloned());
    }
    if names.iter().any(|known| known == name) {
        return Ok(());
    }
    Err(not_found("log", name, names.iter().map(String::as_str)))
}
