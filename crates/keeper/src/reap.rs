//! Signals to the keeper, and children that ended.

use std::time::Instant;

use ganger_core::{End, SignalSource, SpawnId, Usage};
use ganger_sys::reap::{self, Status};

use crate::KeeperError;
use crate::keeper::{Keeper, now_ms};
use crate::life::Tell;
use crate::wire::{Event, ExitReport};

/// Signals the keeper takes; all others keep their default.
pub(crate) const SIGNALS: [i32; 4] = [SIGCHLD, SIGTERM, SIGINT, SIGHUP];
const SIGCHLD: i32 = 17;
const SIGTERM: i32 = 15;
const SIGINT: i32 = 2;
/// A terminal that goes away takes nothing along.
const SIGHUP: i32 = 1;

impl Keeper {
    pub(crate) fn on_signals(&mut self) -> Result<(), KeeperError> {
        let fail = KeeperError::kernel("signalfd");
        while let Some(received) = self.signals.read().map_err(&fail)? {
            match received.signal {
                SIGTERM | SIGINT => {
                    let name = ganger_core::end::signal_name(received.signal);
                    self.on_asked_to_leave(&name, Instant::now());
                }
                // The one it names is looked at first: that one is found without going through all of them. Anybody may
                // send the signal, so it may name no child at all.
                SIGCHLD => {
                    self.sweep = true;
                    self.settle_start_of(received.sender);
                    if let Some(id) = self.by_pid.get(&received.sender).copied()
                        && let Ok(Some((status, usage))) = reap::wait(received.sender)
                    {
                        self.by_pid.remove(&received.sender);
                        self.on_main_reaped(id, status, usage, Instant::now());
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Looks at all children: one SIGCHLD may stand for several that ended. After what is known has been told, as the
    /// kernel goes through all of them to say that there is none.
    pub(crate) fn reap(&mut self) -> Result<(), KeeperError> {
        let now = Instant::now();
        let mut orphans = false;
        while let Some(pid) = reap::peek().map_err(KeeperError::kernel("waitid"))? {
            if self.settle_start_of(pid) {
                continue;
            }
            let reaped = reap::wait(pid).map_err(KeeperError::kernel("wait4"))?;
            let Some((status, usage)) = reaped else { break };
            if let Some(id) = self.by_pid.remove(&pid) {
                self.on_main_reaped(id, status, usage, now);
            } else if self.logger.pid() == Some(pid) {
                self.on_logger_ended(status.end(SignalSource::Unknown), now);
            } else if self.daemon.pid() == Some(pid) {
                self.on_daemon_ended(status.end(SignalSource::Unknown), now);
            } else if self.upgrading.checker() == Some(pid) {
                self.on_checked(status, now);
            } else {
                orphans = true;
            }
        }
        if orphans {
            for id in &self.clearing {
                if let Some(child) = self.children.get_mut(id) {
                    child.life.hurry(now);
                }
            }
        }
        Ok(())
    }

    /// A child that ended on its way, or was quick, is told as started or failed before anything else of it: nobody waits here,
    /// as its pipe has ended with it. One that failed is reaped by that.
    fn settle_start_of(&mut self, pid: u32) -> bool {
        let id = self.by_pid.get(&pid).copied().filter(|id| self.starting.contains_key(id));
        id.inspect(|id| self.settle_start(*id)).is_some()
    }

    fn on_main_reaped(&mut self, id: SpawnId, status: Status, usage: Usage, now: Instant) {
        let Some(child) = self.children.get_mut(&id) else { return };
        let alone = child.outcome.is_some();
        let (status, usage) = child.outcome(status, usage);
        // The first process of a pid namespace is reaped when all others are: nobody is in its network any more.
        if let Some(network) = child.network.take().filter(|_| alone) {
            self.networks.give_back(network, Instant::now());
        }
        let end = child.end_of(status);
        self.on_main_ended(id, end, usage, now);
    }

    /// The main process is gone, however that was learned.
    pub(crate) fn on_main_ended(&mut self, id: SpawnId, end: End, usage: Usage, now: Instant) {
        let Some(child) = self.children.get_mut(&id) else { return };
        if let Some(pidfd) = child.pidfd.take() {
            self.poller.remove(&pidfd);
        }
        if let Some(event) = child.watch.as_ref().and_then(|watch| watch.event()) {
            self.poller.remove(event);
        }
        child.ended = Some((end, usage, now_ms()));
        let tell = child.life.on_main_ended(now);
        if child.life.due().is_some() {
            self.clearing.insert(id);
        }
        self.act(id, tell);
    }

    /// Tells what the child's life wants told.
    pub(crate) fn act(&mut self, id: SpawnId, tells: Vec<Tell>) {
        for tell in tells {
            match tell {
                Tell::TreeEnded { stuck } => {
                    self.tell(&Event::TreeEnded { id, stuck }, Vec::new());
                }
                Tell::Exit { leftovers, stuck } => self.tell_exit(id, leftovers, stuck),
            }
        }
    }

    fn tell_exit(&mut self, id: SpawnId, leftovers: u32, stuck: Vec<u32>) {
        let Some(child) = self.children.get_mut(&id) else { return };
        let Some((end, usage, at_ms)) = child.ended.clone() else { return };
        child.settle_captures();
        let report = ExitReport {
            id,
            instance: child.instance.clone(),
            pid: child.pid,
            end,
            usage,
            at_ms,
            leftovers,
            stuck,
            adopted: child.adopted,
        };
        child.exit = Some(report.clone());
        if !child.keep_leftovers
            && let Some(tree) = child.tree.take()
        {
            self.driver.release(tree);
        }
        self.tell(&Event::Exited(report), Vec::new());
    }
}
