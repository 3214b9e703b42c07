//! Taking connections from the listening sockets, while workers have room.

use std::future::Future as _;
use std::task::{Context, Poll};
use std::time::Duration;

use super::{Primary, PrimaryEvent};

/// Connections taken from one socket before the workers get their turn.
const ACCEPT_SHARE: usize = 16;

/// How long no connection is accepted when the process has no descriptor left for one: long enough to free some, short against a client's patience.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

impl Primary {
    pub(super) fn poll_doors(&mut self, cx: &mut Context<'_>) -> bool {
        if let Some(retry) = &mut self.retry {
            if retry.as_mut().poll(cx).is_pending() {
                return false;
            }
            self.retry = None;
        }
        let mut any = false;
        for at in 0..self.doors.len() {
            for _ in 0..ACCEPT_SHARE {
                let door = &mut self.doors[at];
                // Once a worker has room again its answer has woken us.
                if door.closed || !self.cluster.has_room(&door.key) {
                    break;
                }
                let Poll::Ready(came) = door.poll_accept(cx, self.hands.as_ref()) else { break };
                any = true;
                match came {
                    Ok(connection) => {
                        self.came.as_ref().inspect(|came| came.add());
                        let actions = self.cluster.offer(&door.key, connection);
                        self.act(actions);
                        self.hands.as_ref().inspect(|hands| hands.empty());
                    }
                    Err(error) => {
                        let key = door.key.clone();
                        self.retry = Some(Box::pin(tokio::time::sleep(ACCEPT_RETRY)));
                        self.tell(PrimaryEvent::AcceptFailed { key, error });
                        return true;
                    }
                }
            }
        }
        any
    }
}
