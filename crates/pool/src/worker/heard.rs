//! What a worker says, what it fails to say, and what follows from either.

use std::time::Instant;

use ganger_core::Dur;
use ganger_ipc::Garbage;
use ganger_ipc::channel::ChannelError;
use ganger_ipc::envelope::put_ping;
use ganger_queue::{How, Now};
use ganger_store::AttemptError;

use super::link::{Heard, failed};
use super::ping::Due;
use super::process::Doom;
use super::swallowed;
use super::task::Worker;
use crate::spec::Protocol;

/// Unreadable lines since the last answer after which a running attempt is over: one may be a stray print, so many are the
/// program's way of talking.
const GARBAGE_MAX: u64 = 10;

impl Worker {
    pub(super) fn on_heard(&mut self, heard: Heard, now: Now) {
        let Heard { reports, answers, hello, sync, pong, ready, garbage, stray, refused, .. } =
            heard;
        self.note_pace(reports.len(), now);
        let ended = reports.len() as u64;
        self.reports.extend(reports);
        let Some(process) = &mut self.process else { return };
        process.used.tasks += ended;
        process.silent_due = None;
        // The session begins with the answer to `$sync`.
        process.answers = if sync.is_some() { answers } else { process.answers + answers };
        if answers > 0 {
            process.garbage.since_answer = 0;
        }
        if process.link.as_ref().is_some_and(|l| l.closed) {
            process.closed_due.get_or_insert(now.at + swallowed::CLOSED);
        }
        if let Some(hello) = hello {
            tracing::debug!(worker = %self.id, sdk = hello.sdk, version = hello.version, "hello");
            process.sdk = true;
            process.lanes = hello.concurrency.filter(|n| *n > 0);
            if let Some(pings) = process.pings.as_mut().filter(|_| hello.ping) {
                pings.is_known();
            }
            self.announce = true;
            self.set_manner();
        }
        if let (Some(process), Some(n)) = (&mut self.process, pong)
            && let Some(took) = process.pings.as_mut().and_then(|pings| pings.on_pong(n, now.at))
        {
            process.pinged = Some(Ok(took));
        }
        self.announce |= ready;
        if stray > 0 {
            tracing::debug!(worker = %self.id, stray, "messages that belong to no open task");
        }
        if let Some(why) = refused {
            self.on_refused(why);
        }
        if !garbage.is_empty() {
            self.on_garbage(&garbage);
        }
        if let Some(sync) = sync {
            self.on_sync(sync, now);
        }
    }

    fn on_garbage(&mut self, garbage: &[Garbage]) {
        let Some(process) = &mut self.process else { return };
        if process.sync_due.is_some() {
            // The rest of a line whose start went to the former daemon.
            return;
        }
        let first = process.garbage.all == 0;
        process.garbage.all += garbage.len() as u64;
        process.garbage.since_answer += garbage.len() as u64;
        let too_many = process.garbage.since_answer >= GARBAGE_MAX;
        let text = garbage.last().map(ToString::to_string).unwrap_or_default();
        if first {
            let word = format!("{text}; what is meant for people belongs on stderr");
            self.tell("worker.garbage", word);
        } else {
            tracing::debug!(worker = %self.id, text, "garbage");
        }
        let strict = self.spec.raw || self.spec.protocol == Protocol::Stdio;
        if too_many && strict && self.load.running() > 0 {
            let id = &self.id;
            let why = format!("{id} keeps writing where only answers in JSON belong: {text}");
            self.condemn(&failed(why.clone()), why);
        }
    }

    /// The channel can't be used any more.
    pub(super) fn on_broken(&mut self, error: &ChannelError, now: Now) {
        match error {
            ChannelError::LineTooLong(_) => {
                let why = format!("{}: {error}", self.id);
                self.condemn(&failed(why.clone()), why);
            }
            ChannelError::Io { .. } => {
                tracing::debug!(worker = %self.id, %error, "channel");
                if let Some(process) = &mut self.process {
                    process.closed_due.get_or_insert(now.at + swallowed::CLOSED);
                }
            }
        }
    }

    /// Notes the moment from which silence counts, where a launcher may have taken the channel.
    pub(super) fn watch_for_silence(&mut self, now: Now) {
        if self.launcher.is_none() || self.spec.protocol != Protocol::Channel {
            return;
        }
        let Some(process) = &mut self.process else { return };
        let heard = process.link.as_ref().is_none_or(|l| l.heard);
        if !heard && process.doom.is_none() && self.load.running() > 0 {
            process.silent_due.get_or_insert(now.at + swallowed::SILENT);
        }
    }

    pub(super) fn on_process_time(&mut self, now: Now) {
        let Some(process) = &mut self.process else { return };
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now.at);
        if due(process.sync_due) {
            process.sync_due = None;
            process.doom = Some(Doom::Now);
            self.tell_no_sync();
        } else if due(process.silent_due) {
            process.silent_due = None;
            let after = Dur(swallowed::SILENT);
            self.on_unused(&format!("has been silent for {after} with a task sent"));
        } else if due(process.closed_due) {
            process.closed_due = None;
            if process.link.as_ref().is_some_and(|l| l.heard) {
                let why = format!("{} closed its channel and goes on running", self.id);
                self.condemn(&How::Crash(Box::new(AttemptError::new(why.clone()))), why);
            } else {
                self.on_unused("closed its channel without having used it");
            }
        }
    }

    /// Asks whether it is still there, or finds that it is not.
    pub(super) fn on_ping_time(&mut self, now: Now) {
        let asks = self.stopping.is_none();
        let Some(process) = &mut self.process else { return };
        let asks = asks && process.sdk && process.accepts();
        let Some(due) = process.pings.as_mut().map(|pings| pings.on_time(asks, now.at)) else {
            return;
        };
        match due {
            Due::Nothing => {}
            Due::Send(n) => self.say(|out| put_ping(out, n)),
            Due::Lost(why) => {
                let text = format!("{}: {why}", self.id);
                self.load.condemn(&How::Crash(Box::new(AttemptError::new(text.clone()))));
                if let Some(process) = &mut self.process {
                    // The instance ends it, as a failure of its health.
                    process.doom = Some(Doom::Now);
                    process.end_asked = true;
                    process.pinged = Some(Err(why));
                }
                self.tell("worker.hung", text);
            }
        }
    }

    fn on_unused(&mut self, what: &str) {
        let why = swallowed::explain(&self.id.to_string(), self.launcher.as_deref(), what);
        self.condemn(&failed(why.clone()), why.clone());
        // A new process would do the same: the place rests, with the reason, until its configuration or a person changes it.
        self.rest(why);
    }

    /// The running attempts are over, told as `how` once the process is gone; and it has to go.
    fn condemn(&mut self, how: &How, why: String) {
        self.load.condemn(how);
        if let Some(process) = &mut self.process
            && process.doom != Some(Doom::Now)
        {
            process.doom = Some(Doom::Now);
            self.tell("worker.unusable", why);
        }
    }
}
