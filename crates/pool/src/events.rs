//! Telling events without ever waiting for who hears them.

use ganger_core::Event;
use tokio::sync::mpsc;

/// Sends an event; when nobody takes them fast enough it only goes to the log.
pub(crate) fn tell(events: &mpsc::Sender<Event>, event: Event) {
    if let Err(mpsc::error::TrySendError::Full(event) | mpsc::error::TrySendError::Closed(event)) =
        events.try_send(event)
    {
        tracing::warn!(kind = %event.kind, name = %event.name, reason = %event.reason, "an event nobody took");
    }
}
