//! One kept-alive HTTP/1.1 connection.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Method, Request, Response, header};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::body::RequestBody;
use super::{Client, connect};
use crate::error::ErrorBody;
use crate::{ApiError, ErrorKind, PREFIX, Timestamp};

/// The largest answer that is read whole: pages are capped by the daemon far below this.
const ANSWER_MAX: usize = 256 << 20;

/// What is asked.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) method: Method,
    /// Below [`PREFIX`], with the query.
    pub(crate) path: String,
    pub(crate) body: Bytes,
    pub(crate) media: &'static str,
    /// Makes a repeated call safe.
    pub(crate) key: Option<String>,
    pub(crate) deadline: Duration,
    /// May be made again when the daemon died over it.
    pub(crate) repeatable: bool,
}

/// A key nobody gave before. It begins with the time, as a UUID of version 7 does (RFC 9562): the daemon stores keys sorted, and random
/// ones would touch another page of its store with every push (a fifth of the writer's time, measured).
pub(crate) fn fresh_key() -> String {
    let random = fastrand::u128(..) >> 48;
    format!("{:012x}{random:020x}", Timestamp::now().0)
}

/// A connection that serves one call after another: for callers that make many.
#[derive(Debug)]
pub struct Connection {
    send: SendRequest<RequestBody>,
    driver: JoinHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Why a call failed, and if the daemon went away over it.
#[derive(Debug)]
pub(crate) struct CallError {
    pub(crate) error: ApiError,
    pub(crate) cut_off: bool,
}

impl Client {
    /// Opens a connection for many calls.
    ///
    /// # Errors
    /// `NoDaemon` or `Denied`.
    pub async fn connect(&self) -> Result<Connection, ApiError> {
        let patience = self.options.restart_patience;
        let stream = match &self.socket {
            Some(path) => connect::connect_to(path, patience).await?,
            None => connect::connect(&self.state_dir, patience).await?,
        };
        let (send, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|e| ApiError::from_error(ErrorKind::NoDaemon, &e))?;
        let driver = tokio::spawn(async move {
            // A broken connection shows up in the call that waits on it.
            drop(connection.await);
        });
        Ok(Connection { send, driver })
    }

    /// Makes a call on a fresh connection; again on another one if the daemon died over it and that is safe.
    pub(crate) async fn call<T: DeserializeOwned>(&self, call: &Call) -> Result<T, ApiError> {
        let bytes = self.call_bytes(call).await?;
        parse(&bytes, &call.path)
    }

    pub(crate) async fn call_bytes(&self, call: &Call) -> Result<Bytes, ApiError> {
        let until = tokio::time::Instant::now() + self.options.restart_patience;
        loop {
            let mut connection = self.connect().await?;
            match connection.call(call).await {
                Ok(bytes) => return Ok(bytes),
                Err(e) if e.cut_off && call.repeatable && tokio::time::Instant::now() < until => {}
                Err(e) => return Err(e.error),
            }
        }
    }
}

impl Connection {
    /// Sends a call and reads the whole answer.
    pub(crate) async fn call(&mut self, call: &Call) -> Result<Bytes, CallError> {
        let late = || CallError {
            error: ApiError::new(
                ErrorKind::Timeout,
                format!(
                    "{} {PREFIX}{} got no answer within {:?}",
                    call.method, call.path, call.deadline
                ),
            ),
            cut_off: false,
        };
        timeout(call.deadline, self.call_now(call)).await.unwrap_or_else(|_| Err(late()))
    }

    async fn call_now(&mut self, call: &Call) -> Result<Bytes, CallError> {
        let body = RequestBody::Whole((!call.body.is_empty()).then(|| call.body.clone()));
        let response = self.send(call, body).await?;
        read_all(response, &call.path).await
    }

    /// Sends a request and returns once the head of a successful answer is there.
    pub(crate) async fn send(
        &mut self,
        call: &Call,
        body: RequestBody,
    ) -> Result<Response<Incoming>, CallError> {
        let mut request = Request::builder()
            .method(call.method.clone())
            .uri(format!("{PREFIX}{}", call.path))
            .header(header::HOST, "ganger")
            .header(header::CONTENT_TYPE, call.media);
        if let Some(key) = &call.key {
            request = request.header(crate::IDEMPOTENCY_HEADER, key);
        }
        let request = request.body(body).map_err(|e| CallError {
            error: ApiError::new(ErrorKind::Usage, format!("not a request: {}", call.path))
                .cause(e.to_string()),
            cut_off: false,
        })?;
        self.send.ready().await.map_err(|e| broken(&e, call))?;
        let response = self.send.send_request(request).await.map_err(|e| broken(&e, call))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let bytes = read_all(response, &call.path).await?;
        let error = serde_json::from_slice::<ErrorBody>(&bytes).map_or_else(
            |_| {
                ApiError::new(ErrorKind::Failed, format!("the daemon answered {status}"))
                    .cause(String::from_utf8_lossy(&bytes).into_owned())
            },
            |body| body.error,
        );
        Err(CallError { error, cut_off: false })
    }
}

async fn read_all(response: Response<Incoming>, path: &str) -> Result<Bytes, CallError> {
    let body = Limited::new(response.into_body(), ANSWER_MAX);
    body.collect().await.map(http_body_util::Collected::to_bytes).map_err(|e| CallError {
        error: ApiError::new(ErrorKind::NoDaemon, format!("the answer of {path} broke off"))
            .cause(e.to_string()),
        cut_off: true,
    })
}

fn broken(error: &hyper::Error, call: &Call) -> CallError {
    CallError {
        error: ApiError::from_error(ErrorKind::NoDaemon, error).hint(format!(
            "the daemon went away over {}; `ganger status` says how it is",
            call.path
        )),
        cut_off: true,
    }
}

pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8], path: &str) -> Result<T, ApiError> {
    serde_json::from_slice(bytes).map_err(|e| {
        ApiError::new(ErrorKind::Failed, format!("the answer of {path} is not what was expected"))
            .cause(e.to_string())
            .hint("command and daemon may be of different versions: `ganger version`")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_differ_and_grow_with_time() {
        let keys: Vec<String> = (0..1_000).map(|_| fresh_key()).collect();
        assert!(keys.iter().all(|key| key.len() == 32), "{}", keys[0]);
        let times: Vec<&str> = keys.iter().map(|key| &key[..12]).collect();
        assert!(times.is_sorted());
        let different: std::collections::HashSet<&String> = keys.iter().collect();
        assert_eq!(different.len(), keys.len());
    }
}
