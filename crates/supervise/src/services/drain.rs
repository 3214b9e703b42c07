//! Draining: when an instance that gets no new connections has finished those it has.
//!
//! Its own socket of a `reuseport` group is asked for its queue, and `/proc` for connections on that port that the
//! instance's processes have open (not where they finish those themselves). That is looked at again and again, but only
//! during a drain: nothing tells it.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::listeners::{Address, ListenMode, Listeners, has_connections};

/// Between two looks: a drain takes about two of them where nothing is left to do.
const LOOK: Duration = Duration::from_millis(100);
/// Looks in a row without a connection; a handshake begun before the last new steering may end after the first.
const QUIET: u32 = 2;

/// Waits until a slot has no connections left, at most for `limit`. Without `pid` only its queue is looked at.
pub(super) async fn drained(
    listeners: Listeners,
    service: String,
    slot: u32,
    pid: Option<u32>,
    limit: Duration,
) {
    let until = Instant::now() + limit;
    let mut quiet = 0;
    while quiet < QUIET && Instant::now() < until {
        sleep(LOOK).await;
        let own = listeners
            .look(&service)
            .await
            .into_iter()
            .filter(|one| one.slot == Some(slot) || one.mode == ListenMode::Pass);
        let (mut waits, mut ports) = (false, BTreeSet::new());
        for one in own {
            waits |= one.slot.is_some() && one.queue.is_some_and(|(length, _)| length > 0);
            if let Address::Tcp(place) = &one.address {
                ports.insert(place.port);
            }
        }
        let busy = match pid {
            Some(pid) if !waits && !ports.is_empty() => {
                tokio::task::spawn_blocking(move || has_connections(pid, &ports))
                    .await
                    .unwrap_or(false)
            }
            _ => waits,
        };
        quiet = if busy { 0 } else { quiet + 1 };
    }
}
