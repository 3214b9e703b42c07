//! Server-sent events: `data: {…}` lines become values.

use std::marker::PhantomData;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::de::DeserializeOwned;

use super::Connection;
use crate::ApiError;

/// A line longer than this is not ours: log lines are cut far below it.
const LINE_MAX: usize = 16 << 20;

/// Why a stream ended early.
#[derive(Debug, thiserror::Error)]
pub enum SseError {
    /// The connection broke: the daemon went away.
    #[error("the stream broke off: {0}")]
    Broken(#[source] hyper::Error),
    /// Something that is not the expected shape.
    #[error("an event of the stream is not what was expected: {0}")]
    Shape(#[source] serde_json::Error),
    /// No line feed for 16 MiB.
    #[error("a line of the stream is over {LINE_MAX} bytes")]
    TooLong,
    /// The daemon reported a failure inside the stream.
    #[error("{0}")]
    Api(#[source] ApiError),
}

/// A stream of values. Cancel safe: [`Sse::next`] keeps what it has read.
#[derive(Debug)]
pub struct Sse<T> {
    /// Held so that it is driven for as long as the stream is read.
    _connection: Connection,
    body: Incoming,
    lines: Lines,
    is_error: bool,
    shape: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> Sse<T> {
    pub(crate) fn new(connection: Connection, body: Incoming) -> Self {
        Self {
            _connection: connection,
            body,
            lines: Lines::default(),
            is_error: false,
            shape: PhantomData,
        }
    }

    /// The next value; `None` when the stream is over.
    ///
    /// # Errors
    /// [`SseError`]; the stream can't be used after it.
    pub async fn next(&mut self) -> Result<Option<T>, SseError> {
        loop {
            while let Some(line) = self.lines.next() {
                if let Some(name) = line.strip_prefix(b"event:") {
                    self.is_error = name.trim_ascii() == b"error";
                } else if let Some(data) = line.strip_prefix(b"data:") {
                    if self.is_error {
                        let error = serde_json::from_slice(data).map_err(SseError::Shape)?;
                        return Err(SseError::Api(error));
                    }
                    return serde_json::from_slice(data).map(Some).map_err(SseError::Shape);
                }
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
}

/// Cuts chunks into lines.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    buffer: Vec<u8>,
    at: usize,
    /// No line feed before this.
    searched: usize,
}

impl Lines {
    pub(crate) fn feed(&mut self, chunk: &[u8]) -> Result<(), SseError> {
        self.buffer.drain(..self.at);
        self.searched -= self.at;
        self.at = 0;
        self.buffer.extend_from_slice(chunk);
        if self.buffer.len() > LINE_MAX + chunk.len() {
            return Err(SseError::TooLong);
        }
        Ok(())
    }

    /// The next whole line without its end.
    pub(crate) fn next(&mut self) -> Option<Bytes> {
        let rest = &self.buffer[self.searched..];
        let Some(end) = rest.iter().position(|b| *b == b'\n') else {
            self.searched = self.buffer.len();
            return None;
        };
        let end = self.searched + end;
        let line = &self.buffer[self.at..end];
        let line = Bytes::copy_from_slice(line.strip_suffix(b"\r").unwrap_or(line));
        self.at = end + 1;
        self.searched = self.at;
        Some(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_across_chunks() {
        let mut lines = Lines::default();
        lines.feed(b"da").unwrap();
        assert_eq!(lines.next(), None);
        lines.feed(b"ta: 1\r\n\nx").unwrap();
        assert_eq!(lines.next().unwrap(), "data: 1");
        assert_eq!(lines.next().unwrap(), "");
        assert_eq!(lines.next(), None);
        lines.feed(b"y\n").unwrap();
        assert_eq!(lines.next().unwrap(), "xy");
    }
}
