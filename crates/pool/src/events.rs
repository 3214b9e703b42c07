//! Telling events without ever waiting for who records them.

use ganger_core::{Event, InstanceId};
use ganger_supervise::Told;
use tokio::sync::mpsc;

use crate::dispatcher::now;

/// Sends an event; when nobody takes them fast enough it only goes to the log.
pub(crate) fn tell(to: &mpsc::Sender<Told>, event: Event) {
    let told = Told { event, ack: None, resume: None };
    if let Err(mpsc::error::TrySendError::Full(told) | mpsc::error::TrySendError::Closed(told)) =
        to.try_send(told)
    {
        let Event { kind, name, reason, .. } = told.event;
        tracing::warn!(kind, name, reason, "an event nobody took");
    }
}

/// A pool has another number of workers.
pub(crate) fn of_pool(kind: &str, name: &str, (from, to): (u32, u32), reason: String) -> Event {
    Event {
        seq: 0,
        ts_ms: now().wall_ms,
        kind: kind.to_owned(),
        name: name.to_owned(),
        slot: None,
        from: Some(from.to_string()),
        to: Some(to.to_string()),
        reason,
        exit: None,
    }
}

/// Something happened to a worker.
pub(crate) fn of_worker(kind: &str, id: &InstanceId, reason: String) -> Event {
    Event {
        seq: 0,
        ts_ms: now().wall_ms,
        kind: kind.to_owned(),
        name: id.name.clone(),
        slot: Some(id.slot),
        from: None,
        to: None,
        reason,
        exit: None,
    }
}
