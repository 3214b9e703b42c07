//! The orderly end of everything.
//!
//! ```text
//! staying ──SIGTERM──▶ asked ──daemon's Shutdown──▶ trees ──all ended──▶ daemon ──gone──▶ logs ──retired──▶ logger ──gone──▶ done
//!                        └─(no daemon to ask)─▶ alone: TERM, 10 s ─▲
//! ```
//!
//! Every arrow has a deadline but the daemon's own: it stops services in their time. A second signal goes to `trees`.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use ganger_core::SpawnId;

use crate::keeper::{Keeper, say};
use crate::wire::{Event, Scope};

/// What children get between TERM and KILL when there is no daemon that knows their own times.
const ALONE: Duration = Duration::from_secs(10);
/// For each later step.
const STEP: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Leaving {
    No,
    /// The daemon has been asked to bring everything down.
    Asked(String),
    /// There is no daemon: children have had their SIGTERM.
    Alone(Instant),
    Trees(Instant),
    Daemon(Instant),
    Logs(Instant),
    Logger(Instant),
    Done,
}

impl Leaving {
    /// Nothing is started any more.
    pub(crate) const fn is_final(&self) -> bool {
        !matches!(self, Self::No | Self::Asked(_))
    }

    /// Somebody may still speak, or has and was not heard yet: a logger that ends is followed by another.
    pub(crate) const fn wants_logger(&self) -> bool {
        !matches!(self, Self::Logs(_) | Self::Logger(_) | Self::Done)
    }

    pub(crate) const fn due(&self) -> Option<Instant> {
        match self {
            Self::No | Self::Asked(_) | Self::Done => None,
            Self::Alone(at)
            | Self::Trees(at)
            | Self::Daemon(at)
            | Self::Logs(at)
            | Self::Logger(at) => Some(*at),
        }
    }
}

impl Keeper {
    pub(crate) fn on_asked_to_leave(&mut self, why: &str, now: Instant) {
        match self.leaving {
            Leaving::No => {
                say(&format!("{why}: bringing everything down"));
                self.notify.stopping();
                self.leaving = Leaving::Asked(why.to_owned());
                if self.daemon.running().is_some_and(|running| running.socket.is_some()) {
                    self.repeat_leaving();
                } else {
                    self.leave_alone(now);
                }
            }
            Leaving::Asked(_) | Leaving::Alone(_) => {
                say(&format!("{why} again: ending everything at once"));
                self.end_all(now);
            }
            _ => {}
        }
    }

    /// A daemon that has just said hello must know as well.
    pub(crate) fn repeat_leaving(&mut self) {
        if let Leaving::Asked(why) = &self.leaving {
            let why = why.clone();
            self.tell(&Event::ShutdownAsked { why }, Vec::new());
        }
    }

    /// The daemon died on its way down. The next one goes on, unless daemons have stopped coming up.
    pub(crate) fn daemon_lost_while_leaving(&mut self, now: Instant) {
        let hopeless = self.daemon.crashes.told().is_some_and(|crash| crash.quick_failures > 1);
        if matches!(self.leaving, Leaving::Asked(_)) && hopeless {
            self.leave_alone(now);
        }
    }

    fn leave_alone(&mut self, now: Instant) {
        const SIGTERM: i32 = 15;
        say("no daemon answers: ending all children");
        self.settle_starts();
        for id in self.running() {
            // Those that can't be signalled are ended with their trees.
            let _ = self.signal(id, SIGTERM, Scope::Tree);
        }
        self.leaving = Leaving::Alone(now + ALONE);
    }

    /// The daemon says that everything is ended.
    pub(crate) fn on_shutdown(&mut self, now: Instant) {
        self.end_all(now);
    }

    fn end_all(&mut self, now: Instant) {
        self.settle_starts();
        for id in self.running() {
            self.end_tree(id, now);
        }
        self.leaving = Leaving::Trees(now + STEP);
    }

    fn running(&self) -> Vec<SpawnId> {
        let unended = self.children.values().filter(|child| child.exit.is_none());
        unended.map(|child| child.id).collect()
    }

    fn all_ended(&self) -> bool {
        let settled = self.starting.is_empty() && self.clearing.is_empty();
        settled && self.children.values().all(|child| child.exit.is_some())
    }

    /// Goes on as far as it can.
    pub(crate) fn leave_step(&mut self, now: Instant) {
        loop {
            let over = self.leaving.due().is_some_and(|due| due <= now);
            match self.leaving {
                Leaving::Alone(_) if over || self.all_ended() => self.end_all(now),
                Leaving::Trees(_) if over || self.all_ended() => {
                    self.leaving = Leaving::Daemon(now + STEP)
                }
                Leaving::Daemon(_)
                    if self.daemon.running().is_none()
                        && (over || self.logger.connection().is_some()) =>
                {
                    self.start_retiring(now);
                }
                Leaving::Daemon(_) if over => {
                    self.kill_daemon();
                    self.leaving = Leaving::Daemon(now + STEP);
                    return;
                }
                Leaving::Logs(_) if self.logs.by_key.is_empty() || over => {
                    self.logger.disconnect(&self.poller, now);
                    self.leaving = Leaving::Logger(now + STEP);
                }
                Leaving::Logger(_) if self.logger.running().is_none() => return self.close(),
                Leaving::Logger(_) if over => {
                    self.end_logger("it does not end by itself");
                    self.leaving = Leaving::Logger(now + STEP);
                    return;
                }
                _ => return,
            }
        }
    }

    fn start_retiring(&mut self, now: Instant) {
        let slots: std::collections::BTreeSet<(String, u32)> =
            self.logs.by_key.keys().map(|(name, slot, _)| (name.clone(), *slot)).collect();
        for (name, slot) in slots {
            self.retire_log(&name, slot);
        }
        let wait = if self.logger.running().is_some() { STEP } else { Duration::ZERO };
        self.leaving = Leaving::Logs(now + wait);
    }

    fn kill_daemon(&mut self) {
        if let Some(running) = self.daemon.running() {
            say("the daemon does not end by itself: killing it");
            // Gone in between is what is wanted.
            let _ = ganger_sys::pidfd::send_signal(running.pidfd.as_fd(), 9);
        }
    }

    fn close(&mut self) {
        self.driver.close();
        crate::state_dir::unlink_socket(&self.dir);
        self.leaving = Leaving::Done;
    }
}
