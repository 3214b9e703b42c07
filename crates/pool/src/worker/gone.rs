//! How a process ended, as far as the attempts in it are concerned.

use ganger_core::{End, SignalSource};
use ganger_keeper::wire::ExitReport;
use ganger_queue::How;
use ganger_store::AttemptError;

/// What the end of a process means for an attempt that ran in it and had no verdict yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// It took the process along: by exit, a signal, a limit.
    Crash,
    /// Ganger ended the process for another reason.
    Interrupted,
    /// Nobody can say.
    Lost,
    /// Part of its tree could not be proven dead: what ran may still run.
    Stuck,
}

impl Cause {
    /// `asked`: the end was asked for, by a stop, a restart or a takeover. What the kernel says of a limit or of another's signal
    /// weighs more: it may have happened before.
    pub(crate) const fn of(report: &ExitReport, asked: bool) -> Self {
        if !report.stuck.is_empty() {
            return Self::Stuck;
        }
        match &report.end {
            End::Lost => Self::Lost,
            End::Signalled { by: SignalSource::Ganger, .. } => Self::Interrupted,
            End::Exited { .. } if asked => Self::Interrupted,
            End::Exited { .. }
            | End::CouldNotSpawn { .. }
            | End::Signalled { .. }
            | End::TimedOut { .. }
            | End::LimitHit { .. }
            | End::SandboxViolation { .. } => Self::Crash,
        }
    }
}

/// The end of a process, for the attempts that ran in it.
#[derive(Debug, Clone)]
pub(crate) struct Gone {
    pub(crate) cause: Cause,
    /// What happened, with what the process had used.
    pub(crate) error: AttemptError,
}

impl Gone {
    /// How an attempt ended that ran in it, with the verdict it had.
    pub(crate) fn fate(&self, verdict: Option<How>) -> How {
        let error = || Box::new(self.error.clone());
        match (self.cause, verdict) {
            (Cause::Stuck, verdict) => {
                let timed_out = matches!(verdict, Some(How::Timeout(_)));
                How::Stuck { error: error(), timed_out }
            }
            (_, Some(How::Timeout(mut told))) => {
                told.usage.clone_from(&self.error.usage);
                How::Timeout(told)
            }
            (_, Some(verdict)) => verdict,
            (Cause::Crash, None) => How::Crash(error()),
            (Cause::Interrupted, None) => How::Interrupted(error()),
            (Cause::Lost, None) => How::Lost(error()),
        }
    }
}

/// An end that came with the end of the process: its last words belong to it.
pub(crate) const fn died_with_it(how: &How) -> bool {
    matches!(
        how,
        How::Crash(_) | How::Interrupted(_) | How::Lost(_) | How::Timeout(_) | How::Stuck { .. }
    )
}

/// The processes that are left.
pub(crate) fn stuck_text(pids: &[u32]) -> String {
    let pids: Vec<_> = pids.iter().map(u32::to_string).collect();
    format!("could not prove the end of pid {}", pids.join(", "))
}
