//! The keeper replaced by another binary, in place: same process, same children, same descriptors.
//!
//! ```text
//! Examine ─▶ checking ──"I can go on from this"──▶ offered ──Upgrade──▶ execve ══▶ resumed, on trial
//!               └──no, or no answer──▶ refused        (execve failed: refused) ◀─┘      │
//!                                                                                        ▼
//!            settled: the logger is replaced too ◀──Ready── new daemon ◀──ends── old daemon
//!                                                              └──ends, or not ready in time──▶ old binary's daemon again
//! ```
//!
//! What the keeper knows goes through exec in a sealed memfd ([`image`]), descriptors under their own numbers. Signals stay
//! blocked and pending; a child that dies meanwhile is a zombie until the new program reaps it. Before the point of no
//! return the binary itself, run once as an ordinary child, must have read a copy of that state. A program that fails
//! after it is a dead keeper like any other: its daemon starts a new one.

mod check;
mod codec;
mod image;
mod load;
mod save;
#[cfg(test)]
mod tests;
mod trial;

use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::time::Instant;

pub(crate) use load::run;
pub(crate) use trial::is_half;

use crate::KeeperError;
use crate::keeper::{Keeper, say};
use crate::leave::Leaving;
use crate::wire::{Event, Offer, Upgrade, UpgradeNews, WIRE_VERSION, encode};
use check::Checking;
use trial::Trial;

/// This program's version.
const PROGRAM: &str = env!("CARGO_PKG_VERSION");

/// Where the replacement stands.
#[derive(Debug, Default)]
pub(crate) struct Upgrading {
    stage: Stage,
    /// The last one, as daemons are told of it.
    pub(crate) last: Option<Upgrade>,
    trial: Option<Trial>,
    /// The binary that daemons run, where that is not the keeper's own.
    daemons: Option<OwnedFd>,
}

#[derive(Debug, Default)]
enum Stage {
    #[default]
    Idle,
    Checking(Checking),
    /// Until when it is held: somebody may only have asked.
    Offered(Candidate, Instant),
    /// To be done when the loop comes round.
    Asked(Candidate),
}

/// A binary that was looked at. What runs is this file, whatever its path names by then.
#[derive(Debug)]
struct Candidate {
    binary: OwnedFd,
    path: String,
    /// Its version, once it has told.
    version: String,
}

impl Upgrading {
    /// The process that is asked, which is no stranger.
    pub(crate) fn checker(&self) -> Option<u32> {
        match &self.stage {
            Stage::Checking(checking) => Some(checking.pid),
            _ => None,
        }
    }

    /// The next thing to do by time.
    pub(crate) fn due(&self) -> Option<Instant> {
        let checking = match &self.stage {
            Stage::Checking(checking) => checking.due,
            Stage::Offered(_, until) => Some(*until),
            Stage::Idle | Stage::Asked(_) => None,
        };
        checking.into_iter().chain(self.trial.as_ref().map(|trial| trial.until)).min()
    }
}

impl Keeper {
    /// `Examine`.
    pub(crate) fn on_examine(&mut self, path: String, now: Instant) {
        match self.may_upgrade().and_then(|()| self.start_check(path, now)) {
            Ok(checking) => self.upgrading.stage = Stage::Checking(checking),
            Err(why) => self.refuse_upgrade(why),
        }
    }

    fn may_upgrade(&self) -> Result<(), String> {
        if self.leaving != Leaving::No {
            return Err("everything is being brought down".into());
        }
        if self.upgrading.trial.as_ref().is_some_and(Trial::is_open)
            || matches!(self.upgrading.stage, Stage::Asked(_))
        {
            return Err("another upgrade is under way".into());
        }
        if matches!(self.upgrading.stage, Stage::Checking(_)) {
            return Err("another binary is being looked at".into());
        }
        Ok(())
    }

    /// `Upgrade`: done by [`Keeper::upgrade_step`], so that whatever came before it is dealt with.
    pub(crate) fn on_upgrade(&mut self) {
        if let Err(why) = self.may_upgrade() {
            return self.refuse_upgrade(why);
        }
        match std::mem::take(&mut self.upgrading.stage) {
            Stage::Offered(candidate, _) => self.upgrading.stage = Stage::Asked(candidate),
            _ => self.refuse_upgrade("no binary has been examined".into()),
        }
    }

    /// What is due, the point of no return included.
    pub(crate) fn upgrade_step(&mut self, now: Instant) {
        self.check_due(now);
        self.trial_due(now);
        if matches!(self.upgrading.stage, Stage::Asked(_)) {
            // What is written down is of children that run or have failed.
            self.settle_starts();
        }
        if let Stage::Asked(candidate) = &self.upgrading.stage {
            let version = candidate.version.clone();
            say(&format!("going on as {} ({version})", candidate.path));
            let why = self.replace_self(candidate);
            self.upgrading.stage = Stage::Idle;
            say(&format!("staying as I am: {why}"));
            self.refuse_upgrade(why);
        }
    }

    fn refuse_upgrade(&mut self, why: String) {
        self.tell(&Event::Upgrade { news: UpgradeNews::Refused { why } }, Vec::new());
    }
}

/// A binary's answer to the question whether it could go on from a keeper's state, which stdin holds: an [`Offer`] on
/// stdout. `schema` is the store's.
///
/// # Errors
/// It can't; the keeper then stays what it is.
pub fn offer(schema: u32) -> Result<(), KeeperError> {
    let fail = |error: std::io::Error| KeeperError::Resume { why: error.to_string() };
    let mut body = Vec::new();
    std::io::Read::read_to_end(&mut std::io::stdin().lock(), &mut body).map_err(fail)?;
    image::decode(&body)?;
    let (version, resume) = (PROGRAM.into(), image::VERSION);
    let mut answer = encode(&Offer { version, wire: WIRE_VERSION, resume, schema });
    answer.push(b'\n');
    std::io::stdout().lock().write_all(&answer).map_err(fail)
}
