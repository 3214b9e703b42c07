//! One command with this process as its keeper: no daemon, no logger, no state folder (`ganger run`).
//!
//! ```text
//! running ──main ended──▶ clearing its tree ──empty──▶ done
//!    ├──limit that no cgroup holds passed──▶ KILL to the tree
//!    ├──timeout──▶ TERM to the tree ──grace over──▶ KILL to the tree
//!    └──signal to us──▶ the same signal to the command, unless the terminal sent it to both
//! ```
//!
//! The same spawn, cgroup, clearing and reaping as the keeper's; only the loop is smaller.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use ganger_core::{End, SpawnId, StateId, Usage};
use ganger_sandbox::Report;
use ganger_sandbox::cgroup::Driver;
use ganger_sandbox::walls::Networks;
use ganger_sys::reap;
use ganger_sys::signal::SignalFd;

use crate::KeeperError;
use crate::child::Child;
use crate::clear;
use crate::keeper::now_ms;
use crate::launch::{self, Lent};
use crate::life::{Life, Tell};
use crate::poller::{Poller, Source};
use crate::start::{become_subreaper, cgroups, files};
use crate::stdio;
use crate::watchdog;
use crate::wire::{Plan, Scope};

/// A command and how long it may take.
#[derive(Debug, Clone)]
pub struct OneShot {
    /// What to run; streams are inherited, null or pipes, never logs.
    pub plan: Plan,
    /// Folders of ganger's own, which it may not look into when there are walls around it.
    pub own: Vec<std::path::PathBuf>,
    /// Its time.
    pub timeout: Option<Duration>,
    /// Between TERM and KILL when the time is over.
    pub grace: Duration,
}

/// How it went.
#[derive(Debug, Clone)]
pub struct OneShotEnd {
    /// How the main process ended.
    pub end: End,
    /// On what it could not be started, where that is how it ended.
    pub detail: String,
    /// What it used.
    pub usage: Usage,
    /// From its start to the end of its tree.
    pub took: Duration,
    /// What held it and what did not.
    pub report: Report,
    /// Processes that it left behind and that were ended.
    pub leftovers: u32,
    /// Processes that could not be proven dead.
    pub stuck: Vec<u32>,
    /// Forks that the limit of processes refused.
    pub forks_refused: u64,
}

/// Signals that are passed on. SIGTSTP keeps its default: the whole foreground group stops together.
const PASSED_ON: [i32; 6] = [SIGHUP, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2, SIGTERM];
const SIGHUP: i32 = 1;
const SIGINT: i32 = 2;
const SIGQUIT: i32 = 3;
const SIGUSR1: i32 = 10;
const SIGUSR2: i32 = 12;
const SIGTERM: i32 = 15;
const SIGCHLD: i32 = 17;

/// Runs a command to the end of its whole tree. Call it before any thread exists: it takes over signals.
///
/// # Errors
/// A kernel facility is missing. A command that can't be started is no error but [`End::CouldNotSpawn`].
pub fn oneshot(shot: OneShot) -> Result<OneShotEnd, KeeperError> {
    let signals: Vec<i32> = PASSED_ON.into_iter().chain([SIGCHLD]).collect();
    let signals = SignalFd::block(&signals).map_err(KeeperError::kernel("signalfd"))?;
    become_subreaper()?;
    let poller = Poller::new().map_err(KeeperError::kernel("epoll_create"))?;
    poller.add(&signals, Source::Signals).map_err(KeeperError::kernel("epoll_ctl"))?;
    let state = StateId(rand()?);
    let mut driver = cgroups(state);
    let began = Instant::now();
    let child = start(&shot, state, &mut driver);
    let outcome = match child {
        Ok(child) => {
            let deadline = shot.timeout.map(|timeout| began + timeout);
            Running {
                child,
                state,
                pid: std::process::id(),
                deadline,
                timed_out: false,
                alone: shot.plan.setsid,
                kill: None,
            }
            .watch(&shot, &poller, &signals, &mut driver, began)
        }
        Err(failure) => Ok(OneShotEnd {
            end: End::CouldNotSpawn { step: failure.step.to_owned(), errno: failure.errno },
            detail: failure.detail,
            usage: Usage::default(),
            took: began.elapsed(),
            report: Report::default(),
            leftovers: 0,
            stuck: Vec::new(),
            forks_refused: 0,
        }),
    };
    driver.close();
    outcome
}

pub(crate) fn rand() -> Result<[u8; 16], KeeperError> {
    let mut id = [0; 16];
    let got = rustix::rand::getrandom(&mut id, rustix::rand::GetRandomFlags::empty());
    got.map_err(|errno| KeeperError::kernel("getrandom")(errno.into()))?;
    Ok(id)
}

fn start(shot: &OneShot, state: StateId, driver: &mut Driver) -> Result<Child, launch::Failure> {
    let plan = &shot.plan;
    launch::check(plan)?;
    let no_log = |_: u32, _: &ganger_core::logwire::LogTarget| {
        Err(std::io::Error::new(std::io::ErrorKind::Unsupported, "there is no logger here"))
    };
    let stdio = stdio::make(plan, None, no_log)
        .map_err(|error| launch::Failure::io("stdio", &plan.instance.to_string(), &error))?;
    let id = SpawnId(1);
    let lent = Lent {
        state,
        driver,
        networks: &mut Networks::default(),
        files: files(),
        low: None,
        own: &shot.own,
        dir: None,
        inherit: Vec::new(),
        argv: None,
    };
    let launched = launch::launch(id, Box::new(plan.clone()), stdio, lent)?;
    Ok(Child {
        id,
        instance: plan.instance.clone(),
        kind: plan.kind,
        pid: launched.started.pid,
        started_at_ms: now_ms(),
        pidfd: Some(launched.started.pidfd),
        outcome: launched.started.outcome,
        network: launched.network,
        ends: launched.ends,
        tree: launched.tree,
        report: launched.report,
        blob: String::new(),
        keep_leftovers: false,
        adopted: false,
        life: Life::new(false),
        watch: launched.watch,
        sent: 0,
        ended: None,
        exit: None,
    })
}

struct Running {
    child: Child,
    state: StateId,
    /// This process.
    pid: u32,
    deadline: Option<Instant>,
    timed_out: bool,
    /// The command is in a session of its own: what the terminal sends comes to this process only.
    alone: bool,
    /// When TERM had its time.
    kill: Option<Instant>,
}

impl Running {
    fn watch(
        mut self,
        shot: &OneShot,
        poller: &Poller,
        signals: &SignalFd,
        driver: &mut Driver,
        began: Instant,
    ) -> Result<OneShotEnd, KeeperError> {
        let mut ready = Vec::new();
        if let Some(event) = self.child.watch.as_ref().and_then(|watch| watch.event()) {
            let added = poller.add(event, Source::Memory(self.child.id));
            added.map_err(KeeperError::kernel("epoll_ctl"))?;
        }
        loop {
            let now = Instant::now();
            self.timers(shot.grace, now);
            self.look(now);
            if let Some((leftovers, stuck)) = self.clear(now) {
                return Ok(self.done(shot, driver, began, leftovers, stuck));
            }
            let due = [self.deadline, self.kill, self.child.life.due(), self.look_due()]
                .into_iter()
                .flatten()
                .min();
            let timeout = due.map(|due| due.saturating_duration_since(Instant::now()));
            poller.wait(timeout, &mut ready).map_err(KeeperError::kernel("epoll_wait"))?;
            if ready.drain(..).any(|source| matches!(source, Source::Memory(_))) {
                self.on_memory(poller, Instant::now());
            }
            self.on_signals(signals)?;
        }
    }

    fn timers(&mut self, grace: Duration, now: Instant) {
        if self.deadline.is_some_and(|at| at <= now) {
            self.deadline = None;
            self.timed_out = !self.child.life.main_ended();
            // One that can't be signalled is ended by the KILL that follows.
            let _ = clear::signal(&mut self.child, self.state, self.pid, SIGTERM, Scope::Tree);
            self.kill = Some(now + grace);
        }
        if self.kill.is_some_and(|at| at <= now) {
            self.kill = None;
            self.child.life.on_end_asked(now);
        }
    }

    fn look_due(&self) -> Option<Instant> {
        let watch = self.child.watch.as_ref().filter(|_| !self.child.life.main_ended());
        watch.and_then(|watch| watch.due())
    }

    /// Looks at what it uses if that is due, and ends it over a limit.
    fn look(&mut self, now: Instant) {
        if self.look_due().is_none_or(|due| due > now) {
            return;
        }
        // Every other child of this process is one whose parents have ended: there is no other tree.
        let main = self.child.pid;
        let kin = (|pid| pid == main, |_| true);
        if watchdog::look(&mut self.child, self.pid, kin, 0) {
            self.child.life.on_end_asked(now);
        }
    }

    /// The kernel has killed somebody of its tree for the memory limit: the rest ends as well.
    fn on_memory(&mut self, poller: &Poller, now: Instant) {
        let peak = self.child.tree.as_ref().map_or(0, ganger_sandbox::cgroup::Tree::memory_peak);
        let Some(watch) = &mut self.child.watch else { return };
        if let Some(event) = watch.event() {
            poller.remove(event);
        }
        if watch.on_memory(peak) && !self.child.life.main_ended() {
            self.child.life.on_end_asked(now);
        }
    }

    /// A clearing round if one is due; what was left once the tree is empty or given up.
    fn clear(&mut self, now: Instant) -> Option<(u32, Vec<u32>)> {
        if self.child.life.due().is_none_or(|due| due > now) {
            return None;
        }
        let main = (!self.child.life.main_ended()).then_some(self.child.pid);
        let alive =
            clear::round(&mut self.child, main, self.state, self.pid, |pid| Some(pid) == main);
        self.child.life.on_round(alive, now).into_iter().find_map(|tell| match tell {
            Tell::Exit { leftovers, stuck } => Some((leftovers, stuck)),
            Tell::TreeEnded { .. } => None,
        })
    }

    fn on_signals(&mut self, signals: &SignalFd) -> Result<(), KeeperError> {
        while let Some(received) = signals.read().map_err(KeeperError::kernel("signalfd"))? {
            if received.signal == SIGCHLD {
                self.reap()?;
            } else if (received.sender != 0 || self.alone)
                && let Some(pidfd) = &self.child.pidfd
            {
                // What the terminal sends (sender 0) the command has got as well. Gone in between needs no signal.
                let _ = ganger_sys::pidfd::send_signal(pidfd.as_fd(), received.signal);
            }
        }
        Ok(())
    }

    fn reap(&mut self) -> Result<(), KeeperError> {
        let now = Instant::now();
        while let Some(pid) = reap::peek().map_err(KeeperError::kernel("waitid"))? {
            let reaped = reap::wait(pid).map_err(KeeperError::kernel("wait4"))?;
            let Some((status, usage)) = reaped else { break };
            if pid == self.child.pid && !self.child.life.main_ended() {
                let (status, usage) = self.child.outcome(status, usage);
                self.child.ended = Some((self.child.end_of(status), usage, now_ms()));
                self.child.pidfd = None;
                // Only the main process's end is told: what is still to clear follows at once.
                let _ = self.child.life.on_main_ended(now);
            } else {
                self.child.life.hurry(now);
            }
        }
        Ok(())
    }

    fn done(
        mut self,
        shot: &OneShot,
        driver: &mut Driver,
        began: Instant,
        leftovers: u32,
        stuck: Vec<u32>,
    ) -> OneShotEnd {
        let (mut end, usage, _) =
            self.child.ended.take().unwrap_or((End::Lost, Usage::default(), 0));
        if self.timed_out
            && let Some(after) = shot.timeout
        {
            end = End::TimedOut { after };
        }
        let tree = self.child.tree.take();
        let forks_refused = tree.as_ref().map_or(0, |tree| tree.forks_refused());
        if let Some(tree) = tree {
            driver.release(tree);
        }
        OneShotEnd {
            end,
            detail: String::new(),
            usage,
            took: began.elapsed(),
            report: self.child.report,
            leftovers,
            stuck,
            forks_refused,
        }
    }
}
