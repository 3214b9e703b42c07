//! Commands under policies, as they run.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::Method;
use hyper::body::Incoming;

use super::body::RequestBody;
use super::calls::escape;
use super::connection::Call;
use super::{Client, Connection};
use crate::types::{FrameKind, Frames};
use crate::{ApiError, ErrorKind};

/// A run under way. Dropping it ends the run.
#[derive(Debug)]
pub struct ExecStream {
    _connection: Connection,
    body: Incoming,
    frames: Frames,
}

impl Client {
    /// `POST /exec/{policy}?stream=true` with a request (and its bytes for stdin) as they go over the wire. It is never sent twice.
    ///
    /// # Errors
    /// `Usage` for what is no request, `NoDaemon`, `Denied` where this user may not ask at all. What a policy denies is told
    /// by the stream.
    pub async fn exec(&self, policy: &str, request: Bytes) -> Result<ExecStream, ApiError> {
        let mut connection = self.connect().await?;
        let call = Call {
            method: Method::POST,
            path: format!("/exec/{}?stream=true", escape(policy)),
            body: Bytes::new(),
            media: "application/json",
            key: None,
            deadline: Duration::MAX,
            repeatable: false,
        };
        let body = RequestBody::Whole(Some(request));
        let response = connection.send(&call, body).await.map_err(|e| e.error)?;
        Ok(ExecStream {
            _connection: connection,
            body: response.into_body(),
            frames: Frames::default(),
        })
    }
}

impl ExecStream {
    /// The next frame; `None` when the stream has ended. Cancel safe.
    ///
    /// # Errors
    /// The daemon went away: how the run ended stands in the audit log.
    pub async fn next(&mut self) -> Result<Option<(FrameKind, Bytes)>, ApiError> {
        let broken = |why: String| {
            ApiError::new(ErrorKind::NoDaemon, format!("the daemon went away over the run: {why}"))
                .hint("the run was ended; `ganger audit tail` tells how, once a daemon is there")
        };
        loop {
            let next = self.frames.take();
            if let Some(frame) = next.map_err(|error| broken(error.to_string()))? {
                return Ok(Some(frame));
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(Err(error)) => return Err(broken(error.to_string())),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.frames.feed(&data);
                    }
                }
            }
        }
    }
}
