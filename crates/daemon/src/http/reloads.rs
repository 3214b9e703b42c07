//! Rolling reloads: what is shown of them, and the wait for their end.

use std::collections::BTreeSet;

use ganger_api::{ApiError, ErrorKind, Reload, Timestamp};
use ganger_core::ReloadState;
use ganger_supervise::ReloadView;

use super::error::{Fault, not_found};
use crate::app::{App, Full};
use crate::desired::TakenBack;

/// Reloads that are under way, and those whose version was taken back and is still the configured one.
pub(super) fn list(app: &App) -> Vec<Reload> {
    let Ok(full) = app.full() else { return vec![] };
    let mut names: BTreeSet<String> = full.reloads.borrow().keys().cloned().collect();
    names.extend(full.desired().earlier.keys().cloned());
    let reloads = names.into_iter().filter_map(|name| newest(full, &name));
    reloads.filter(|one| one.state.is_under_way() || one.differs).collect()
}

/// The newest reload of a service.
pub(super) fn of(app: &App, name: &str) -> Option<Reload> {
    newest(app.full().ok()?, name)
}

fn newest(full: &Full, name: &str) -> Option<Reload> {
    let desired = full.desired();
    let back = desired.earlier.get(name).and_then(|earlier| earlier.taken_back.as_ref());
    let view = full.reloads.borrow().get(name).cloned();
    match (view, back) {
        (Some(view), back) => Some(seen(name, &view, back.is_some())),
        // By a former daemon.
        (None, Some(back)) => Some(remembered(name, back)),
        (None, None) => None,
    }
}

fn seen(name: &str, view: &ReloadView, differs: bool) -> Reload {
    Reload {
        name: name.to_owned(),
        state: view.state,
        from: view.from.clone(),
        to: view.to.clone(),
        done: view.done,
        of: view.of,
        reason: view.reason.clone(),
        differs,
        began_at: Timestamp(view.began_ms),
        ended_at: view.ended_ms.map(Timestamp),
    }
}

fn remembered(name: &str, back: &TakenBack) -> Reload {
    Reload {
        name: name.to_owned(),
        state: ReloadState::TakenBack,
        from: back.from.clone(),
        to: back.to.clone(),
        done: 0,
        of: 0,
        reason: back.reason.clone(),
        differs: true,
        began_at: back.began,
        ended_at: Some(back.ended),
    }
}

/// Waits until no reload of a service is under way; an error where the configured version was taken back.
pub(super) async fn over(full: &Full, name: &str) -> Result<(), Fault> {
    let desired = full.desired();
    if !desired.config.services.contains_key(name) {
        let known = desired.config.services.keys().map(String::as_str);
        return Err(not_found("service", name, known));
    }
    let mut reloads = full.reloads.clone();
    let over = reloads.wait_for(|all| all.get(name).is_none_or(|one| !one.state.is_under_way()));
    let gone = || ApiError::new(ErrorKind::NoDaemon, "this daemon is going down");
    drop(over.await.map_err(|_| gone())?);
    let Some(newest) = newest(full, name) else { return Ok(()) };
    let what = match newest.state {
        ReloadState::TakenBack => "was not reloaded: the old version runs on",
        ReloadState::CutShort => "was not reloaded",
        _ => return Ok(()),
    };
    let error = ApiError::new(ErrorKind::Failed, format!("{name} {what}: {}", newest.reason));
    Err(Fault(error.hint(format!("ganger logs {name} · ganger status {name}"))))
}

/// How far a reload is, for an answer that came too late for its end.
pub(super) fn progress(app: &App, name: &str) -> Option<String> {
    let reload = of(app, name).filter(|reload| reload.state.is_under_way())?;
    let Reload { state, done, of, .. } = reload;
    Some(format!("the reload of {name} is {state}, {done} of {of} replaced; it goes on"))
}
