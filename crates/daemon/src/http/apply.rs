//! `POST /apply` and `POST /down`.

use axum::Json;
use axum::extract::State;
use ganger_api::{Applied, ApplyRequest, V1, VerbAnswer};

use super::error::{Answer, usage};
use super::extract::Body;
use crate::app::App;
use crate::config::Config;
use crate::foreman::Caller;

pub(crate) async fn apply(
    State(app): State<App>,
    Body(request): Body<ApplyRequest>,
) -> Answer<Applied> {
    let full = app.full()?;
    let config: Config = serde_json::from_str(request.config.get())
        .map_err(|e| usage(format!("this is not a resolved configuration: {e}")))?;
    let caller = Caller { environment: request.environment, update: request.update_environment };
    let applied = full.foreman.apply(config, caller, request.dry_run).await?;
    Ok(Json(applied))
}

pub(crate) async fn down(State(app): State<App>) -> Answer<VerbAnswer> {
    let notes = app.down().await?;
    Ok(Json(VerbAnswer { v: V1, done: vec!["ganger".to_owned()], notes }))
}
