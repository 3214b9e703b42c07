//! A run while it runs: what it says is passed on, its limits of time and output end it, and how it ended is judged.

use std::time::{Duration, Instant};

use ganger_audit::Breach;
use ganger_core::{End, SignalSource};
use ganger_keeper::wire::ExitReport;
use ganger_policy::Allowed;
use ganger_process::Child;
use tokio::sync::mpsc;

use crate::handle::Told;
use crate::records::millis;
use crate::speech::Speech;

/// Why a run was ended by force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stopped {
    Wall,
    Output,
    /// Whoever asked is gone.
    Caller,
}

/// What was seen of a run when its tree is empty.
pub(crate) struct Seen {
    pub(crate) report: ExitReport,
    pub(crate) speech: Speech,
    pub(crate) stopped: Option<Stopped>,
    pub(crate) took: Duration,
}

/// What a run is watched for.
pub(crate) struct Watch<'a> {
    pub(crate) began: Instant,
    pub(crate) deadline: Option<Instant>,
    pub(crate) speech: Speech,
    pub(crate) stopped: Option<Stopped>,
    pub(crate) tell: &'a mpsc::Sender<Told>,
}

impl Watch<'_> {
    /// Passes on what it says and ends it at its limits, until the keeper tells that nothing of it is left.
    pub(crate) async fn until_the_end(
        mut self,
        child: &mut Child,
    ) -> Result<Seen, ganger_process::KeeperGone> {
        let report = loop {
            let waiting = self.speech.is_waiting();
            let stop = tokio::select! {
                biased;
                report = child.exit() => break report?,
                () = until(self.deadline), if self.stopped.is_none() => Some(Stopped::Wall),
                () = self.tell.closed(), if self.stopped.is_none() => Some(Stopped::Caller),
                room = self.tell.reserve(), if waiting && self.stopped != Some(Stopped::Caller) => {
                    if let (Ok(room), Some((stream, bytes))) = (room, self.speech.take()) {
                        room.send(Told::Said(stream, bytes));
                    }
                    None
                }
                () = self.speech.hear(), if !waiting && self.stopped.is_none() => {
                    self.speech.is_cut().then_some(Stopped::Output)
                }
            };
            if let Some(why) = stop {
                self.stopped = Some(why);
                // The exit tells of the end; without a keeper it says so too.
                drop(child.end_tree().await);
            }
        };
        let took = self.began.elapsed();
        if self.stopped != Some(Stopped::Output) {
            self.speech.drain();
        }
        Ok(Seen { report, speech: self.speech, stopped: self.stopped, took })
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

/// How it ended, and the limit it ran into.
pub(crate) fn judge(
    exit: &ExitReport,
    speech: &Speech,
    stopped: Option<Stopped>,
    allowed: &Allowed,
    took: Duration,
) -> (End, Option<Breach>) {
    let limits = &allowed.launch.limits;
    if speech.is_cut()
        && let Some(output) = limits.output
    {
        let breach = Breach { limit: "output".into(), allowed: output.0, peak: speech.said() };
        return (End::LimitHit { limit: "output".into(), peak: speech.said() }, Some(breach));
    }
    let by_us = matches!(exit.end, End::Signalled { by: SignalSource::Ganger, .. });
    if stopped == Some(Stopped::Wall)
        && by_us
        && let Some(time) = limits.time
    {
        let breach = Breach { limit: "wall".into(), allowed: millis(time.0), peak: millis(took) };
        return (End::TimedOut { after: time.0 }, Some(breach));
    }
    /// SIGXCPU and SIGXFSZ (signal(7)).
    const SIGXCPU: i32 = 24;
    const SIGXFSZ: i32 = 25;
    const SIGKILL: i32 = 9;
    let used_ms = (exit.usage.user_us + exit.usage.system_us) / 1_000;
    let breach = match &exit.end {
        End::LimitHit { limit, peak } => {
            let allowed = match limit.as_str() {
                "memory" => limits.memory.map(|size| size.0),
                "pids" => limits.pids,
                "cpu_time" => limits.cpu_time.map(|time| millis(time.0)),
                _ => None,
            };
            Some(Breach { limit: limit.clone(), allowed: allowed.unwrap_or(0), peak: *peak })
        }
        // A second after SIGXCPU, and nobody else has killed it.
        End::Signalled { signal: SIGKILL, by: SignalSource::Unknown, .. }
            if limits.cpu_time.is_some_and(|time| used_ms > millis(time.0)) =>
        {
            let allowed = limits.cpu_time.map_or(0, |time| millis(time.0));
            Some(Breach { limit: "cpu_time".into(), allowed, peak: used_ms })
        }
        End::Signalled { signal: SIGXCPU, .. } if limits.cpu_time.is_some() => {
            let allowed = limits.cpu_time.map_or(0, |time| millis(time.0));
            Some(Breach { limit: "cpu_time".into(), allowed, peak: used_ms })
        }
        End::Signalled { signal: SIGXFSZ, .. } if limits.file_size.is_some() => {
            let allowed = limits.file_size.map_or(0, |size| size.0);
            Some(Breach { limit: "file_size".into(), allowed, peak: allowed })
        }
        _ => None,
    };
    match &breach {
        Some(breach) => {
            let Breach { limit, peak, .. } = breach.clone();
            (End::LimitHit { limit, peak }, Some(breach.clone()))
        }
        None => (exit.end.clone(), None),
    }
}
