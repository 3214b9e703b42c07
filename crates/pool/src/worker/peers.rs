//! A worker as a peer of other processes (`channel = true`): requests, answers and topics on the channel that carries its tasks.
//!
//! The words are the broker's ([`ganger_ipc::broker`]); here they only change hands between the link and the worker's [`Guest`]. A worker may be asked
//! while its process takes tasks and counts as ready; what it runs counts as load, so that an idle one is asked first.

use ganger_ipc::broker::Guest;

use super::task::Worker;
use crate::spec::Protocol;

impl Worker {
    /// For a process that has just come; `adopted` from a former daemon.
    pub(super) fn guest(&self, adopted: bool) -> Option<Guest> {
        // On `channel` the pool's own `$sync` goes first and says the same; over pipes there is none.
        let asks = adopted && self.spec.protocol == Protocol::Stdio;
        self.spec.peers.then(|| self.shared.around.exchange.guest(self.id.clone(), asks))
    }

    /// Lines for its process.
    pub(super) fn on_peers(&mut self, lines: Option<Vec<u8>>) {
        match lines {
            Some(lines) => self.say(|out| out.extend_from_slice(&lines)),
            // The daemon goes down; the next one knows it again.
            None => {
                if let Some(process) = &mut self.process {
                    process.guest = None;
                }
            }
        }
    }

    /// Whether it may be asked, and how much it has to do.
    pub(super) fn show_peers(&mut self, accepts: bool) {
        let running = u32::try_from(self.load.len()).unwrap_or(u32::MAX);
        let ready = accepts && self.is_ready();
        if let Some(process) = &mut self.process {
            if process.link.as_ref().is_none_or(|link| link.closed) {
                // It has left: what it was asked is answered for it.
                process.guest = None;
            }
            if let Some(guest) = &mut process.guest {
                guest.show(ready, running);
            }
        }
    }

    /// A word that can't be meant: told once for each process.
    pub(super) fn on_refused(&mut self, why: String) {
        let Some(process) = &mut self.process else { return };
        if std::mem::replace(&mut process.told_refused, true) {
            tracing::debug!(worker = %self.id, why, "refused");
        } else {
            self.tell("instance.channel_refused", why);
        }
    }

    fn is_ready(&self) -> bool {
        self.view.borrow().as_ref().is_some_and(|view| view.ready)
    }
}
