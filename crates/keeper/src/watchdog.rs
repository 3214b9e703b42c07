//! Limits of a tree that no controller holds: somebody looks in time, and the whole tree ends at a breach.
//!
//! ```text
//! start ─ held by a controller or RLIMIT_NPROC ─▶ nothing here: no timer, no look
//!   └ else: look ─ within ─▶ the next look, when a limit could be reached at the earliest (5 ms to 100 ms) ─▶ look …
//!             └ breach ─▶ its tree is ended, its end is told as that limit's with the highest use seen
//! ```
//!
//! A memory limit on cgroup v1 is held by the kernel, which kills one process where v2 ends the whole tree: an event tells of it, and the
//! rest is ended here.
//!
//! It lives with the keeper, as that knows its children's trees and ends them: one deadline among its others, no thread. CPU time is
//! read from the tree's cgroup where there is one, exact for everybody who ever was in it; then one look at the moment when all
//! processors together could have used up the rest is enough. What a look without a cgroup can't see: what comes and goes between two
//! looks, memory that nobody has mapped (files in memory, segments of System V), time of children whose end nobody waited for after
//! the last look. The rules are pure: [`rules`], [`spent`].

mod crew;
mod rules;
mod spent;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use ganger_core::{End, SpawnId};
use ganger_sandbox::{Bound, Held, Holder, cgroup};
use ganger_sys::proc;

use crate::child::Child;
use crate::keeper::Keeper;
use crate::launch::mark;
use crate::poller::Source;
use crate::scan::{self, Marked};
use crew::{Kin, Tree};
use rules::{Breach, Limits, Use};
use spent::Spent;

/// What is watched of one child.
#[derive(Debug)]
pub(crate) struct Watch {
    limits: Limits,
    next: Instant,
    spent: Spent,
    /// Processors that the tree could use at once.
    processors: u32,
    /// Tells that the kernel has killed somebody for the memory limit, where it kills one of a tree.
    event: Option<OwnedFd>,
    breach: Option<Breach>,
}

impl Watch {
    /// `None`: nothing of it has to be looked at or heard of. `event`: of its memory limit, see [`cgroup::Tree::oom_event`].
    pub(crate) fn of<'a>(
        held: impl IntoIterator<Item = &'a Held>,
        event: Option<OwnedFd>,
        now: Instant,
    ) -> Option<Box<Self>> {
        let watched = held.into_iter().filter(|one| one.by != Holder::Rlimit);
        let limits = Limits::of(watched);
        if limits == Limits::default() && event.is_none() {
            return None;
        }
        let processors = limits.cpu.map_or(1, |_| proc::processors());
        let next = now + limits.first(processors);
        let spent = Spent::default();
        Some(Box::new(Self { limits, next, spent, processors, event, breach: None }))
    }

    /// What becomes readable when the kernel has killed somebody for the memory limit.
    pub(crate) fn event(&self) -> Option<BorrowedFd<'_>> {
        self.event.as_ref().map(AsFd::as_fd)
    }

    /// The tree has had its memory: true the first time. `peak` in bytes.
    pub(crate) fn on_memory(&mut self, peak: u64) -> bool {
        let first = self.breach.is_none();
        self.breach.get_or_insert(Breach { limit: Bound::Memory, peak });
        first
    }

    /// When it is to be looked at next.
    pub(crate) fn due(&self) -> Option<Instant> {
        let looks = self.breach.is_none() && self.limits != Limits::default();
        looks.then_some(self.next)
    }

    /// How the tree ended, if it was for a limit.
    pub(crate) fn end(&self) -> Option<End> {
        let breach = self.breach?;
        Some(End::LimitHit { limit: breach.limit.as_str().into(), peak: breach.peak })
    }
}

/// Looks at a child that is due, and says whether its tree has to end. The keeper's own children that are no tree's main process have lost
/// their parents: which of them are known as something else, and which are of this tree. `beside`: how many others are watched.
pub(crate) fn look(
    child: &mut Child,
    keeper: u32,
    (known, ours): (impl Fn(u32) -> bool, impl Fn(u32) -> bool),
    beside: usize,
) -> bool {
    let began = worked();
    let (first, main) = (child.outcome.is_some(), child.pid);
    let Some(watch) = child.watch.as_mut() else { return false };
    let holding = child.tree.as_ref().filter(|tree| tree.holds());
    let counted = child.tree.as_ref().and_then(cgroup::Tree::cpu_used);
    let mut used = Use { cpu: counted.unwrap_or_default(), ..Use::default() };
    if watch.limits.needs_processes(counted.is_some()) {
        let most = watch.limits.most_processes();
        let kin = Kin { known, ours: |pid| watch.spent.knows(pid) || ours(pid) };
        let mut crew = Tree { cgroup: holding, main, first, keeper, most }.crew(&kin);
        watch.spent.complete(&mut crew, proc::load);
        // The first process of a pid namespace is ganger's own.
        let theirs = || crew.iter().filter(|(pid, _)| !first || *pid != main);
        used.pids = theirs().map(|(_, load)| load.threads).sum();
        used.memory = watch.limits.memory.map_or(0, |limit| crew::memory(theirs(), limit));
        let summed = watch.spent.add(&crew);
        used.cpu = counted.unwrap_or(summed);
    }
    watch.breach = watch.limits.breach(used);
    let cost = worked().saturating_sub(began);
    let all = cost.saturating_mul(u32::try_from(beside).unwrap_or(u32::MAX).saturating_add(1));
    let gap = watch.limits.gap(used, watch.processors, counted.is_some(), all);
    watch.next = Instant::now() + gap;
    watch.breach.is_some()
}

/// What this thread has worked: on a machine where others work too, the clock would tell how long it waited.
fn worked() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(now).unwrap_or_default()
}

impl Keeper {
    /// Looks at those that are due, and ends whoever is over a limit.
    pub(crate) fn look_due(&mut self, now: Instant) {
        if self.watched.is_empty() {
            return;
        }
        let due = |id: &&SpawnId| self.look_at(**id).is_none_or(|at| at <= now);
        let ids: Vec<SpawnId> = self.watched.iter().filter(due).copied().collect();
        for id in ids {
            if self.look_at(id).is_some() && self.look(id) {
                self.end_tree(id, now);
            }
            if self.look_at(id).is_none() {
                self.watched.remove(&id);
            }
        }
    }

    /// Begins to look after a child.
    pub(crate) fn watch_over(&mut self, id: SpawnId) -> std::io::Result<()> {
        let Some(watch) = self.children.get(&id).and_then(|child| child.watch.as_ref()) else {
            return Ok(());
        };
        self.watched.insert(id);
        watch.event().map_or(Ok(()), |event| self.poller.add(event, Source::Memory(id)))
    }

    /// The kernel has killed somebody of its tree for the memory limit: the rest ends as well.
    pub(crate) fn on_memory(&mut self, id: SpawnId, now: Instant) {
        let Some(child) = self.children.get_mut(&id) else { return };
        let peak = child.tree.as_ref().map_or(0, cgroup::Tree::memory_peak);
        let Some(watch) = child.watch.as_mut() else { return };
        if let Some(event) = watch.event.take() {
            self.poller.remove(&event);
        }
        if watch.on_memory(peak) && !child.life.main_ended() {
            self.end_tree(id, now);
        }
    }

    /// When the next one is to be looked at.
    pub(crate) fn looks_due(&self) -> impl Iterator<Item = Instant> {
        self.watched.iter().filter_map(|id| self.look_at(*id))
    }

    /// When a child is to be looked at; never again once its main process or its breach has ended that.
    fn look_at(&self, id: SpawnId) -> Option<Instant> {
        let child = self.children.get(&id).filter(|child| !child.life.main_ended())?;
        child.watch.as_ref()?.due()
    }

    fn look(&mut self, id: SpawnId) -> bool {
        let helpers = [self.logger.pid(), self.daemon.pid(), self.upgrading.checker()];
        let by_pid = &self.by_pid;
        let known = |pid: u32| by_pid.contains_key(&pid) || helpers.contains(&Some(pid));
        let mark = mark(self.state, id);
        let ours = |pid: u32| scan::marked(pid, &mark, true) == Marked::Yes;
        let beside = self.watched.len().saturating_sub(1);
        let Some(child) = self.children.get_mut(&id) else { return false };
        look(child, self.pid, (known, ours), beside)
    }
}
