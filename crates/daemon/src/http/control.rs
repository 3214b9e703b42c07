//! `start`, `stop`, `restart` and `scale` of services and pools. `NAME#SLOT` means one instance.

use axum::Json;
use axum::extract::{Path, State};
use ganger_api::{ScaleRequest, V1, VerbAnswer};

use super::error::{Answer, usage};
use super::extract::Body;
use crate::app::App;
use crate::foreman::{Target, Verb};

pub(crate) async fn start(state: State<App>, name: Path<String>) -> Answer<VerbAnswer> {
    verb(state, name, Verb::Start).await
}

pub(crate) async fn stop(state: State<App>, name: Path<String>) -> Answer<VerbAnswer> {
    verb(state, name, Verb::Stop).await
}

pub(crate) async fn restart(state: State<App>, name: Path<String>) -> Answer<VerbAnswer> {
    verb(state, name, Verb::Restart).await
}

pub(crate) async fn scale(
    state: State<App>,
    name: Path<String>,
    Body(request): Body<ScaleRequest>,
) -> Answer<VerbAnswer> {
    verb(state, name, Verb::Scale(request.replicas)).await
}

async fn verb(State(app): State<App>, Path(name): Path<String>, verb: Verb) -> Answer<VerbAnswer> {
    let target = match name.split_once('#') {
        None => Target { name: name.clone(), slot: None },
        Some((name, slot)) => {
            let slot = slot.parse().map_err(|_| usage(format!("`{slot}` is not a slot number")))?;
            Target { name: name.to_owned(), slot: Some(slot) }
        }
    };
    let notes = app.full()?.foreman.verb(target, verb).await?;
    Ok(Json(VerbAnswer { v: V1, done: vec![name], notes }))
}
