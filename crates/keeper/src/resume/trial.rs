//! After the step: the old daemon ends, the new one has to serve within its time, or the old binary's comes back.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use ganger_core::End;
use ganger_sandbox::Degraded;
use rustix::fs::{Mode, OFlags};

use super::Upgrading;
use crate::helper::Phase;
use crate::keeper::{Keeper, say};
use crate::wire::Upgrade;

/// The old daemon finishes its commits and open answers; it has bounds of its own below this.
const OLD_ENDS_WITHIN: Duration = Duration::from_secs(30);
/// The new one opens the store, migrates it where its schema is newer, and takes every child over.
const NEW_SERVES_WITHIN: Duration = Duration::from_secs(60);
/// From SIGKILL, or for a logger to move what is in its pipes.
const STEP: Duration = Duration::from_secs(5);
const SIGKILL: i32 = 9;

/// What a failed upgrade is called among the things that are not as they should be.
const HALF: &str = "the last upgrade of ganger";

/// True for what [`Upgrading::degraded`] tells, which is true of one program only.
pub(crate) fn is_half(degraded: &Degraded) -> bool {
    degraded.what == HALF
}

impl Upgrading {
    /// That daemons run another binary than the keeper, if they do.
    pub(crate) fn degraded(&self) -> Option<Degraded> {
        let last = self.last.as_ref()?;
        let why = last.failed.as_ref().filter(|_| self.daemons.is_some())?;
        let Upgrade { from, to, .. } = last;
        Some(Degraded {
            what: HALF.into(),
            why: format!("the keeper is ganger {to}, but its daemon {from} is back: {why}"),
            fix: "`ganger upgrade --binary PATH` goes on to another, or back".into(),
        })
    }
}

/// Where it stands.
#[derive(Debug)]
pub(super) struct Trial {
    stage: Stage,
    /// When patience ends.
    pub(super) until: Instant,
    /// The binary of the daemon before.
    previous: OwnedFd,
    /// Why the new daemon was killed.
    why: Option<String>,
}

#[derive(Debug, PartialEq, Eq)]
enum Stage {
    OldEnds,
    NewStarts,
    /// All is well; the logger of the old binary, with this pid, makes room.
    LoggerEnds(Option<u32>),
}

impl Trial {
    /// The daemon is between two programs.
    pub(super) const fn is_open(&self) -> bool {
        matches!(self.stage, Stage::OldEnds | Stage::NewStarts)
    }

    pub(super) fn begin(previous: OwnedFd, now: Instant) -> Self {
        Self { stage: Stage::OldEnds, until: now + OLD_ENDS_WITHIN, previous, why: None }
    }
}

impl Keeper {
    pub(super) fn trial_due(&mut self, now: Instant) {
        let logger = self.logger.pid();
        let Some(trial) = &mut self.upgrading.trial else { return };
        if matches!(trial.stage, Stage::LoggerEnds(old) if logger != old) {
            self.upgrading.trial = None;
            return;
        }
        if trial.until > now {
            return;
        }
        trial.until = now + STEP;
        match trial.stage {
            Stage::OldEnds => self.end_daemon("the daemon before the upgrade does not end"),
            Stage::NewStarts => {
                let s = NEW_SERVES_WITHIN.as_secs();
                let why = format!("the new daemon did not serve within {s} s");
                match self.daemon.running() {
                    Some(_) => {
                        trial.why = Some(why.clone());
                        self.end_daemon(&why);
                    }
                    None => self.roll_back(why, now),
                }
            }
            Stage::LoggerEnds(_) => self.end_logger("it does not make room for the next"),
        }
    }

    /// True when the end of the daemon belongs to an upgrade, and the next one is due at once.
    pub(crate) fn trial_daemon_ended(&mut self, end: &End, now: Instant) -> bool {
        let Some(trial) = &mut self.upgrading.trial else { return false };
        match trial.stage {
            Stage::OldEnds => {
                trial.stage = Stage::NewStarts;
                trial.until = now + NEW_SERVES_WITHIN;
                self.daemon.disconnect(&self.poller, now);
                self.daemon.phase = Phase::Down(Some(now));
            }
            Stage::NewStarts => {
                let why = trial.why.take();
                let why = why.unwrap_or_else(|| {
                    format!(
                        "the new daemon {end} before it served; `ganger logs ganger` has its words"
                    )
                });
                self.roll_back(why, now);
            }
            Stage::LoggerEnds(_) => return false,
        }
        true
    }

    /// A daemon serves.
    pub(crate) fn trial_daemon_ready(&mut self, now: Instant) {
        let Some(trial) = &mut self.upgrading.trial else { return };
        if trial.stage != Stage::NewStarts {
            return;
        }
        trial.stage = Stage::LoggerEnds(self.logger.pid());
        trial.until = now + STEP;
        self.upgrading.daemons = None;
        if let Some(last) = &mut self.upgrading.last {
            last.on_trial = false;
            say(&format!("upgraded from {} to {}", last.from, last.to));
        }
        // It moves what is in its pipes and ends; what comes meanwhile waits in them.
        self.logger.disconnect(&self.poller, now);
    }

    /// True when the logger's end is what was wanted: the next one is due at once.
    pub(crate) fn trial_logger_ended(&self) -> bool {
        let trial = self.upgrading.trial.as_ref();
        trial.is_some_and(|trial| matches!(trial.stage, Stage::LoggerEnds(_)))
    }

    fn roll_back(&mut self, why: String, now: Instant) {
        let Some(trial) = self.upgrading.trial.take() else { return };
        say(&format!("back to the daemon before the upgrade: {why}"));
        // The child's own descriptors begin as a copy of these, so the number names the same file there.
        self.daemon_command.program = format!("/proc/self/fd/{}", trial.previous.as_raw_fd());
        self.upgrading.daemons = Some(trial.previous);
        if let Some(last) = &mut self.upgrading.last {
            last.on_trial = false;
            last.failed = Some(why);
        }
        self.daemon.disconnect(&self.poller, now);
        self.daemon.phase = Phase::Down(Some(now));
    }

    fn end_daemon(&self, why: &str) {
        if let Some(running) = self.daemon.running() {
            say(&format!("{why}: killing it"));
            // Gone in between is what is wanted.
            let _ = ganger_sys::pidfd::send_signal(&running.pidfd, SIGKILL);
        }
    }

    /// The file that the running daemon runs.
    pub(super) fn daemons_binary(&self) -> io::Result<OwnedFd> {
        match &self.upgrading.daemons {
            Some(binary) => binary.try_clone(),
            None => {
                let flags = OFlags::PATH | OFlags::CLOEXEC;
                Ok(rustix::fs::open("/proc/self/exe", flags, Mode::empty())?)
            }
        }
    }

    pub(super) fn daemons_version(&self) -> String {
        let before = self.upgrading.last.as_ref().filter(|_| self.upgrading.daemons.is_some());
        before.map_or_else(|| super::PROGRAM.to_owned(), |last| last.from.clone())
    }
}
