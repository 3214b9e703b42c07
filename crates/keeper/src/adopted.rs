//! Children of a dead keeper: watched by pidfd, their exit status where the kernel still tells it.

use std::time::{Duration, Instant};

use ganger_core::{End, SpawnId, Usage};
use ganger_sys::pidfd::{ExitInfo, exit_info};
use ganger_sys::reap::Status;

use crate::keeper::Keeper;

/// The kernel tells the status once init, or whoever took the orphan, has reaped it. Longer than any init should take.
const PATIENCE: Duration = Duration::from_secs(2);
const FIRST_GAP: Duration = Duration::from_millis(1);

/// An adopted child that ended and whose status is not yet told.
#[derive(Debug)]
pub(crate) struct Settling {
    id: SpawnId,
    gap: Duration,
    pub(crate) next: Instant,
    deadline: Instant,
}

impl Keeper {
    /// Its pidfd became readable.
    pub(crate) fn on_adopted_ended(&mut self, id: SpawnId) {
        let now = Instant::now();
        let Some(pidfd) = self.children.get(&id).and_then(|child| child.pidfd.as_ref()) else {
            return;
        };
        self.poller.remove(pidfd);
        let deadline = now + PATIENCE;
        self.settling.push(Settling { id, gap: FIRST_GAP, next: now, deadline });
        self.settle_due(now);
    }

    /// Asks again for those that are due.
    pub(crate) fn settle_due(&mut self, now: Instant) {
        let mut waiting = std::mem::take(&mut self.settling);
        waiting.retain_mut(|one| {
            if one.next > now {
                return true;
            }
            let Some(child) = self.children.get(&one.id) else { return false };
            let Some(pidfd) = &child.pidfd else { return false };
            let end = match exit_info(pidfd) {
                // Signals that the dead keeper sent are not known to this one: nobody is blamed for them.
                ExitInfo::Status(status) => Some(child.end_of(Status(status))),
                ExitInfo::NotYet if now < one.deadline => None,
                ExitInfo::NotYet | ExitInfo::Unsupported => Some(End::Lost),
            };
            match end {
                None => {
                    one.next = now + one.gap;
                    one.gap *= 2;
                    true
                }
                Some(end) => {
                    let id = one.id;
                    self.by_pid.retain(|_, known| *known != id);
                    self.on_main_ended(id, end, Usage::default(), now);
                    false
                }
            }
        });
        self.settling.append(&mut waiting);
    }
}
