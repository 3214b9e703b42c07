//! The two directions of the keeper's socket as channels.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;

use ganger_keeper::wire::{Event, Request};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::pump;

/// A request and the descriptors that go with it.
pub type Outgoing = (Request, Vec<OwnedFd>);
/// An event and the descriptors that came with it.
pub type Incoming = (Event, Vec<OwnedFd>);

/// Messages in flight per direction. A thousand services started at once fit; beyond it the sender waits.
const IN_FLIGHT: usize = 1_024;

/// Both directions to a keeper, real or scripted. The end of `events` means that the keeper is gone.
#[derive(Debug)]
pub struct Link {
    /// To the keeper.
    pub requests: mpsc::Sender<Outgoing>,
    /// From the keeper.
    pub events: mpsc::Receiver<Incoming>,
    /// Ends the pump together with the link.
    _pump: JoinSet<()>,
}

impl Link {
    /// A link over ready channels (a scripted keeper).
    #[must_use]
    pub fn new(requests: mpsc::Sender<Outgoing>, events: mpsc::Receiver<Incoming>) -> Self {
        Self { requests, events, _pump: JoinSet::new() }
    }

    /// A link over the keeper's socket. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// The socket can't be made non-blocking or watched.
    pub fn connect(socket: OwnedFd) -> io::Result<Self> {
        let (requests, to_keeper) = mpsc::channel(IN_FLIGHT);
        let (from_keeper, events) = mpsc::channel(IN_FLIGHT);
        let pump = pump::Pump::new(socket, to_keeper, from_keeper)?;
        let mut tasks = JoinSet::new();
        tasks.spawn(pump.run());
        Ok(Self { requests, events, _pump: tasks })
    }
}

/// Sends from the front until the channel is full. A closed channel has nobody who wants the rest.
pub(crate) fn send_waiting<T>(waiting: &mut VecDeque<T>, to: &mpsc::Sender<T>) {
    while let Some(next) = waiting.pop_front() {
        match to.try_send(next) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(back)) => return waiting.push_front(back),
            Err(mpsc::error::TrySendError::Closed(_)) => return waiting.clear(),
        }
    }
}

/// Returns when the channel has room or is closed. The permit is let go and taken again by [`send_waiting`]: held
/// through a select it would borrow what the other branches change.
pub(crate) async fn room_in<T>(channel: &mpsc::Sender<T>) {
    drop(channel.reserve().await);
}
