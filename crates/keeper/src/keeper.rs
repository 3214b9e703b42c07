//! The keeper itself: what it owns, and its loop.
//!
//! ```text
//!            ┌── signals: children ended, or ganger is to end ──▶ reap, leave
//! epoll ─────┼── daemon's socket ──▶ requests        events ──▶ its out-buffer
//!            ├── logger's socket ──▶ replies          log pipes ──▶ its out-buffer
//!            ├── pidfds of adopted children ──▶ adopt
//!            ├── pipes of children on their way to their programs ──▶ starting
//!            └── next deadline: clearing rounds, looks at limits, restarts, pings, leaving
//! ```
//!
//! One thread owns all of it. Nothing here waits for daemon or logger: a full socket fills a bounded buffer, a full
//! buffer ends its reader, and the next one learns everything from the table.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::{Instant, SystemTime};

use ganger_core::{SpawnId, StateId};
use ganger_sandbox::Degraded;
use ganger_sandbox::cgroup::Driver;
use ganger_sandbox::walls::Networks;
use ganger_sys::signal::SignalFd;
use ganger_sys::spawn::LowNumbers;

use crate::KeeperError;
use crate::adopted::Settling;
use crate::child::Child;
use crate::helper::Kept;
use crate::leave::Leaving;
use crate::logpipes::LogPipes;
use crate::notify::Notify;
use crate::options::Helper;
use crate::past::Past;
use crate::ping::Ping;
use crate::poller::{Poller, Source};
use crate::resume::Upgrading;
use crate::starting::Starting;
use crate::wire::Event;

#[derive(Debug)]
pub(crate) struct Keeper {
    pub(crate) pid: u32,
    pub(crate) dir: PathBuf,
    pub(crate) state: StateId,
    pub(crate) lock: OwnedFd,
    pub(crate) api: OwnedFd,
    pub(crate) foreground: bool,
    /// RLIMIT_NOFILE that this process was started with: children get it.
    pub(crate) files: (u64, u64),
    /// Lent to one child after the other; absent where the kernel or the numbers do not allow it.
    pub(crate) low: Option<LowNumbers>,
    pub(crate) poller: Poller,
    pub(crate) signals: SignalFd,
    /// Children may have ended that were not looked at.
    pub(crate) sweep: bool,
    pub(crate) driver: Driver,
    /// Of commands that have ended, for those that follow.
    pub(crate) networks: Networks,
    pub(crate) children: BTreeMap<SpawnId, Child>,
    /// Those on their way as well.
    pub(crate) by_pid: HashMap<u32, SpawnId>,
    /// Children on their way to their programs, and how many there may be.
    pub(crate) starting: BTreeMap<SpawnId, Starting>,
    pub(crate) starting_most: usize,
    /// Children whose tree is being cleared: the only ones with deadlines.
    pub(crate) clearing: BTreeSet<SpawnId>,
    /// Children with limits that have to be looked after: the only ones that are ever looked at.
    pub(crate) watched: BTreeSet<SpawnId>,
    pub(crate) settling: Vec<Settling>,
    /// Answers to spawns that are no more, so that a repeated one starts nothing.
    pub(crate) past: Past,
    pub(crate) held: BTreeMap<String, OwnedFd>,
    pub(crate) logs: LogPipes,
    /// Flushes the logger has not answered.
    pub(crate) flushes: VecDeque<u64>,
    pub(crate) logger: Kept,
    pub(crate) logger_command: Helper,
    pub(crate) daemon: Kept,
    pub(crate) daemon_command: Helper,
    /// How a binary becomes this keeper: its words, before those that say what it is to do.
    pub(crate) own_command: Helper,
    /// The running daemon has said `Ready`.
    pub(crate) served: bool,
    pub(crate) ping: Ping,
    pub(crate) leaving: Leaving,
    pub(crate) notify: Notify,
    pub(crate) degraded: Vec<Degraded>,
    /// Of an earlier run, at this keeper's start.
    pub(crate) survivors: Vec<crate::wire::Survivor>,
    pub(crate) upgrading: Upgrading,
}

impl Keeper {
    /// Runs until everything is brought down.
    pub(crate) fn run(mut self) -> Result<(), KeeperError> {
        let mut ready = Vec::new();
        loop {
            let now = Instant::now();
            self.start_due_helpers(now);
            self.end_late_starts(now);
            self.networks.tidy(now);
            self.look_due(now);
            self.clear_due(now);
            self.settle_due(now);
            self.ping_due(now);
            self.leave_step(now);
            if matches!(self.leaving, Leaving::Done) {
                return Ok(());
            }
            self.upgrade_step(now);
            self.flush_helpers(now);
            if std::mem::take(&mut self.sweep) {
                self.reap()?;
                continue;
            }
            let timeout = self.next_due().map(|due| due.saturating_duration_since(Instant::now()));
            let wait = self.poller.wait(timeout, &mut ready);
            wait.map_err(KeeperError::kernel("epoll_wait"))?;
            for source in ready.drain(..) {
                self.on_ready(source)?;
            }
        }
    }

    fn on_ready(&mut self, source: Source) -> Result<(), KeeperError> {
        match source {
            Source::Signals => self.on_signals(),
            Source::Daemon => {
                self.on_daemon_readable();
                Ok(())
            }
            Source::Logger => {
                self.on_logger_readable();
                Ok(())
            }
            Source::Memory(id) => {
                self.on_memory(id, Instant::now());
                Ok(())
            }
            Source::Started(id) => {
                self.on_started(id);
                Ok(())
            }
            Source::Adopted(id) => {
                self.on_adopted_ended(id);
                Ok(())
            }
        }
    }

    /// The earliest thing to do by time; `None` sleeps until something happens.
    fn next_due(&self) -> Option<Instant> {
        let rounds = self.clearing.iter().filter_map(|id| self.children.get(id)?.life.due());
        let settling = self.settling.iter().map(|one| one.next);
        let helpers = self.helpers_due();
        let ping = self.daemon.running().map(|_| self.ping.next());
        let others = self.leaving.due().into_iter().chain(self.upgrading.due());
        let looks = self.looks_due().chain(self.starts_due()).chain(self.networks.due());
        rounds.chain(settling).chain(looks).chain(helpers).chain(ping).chain(others).min()
    }

    /// Tells the daemon, if one is there; one that is not will find it in the table.
    pub(crate) fn tell(&mut self, event: &Event, fds: Vec<OwnedFd>) {
        if let Some(connection) = self.daemon.connection()
            && let Err(error) = connection.push(&crate::wire::encode(event), fds)
        {
            say(&format!("an event for the daemon was dropped: {error}"));
        }
    }
}

/// Wall-clock milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// One line in the keeper's own log (stderr, which is `keeper.log` unless it runs in the foreground).
pub(crate) fn say(what: &str) {
    use std::io::Write;
    // A keeper whose log can't be written goes on.
    let _ = writeln!(std::io::stderr().lock(), "ganger keeper: {what}");
}
