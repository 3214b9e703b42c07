//! `POST /incidents/{id}`: what was done about an incident, recorded where the incident is.

use std::time::Duration;

use axum::Json;
use axum::extract::{Extension, Path, State};
use ganger_api::{ApiError, ErrorKind, IncidentChange, IncidentWord, V1, VerbAnswer};
use ganger_audit::{Append, Filter, Handling, IncidentState, ReadError, Reader, Record};
use ganger_incident::Ledger;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::timeout;

use super::error::{Answer, Fault};
use super::extract::Body;
use super::peer::Peer;
use crate::app::App;

/// What a lock-out hangs on is looked at within milliseconds; nobody waits longer for a busy one.
const IN_FORCE: Duration = Duration::from_secs(2);
/// Characters of a note.
const NOTE_MAX: usize = 1_000;

pub(crate) async fn change(
    State(app): State<App>,
    Extension(peer): Extension<Peer>,
    Path(id): Path<String>,
    Body(change): Body<IncidentChange>,
) -> Answer<VerbAnswer> {
    let full = app.full()?;
    if change.note.as_ref().is_some_and(|note| note.chars().count() > NOTE_MAX) {
        let why = format!("a note has at most {NOTE_MAX} characters");
        return Err(ApiError::new(ErrorKind::Usage, why).into());
    }
    let folder =
        crate::convert::audit_options(&full.desired().config.audit, app.state_dir()).folder;
    let wanted = id.clone();
    let known = tokio::task::spawn_blocking(move || is_known(&folder, &wanted)).await;
    match known {
        Ok(Ok(true)) => {}
        Ok(Ok(false)) => {
            let why = format!("there is no incident {}", ganger_incident::plain(&id));
            return Err(ApiError::new(ErrorKind::NotFound, why).into());
        }
        Ok(Err(error)) => return Err(failed(&error)),
        Err(error) => return Err(failed(&error)),
    }
    let state = match change.state {
        IncidentWord::Open => Handling::Open,
        IncidentWord::Ack => Handling::Ack,
        IncidentWord::Closed => Handling::Closed,
    };
    let record =
        Record::IncidentState(Box::new(IncidentState { id: id.clone(), state, note: change.note }));
    let append = Append { run: None, principal: Some(peer.caller().record), record };
    let mut events = full.events.listen();
    full.exec.record(append).await.map_err(|error| failed(&error))?;
    let in_force = async {
        loop {
            match events.recv().await {
                Ok(event) if event.kind == crate::incidents::STATE && event.name == id => break,
                Ok(_) | Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => break,
            }
        }
    };
    let notes = match timeout(IN_FORCE, in_force).await {
        Ok(()) => Vec::new(),
        Err(_) => {
            vec!["recorded, and in force once the records before it are looked at".to_owned()]
        }
    };
    Ok(Json(VerbAnswer { v: V1, done: vec![id], notes }))
}

fn failed(error: &(dyn std::error::Error + 'static)) -> Fault {
    ApiError::from_error(ErrorKind::Failed, error).into()
}

/// Whether the log has it. Blocking.
fn is_known(folder: &std::path::Path, id: &str) -> Result<bool, ReadError> {
    let reader = match Reader::open(folder) {
        Ok(reader) => reader,
        Err(ReadError::NoLog(_)) => return Ok(false),
        Err(error) => return Err(error),
    };
    let mut ledger = Ledger::default();
    let filter = Filter { event: Some("incident".into()), ..Filter::default() };
    reader.search(&filter, |found| {
        if let Ok(found) = found {
            ledger.see(&found.entry);
        }
        true
    })?;
    Ok(ledger.get(id).is_some())
}
