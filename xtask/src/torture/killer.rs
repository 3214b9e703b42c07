//! SIGKILLs ganger's own processes and watches them come back.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fd::OwnedFd;
use rustix::process::{Pid, PidfdFlags, Signal};

use super::Target;
use crate::ganger::{Ganger, Status};

/// Pauses between kills are drawn from this range: short enough to meet a daemon that is still taking over.
const PAUSE_MS: std::ops::Range<u64> = 300..3_000;
/// A killed process must be replaced within this.
const RECOVERY: Duration = Duration::from_secs(20);
/// Between two looks at a process that is coming back.
const LOOK: Duration = Duration::from_millis(50);
/// `Both`: the second is killed at most so long after the first.
const TOGETHER_MS: std::ops::Range<u64> = 0..50;

/// One kill.
#[derive(Debug, Clone)]
pub(crate) struct Kill {
    pub(crate) target: Target,
    /// Attempts that were running just before.
    pub(crate) running: u64,
    /// The code with which `mortal` was made to exit meanwhile.
    pub(crate) mortal_code: Option<u8>,
    pub(crate) recovered_in: Duration,
}

/// Draws victims and moments.
#[derive(Debug)]
pub(crate) struct Killer<'a> {
    pub(crate) ganger: &'a Ganger,
    pub(crate) targets: &'a [Target],
    /// Written to make the service `mortal` exit.
    pub(crate) fifo: &'a Path,
    pub(crate) random: fastrand::Rng,
}

impl Killer<'_> {
    /// Kills until `kills` (or `until`, if there is one) is reached.
    pub(crate) fn run(mut self, kills: u32, until: Option<Instant>) -> Result<Vec<Kill>> {
        let mut done = Vec::new();
        loop {
            std::thread::sleep(Duration::from_millis(self.random.u64(PAUSE_MS)));
            let over = until.map_or(done.len() >= kills as usize, |until| Instant::now() >= until);
            if over {
                return Ok(done);
            }
            // In turn, so that also few kills meet every target.
            let target = self.targets[done.len() % self.targets.len()];
            let number = done.len() + 1;
            let kill = self.kill(target).with_context(|| format!("kill {number} ({target:?})"))?;
            println!(
                "  kill {number:2} {target:?}: {} attempts running, back after {:.2} s",
                kill.running,
                kill.recovered_in.as_secs_f64()
            );
            done.push(kill);
        }
    }

    fn kill(&mut self, target: Target) -> Result<Kill> {
        let before = self.ganger.status()?;
        let running = self.ganger.queue("work")?.running;
        let since = Instant::now();
        let logger = before.logger.context("status tells of no logger")?.pid;
        match target {
            Target::Daemon => end(before.daemon.pid)?,
            Target::Keeper => end(before.keeper.pid)?,
            Target::Logger => end(logger)?,
            Target::Both => {
                let gap = Duration::from_millis(self.random.u64(TOGETHER_MS));
                let mut two = [open(before.daemon.pid)?, open(before.keeper.pid)?];
                // A daemon that sees its keeper die has started another within some of those 50 ms; a keeper waits longer
                // before it starts another daemon. Both orders must end well.
                if self.random.bool() {
                    two.reverse();
                }
                send_kill(&two[0])?;
                std::thread::sleep(gap);
                // It may have ended by itself: a daemon makes way for the one of the new keeper.
                let _ = send_kill(&two[1]);
                two.iter().try_for_each(gone)?;
            }
            Target::Tree | Target::Queue | Target::Cluster => {
                bail!("{target:?} is a scenario of its own")
            }
        }
        // While nobody thinks: the exit must be told by whoever comes next.
        let mortal_code = (target == Target::Daemon).then(|| self.random.u8(2..=99));
        if let Some(code) = mortal_code {
            self.let_die(code)?;
        }
        if target == Target::Both {
            self.ganger.up()?;
        }
        self.wait_for(target, &before)?;
        Ok(Kill { target, running, mortal_code, recovered_in: since.elapsed() })
    }

    fn let_die(&self, code: u8) -> Result<()> {
        let mut fifo = OpenOptions::new().write(true).open(self.fifo).context("the fifo")?;
        fifo.write_all(&[code]).context("could not write into the fifo")
    }

    /// Until `status` tells of new processes in place of the killed ones.
    fn wait_for(&self, target: Target, before: &Status) -> Result<()> {
        let deadline = Instant::now() + RECOVERY;
        loop {
            // The CLI itself waits for a daemon that is being restarted.
            let now = self.ganger.status();
            let back = now.as_ref().is_ok_and(|now| {
                let daemon = now.daemon.pid != before.daemon.pid;
                let keeper = now.keeper.pid != before.keeper.pid;
                let logger = now.logger.map(|p| p.pid) != before.logger.map(|p| p.pid);
                match target {
                    Target::Daemon => daemon,
                    Target::Keeper => keeper,
                    Target::Logger => logger,
                    Target::Both => daemon && keeper,
                    Target::Tree | Target::Queue | Target::Cluster => true,
                }
            });
            if back {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("not back after {} s; status: {now:?}", RECOVERY.as_secs());
            }
            std::thread::sleep(LOOK);
        }
    }
}

/// Kills a process and waits until it is gone.
pub(crate) fn end(pid: i32) -> Result<()> {
    let process = open(pid)?;
    send_kill(&process)?;
    gone(&process).with_context(|| format!("pid {pid}"))
}

pub(crate) fn open(pid: i32) -> Result<OwnedFd> {
    let pid = Pid::from_raw(pid).with_context(|| format!("{pid} is no pid"))?;
    rustix::process::pidfd_open(pid, PidfdFlags::empty())
        .with_context(|| format!("no process {pid:?}"))
}

fn send_kill(process: &OwnedFd) -> Result<()> {
    send(process, Signal::KILL)
}

/// Sends a signal. That the process is gone already is an error.
pub(crate) fn send(process: &OwnedFd, signal: Signal) -> Result<()> {
    rustix::process::pidfd_send_signal(process, signal)
        .with_context(|| format!("could not send {signal:?}"))
}

/// Waits until a killed process has ended.
pub(crate) fn gone(process: &OwnedFd) -> Result<()> {
    /// SIGKILL takes effect at once; a loaded machine may take a while to reap.
    const GONE: Duration = Duration::from_secs(10);
    if ended_within(process, GONE)? {
        return Ok(());
    }
    bail!("SIGKILLed, but still there after {} s", GONE.as_secs())
}

/// True if the process ends within `limit`. A pidfd is readable once its process has ended (pidfd_open(2)).
pub(crate) fn ended_within(process: &OwnedFd, limit: Duration) -> Result<bool> {
    let mut fds = [PollFd::new(process, PollFlags::IN)];
    let limit = Timespec::try_from(limit).context("a wait that long")?;
    let ready =
        rustix::event::poll(&mut fds, Some(&limit)).context("could not wait for its end")?;
    Ok(ready > 0)
}
