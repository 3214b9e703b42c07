//! `GET /anomalies`: what the detectors think is unusual or wrong.

use axum::Json;
use axum::extract::State;
use ganger_api::{Anomalies, AnomaliesQuery};

use super::error::Answer;
use super::extract::Params;
use crate::app::App;

pub(crate) async fn list(
    State(app): State<App>,
    Params(query): Params<AnomaliesQuery>,
) -> Answer<Anomalies> {
    Ok(Json(app.full()?.anomalies.borrow().told(query.all)))
}
