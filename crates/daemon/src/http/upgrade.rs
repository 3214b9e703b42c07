//! `POST /upgrade` and `GET /upgrade`: ganger's own program is replaced by another version.

use axum::Json;
use axum::extract::State;
use ganger_api::{
    ApiError, ErrorKind, Timestamp, Upgrade, UpgradeReport, UpgradeRequest, UpgradeStarted, V1,
};
use ganger_keeper::wire;
use ganger_process::UpgradeError;
use ganger_store::SCHEMA_VERSION;

use super::error::Answer;
use super::extract::Body;
use crate::app::App;

const PROGRAM: &str = env!("CARGO_PKG_VERSION");

/// Answers when nobody else is accepted here any more: who connects after this answer reaches the next daemon.
pub(crate) async fn start(
    State(app): State<App>,
    Body(request): Body<UpgradeRequest>,
) -> Answer<UpgradeStarted> {
    let UpgradeRequest { binary, dry_run } = request;
    let offer = app.processes().examine(binary.clone()).await.map_err(refused)?;
    let migrates = may_follow(&binary, &offer, SCHEMA_VERSION)?;
    let mut started =
        UpgradeStarted { v: V1, from: PROGRAM.into(), to: offer.version, migrates, upgrade: None };
    if !dry_run {
        let mut closing = app.closing();
        let upgrade = app.processes().upgrade().await.map_err(refused)?;
        // Nobody left who could tell means the same.
        drop(closing.wait_for(Option::is_some).await);
        started.upgrade = Some(shape(upgrade));
    }
    Ok(Json(started))
}

pub(crate) async fn last(State(app): State<App>) -> Json<UpgradeReport> {
    let last = app.about().upgrade.map(shape);
    Json(UpgradeReport { v: V1, version: PROGRAM.into(), daemon_pid: std::process::id(), last })
}

/// Whether the store's schema is the newer one's; an error when this store is too new for that binary.
fn may_follow(binary: &str, offer: &wire::Offer, schema: u32) -> Result<bool, ApiError> {
    if offer.schema >= schema {
        return Ok(offer.schema > schema);
    }
    let (version, theirs) = (&offer.version, offer.schema);
    let message = format!(
        "{binary} (ganger {version}) knows the store's schema {theirs}, but the store has {schema}"
    );
    let error = ApiError::new(ErrorKind::Conflict, message).hint("nothing was changed");
    Err(error.hint("a backup of an older store goes with it: `ganger store restore`"))
}

fn refused(error: UpgradeError) -> ApiError {
    let kind = match error {
        UpgradeError::Refused { .. } => ErrorKind::Failed,
        UpgradeError::Busy => ErrorKind::Conflict,
        UpgradeError::KeeperGone(_) => ErrorKind::NoDaemon,
    };
    ApiError::new(kind, format!("no upgrade: {error}")).hint("nothing was changed")
}

fn shape(upgrade: wire::Upgrade) -> Upgrade {
    let wire::Upgrade { from, to, at_ms, keeper_gap_us, children, on_trial: _, failed } = upgrade;
    Upgrade { from, to, at: Timestamp(at_ms), keeper_gap_us, children, failed }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_binary_that_does_not_know_the_store_is_refused() {
        let offer = |schema| wire::Offer { version: "0.0.9".into(), wire: 1, resume: 1, schema };
        assert!(!may_follow("/x", &offer(4), 4).unwrap());
        assert!(may_follow("/x", &offer(5), 4).unwrap());
        let error = may_follow("/x", &offer(3), 4).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Conflict);
        assert!(error.message.contains("schema 3") && error.message.contains("has 4"));
    }
}
