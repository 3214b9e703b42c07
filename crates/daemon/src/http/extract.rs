//! Reading requests, with our own words for what is wrong with them.

use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::http::request::Parts;
use bytes::Bytes;
use serde::de::DeserializeOwned;

use super::error::{Fault, usage};

/// A query string as a struct.
#[derive(Debug)]
pub(crate) struct Params<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Params<T> {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Fault> {
        let query = Query::<T>::from_request_parts(parts, state).await;
        query.map(|Query(value)| Self(value)).map_err(|e| usage(e.body_text()))
    }
}

/// A JSON body, whatever its media type says.
#[derive(Debug)]
pub(crate) struct Body<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Fault;

    async fn from_request(request: Request, state: &S) -> Result<Self, Fault> {
        let bytes = whole(request, state).await?;
        serde_json::from_slice(&bytes)
            .map(Self)
            .map_err(|e| usage(format!("the body is not what this route takes: {e}")))
    }
}

/// The whole body, within the bound.
pub(crate) async fn whole<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, Fault> {
    Bytes::from_request(request, state).await.map_err(|e| {
        let error = usage(e.body_text());
        Fault(error.0.hint("push many tasks in parts, or through /queues/NAME/stream"))
    })
}
