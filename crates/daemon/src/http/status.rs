//! `GET /status`.

use axum::Json;
use axum::extract::State;
use ganger_api::{DaemonStatus, ProcessStatus, ScheduleSummary, Status, Timestamp, V1};

use super::error::Answer;
use crate::app::App;

pub(crate) async fn status(State(app): State<App>) -> Answer<Status> {
    let about = app.about();
    let desired = app.full().ok().map(|full| full.desired());
    // Hashing the files is I/O on the caller's wish only; they are small.
    let config_differs = match desired.clone() {
        Some(desired) => {
            tokio::task::spawn_blocking(move || desired.differs()).await.unwrap_or(false)
        }
        None => false,
    };
    let config_file = desired.and_then(|d| d.file().map(|f| f.path.display().to_string()));
    Ok(Json(Status {
        v: V1,
        daemon: DaemonStatus {
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_s: app.uptime().into(),
        },
        keeper: ProcessStatus { pid: Some(about.keeper_pid) },
        logger: ProcessStatus { pid: about.logger_pid },
        state_dir: app.state_dir().display().to_string(),
        config_file,
        config_differs,
        schedules: schedules(&app).await,
        groups: super::instances::groups(&app),
        reloads: super::reloads::list(&app),
        degraded: app.degraded(),
        api_only: app.full().err().map(|e| e.message),
    }))
}

/// `None` without schedules, and while the store can't be read: a status says then what is wrong.
async fn schedules(app: &App) -> Option<ScheduleSummary> {
    let looks = app.full().ok()?.schedules.list().await.ok()?;
    let rows = || looks.iter().filter_map(|look| look.row.as_ref());
    let next = looks.iter().filter_map(|look| Some((look.view.next?.0, &look.view.name))).min();
    (!looks.is_empty()).then(|| ScheduleSummary {
        total: looks.len() as u64,
        paused: looks.iter().filter(|look| look.view.paused).count() as u64,
        waiting: looks.iter().map(|look| look.view.held as u64).sum(),
        fired: rows().map(|row| row.fired).sum(),
        skipped: rows().map(|row| row.skipped).sum(),
        next: next.map(|(_, name)| name.to_string()),
        next_at: next.map(|(at, _)| Timestamp(at)),
    })
}
