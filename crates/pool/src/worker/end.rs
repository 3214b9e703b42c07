//! How a worker's process is brought to its end: by a person, or because it must not go on.

use std::time::{Duration, Instant};

use ganger_ipc::envelope::put_drain;
use ganger_queue::Now;
use ganger_supervise::InstanceSpec;

use super::process::Doom;
use super::task::Worker;
use super::{Command, Reply};
use crate::spec::{PoolSpec, Protocol};

/// A stop or restart that waits for the worker to finish what it holds.
#[derive(Debug)]
pub(super) struct Stopping {
    then: Then,
    reply: Option<Reply>,
    /// When waiting ends; `None`: when it has finished, however long that takes.
    until: Option<Instant>,
    /// The instance was told.
    asked: bool,
}

#[derive(Debug, Clone)]
enum Then {
    Restart,
    Rest { why: String, leave: bool },
}

impl Stopping {
    /// The process was asked to end.
    pub(super) const fn is_asked(&self) -> bool {
        self.asked
    }

    pub(super) fn due(&self) -> Option<Instant> {
        self.until.filter(|_| !self.asked)
    }
}

impl Worker {
    pub(super) async fn on_command(&mut self, command: Command, now: Now) {
        match command {
            Command::Start(reply) => {
                self.stopping = None;
                let ticket = self.instance.start().await;
                self.tickets.spawn(async move {
                    let _ = reply.send(ticket.done().await.map_err(|e| e.to_string()));
                    false
                });
            }
            Command::Restart(reply) => {
                let within = Some(self.spec.drain);
                self.begin_stop(Then::Restart, within, Some(reply), now);
            }
            Command::Stop { why, leave, within, reply } => {
                self.begin_stop(Then::Rest { why, leave }, within, Some(reply), now);
            }
            Command::Replace(spec) => {
                let slot = self.id.slot;
                let process = |spec: &PoolSpec| InstanceSpec { live: None, ..spec.slot(slot) };
                let other_process = process(&spec) != process(&self.spec)
                    || (spec.protocol, spec.raw) != (self.spec.protocol, self.spec.raw);
                self.instance.replace(spec.slot(slot), false).await;
                let stopped = spec.stopped;
                if spec.instance.live != self.spec.instance.live
                    && let Some(process) = &mut self.process
                {
                    process.ask_anew(spec.instance.live.as_ref(), now);
                }
                self.set_spec(spec);
                if other_process && self.process.is_some() && self.stopping.is_none() {
                    self.begin_stop(Then::Restart, Some(self.spec.drain), None, now);
                } else if other_process && !stopped {
                    // It may rest because of what was changed.
                    self.stopping = None;
                    let ticket = self.instance.start().await;
                    self.tickets.spawn(async move {
                        // How it goes is told by the instance's notices.
                        let _ = ticket.done().await;
                        false
                    });
                }
            }
        }
    }

    /// No more tasks; what has not been sent goes back, the rest has a while.
    fn begin_stop(&mut self, then: Then, within: Option<Duration>, reply: Option<Reply>, now: Now) {
        let back = self.load.take_back();
        self.reports.extend(back);
        if matches!(then, Then::Rest { .. }) {
            self.say(put_drain);
        }
        let until = within.map(|within| now.at + within);
        self.stopping = Some(Stopping { then, reply, until, asked: false });
    }

    /// A fresh process takes over once this one has finished what it holds.
    pub(super) fn recycle(&mut self, why: String, now: Now) {
        self.tell("worker.recycled", why);
        self.begin_stop(Then::Restart, None, None, now);
    }

    /// The worker ends now and stays down for this reason.
    pub(super) fn rest(&mut self, why: String) {
        let back = self.load.take_back();
        self.reports.extend(back);
        let (then, until) = (Then::Rest { why, leave: false }, Some(crate::dispatcher::now().at));
        self.stopping = Some(Stopping { then, reply: None, until, asked: false });
        if let Some(process) = &mut self.process {
            process.end_asked = true;
        }
    }

    /// Looks whether a process has to be ended now.
    pub(super) async fn end_what_must_end(&mut self, now: Now) {
        self.end_doomed().await;
        let Some(stopping) = &mut self.stopping else { return };
        if stopping.asked
            || !(self.load.is_empty() || stopping.until.is_some_and(|until| until <= now.at))
        {
            return;
        }
        stopping.asked = true;
        let (then, reply) = (stopping.then.clone(), stopping.reply.take());
        if self.spec.protocol == Protocol::Channel
            && let Some(link) = self.process.as_mut().and_then(|p| p.link.as_mut())
        {
            link.goodbye();
        }
        let (ticket, leave) = match then {
            Then::Restart => {
                self.stopping = None;
                if let Some(process) = &mut self.process {
                    process.doom = Some(Doom::Now);
                    process.end_asked = true;
                }
                match &self.process {
                    Some(process) => (self.instance.renew(process.pid).await, false),
                    None => (self.instance.restart().await, false),
                }
            }
            Then::Rest { why, leave } => (self.instance.stop(why).await, leave),
        };
        self.tickets.spawn(async move {
            let done = ticket.done().await.map_err(|e| e.to_string());
            if let Some(reply) = reply {
                let _ = reply.send(done);
            }
            leave
        });
    }

    /// A doomed process goes as soon as nothing innocent runs in it.
    async fn end_doomed(&mut self) {
        let Some(process) = &mut self.process else { return };
        if self.load.is_stuck() {
            process.doom.get_or_insert(Doom::WhenInnocentAreDone);
        }
        let ends = match process.doom {
            None => false,
            Some(Doom::Now) => true,
            Some(Doom::WhenInnocentAreDone) => self.load.only_condemned_run(),
        };
        if !ends || process.end_asked {
            return;
        }
        process.end_asked = true;
        // It may end by itself at this moment: the one after it has done nothing wrong, and may have attempts by then.
        let ticket = self.instance.renew(process.pid).await;
        self.tickets.spawn(async move {
            // How it ends is told by the instance's notices.
            let _ = ticket.done().await;
            false
        });
    }
}
