//! Many commands at once with this process as their keeper: no daemon, no logger, no state folder (`ganger map`).
//!
//! ```text
//! start ─▶ running ──main ended──▶ clearing its tree ──empty──▶ told by `wait`
//!             ├──limit that no cgroup holds passed──▶ KILL to the tree
//!             ├──`signal`──▶ to its tree
//!             └──`end`─────▶ KILL to the tree
//! ```
//!
//! The same spawn, cgroups, clearing, watchdog and reaping as the keeper's and as [`oneshot`](crate::oneshot())'s; the caller has the loop: it starts,
//! waits, and decides when signals come. Nothing here blocks but [`Gang::wait`].
//!
//! A child's cgroup is named by its place: a place that is used again finds its folder made. A child that is told has no process left, or
//! the ones that could not be proven dead are named.

use std::collections::{BTreeSet, HashMap};
use std::ffi::CString;
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use ganger_core::{End, SpawnId, StateId, Usage};
use ganger_sandbox::Report;
use ganger_sandbox::cgroup::{Driver, Tree};
use ganger_sandbox::walls::Networks;
use ganger_sys::reap;
use ganger_sys::signal::SignalFd;
use ganger_sys::spawn::LowNumbers;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::KeeperError;
use crate::child::{Child, Ends};
use crate::clear;
use crate::keeper::now_ms;
use crate::launch::{self, Lent, mark};
use crate::life::{CLEAR_DEADLINE, Life, Tell};
use crate::oneshot::rand;
use crate::poller::{Poller, Source};
use crate::scan::{self, Marked};
use crate::start::{become_subreaper, cgroups, files};
use crate::stdio::Stdio;
use crate::watchdog;
use crate::wire::{Plan, Scope};

/// A child that ended, with its whole tree.
#[derive(Debug)]
pub struct Ended {
    /// Which.
    pub id: SpawnId,
    /// How its main process ended.
    pub end: End,
    /// What it used.
    pub usage: Usage,
    /// What held it and what did not.
    pub report: Report,
    /// Processes that it left behind and that were ended.
    pub leftovers: u32,
    /// Processes that could not be proven dead.
    pub stuck: Vec<u32>,
    /// Forks that the limit of processes refused.
    pub forks_refused: u64,
}

/// What [`Gang::wait`] returned for.
#[derive(Debug, Default)]
pub struct News {
    /// Children that ended.
    pub ended: Vec<Ended>,
    /// Signals to this process: HUP, INT, QUIT, TERM.
    pub signals: Vec<i32>,
    /// Indices of the descriptors that became readable, or whose other end is gone.
    pub readable: Vec<usize>,
}

/// A child that was not started; nothing is left of it.
#[derive(Debug)]
pub struct NotStarted {
    /// The step that failed and its errno, as an end.
    pub end: End,
    /// On what.
    pub detail: String,
}

/// Children of this process, and what is needed to hold them.
pub struct Gang {
    poller: Poller,
    signals: SignalFd,
    state: StateId,
    /// This process.
    pid: u32,
    driver: Driver,
    /// Of children that have ended, for those that follow.
    networks: Networks,
    low: Option<LowNumbers>,
    files: (u64, u64),
    own: Vec<PathBuf>,
    children: HashMap<SpawnId, Child>,
    by_pid: HashMap<u32, SpawnId>,
    /// Whose tree is being emptied.
    clearing: BTreeSet<SpawnId>,
    /// Whose limits somebody has to look after.
    watched: BTreeSet<SpawnId>,
    last: u64,
    /// It had children before it became a keeper: what is orphaned may be theirs.
    had_children: bool,
}

const SIGHUP: i32 = 1;
const SIGINT: i32 = 2;
const SIGQUIT: i32 = 3;
const SIGKILL: i32 = 9;
const SIGTERM: i32 = 15;
const SIGCHLD: i32 = 17;
/// Between two looks for orphans at the very end.
const SWEEP_GAP: Duration = Duration::from_millis(2);

impl Gang {
    /// Makes this process a keeper. Call it before any thread exists: it takes over signals and orphans. `own`: folders of ganger's own, which
    /// no child may look into when there are walls around it.
    ///
    /// # Errors
    /// A kernel facility is missing.
    pub fn new(own: Vec<PathBuf>) -> Result<Self, KeeperError> {
        let signals = SignalFd::block(&[SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGCHLD])
            .map_err(KeeperError::kernel("signalfd"))?;
        become_subreaper()?;
        let poller = Poller::new().map_err(KeeperError::kernel("epoll_create"))?;
        poller.add(&signals, Source::Signals).map_err(KeeperError::kernel("epoll_ctl"))?;
        let state = StateId(rand()?);
        Ok(Self {
            poller,
            signals,
            state,
            pid: std::process::id(),
            driver: cgroups(state),
            networks: Networks::default(),
            // Without them starts cost more beside many open descriptors, and that is all.
            low: LowNumbers::reserve().ok(),
            files: files(),
            own,
            children: HashMap::new(),
            by_pid: HashMap::new(),
            clearing: BTreeSet::new(),
            watched: BTreeSet::new(),
            last: 0,
            had_children: !scan::strays(std::process::id(), |_| false).is_empty(),
        })
    }

    /// Starts a child. Its streams are `fds` (descriptor here, number there), whatever the plan says of them; `argv` stands for the plan's
    /// arguments, and need not be UTF-8.
    ///
    /// # Errors
    /// It was not started.
    pub fn start(
        &mut self,
        plan: &Plan,
        argv: Vec<CString>,
        fds: Vec<(BorrowedFd<'_>, u32)>,
    ) -> Result<SpawnId, NotStarted> {
        let told = |failure: launch::Failure| NotStarted {
            end: End::CouldNotSpawn { step: failure.step.to_owned(), errno: failure.errno },
            detail: failure.detail,
        };
        launch::check(plan).map_err(told)?;
        self.last += 1;
        let id = SpawnId(self.last);
        let lent = Lent {
            state: self.state,
            driver: &mut self.driver,
            networks: &mut self.networks,
            files: self.files,
            low: self.low.as_mut(),
            own: &self.own,
            dir: None,
            inherit: fds,
            argv: Some(argv),
        };
        // All of a gang is one caller's.
        let plan = Box::new(Plan { whose: Some("gang".into()), ..plan.clone() });
        let launched = launch::launch(id, plan, Stdio::default(), lent).map_err(told)?;
        let child = Child {
            id,
            instance: launched.plan.instance,
            kind: launched.plan.kind,
            pid: launched.started.pid,
            started_at_ms: now_ms(),
            pidfd: Some(launched.started.pidfd),
            outcome: launched.started.outcome,
            network: launched.network,
            ends: Ends::default(),
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
        };
        if let Some(watch) = &child.watch {
            self.watched.insert(id);
            if let Some(event) = watch.event() {
                // Without it the rest of a tree over its memory ends with its main process.
                let _ = self.poller.add(event, Source::Memory(id));
            }
        }
        self.by_pid.insert(child.pid, id);
        self.children.insert(id, child);
        Ok(id)
    }

    /// Children that are not told yet.
    #[must_use]
    pub fn alive(&self) -> usize {
        self.children.len()
    }

    /// Sends a signal to all processes of a child's tree. One that has ended needs none.
    pub fn signal(&mut self, id: SpawnId, signal: i32) {
        if let Some(child) = self.children.get_mut(&id) {
            // One that can't be signalled is ended by the KILL that follows.
            let _ = clear::signal(child, self.state, self.pid, signal, Scope::Tree);
        }
    }

    /// Ends a child's tree at once.
    pub fn end(&mut self, id: SpawnId) {
        if let Some(child) = self.children.get_mut(&id) {
            child.life.on_end_asked(Instant::now());
            self.clearing.insert(id);
        }
    }

    /// Waits until something happened, `until` at the latest: children that ended, signals, or something to read from `inputs`.
    ///
    /// # Errors
    /// The kernel's.
    pub fn wait(
        &mut self,
        until: Option<Instant>,
        inputs: &[BorrowedFd<'_>],
    ) -> Result<News, KeeperError> {
        let mut news = News::default();
        loop {
            let now = Instant::now();
            self.look(now);
            self.clear(now, &mut news.ended);
            let over = until.is_some_and(|until| until <= now);
            let told = !news.ended.is_empty() || !news.signals.is_empty();
            let due = if over || told {
                Some(Duration::ZERO)
            } else {
                let due = self.due().into_iter().chain(until).min();
                due.map(|due| due.saturating_duration_since(now))
            };
            let own = self.poll(due, inputs, &mut news.readable)?;
            if own {
                self.on_ready(&mut news)?;
                self.clear(Instant::now(), &mut news.ended);
            }
            let told = !news.ended.is_empty() || !news.signals.is_empty();
            if over || told || !news.readable.is_empty() {
                return Ok(news);
            }
        }
    }

    /// Waits for own events and the caller's; true when there are own ones.
    fn poll(
        &self,
        timeout: Option<Duration>,
        inputs: &[BorrowedFd<'_>],
        readable: &mut Vec<usize>,
    ) -> Result<bool, KeeperError> {
        let mut fds: Vec<PollFd<'_>> = Vec::with_capacity(inputs.len() + 1);
        fds.push(PollFd::from_borrowed_fd(self.poller.as_fd(), PollFlags::IN));
        fds.extend(inputs.iter().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)));
        let timeout = timeout.map(|t| Timespec::try_from(t).unwrap_or_default());
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) => {}
            Err(Errno::INTR) => return Ok(false),
            Err(other) => return Err(KeeperError::kernel("poll")(other.into())),
        }
        let ready = fds.iter().skip(1).enumerate().filter(|(_, fd)| !fd.revents().is_empty());
        readable.extend(ready.map(|(index, _)| index));
        Ok(!fds[0].revents().is_empty())
    }

    fn on_ready(&mut self, news: &mut News) -> Result<(), KeeperError> {
        let mut ready = Vec::new();
        let now = Some(Duration::ZERO);
        self.poller.wait(now, &mut ready).map_err(KeeperError::kernel("epoll_wait"))?;
        for source in ready {
            if let Source::Memory(id) = source {
                self.on_memory(id);
            }
        }
        while let Some(got) = self.signals.read().map_err(KeeperError::kernel("signalfd"))? {
            if got.signal == SIGCHLD {
                self.reap()?;
            } else {
                news.signals.push(got.signal);
            }
        }
        Ok(())
    }

    fn reap(&mut self) -> Result<(), KeeperError> {
        let now = Instant::now();
        while let Some(pid) = reap::peek().map_err(KeeperError::kernel("waitid"))? {
            let reaped = reap::wait(pid).map_err(KeeperError::kernel("wait4"))?;
            let Some((status, usage)) = reaped else { break };
            let main = self.by_pid.remove(&pid);
            if let Some(child) = main.and_then(|id| self.children.get_mut(&id)) {
                let alone = child.outcome.is_some();
                let (status, usage) = child.outcome(status, usage);
                if let Some(network) = child.network.take().filter(|_| alone) {
                    self.networks.give_back(network, now);
                }
                child.ended = Some((child.end_of(status), usage, now_ms()));
                child.pidfd = None;
                // Only the main process's end is told: what is still to clear follows at once.
                let _ = child.life.on_main_ended(now);
                self.clearing.insert(child.id);
            } else {
                // Somebody's orphan: whose trees are being emptied may be empty now.
                for id in &self.clearing {
                    if let Some(child) = self.children.get_mut(id) {
                        child.life.hurry(now);
                    }
                }
            }
        }
        Ok(())
    }

    /// When a round or a look is due.
    fn due(&self) -> Option<Instant> {
        let of = |set: &BTreeSet<SpawnId>, due: fn(&Child) -> Option<Instant>| {
            set.iter().filter_map(|id| due(self.children.get(id)?)).min()
        };
        let rounds = of(&self.clearing, |child| child.life.due());
        rounds.into_iter().chain(of(&self.watched, look_due)).min()
    }

    /// Looks at what is due to be looked at, and ends what is over a limit.
    fn look(&mut self, now: Instant) {
        let due =
            |id: &&SpawnId| self.children.get(id).and_then(look_due).is_some_and(|due| due <= now);
        let ids: Vec<SpawnId> = self.watched.iter().filter(due).copied().collect();
        let beside = self.watched.len().saturating_sub(1);
        for id in ids {
            let by_pid = &self.by_pid;
            let known = |pid: u32| by_pid.contains_key(&pid);
            let mark = mark(self.state, id);
            let ours = |pid: u32| scan::marked(pid, &mark, true) == Marked::Yes;
            let Some(child) = self.children.get_mut(&id) else { continue };
            if watchdog::look(child, self.pid, (known, ours), beside) {
                self.end(id);
            }
        }
    }

    /// The kernel has killed somebody of a tree for the memory limit: the rest ends as well.
    fn on_memory(&mut self, id: SpawnId) {
        let Some(child) = self.children.get_mut(&id) else { return };
        let peak = child.tree.as_ref().map_or(0, Tree::memory_peak);
        let Some(watch) = &mut child.watch else { return };
        if let Some(event) = watch.event() {
            self.poller.remove(event);
        }
        if watch.on_memory(peak) && !child.life.main_ended() {
            self.end(id);
        }
    }

    /// The rounds that are due.
    fn clear(&mut self, now: Instant, ended: &mut Vec<Ended>) {
        let due = |id: &&SpawnId| {
            let due = self.children.get(id).and_then(|child| child.life.due());
            due.is_some_and(|due| due <= now)
        };
        let ids: Vec<SpawnId> = self.clearing.iter().filter(due).copied().collect();
        for id in ids {
            let Some(child) = self.children.get_mut(&id) else { continue };
            let main = (!child.life.main_ended()).then_some(child.pid);
            let by_pid = &self.by_pid;
            let knows = |pid: u32| by_pid.contains_key(&pid);
            let alive = clear::round(child, main, self.state, self.pid, knows);
            let told = child.life.on_round(alive, now).into_iter().find_map(|tell| match tell {
                Tell::Exit { leftovers, stuck } => Some((leftovers, stuck)),
                Tell::TreeEnded { .. } => None,
            });
            if child.life.due().is_none() {
                self.clearing.remove(&id);
            }
            if let Some((leftovers, stuck)) = told {
                ended.extend(self.told(id, leftovers, stuck));
            }
        }
    }

    /// Ends orphans that nobody could tell whose they are: without a cgroup one that emptied its environment. When no child is left they are all
    /// of this gang, unless this process had children before.
    fn sweep(&mut self) {
        let deadline = Instant::now() + CLEAR_DEADLINE;
        while !self.had_children && Instant::now() < deadline {
            let left = scan::strays(self.pid, |_| false);
            if left.is_empty() {
                return;
            }
            for pid in left {
                // An own child's number is not given to another before it is reaped here.
                if let Ok(pidfd) = ganger_sys::pidfd::open(pid) {
                    let _ = ganger_sys::pidfd::send_signal(&pidfd, SIGKILL);
                }
            }
            if self.wait(Some(Instant::now() + SWEEP_GAP), &[]).is_err() {
                return;
            }
        }
    }

    fn told(&mut self, id: SpawnId, leftovers: u32, stuck: Vec<u32>) -> Option<Ended> {
        let mut child = self.children.remove(&id)?;
        self.watched.remove(&id);
        if let Some(event) = child.watch.as_ref().and_then(|watch| watch.event()) {
            self.poller.remove(event);
        }
        let (end, usage, _) = child.ended.take().unwrap_or((End::Lost, Usage::default(), 0));
        let tree = child.tree.take();
        let forks_refused = tree.as_ref().map_or(0, Tree::forks_refused);
        if let Some(tree) = tree {
            self.driver.release(tree);
        }
        let report = child.report;
        Some(Ended { id, end, usage, report, leftovers, stuck, forks_refused })
    }
}

/// When a child is to be looked at; never again once its main process has ended.
fn look_due(child: &Child) -> Option<Instant> {
    let watch = child.watch.as_ref().filter(|_| !child.life.main_ended());
    watch.and_then(|watch| watch.due())
}

impl fmt::Debug for Gang {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gang").field("children", &self.children.len()).finish_non_exhaustive()
    }
}

/// Ends what is left: a caller that gives up leaves nothing running.
impl Drop for Gang {
    fn drop(&mut self) {
        let ids: Vec<SpawnId> = self.children.keys().copied().collect();
        for id in ids {
            self.end(id);
        }
        while !self.children.is_empty() && self.wait(None, &[]).is_ok() {}
        self.sweep();
        self.driver.close();
    }
}
