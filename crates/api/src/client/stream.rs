//! The duplex stream: tasks in, finished tasks out, on one connection.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::Method;
use hyper::body::Incoming;
use tokio::sync::mpsc;

use super::body::RequestBody;
use super::connection::{Call, fresh_key};
use super::sse::Lines;
use super::{Client, Connection, SseError};
use crate::{ApiError, ErrorKind, NDJSON, NewTask, StreamResult};

/// Chunks on their way to the socket: two, so that one is written while the next is made.
const CHUNKS_AHEAD: usize = 2;

/// Where tasks are pushed. Dropping it says that no more come.
#[derive(Debug)]
pub struct TaskSink {
    chunks: mpsc::Sender<Bytes>,
}

/// Where finished tasks come back, in the order they finished.
#[derive(Debug)]
pub struct Results {
    _connection: Connection,
    body: Incoming,
    lines: Lines,
}

impl Client {
    /// `POST /queues/{name}/stream`.
    ///
    /// # Errors
    /// `NotFound` for an unknown queue, `NoDaemon`, `Denied`.
    pub async fn stream(&self, queue: &str) -> Result<(TaskSink, Results), ApiError> {
        let mut connection = self.connect().await?;
        let (chunks, fed) = mpsc::channel(CHUNKS_AHEAD);
        let call = Call {
            method: Method::POST,
            path: format!("/queues/{queue}/stream"),
            body: Bytes::new(),
            media: NDJSON,
            key: Some(fresh_key()),
            deadline: Duration::MAX,
            repeatable: false,
        };
        let response = connection.send(&call, RequestBody::Fed(fed)).await.map_err(|e| e.error)?;
        let results = Results {
            _connection: connection,
            body: response.into_body(),
            lines: Lines::default(),
        };
        Ok((TaskSink { chunks }, results))
    }
}

impl TaskSink {
    /// Sends a batch; waits while the socket is full.
    ///
    /// # Errors
    /// The daemon went away.
    pub async fn push(&self, tasks: &[NewTask]) -> Result<(), ApiError> {
        let mut lines = BytesMut::new().writer();
        for task in tasks {
            serde_json::to_writer(&mut lines, task)
                .map_err(|e| ApiError::from_error(ErrorKind::Usage, &e))?;
            lines.get_mut().put_u8(b'\n');
        }
        self.push_lines(lines.into_inner().freeze()).await
    }

    /// Sends lines of JSON as they are; each must end with a line feed. Cancel safe: sent whole or not at all.
    ///
    /// # Errors
    /// The daemon went away.
    pub async fn push_lines(&self, lines: Bytes) -> Result<(), ApiError> {
        self.chunks
            .send(lines)
            .await
            .map_err(|_| ApiError::new(ErrorKind::NoDaemon, "the daemon ended the stream"))
    }
}

impl Results {
    /// The next line as it came; `None` when all pushed tasks have ended and the sink is dropped. Cancel safe.
    ///
    /// # Errors
    /// The stream broke.
    pub async fn next_line(&mut self) -> Result<Option<Bytes>, SseError> {
        loop {
            if let Some(line) = self.lines.next() {
                return Ok(Some(line));
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(Err(e)) => return Err(SseError::Broken(e)),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.lines.feed(&data)?;
                    }
                }
            }
        }
    }

    /// The next finished task. A line that reports a refused one is an error. Cancel safe.
    ///
    /// # Errors
    /// The stream broke, or the daemon refused a task: which line and why.
    pub async fn next(&mut self) -> Result<Option<StreamResult>, SseError> {
        let Some(line) = self.next_line().await? else { return Ok(None) };
        match serde_json::from_slice(&line) {
            Ok(result) => Ok(Some(result)),
            Err(shape) => match serde_json::from_slice::<crate::error::ErrorBody>(&line) {
                Ok(body) => Err(SseError::Api(body.error)),
                Err(_) => Err(SseError::Shape(shape)),
            },
        }
    }
}
