//! The HTTP API: routes under `/api/v1` on the Unix socket. It owns no state: it asks owners and reads what they publish.
//!
//! The daemon's own user and root are served; everybody else gets 403. When the daemon has no store (or too many of its
//! kind have died) the reading routes go on and everything else says why it can't.

mod alerts;
mod anomalies;
mod apply;
mod control;
mod costs;
mod dead;
mod error;
mod events;
mod exec;
mod extract;
mod incidents;
mod instances;
mod ipc;
mod logs;
mod metrics;
mod ndjson;
mod outer;
mod peer;
mod push;
mod queues;
mod reloads;
mod retry;
mod schedules;
mod serve;
mod sse;
mod stats;
mod status;
mod stream;
mod task_log;
mod tasks;
mod upgrade;
mod wait;
mod why;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use ganger_api::{ApiError, ErrorKind, PREFIX};

pub(crate) use error::{Fault, not_found};
pub(crate) use instances::instance;
pub(crate) use outer::Outer;
pub(crate) use serve::{Closing, Doors, END_TIMEOUT, UPGRADE_TIMEOUT, listener, serve};

use crate::app::App;

/// The largest body that is taken whole. Bulk pushes beyond it use the stream, which has no such bound.
const BODY_MAX: usize = 128 << 20;

/// Everything there is, for those who may.
pub(crate) fn routes(app: App) -> Router {
    let api = Router::new()
        .route("/status", get(status::status))
        .route("/costs", get(costs::costs))
        .route("/stats", get(stats::all))
        .route("/stats/{name}", get(stats::one))
        .route("/instances", get(instances::list))
        .route("/services/{name}", get(instances::one))
        .route("/services/{name}/start", post(control::start))
        .route("/services/{name}/stop", post(control::stop))
        .route("/services/{name}/restart", post(control::restart))
        .route("/services/{name}/reload", post(control::reload))
        .route("/services/{name}/scale", post(control::scale))
        .route("/pools/{name}/scale", post(control::scale))
        .route("/queues", get(queues::list))
        .route("/queues/{name}", get(queues::one))
        .route("/queues/{name}/pause", post(queues::pause))
        .route("/queues/{name}/drain", post(queues::drain))
        .route("/queues/{name}/resume", post(queues::resume))
        .route("/queues/{name}/tasks", post(push::push))
        .route("/queues/{name}/stream", post(stream::stream))
        .route("/schedules", get(schedules::list))
        .route("/schedules/{name}", get(schedules::one))
        .route("/schedules/{name}/next", get(schedules::next))
        .route("/schedules/{name}/run", post(schedules::run))
        .route("/schedules/{name}/pause", post(schedules::pause))
        .route("/schedules/{name}/resume", post(schedules::resume))
        .route("/tasks", get(tasks::list))
        .route("/tasks/export", get(tasks::export))
        .route("/tasks/{id}", get(tasks::one))
        .route("/tasks/{id}/log", get(task_log::log))
        .route("/tasks/{id}/why", get(why::why))
        .route("/tasks/{id}/retry", post(tasks::retry))
        .route("/tasks/{id}/priority", post(tasks::priority))
        .route("/queues/{name}/priority", post(tasks::priorities))
        .route("/tasks/{id}/cancel", post(tasks::cancel))
        .route("/dead", get(dead::list))
        .route("/dead/replay", post(dead::replay))
        .route("/dead/purge", post(dead::purge))
        .route("/dead/{id}/edit", post(dead::edit))
        .route("/incidents/{id}", post(incidents::change))
        .route("/alerts", get(alerts::list))
        .route("/alerts/{name}", get(alerts::one))
        .route("/alerts/{name}/test", post(alerts::test))
        .route("/anomalies", get(anomalies::list))
        .route("/silences", get(alerts::silences).post(alerts::silence))
        .route("/silences/{id}/expire", post(alerts::expire))
        .route("/logs/{name}", get(logs::logs))
        .route("/events", get(events::events))
        .route("/apply", post(apply::apply))
        .route("/down", post(apply::down))
        .route("/upgrade", get(upgrade::last).post(upgrade::start))
        .route("/wait", post(wait::wait))
        .route("/call", post(ipc::call))
        .route("/publish", post(ipc::publish))
        .route("/subscribe", get(ipc::subscribe))
        .route("/metrics", get(metrics::metrics))
        .merge(exec_routes(exec::BODY_MAX))
        .fallback(nowhere)
        .method_not_allowed_fallback(wrong_method)
        .with_state(app.clone());
    Router::new()
        .nest(PREFIX, api)
        .route("/metrics", get(metrics::metrics).with_state(app))
        .fallback(nowhere)
        .layer(DefaultBodyLimit::max(BODY_MAX))
}

/// Commands under policies: each policy says for whom it is.
fn exec_routes(body_max: usize) -> Router<App> {
    Router::new()
        .route("/exec", post(exec::by_request))
        .route("/exec/{policy}", post(exec::by_policy))
        .layer(DefaultBodyLimit::max(body_max))
}

/// For others than the daemon's own user: what policies may allow them, and nothing else. Their requests are smaller, as each is held
/// in memory before anything is decided.
pub(crate) fn others(app: App) -> Router {
    let api = exec_routes(exec::OTHERS_BODY_MAX).with_state(app);
    Router::new().nest(PREFIX, api).merge(denied())
}

/// What others hear.
pub(crate) fn denied() -> Router {
    Router::new().fallback(|| async {
        let error = ApiError::new(ErrorKind::Denied, "this daemon belongs to another user");
        Fault(error.hint("run the command as that user, or as root"))
    })
}

async fn nowhere(uri: axum::http::Uri) -> Fault {
    let error = ApiError::new(ErrorKind::NotFound, format!("there is no route {}", uri.path()));
    Fault(error.hint(format!(
        "routes begin with {PREFIX}; command and daemon may be of different versions"
    )))
}

async fn wrong_method(method: axum::http::Method, uri: axum::http::Uri) -> Fault {
    error::usage(format!("{} does not take {method}", uri.path()))
}
