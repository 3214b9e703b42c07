//! `POST /call`, `POST /publish`, `GET /subscribe`: people and programs outside talk with services over their channels.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use ganger_api::{
    ApiError, CallAnswer, CallRequest, ErrorKind, PublishRequest, Reached, SubscribeQuery,
    TopicLine, V1,
};
use ganger_ipc::broker::{Answer as Got, Attached, Code, ExchangeGone, ToPeer, wire};
use serde_json::value::RawValue;
use tokio_stream::StreamExt as _;

use super::error::{Answer, Fault, usage};
use super::extract::{Body, Params};
use super::sse;
use crate::app::App;

/// Topics of one listener.
const TOPICS_MAX: usize = 64;

pub(crate) async fn call(
    State(app): State<App>,
    Body(ask): Body<CallRequest>,
) -> Answer<CallAnswer> {
    let exchange = &app.full()?.exchange;
    let CallRequest { to, kind, payload, timeout_s } = ask;
    let timeout = timeout_s.map(|s| std::time::Duration::try_from_secs_f64(s.0));
    let timeout = timeout.transpose().map_err(|_| usage("`timeout_s` is not a time"))?;
    let whom = to.clone();
    let answer = exchange.call(to, &kind, text_of(payload), timeout).await.map_err(gone)?;
    match answer {
        Got::Result(cargo) if matches!(cargo.attached, Some(Attached::Body { .. })) => {
            let why = format!(
                "`{whom}` answered with a body, which only processes with a channel can take"
            );
            Err(ApiError::new(ErrorKind::Failed, why).into())
        }
        Got::Result(cargo) => {
            let text = cargo.payload.as_deref().unwrap_or("null").to_owned();
            let result = RawValue::from_string(text).map_err(|e| usage(e.to_string()))?;
            Ok(Json(CallAnswer { v: V1, result }))
        }
        Got::Error(error) => Err(said(&whom, &error)),
        Got::Ours(code, why) => Err(ours(code, why)),
    }
}

/// The service's own error.
fn said(whom: &str, error: &str) -> Fault {
    let of = serde_json::from_str::<serde_json::Value>(error);
    let message = of.ok().and_then(|of| match &of["message"] {
        serde_json::Value::String(text) => Some(text.clone()),
        _ => None,
    });
    let message = message.unwrap_or_else(|| error.to_owned());
    ApiError::new(ErrorKind::Failed, format!("`{whom}` answered with an error: {message}")).into()
}

fn ours(code: Code, why: String) -> Fault {
    let kind = match code {
        Code::Nobody => ErrorKind::NotFound,
        Code::Busy => ErrorKind::Full,
        Code::Deadline => ErrorKind::Timeout,
        Code::TooLarge => ErrorKind::Usage,
        Code::Cancelled | Code::Gone => ErrorKind::Failed,
    };
    let error = ApiError::new(kind, why);
    Fault(match code {
        Code::Nobody => error
            .hint("`ganger ps` shows what is ready; a service needs `channel = true` to be asked"),
        Code::Gone => error.hint("it may or may not have done what was asked for"),
        _ => error,
    })
}

pub(crate) async fn publish(
    State(app): State<App>,
    Body(PublishRequest { topic, payload }): Body<PublishRequest>,
) -> Answer<Reached> {
    let named = wire::pattern(Some(&topic)).map_err(usage)?;
    if named.ends_with('*') {
        return Err(usage(format!("`{topic}`: a topic that is published has no *")));
    }
    let reached = app.full()?.exchange.publish(&named, text_of(payload)).await.map_err(gone)?;
    Ok(Json(Reached { v: V1, reached }))
}

pub(crate) async fn subscribe(
    State(app): State<App>,
    Params(SubscribeQuery { topics }): Params<SubscribeQuery>,
) -> Result<Response, Fault> {
    let topics: Result<Vec<_>, _> =
        topics.split(',').map(|topic| wire::pattern(Some(topic.trim())).map_err(usage)).collect();
    let topics = topics?;
    if topics.len() > TOPICS_MAX {
        return Err(usage(format!(
            "at most {TOPICS_MAX} topics at a time; a trailing * takes many"
        )));
    }
    let full = app.full()?;
    let permit = app.follower()?;
    let caller = full.exchange.subscribe(topics).await.map_err(gone)?;
    // Whoever reads this slowly has his line at the broker, which is bounded and tells of gaps.
    let lines = futures_util::stream::unfold(caller, async |mut caller| {
        let message = caller.next().await?;
        Some((line(message), caller))
    });
    let chunks = lines.filter_map(|line| {
        let mut out = Vec::new();
        sse::write(&mut out, None, &line?);
        Some(Bytes::from(out))
    });
    Ok(sse::answer(chunks, Some(app.closing()), permit))
}

fn line<D>(message: ToPeer<D>) -> Option<TopicLine> {
    match message {
        ToPeer::Message { published, .. } => {
            let payload = published.cargo.payload.as_deref().unwrap_or("null").to_owned();
            Some(TopicLine {
                topic: published.topic.to_string(),
                from: Some(published.from.to_string()),
                payload: RawValue::from_string(payload).ok(),
                missed: None,
            })
        }
        ToPeer::Gap { topic, missed } => {
            Some(TopicLine { topic: topic.into(), missed: Some(missed), ..TopicLine::default() })
        }
        _ => None,
    }
}

fn text_of(payload: Option<Box<RawValue>>) -> Arc<str> {
    payload.map_or_else(|| "null".into(), |raw| raw.get().into())
}

fn gone(gone: ExchangeGone) -> Fault {
    ApiError::from_error(ErrorKind::NoDaemon, &gone).into()
}
