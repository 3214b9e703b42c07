//! Kills what keeps a queue, as fast as it comes back: at random moments, and at places inside the daemon.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::Signal;

use super::notes::Tail;
use super::site::Site;
use crate::ganger::Status;
use crate::torture::killer::{ended_within, gone, open, send};
use crate::torture::ledger::now_ns;
use crate::torture::procs;

/// Between "attempts run again" and the next kill.
const PAUSE_MS: std::ops::Range<u64> = 0..120;
/// The same where a second's loss is allowed: long enough that most tasks are out of it.
const LONG_PAUSE_MS: std::ops::Range<u64> = 1_000..3_000;
/// The second of two is killed at most so long after the first.
const TOGETHER_MS: std::ops::Range<u64> = 0..50;
/// A frozen worker sleeps so long beside the next daemon.
const FROZEN_MS: std::ops::Range<u64> = 0..1_000;
/// A daemon that has not come to its place by then is killed where it is.
const PLACE: Duration = Duration::from_millis(700);
/// A killed process must be replaced, and attempts must start again, within this.
const RECOVERY: Duration = Duration::from_secs(30);
/// Between two looks at the ledger.
const LOOK: Duration = Duration::from_millis(2);

/// Places in the daemon and how often they may be passed first (crates/sys/src/torture.rs says what they are).
const PLACES: [(&str, u64); 11] = [
    ("dispatch.heard", 200),
    ("dispatch.settled", 100),
    ("dispatch.replied", 200),
    ("wal.write", 400),
    ("wal.sync", 60),
    ("wal.synced", 60),
    ("wal.truncate", 1),
    ("db.write", 60),
    ("db.sync", 2),
    ("db.synced", 2),
    ("db.truncate", 1),
];

/// What is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Daemon,
    /// The daemon kills itself at a place; or it is killed, when it does not come by.
    Place,
    Keeper,
    Both,
    Worker,
    /// A worker is stopped, the daemon killed, and the worker goes on when another daemon has taken over.
    Frozen,
    /// Everything at once, as a power cut does.
    Power,
}

/// One kill.
#[derive(Debug, Clone)]
pub(crate) struct Kill {
    pub(crate) kind: Kind,
    /// CLOCK_MONOTONIC before the first signal and after the last process was gone.
    pub(crate) from_ns: u64,
    pub(crate) to_ns: u64,
    /// Attempts open in the ledger just before.
    pub(crate) running: usize,
}

/// Draws victims and moments.
#[derive(Debug)]
pub(crate) struct Killer<'a> {
    pub(crate) site: &'a Site,
    pub(crate) random: fastrand::Rng,
    /// Only power cuts.
    pub(crate) power: bool,
    /// With longer pauses between them.
    pub(crate) patient: bool,
    pub(crate) tail: Tail,
    /// Where the daemon that runs is to end.
    pub(crate) armed: bool,
}

impl Killer<'_> {
    /// Kills so often.
    pub(crate) fn run(&mut self, kills: u32) -> Result<Vec<Kill>> {
        let mut done: Vec<Kill> = Vec::new();
        let began = Instant::now();
        self.work_goes_on(0)?;
        while done.len() < kills as usize {
            let pause = if self.patient { LONG_PAUSE_MS } else { PAUSE_MS };
            std::thread::sleep(Duration::from_millis(self.random.u64(pause)));
            let placed = std::mem::take(&mut self.armed);
            let kind = if placed && !self.power { Kind::Place } else { self.draw() };
            // The last daemon is not to end itself while the rest is waited for.
            let last = done.len() + 1 == kills as usize;
            if kind != Kind::Worker && !last && self.random.u8(..100) < 30 {
                self.arm()?;
            }
            let number = done.len() + 1;
            let what = || format!("kill {number} ({kind:?})");
            let kill = self.kill(kind, placed).with_context(what)?;
            self.work_goes_on(kill.to_ns).with_context(what)?;
            done.push(kill);
            if number.is_multiple_of(100) || number == kills as usize {
                println!("  {number} kills in {:.0} s", began.elapsed().as_secs_f64());
            }
        }
        Ok(done)
    }

    fn draw(&mut self) -> Kind {
        if self.power {
            return Kind::Power;
        }
        match self.random.u8(..100) {
            0..45 => Kind::Daemon,
            45..65 => Kind::Both,
            65..80 => Kind::Worker,
            80..92 => Kind::Keeper,
            _ => Kind::Frozen,
        }
    }

    /// Tells the next daemon where to end.
    fn arm(&mut self) -> Result<()> {
        let (place, most) = PLACES[self.random.usize(..PLACES.len())];
        let text = format!("{place} {}", self.random.u64(1..=most));
        self.armed = true;
        std::fs::write(self.site.state_dir.join("torture-crash"), text).context("torture-crash")
    }

    fn kill(&mut self, kind: Kind, placed: bool) -> Result<Kill> {
        let pids = self.tail.running()?;
        let running = pids.len();
        let from_ns = now_ns();
        let daemon = |before: &Status| end(&[before.daemon.pid]);
        if kind == Kind::Power {
            if placed && let Ok(before) = self.site.ganger.status() {
                Self::at_place(&before)?;
            }
            self.power_cut()?;
        } else {
            let before = self.site.ganger.status()?;
            match kind {
                Kind::Daemon => daemon(&before)?,
                Kind::Keeper => end(&[before.keeper.pid])?,
                Kind::Both => self.both(&before)?,
                Kind::Worker => match pids.get(self.random.usize(..running.max(1))) {
                    Some(pid) => end(&[*pid])?,
                    None => daemon(&before)?,
                },
                Kind::Frozen => self.frozen(&before, &pids)?,
                Kind::Place => Self::at_place(&before)?,
                Kind::Power => {}
            }
        }
        let to_ns = now_ns();
        if kind == Kind::Both {
            self.site.ganger.up()?;
        }
        Ok(Kill { kind, from_ns, to_ns, running })
    }

    /// Keeper and daemon, in either order: a daemon that sees its keeper die has started another within some of those 50 ms.
    fn both(&mut self, before: &Status) -> Result<()> {
        let gap = Duration::from_millis(self.random.u64(TOGETHER_MS));
        let mut two = [before.daemon.pid, before.keeper.pid];
        if self.random.bool() {
            two.reverse();
        }
        let first = open(two[0]);
        let second = open(two[1]);
        if let Ok(first) = &first {
            let _ = send(first, Signal::KILL);
        }
        std::thread::sleep(gap);
        if let Ok(second) = &second {
            let _ = send(second, Signal::KILL);
        }
        first.iter().chain(&second).try_for_each(gone)
    }

    fn frozen(&mut self, before: &Status, pids: &[i32]) -> Result<()> {
        let victim =
            pids.get(self.random.usize(..pids.len().max(1))).and_then(|pid| open(*pid).ok());
        if let Some(victim) = &victim {
            let _ = send(victim, Signal::STOP);
        }
        end(&[before.daemon.pid])?;
        let after = self.site.ganger.status();
        std::thread::sleep(Duration::from_millis(self.random.u64(FROZEN_MS)));
        if let Some(victim) = &victim {
            let _ = send(victim, Signal::CONT);
        }
        after.map(drop)
    }

    /// Waits for the daemon to end itself.
    fn at_place(before: &Status) -> Result<()> {
        // Gone already: it died after it had answered.
        let Ok(daemon) = open(before.daemon.pid) else { return Ok(()) };
        if ended_within(&daemon, PLACE)? {
            return Ok(());
        }
        let _ = send(&daemon, Signal::KILL);
        gone(&daemon)
    }

    /// Kills everything that carries the mark, the keeper first: nothing is started any more.
    fn power_cut(&mut self) -> Result<()> {
        loop {
            let mut all = procs::marked(&self.site.mark);
            all.sort_by_key(|process| !process.command.contains("__keeper"));
            let alive: Vec<OwnedFd> =
                all.iter().filter_map(|process| open(process.pid).ok()).collect();
            if alive.is_empty() {
                return Ok(());
            }
            for process in &alive {
                let _ = send(process, Signal::KILL);
            }
            alive.iter().try_for_each(gone)?;
        }
    }

    /// Until somebody answers and an attempt has started after `ns`.
    fn work_goes_on(&mut self, ns: u64) -> Result<()> {
        let deadline = Instant::now() + RECOVERY;
        loop {
            let up = if self.power && ns > 0 { self.site.ganger.up() } else { Ok(()) };
            // The CLI itself waits for a daemon that is being restarted.
            let Err(error) = up.and_then(|()| self.site.ganger.status().map(drop)) else { break };
            // It may have come to its place while it started.
            if self.power && std::mem::take(&mut self.armed) {
                self.power_cut()?;
            } else if Instant::now() > deadline {
                bail!("nobody is back after {} s: {error:#}", RECOVERY.as_secs());
            }
        }
        loop {
            self.tail.read()?;
            if self.tail.last_start_ns > ns {
                return Ok(());
            }
            if self.power && self.armed && self.site.ganger.status().is_err() {
                // It came to its place before any attempt: that is the next cut.
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("no attempt has started after {} s", RECOVERY.as_secs());
            }
            std::thread::sleep(LOOK);
        }
    }
}

/// Kills processes and waits until they are gone. One that is gone already is fine.
fn end(pids: &[i32]) -> Result<()> {
    let open: Vec<OwnedFd> = pids.iter().filter_map(|pid| open(*pid).ok()).collect();
    for process in &open {
        let _ = send(process, Signal::KILL);
    }
    open.iter().try_for_each(gone)
}

/// Daemons that ended themselves: where and when, as they wrote it.
pub(crate) fn crashed(site: &Site) -> Result<Vec<(String, u64)>> {
    let text = match std::fs::read_to_string(site.state_dir.join("torture-crashed")) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).context("torture-crashed"),
    };
    let line = |line: &str| {
        let (place, ns) = line.split_once(' ').context("it is not NAME NS")?;
        Ok((place.to_owned(), ns.parse()?))
    };
    text.lines().map(line).collect()
}
