//! Children of a dead keeper: watched by pidfd, their exit status where the kernel still tells it.
//!
//! Two places have it: `/proc/PID/stat` while the orphan is a zombie of init, and (Linux 6.15) the pidfd after init has
//! reaped it. Between them nothing is missed where both exist; without the second a quick init can win.

use std::time::{Duration, Instant};

use ganger_core::{End, SpawnId, Usage};
use ganger_sys::pidfd::{ExitInfo, exit_info};
use ganger_sys::reap::Status;

use crate::keeper::Keeper;
use crate::scan::zombie_status;

/// The kernel tells the status once init, or whoever took the orphan, has reaped it. Longer than any init should take.
const PATIENCE: Duration = Duration::from_secs(2);
const FIRST_GAP: Duration = Duration::from_millis(1);

/// An adopted child that ended and whose status is not yet told.
#[derive(Debug)]
pub(crate) struct Settling {
    pub(crate) id: SpawnId,
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
            let known = match zombie_status(child.pid) {
                // Still a zombie afterwards: then the number was its own when it was read.
                Some(status) if ganger_sys::pidfd::send_signal(pidfd, 0).is_ok() => {
                    ExitInfo::Status(status)
                }
                _ => exit_info(pidfd),
            };
            let end = match known {
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
