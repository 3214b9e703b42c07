//! The logger: started, told about pipes, followed by another when it ends.

use std::io;
use std::os::fd::AsFd;
use std::time::Instant;

use ganger_core::logwire::{LOG_WIRE_VERSION, LogReply, LogRequest, LogTarget};
use ganger_core::{End, Stream};
use ganger_sys::frame::Progress;

use crate::helper::{self, Extras, Phase};
use crate::keeper::{Keeper, say};
use crate::logpipes::{Key, name};
use crate::poller::Source;
use crate::wire::{Event, Held, LOGGER_FD_ENV, decode, encode};

/// Flushes without an answer; the oldest is given up beyond.
const MAX_FLUSHES: usize = 256;
/// Log pipes in all: two per instance of the largest gang, and room.
const MAX_PIPES: usize = 16_384;

impl Keeper {
    pub(crate) fn start_logger(&mut self, now: Instant) {
        let extras = Extras {
            env: Vec::new(),
            socket_env: LOGGER_FD_ENV,
            keep: Vec::new(),
            output: None,
            source: Source::Logger,
        };
        match helper::start(&self.logger_command, extras, &self.poller) {
            Ok(running) => {
                let pid = running.pid;
                self.logger.phase = Phase::Running(running);
                self.brief_logger();
                let previous = self.logger.crashes.last();
                self.tell(&Event::LoggerStarted { pid, previous }, Vec::new());
            }
            Err(error) => {
                say(&format!("can't start the logger: {error}"));
                let end = End::CouldNotSpawn {
                    step: "logger".into(),
                    errno: error.raw_os_error().unwrap_or(0),
                };
                let wait = self.logger.crashes.ended(std::time::Duration::ZERO, false, end);
                self.logger.phase = Phase::Down(Some(now + wait));
            }
        }
    }

    /// Tells a fresh logger everything.
    fn brief_logger(&mut self) {
        let dir = self.dir.join("logs").to_string_lossy().into_owned();
        self.tell_logger(&LogRequest::Hello { version: LOG_WIRE_VERSION, dir }, None);
        let keys: Vec<(Key, bool)> =
            self.logs.by_key.iter().map(|(key, pipe)| (key.clone(), pipe.retiring)).collect();
        for (key, retiring) in keys {
            self.add_to_logger(&key);
            if retiring {
                let (name, slot, stream) = key;
                self.tell_logger(&LogRequest::Retire { name, slot, stream }, None);
            }
        }
        for tag in self.flushes.clone() {
            self.tell_logger(&LogRequest::Flush { tag }, None);
        }
    }

    fn add_to_logger(&mut self, key: &Key) {
        let Some(pipe) = self.logs.by_key.get(key) else { return };
        let request = LogRequest::Add { target: pipe.target.clone(), stream: key.2 };
        match pipe.read.try_clone() {
            Ok(copy) => self.tell_logger(&request, Some(copy)),
            Err(error) => say(&format!("log pipe of {}#{}: {error}", key.0, key.1)),
        }
    }

    fn tell_logger(&mut self, request: &LogRequest, fd: Option<std::os::fd::OwnedFd>) {
        if let Some(connection) = self.logger.connection()
            && let Err(error) = connection.push(&encode(request), fd.into_iter().collect())
        {
            say(&format!("a request to the logger was dropped: {error}"));
        }
    }

    /// Makes the pipe of a stream where there is none, and tells logger and daemon.
    pub(crate) fn open_log(&mut self, target: &LogTarget, stream: Stream) -> io::Result<()> {
        let key = (target.name.clone(), target.slot, stream);
        let known = self.logs.by_key.contains_key(&key);
        if !known && self.logs.by_key.len() >= MAX_PIPES {
            return Err(io::Error::other(format!("{MAX_PIPES} log pipes are open")));
        }
        let (pipe, tell) = self.logs.open(target, stream)?;
        if !tell {
            return Ok(());
        }
        let copies = (pipe.read.try_clone()?, pipe.write.try_clone()?);
        self.add_to_logger(&key);
        let target = target.clone();
        let read = Held::LogRead { target: target.clone(), stream };
        self.tell(&Event::Held { name: name(&key, "r"), what: read }, vec![copies.0]);
        let write = Held::LogWrite { target, stream };
        self.tell(&Event::Held { name: name(&key, "w"), what: write }, vec![copies.1]);
        Ok(())
    }

    pub(crate) fn retire_log(&mut self, name: &str, slot: u32) {
        for stream in [Stream::Stdout, Stream::Stderr] {
            let (name, slot) = (name.to_owned(), slot);
            match self.logs.by_key.get_mut(&(name.clone(), slot, stream)) {
                Some(pipe) => {
                    pipe.retiring = true;
                    self.tell_logger(&LogRequest::Retire { name, slot, stream }, None);
                }
                None => {
                    self.tell(&Event::Log(LogReply::Retired { name, slot, stream }), Vec::new())
                }
            }
        }
    }

    pub(crate) fn flush_logs(&mut self, tag: u64) {
        if self.flushes.len() >= MAX_FLUSHES {
            self.flushes.pop_front();
        }
        self.flushes.push_back(tag);
        self.tell_logger(&LogRequest::Flush { tag }, None);
    }

    pub(crate) fn on_logger_readable(&mut self) {
        let Some(connection) = self.logger.connection() else { return };
        let mut frames = Vec::new();
        let progress = connection.read();
        let broken = loop {
            match connection.reader.next_frame() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break progress,
                Err(error) => break Err(error),
            }
        };
        for frame in frames {
            match decode::<LogReply>("a logger's reply", &frame.body) {
                Ok(reply) => self.on_log_reply(reply),
                Err(error) => say(&error.to_string()),
            }
        }
        match broken {
            Ok(Progress::Eof) => self.end_logger("it closed its socket"),
            Err(error) => self.end_logger(&error.to_string()),
            Ok(_) => {}
        }
    }

    fn on_log_reply(&mut self, reply: LogReply) {
        match &reply {
            LogReply::Retired { name, slot, stream } => {
                let key = (name.clone(), *slot, *stream);
                // Opened again in between: then the logger was told to add it after it had retired it.
                if self.logs.by_key.get(&key).is_some_and(|pipe| pipe.retiring) {
                    self.logs.by_key.remove(&key);
                }
            }
            LogReply::Flushed { tag } => self.flushes.retain(|waiting| waiting != tag),
            LogReply::Dropped { .. } => {}
        }
        self.tell(&Event::Log(reply), Vec::new());
    }

    /// A logger that can't be talked to is of no use: the next one starts when this one is reaped.
    pub(crate) fn end_logger(&mut self, why: &str) {
        say(&format!("ending the logger: {why}"));
        self.logger.disconnect(&self.poller, Instant::now());
        if let Some(running) = self.logger.running() {
            // Gone already is what is wanted.
            let _ = ganger_sys::pidfd::send_signal(running.pidfd.as_fd(), 9);
        }
    }

    pub(crate) fn on_logger_ended(&mut self, end: End, now: Instant) {
        if !self.leaving.wants_logger() {
            self.logger.disconnect(&self.poller, now);
            self.logger.phase = Phase::Down(None);
            return;
        }
        say(&format!("the logger {end}; starting another"));
        self.logger.on_ended(&self.poller, true, end, now);
        if self.trial_logger_ended() {
            self.logger.phase = Phase::Down(Some(now));
        }
    }
}
