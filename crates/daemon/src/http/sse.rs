//! Server-sent events out of whatever comes through a channel.

use std::convert::Infallible;

use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use ganger_api::ApiError;
use serde::Serialize;

use super::Closing;

/// Appends one event. Its data is one line: JSON has no raw line feeds.
pub(crate) fn write<T: Serialize>(out: &mut Vec<u8>, id: Option<u64>, value: &T) {
    if let Some(id) = id {
        out.extend_from_slice(format!("id: {id}\n").as_bytes());
    }
    out.extend_from_slice(b"data: ");
    serde_json::to_writer(&mut *out, value).expect("the API's shapes are always JSON");
    out.extend_from_slice(b"\n\n");
}

/// Appends the event that says why a stream ends early.
pub(crate) fn write_error(out: &mut Vec<u8>, error: &ApiError) {
    out.extend_from_slice(b"event: error\n");
    write(out, None, error);
}

/// The answer that streams these chunks. `held` lives as long as the listener. With `closing` it is one that follows: it has
/// no end of its own, and the daemon's is not made to wait for it.
pub(crate) fn answer<H: Send + 'static>(
    chunks: impl Stream<Item = Bytes> + Send + 'static,
    closing: Option<Closing>,
    held: H,
) -> Response {
    let closed = async move {
        match closing {
            Some(mut closing) => drop(closing.wait_for(Option::is_some).await),
            None => std::future::pending().await,
        }
    };
    let stream = chunks.take_until(Box::pin(closed)).map(move |chunk| {
        let _held = &held;
        Ok::<_, Infallible>(chunk)
    });
    let head = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-store")];
    (head, Body::from_stream(stream)).into_response()
}
