//! What a service's primary has to say to people: events, not more of a kind than somebody can read.

use std::collections::BTreeMap;
use std::time::Duration;

use ganger_core::Event;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::instance::wall_ms;
use crate::view::Told;

/// Of each kind and slot one in this time, with how many there were since the last: a worker that talks nonsense all day fills no store.
const EVERY: Duration = Duration::from_secs(60);

/// Kinds of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum What {
    /// Something on a channel that its rules don't know.
    Refused,
    /// A connection that was accepted and closed: nobody took it.
    Dropped,
    /// A connection that a former daemon had when it was killed.
    Lost,
    /// Connections can't be accepted, or an address not be had.
    Failed,
}

impl What {
    const fn kind(self) -> &'static str {
        match self {
            Self::Refused => "instance.channel_refused",
            Self::Dropped => "service.connection_dropped",
            Self::Lost => "service.connection_lost",
            Self::Failed => "service.listen_failed",
        }
    }
}

pub(super) struct Teller {
    service: String,
    told: mpsc::Sender<Told>,
    last: BTreeMap<(What, Option<u32>), (Instant, u64)>,
}

impl Teller {
    pub(super) const fn new(service: String, told: mpsc::Sender<Told>) -> Self {
        Self { service, told, last: BTreeMap::new() }
    }

    /// Tells it now, or counts it.
    pub(super) fn tell(&mut self, what: What, slot: Option<u32>, why: String) {
        let now = Instant::now();
        let untold = match self.last.get_mut(&(what, slot)) {
            Some((at, untold)) if now < *at + EVERY => {
                *untold += 1;
                return;
            }
            Some((_, untold)) => *untold,
            None => 0,
        };
        let reason = match untold {
            0 => why,
            n => format!("{why}; and {n} more before it"),
        };
        let event = Event {
            seq: 0,
            ts_ms: wall_ms(),
            kind: what.kind().to_owned(),
            name: self.service.clone(),
            slot,
            from: None,
            to: None,
            reason,
            exit: None,
        };
        // A recorder that has no room has more important things; this one is counted for the next.
        let heard = self.told.try_send(Told { event, ack: None, resume: None });
        self.last.insert((what, slot), (now, if heard.is_ok() { 0 } else { untold + 1 }));
    }

    /// Nothing more comes of a slot's process.
    pub(super) fn forget(&mut self, slot: u32) {
        self.last.remove(&(What::Refused, Some(slot)));
    }
}
