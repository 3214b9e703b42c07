//! The daemon: started with everything in its table, watched by pings, followed by another when it ends.

use std::os::fd::AsFd;
use std::time::Instant;

use ganger_core::logwire::LogTarget;
use ganger_core::{End, Stream};
use ganger_sys::frame::Progress;

use crate::helper::{self, Extras, Phase};
use crate::keeper::{Keeper, say};
use crate::poller::Source;
use crate::snapshot;
use crate::wire::{KEEPER_FD_ENV, TABLE_FD_ENV};

/// Events a daemon may leave unread, in bytes: ten thousand exits. One that reads nothing is ended; the next knows all.
const MAX_PENDING: usize = 32 << 20;
/// Kept of the daemon's own words.
const OWN_LOG_BYTES: u64 = 10 << 20;

const SIGABRT: i32 = 6;
const SIGKILL: i32 = 9;

impl Keeper {
    pub(crate) fn start_due_helpers(&mut self, now: Instant) {
        if self.leaving.wants_logger() && self.logger.is_due(now) {
            self.start_logger(now);
        }
        if !self.leaving.is_final() && self.daemon.is_due(now) {
            self.start_daemon(now);
        }
    }

    pub(crate) fn helpers_due(&self) -> impl Iterator<Item = Instant> + use<> {
        let logger = self.logger.due().filter(|_| self.leaving.wants_logger());
        let daemon = self.daemon.due().filter(|_| !self.leaving.is_final());
        logger.into_iter().chain(daemon)
    }

    /// What daemons say themselves is the log `ganger`, unless the caller's stderr is wanted.
    fn own_log() -> LogTarget {
        LogTarget { name: "ganger".into(), slot: 1, max_bytes: OWN_LOG_BYTES, max_age_s: 0 }
    }

    fn start_daemon(&mut self, now: Instant) {
        // Its table has all children there are.
        self.settle_starts();
        let own = Self::own_log();
        if !self.foreground
            && let Err(error) = self.open_log(&own, Stream::Stderr)
        {
            say(&format!("no log for the daemon: {error}"));
        }
        let started = self.try_start_daemon(&own);
        match started {
            Ok(running) => {
                self.daemon.phase = Phase::Running(running);
                self.served = false;
                self.ping.restart(now);
            }
            Err(error) => {
                say(&format!("can't start the daemon: {error}"));
                let end = End::CouldNotSpawn {
                    step: "daemon".into(),
                    errno: error.raw_os_error().unwrap_or(0),
                };
                let wait = self.daemon.crashes.ended(std::time::Duration::ZERO, false, end);
                self.daemon.phase = Phase::Down(Some(now + wait));
            }
        }
    }

    fn try_start_daemon(&mut self, own: &LogTarget) -> std::io::Result<helper::Running> {
        let mut keep = Vec::new();
        let table = snapshot::table(self, &mut keep);
        let memfd = ganger_sys::memfd::sealed("ganger-table", &crate::wire::encode(&table))?;
        keep.push(memfd.as_fd());
        let number = std::os::fd::AsRawFd::as_raw_fd(&memfd);
        let key = (own.name.clone(), own.slot, Stream::Stderr);
        let output = self.logs.by_key.get(&key).map(|pipe| pipe.write.as_fd());
        let extras = Extras {
            env: vec![(TABLE_FD_ENV, number.to_string())],
            socket_env: KEEPER_FD_ENV,
            keep,
            output: output.filter(|_| !self.foreground),
            source: Source::Daemon,
        };
        helper::start(&self.daemon_command, extras, &self.poller)
    }

    pub(crate) fn on_daemon_readable(&mut self) {
        match self.take_requests() {
            Ok(Progress::Eof) => self.drop_daemon("it closed its socket"),
            Err(error) => self.drop_daemon(&error.to_string()),
            Ok(_) => {}
        }
    }

    /// Reads a share of what the daemon has sent and does it.
    fn take_requests(&mut self) -> std::io::Result<Progress> {
        let Some(connection) = self.daemon.connection() else { return Ok(Progress::Eof) };
        let progress = connection.read();
        let now = Instant::now();
        loop {
            let Some(connection) = self.daemon.connection() else { return progress };
            match connection.reader.next_frame()? {
                Some(frame) => self.on_request(frame, now),
                None => return progress,
            }
        }
    }

    /// A daemon that can't be talked to is of no use. It may just be ending: it gets until the next ping's time for that.
    fn drop_daemon(&mut self, why: &str) {
        say(&format!("the daemon is not to be talked to any more: {why}"));
        let now = Instant::now();
        self.daemon.disconnect(&self.poller, now);
        self.ping.expect_end(now);
    }

    pub(crate) fn on_daemon_ready(&mut self) {
        self.served = true;
        self.notify.ready();
        self.trial_daemon_ready(Instant::now());
    }

    pub(crate) fn on_daemon_ended(&mut self, end: End, now: Instant) {
        // What it asked for before it ended is done: a `Shutdown` or an acknowledgement may be its last words. Bounded, as
        // nobody writes any more; a broken frame ends it like the end of the socket.
        while matches!(self.take_requests(), Ok(Progress::More)) {}
        if self.leaving.is_final() {
            self.daemon.disconnect(&self.poller, now);
            self.daemon.phase = Phase::Down(None);
            return;
        }
        say(&format!("the daemon {end}; starting another"));
        if self.trial_daemon_ended(&end, now) {
            return self.daemon_lost_while_leaving(now);
        }
        let served = self.served;
        self.daemon.on_ended(&self.poller, served, end, now);
        self.daemon_lost_while_leaving(now);
    }

    /// Pings a daemon that is due, and ends one that has missed three.
    pub(crate) fn ping_due(&mut self, now: Instant) {
        use crate::ping::Due;
        let Some(running) = self.daemon.running() else { return };
        match self.ping.due(now) {
            Due::Nothing => {}
            Due::Ping(n) => self.tell(&crate::wire::Event::Ping { n }, Vec::new()),
            Due::Abort => {
                say("the daemon has missed three pings: aborting it");
                // Gone in between is fine: it is reaped like any other.
                let _ = ganger_sys::pidfd::send_signal(running.pidfd.as_fd(), SIGABRT);
            }
            Due::Kill => {
                let _ = ganger_sys::pidfd::send_signal(running.pidfd.as_fd(), SIGKILL);
            }
        }
    }

    /// Writes what sockets take.
    pub(crate) fn flush_helpers(&mut self, now: Instant) {
        if let Some(connection) = self.daemon.connection() {
            if connection.pending() > MAX_PENDING {
                self.drop_daemon("it reads nothing");
                self.ping.abort(now);
            } else if let Err(error) = connection.flush(&self.poller) {
                // It hung up; what it asked for before that is still to be done.
                while matches!(self.take_requests(), Ok(Progress::More)) {}
                self.drop_daemon(&error.to_string());
            }
        }
        if let Some(connection) = self.logger.connection()
            && let Err(error) = connection.flush(&self.poller)
        {
            self.end_logger(&error.to_string());
        }
    }
}
