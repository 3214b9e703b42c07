//! `start`, `stop`, `restart`, `reload` and `scale` of services and pools. `NAME#SLOT` means one instance.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use ganger_api::{ScaleRequest, V1, VerbAnswer};

use ganger_supervise::Snapshot;

use super::error::{Answer, usage};
use super::extract::Body;
use crate::app::{App, Full};
use crate::foreman::{Target, Verb};

/// Five times what publishing takes.
const PUBLISHED: Duration = Duration::from_millis(100);

pub(crate) async fn start(state: State<App>, name: Path<String>) -> Answer<VerbAnswer> {
    verb(state, name, Verb::Start).await
}

pub(crate) async fn stop(state: State<App>, name: Path<String>) -> Answer<VerbAnswer> {
    verb(state, name, Verb::Stop).await
}

pub(crate) async fn restart(state: State<App>, name: Path<String>) -> Answer<VerbAnswer> {
    verb(state, name, Verb::Restart).await
}

pub(crate) async fn reload(state: State<App>, name: Path<String>) -> Answer<VerbAnswer> {
    if name.contains('#') {
        return Err(usage("a reload is of all instances of a service; `restart` takes one"));
    }
    verb(state, name, Verb::Reload).await
}

pub(crate) async fn scale(
    state: State<App>,
    name: Path<String>,
    Body(request): Body<ScaleRequest>,
) -> Answer<VerbAnswer> {
    verb(state, name, Verb::Scale(request.replicas)).await
}

/// Workers' views are published a little late; who has stopped one must not see it running in the next `ps`. (Services
/// are asked for a fresh look by whoever reads.)
async fn shown(full: &Full, target: &Target, verb: Verb) {
    if !full.desired().config.pools.contains_key(&target.name) {
        return;
    }
    let mut views = full.workers.clone();
    let is_shown = |views: &Arc<Snapshot>| {
        let those = views.of(&target.name);
        let those = those.filter(|view| target.slot.is_none_or(|slot| slot == view.id.slot));
        match verb {
            Verb::Start | Verb::Restart | Verb::Reload => those.into_iter().all(|view| view.ready),
            Verb::Stop => those.into_iter().all(|view| view.pid.is_none()),
            Verb::Scale(n) => u32::try_from(those.count()).is_ok_and(|count| count == n),
        }
    };
    // A late view is no reason to keep anybody waiting, or to say that it did not work.
    drop(tokio::time::timeout(PUBLISHED, views.wait_for(is_shown)).await);
}

async fn verb(State(app): State<App>, Path(name): Path<String>, verb: Verb) -> Answer<VerbAnswer> {
    let target = match name.split_once('#') {
        None => Target { name: name.clone(), slot: None },
        Some((name, slot)) => {
            let slot = slot.parse().map_err(|_| usage(format!("`{slot}` is not a slot number")))?;
            Target { name: name.to_owned(), slot: Some(slot) }
        }
    };
    let full = app.full()?;
    let notes = full.foreman.verb(target.clone(), verb).await?;
    shown(full, &target, verb).await;
    Ok(Json(VerbAnswer { v: V1, done: vec![name], notes }))
}
