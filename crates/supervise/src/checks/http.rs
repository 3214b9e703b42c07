//! One HTTP/1.1 request.

use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::handshake;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;

use super::tcp;
use crate::spec::HttpCheck;

/// How much of the answer is read: a server that is cut off in the middle of a page logs an error each time, one that
/// sends without end must not be read without end.
const BODY_MAX: usize = 64 << 10;

/// Good when the answer's status is from 200 to 399. Redirects are not followed: that one is sent is answer enough.
pub(super) async fn get(check: &HttpCheck) -> Result<(), String> {
    let broke = |error: hyper::Error| format!("no HTTP answer from {check}: {error}");
    let stream = tcp::open(&check.address).await?;
    let (mut send, connection) = handshake(TokioIo::new(stream)).await.map_err(broke)?;
    let request = Request::builder()
        .method(Method::GET)
        .uri(&check.path)
        .header("host", &check.address)
        .header("user-agent", concat!("ganger/", env!("CARGO_PKG_VERSION")))
        .header("connection", "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| format!("can't ask {check}: {error}"))?;
    let asked = async {
        let answer = send.send_request(request).await?;
        let status = answer.status();
        drain(answer.into_body()).await;
        Ok(status)
    };
    tokio::pin!(asked);
    // The connection moves only while it is polled; where it ends first, the question ends with it.
    let status = tokio::select! {
        status = &mut asked => status,
        _ = connection => asked.await,
    };
    judge(status.map_err(broke)?, check)
}

fn judge(status: StatusCode, check: &HttpCheck) -> Result<(), String> {
    match status.as_u16() {
        200..400 => Ok(()),
        code => Err(format!("HTTP {code} from {check}")),
    }
}

/// Reads what there is of the body, up to [`BODY_MAX`]. The status has said all; a body that breaks changes nothing.
async fn drain(mut body: Incoming) {
    let mut read = 0;
    while let Some(Ok(frame)) = body.frame().await {
        read += frame.data_ref().map_or(0, Bytes::len);
        if read >= BODY_MAX {
            return;
        }
    }
}
