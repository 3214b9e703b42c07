//! Ending trees, and signals to them: by cgroup where there is one, else by marker and descent, always through pidfds.

use std::collections::HashSet;
use std::os::fd::OwnedFd;
use std::time::Instant;

use ganger_core::{SpawnId, StateId};
use ganger_sandbox::cgroup::Tree;

use crate::child::Child;
use crate::keeper::Keeper;
use crate::launch::mark;
use crate::scan::{self, Search};
use crate::wire::Scope;

const SIGKILL: i32 = 9;
/// Stands for a member that forked and exited faster than the list could be read.
const UNSEEN: u32 = 0;

impl Keeper {
    /// Makes the rounds that are due.
    pub(crate) fn clear_due(&mut self, now: Instant) {
        let due = |id: &&SpawnId| {
            let due = self.children.get(id).and_then(|child| child.life.due());
            due.is_none_or(|at| at <= now)
        };
        let ids: Vec<SpawnId> = self.clearing.iter().filter(due).copied().collect();
        for id in ids {
            let alive = self.round(id);
            let tell = match self.children.get_mut(&id) {
                Some(child) => child.life.on_round(alive, now),
                None => Vec::new(),
            };
            self.act(id, tell);
            if self.children.get(&id).is_none_or(|child| child.life.due().is_none()) {
                self.clearing.remove(&id);
            }
        }
    }

    /// Ends the tree at once.
    pub(crate) fn end_tree(&mut self, id: SpawnId, now: Instant) {
        if let Some(child) = self.children.get_mut(&id) {
            child.life.on_end_asked(now);
            self.clearing.insert(id);
        }
    }

    fn round(&mut self, id: SpawnId) -> Vec<u32> {
        let helpers = [self.logger.pid(), self.daemon.pid(), self.upgrading.checker()];
        let by_pid = &self.by_pid;
        let knows = |pid: u32| by_pid.contains_key(&pid) || helpers.contains(&Some(pid));
        // An adopted main process that ended may be a zombie for as long as its new parent likes: that is not alive.
        let zombie = self.settling.iter().any(|one| one.id == id);
        let Some(child) = self.children.get_mut(&id) else { return Vec::new() };
        let main = (!child.life.main_ended() && !zombie).then_some(child.pid);
        round(child, main, self.state, self.pid, knows)
    }

    /// Sends a signal to a child that is there; `Err` says why it can't be sent.
    pub(crate) fn signal(
        &mut self,
        id: SpawnId,
        to_send: i32,
        scope: Scope,
    ) -> std::io::Result<()> {
        let Some(child) = self.children.get_mut(&id) else { return Ok(()) };
        signal(child, self.state, self.pid, to_send, scope)
    }
}

/// Kills what is in the tree and says who was there. `main` is its main process while that is alive; `knows` tells which
/// processes of this keeper are no strangers.
pub(crate) fn round(
    child: &mut Child,
    main: Option<u32>,
    state: StateId,
    keeper: u32,
    knows: impl Fn(u32) -> bool,
) -> Vec<u32> {
    if let Some(tree) = child.tree.as_ref().filter(|tree| tree.holds()) {
        let mut alive = Vec::new();
        if tree.is_populated() {
            alive = tree.pids();
            if alive.is_empty() {
                alive.push(UNSEEN);
            }
            if tree.kill().is_err() {
                // Before Linux 5.14 there is no cgroup.kill; membership still can't be escaped.
                signal_each(tree, SIGKILL, None);
            }
        }
        alive.extend(main.filter(|pid| !alive.contains(pid)));
        kill_main(child);
        return alive;
    }
    if !child.adopted && main.is_none() && scan::strays(keeper, &knows).is_empty() {
        return Vec::new();
    }
    let mark = mark(state, child.id);
    let search = Search { mark: &mark, whole: true, main, keeper, freeze: true };
    let kill = |_, pidfd: &OwnedFd| {
        // Gone in between is what is wanted.
        let _ = ganger_sys::pidfd::send_signal(pidfd, SIGKILL);
    };
    let mut alive = if child.adopted {
        // Orphans of an adopted tree are init's children and can't be told from others: look everywhere, and twice.
        let first = scan::members(search, kill);
        if first.is_empty() { scan::members(search, kill) } else { first }
    } else {
        scan::own_members(search, &knows, kill)
    };
    // After the search: descent is told by it while it lives.
    kill_main(child);
    if !child.adopted && main.is_none() {
        let mut doubtful = scan::doubtful(keeper, &mark, &knows);
        doubtful.retain(|pid| !alive.contains(pid));
        alive.append(&mut doubtful);
    }
    alive.extend(main.filter(|pid| !alive.contains(pid)));
    alive
}

fn kill_main(child: &mut Child) {
    if let Some(pidfd) = &child.pidfd {
        // Gone in between is what is wanted.
        let _ = ganger_sys::pidfd::send_signal(pidfd, SIGKILL);
        child.note_sent(SIGKILL);
    }
}

/// Sends a signal to the main process or the whole tree; `Err` says why the main process can't be signalled.
pub(crate) fn signal(
    child: &mut Child,
    state: StateId,
    keeper: u32,
    signal: i32,
    scope: Scope,
) -> std::io::Result<()> {
    let mut result = Ok(());
    if scope == Scope::Tree
        && child.outcome.is_some()
        && let Some(pidfd) = &child.pidfd
    {
        // The first process of its pid namespace passes it on to everything inside, once to each.
        result = ganger_sys::pidfd::send_to_all(pidfd, signal);
        child.note_sent(signal);
    } else if let Some(pidfd) = &child.pidfd {
        result = ganger_sys::pidfd::send_signal(pidfd, signal);
        child.note_sent(signal);
    }
    if scope == Scope::Tree && child.outcome.is_none() {
        signal_rest(child, state, keeper, signal);
    }
    match result {
        // ESRCH: it ended and is not yet reaped; its exit is on the way.
        Err(error) if error.raw_os_error() != Some(ESRCH) => Err(error),
        _ => Ok(()),
    }
}

const ESRCH: i32 = 3;

fn signal_rest(child: &Child, state: StateId, keeper: u32, signal: i32) {
    if let Some(tree) = child.tree.as_ref().filter(|tree| tree.holds()) {
        signal_each(tree, signal, Some(child.pid));
        return;
    }
    let main = child.pidfd.as_ref().map(|_| child.pid);
    let mark = mark(state, child.id);
    let search = Search { mark: &mark, whole: true, main, keeper, freeze: false };
    scan::members(search, |pid, pidfd| {
        if Some(pid) != main {
            // Gone in between needs no signal.
            let _ = ganger_sys::pidfd::send_signal(pidfd, signal);
        }
    });
}

/// Signals every member but one. A number is trusted only if it is still a member after its pidfd was opened.
fn signal_each(tree: &Tree, signal: i32, except: Option<u32>) {
    let open = |pid: u32| Some((pid, ganger_sys::pidfd::open(pid).ok()?));
    let opened: Vec<_> = tree.pids().into_iter().filter_map(open).collect();
    let still: HashSet<u32> = tree.pids().into_iter().collect();
    for (pid, pidfd) in opened {
        if still.contains(&pid) && Some(pid) != except {
            // Gone in between needs no signal.
            let _ = ganger_sys::pidfd::send_signal(&pidfd, signal);
        }
    }
}
