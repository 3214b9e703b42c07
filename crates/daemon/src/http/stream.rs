//! `POST /queues/{name}/stream`: tasks in as lines, finished tasks out as lines, on one connection.
//!
//! Everything happens in the connection's own task, in batches: what a read brought is one push, what the dispatcher
//! finished in one tick is one write. No task of the runtime and no channel per task.

use std::fmt::Write as _;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, BodyDataStream};
use axum::extract::{Path, Request, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use futures_util::stream::FuturesUnordered;
use futures_util::{Stream, StreamExt};
use ganger_api::error::ErrorBody;
use ganger_api::{ApiError, ErrorKind, NDJSON, V1};
use ganger_pool::{Finished, StreamIn, StreamOut, TaskError};
use ganger_queue::NewTask;

use super::error::Fault;
use super::ndjson::Parser;
use super::tasks::error_text;
use crate::app::App;

/// A line may be the largest payload any queue may have, and the words around it.
const LINE_MAX: usize = (64 << 20) + (64 << 10);
/// Tasks of one push: what the dispatcher takes at a time.
const PUSH_MAX: usize = ganger_pool::stream::PUSH_MAX;

pub(crate) async fn stream(
    State(app): State<App>,
    Path(queue): Path<String>,
    request: Request,
) -> Result<Response, Fault> {
    let (way_in, way_out) = app.full()?.tasks.push_stream(&queue).await?;
    let input = feed(request.into_body().into_data_stream(), way_in);
    let duplex = Duplex { input: Some(Box::pin(input)), output: Box::pin(results(way_out)) };
    let body = Body::from_stream(duplex);
    Ok(([(header::CONTENT_TYPE, NDJSON)], body).into_response())
}

/// Reads to the end of the body. What comes back is the line that says why it stopped earlier.
async fn feed(mut body: BodyDataStream, way_in: StreamIn) -> Option<Bytes> {
    let mut parser = Parser::default();
    let mut rest = BytesMut::new();
    let mut tickets = FuturesUnordered::new();
    loop {
        tokio::select! {
            Some(acknowledged) = tickets.next() => {
                let acknowledged: Result<_, TaskError> = acknowledged;
                if let Err(error) = acknowledged {
                    return Some(refusal(Fault::from(error).0));
                }
            }
            chunk = body.next() => match chunk {
                Some(Ok(chunk)) => {
                    let pushed = push_lines(&mut parser, &mut rest, &chunk, &way_in).await;
                    match pushed {
                        Ok(new) => tickets.extend(new.into_iter().map(ganger_pool::PushTicket::ids)),
                        Err(error) => return Some(refusal(error)),
                    }
                }
                // A client that breaks off wants no answer; what it pushed runs on.
                Some(Err(_)) => return None,
                None => break,
            },
        }
    }
    rest.extend_from_slice(b"\n");
    match push_lines(&mut parser, &mut BytesMut::new(), &rest, &way_in).await {
        Ok(new) => tickets.extend(new.into_iter().map(ganger_pool::PushTicket::ids)),
        Err(error) => return Some(refusal(error)),
    }
    while let Some(acknowledged) = tickets.next().await {
        if let Err(error) = acknowledged {
            return Some(refusal(Fault::from(error).0));
        }
    }
    None
}

/// Pushes all whole lines that are there; the beginning of the next one stays in `rest`.
async fn push_lines(
    parser: &mut Parser,
    rest: &mut BytesMut,
    chunk: &[u8],
    way_in: &StreamIn,
) -> Result<Vec<ganger_pool::PushTicket>, ApiError> {
    let Some(end) = memchr::memrchr(b'\n', chunk) else {
        rest.extend_from_slice(chunk);
        if rest.len() > LINE_MAX {
            let message = format!("a line is over {LINE_MAX} bytes without an end");
            return Err(ApiError::new(ErrorKind::Usage, message)
                .hint("put large data into a file and push its path"));
        }
        return Ok(Vec::new());
    };
    let mut parsed = Vec::new();
    let mut lines = &chunk[..=end];
    if !rest.is_empty() {
        let first = memchr::memchr(b'\n', chunk).unwrap_or(end);
        rest.extend_from_slice(&chunk[..=first]);
        parser.lines(&rest.split(), &mut parsed)?;
        lines = &chunk[first + 1..=end];
    }
    parser.lines(lines, &mut parsed)?;
    rest.extend_from_slice(&chunk[end + 1..]);
    let mut tasks: Vec<NewTask> = parsed.into_iter().map(|parsed| parsed.task).collect();
    let mut tickets = Vec::new();
    while !tasks.is_empty() {
        let more = tasks.split_off(tasks.len().min(PUSH_MAX));
        let ticket = way_in.push(tasks).await.map_err(|error| Fault::from(error).0)?;
        tickets.push(ticket);
        tasks = more;
    }
    Ok(tickets)
}

fn refusal(error: ApiError) -> Bytes {
    let mut line = serde_json::to_vec(&ErrorBody { v: V1, error }).unwrap_or_default();
    line.push(b'\n');
    line.into()
}

/// Finished tasks as chunks of lines.
fn results(way_out: StreamOut) -> impl Stream<Item = Bytes> + Send {
    futures_util::stream::unfold(way_out, |mut way_out| async {
        let finished = way_out.next().await?;
        let mut lines = Vec::with_capacity(finished.len() * 96);
        for task in &finished {
            write_line(&mut lines, task);
        }
        Some((Bytes::from(lines), way_out))
    })
}

/// A `StreamResult`, written by hand: its result is JSON already.
fn write_line(out: &mut Vec<u8>, task: &Finished) {
    let mut head = String::with_capacity(64);
    // Writing to a string never fails.
    let _ = write!(head, r#"{{"v":1,"id":"{}","state":"{}","result":"#, task.id, task.state);
    out.extend_from_slice(head.as_bytes());
    out.extend_from_slice(task.result.as_deref().unwrap_or(b"null"));
    out.extend_from_slice(br#","error":"#);
    let error = task.error.as_deref().map(error_text);
    serde_json::to_writer(&mut *out, &error).expect("a vector takes every string");
    out.extend_from_slice(b"}\n");
}

type Feeding = Pin<Box<dyn Future<Output = Option<Bytes>> + Send>>;

/// Drives both directions whenever the connection asks for more output.
struct Duplex {
    input: Option<Feeding>,
    output: Pin<Box<dyn Stream<Item = Bytes> + Send>>,
}

impl Stream for Duplex {
    type Item = Result<Bytes, std::convert::Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(input) = &mut self.input
            && let Poll::Ready(end) = input.as_mut().poll(cx)
        {
            // Dropping it closes the way in; what is under way still comes out.
            self.input = None;
            if let Some(refusal) = end {
                return Poll::Ready(Some(Ok(refusal)));
            }
        }
        self.output.as_mut().poll_next(cx).map(|chunk| chunk.map(Ok))
    }
}

#[cfg(test)]
mod tests {
    use ganger_core::{TaskId, TaskState};
    use ganger_store::AttemptError;

    use super::*;

    #[test]
    fn lines_written_by_hand_are_stream_results() {
        let task = Finished {
            id: TaskId::from_raw(77).unwrap(),
            queue: "q".into(),
            state: TaskState::Completed,
            result: Some(Bytes::from_static(b"{\"a\":[1]}")),
            error: None,
            reason: None,
            attempt: 1,
        };
        let failed = Finished {
            state: TaskState::Discarded,
            result: None,
            error: Some(Box::new(AttemptError::new("it \"broke\"\n"))),
            ..task.clone()
        };
        let mut out = Vec::new();
        write_line(&mut out, &task);
        write_line(&mut out, &failed);
        let lines: Vec<ganger_api::StreamResult> = out
            .split(|b| *b == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_slice(line).unwrap())
            .collect();
        assert_eq!(lines[0].id, task.id);
        assert_eq!(lines[0].result.as_ref().unwrap().get(), "{\"a\":[1]}");
        assert_eq!(lines[1].error.as_deref(), Some("it \"broke\"\n"));
        assert!(lines[1].result.is_none());
        // The shape is the one of the serialised type, byte for byte.
        let by_serde = serde_json::to_string(&lines[1]).unwrap();
        assert_eq!(by_serde.as_bytes(), out.split(|b| *b == b'\n').nth(1).unwrap());
    }
}
