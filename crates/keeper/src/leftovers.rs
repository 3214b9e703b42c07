//! Processes of this state that an earlier keeper and daemon left when both died: ended before anything starts, so that
//! there are never two copies of one thing.

use std::collections::HashSet;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use ganger_core::StateId;
use ganger_sandbox::Degraded;
use ganger_sandbox::cgroup::Driver;

use crate::keeper::say;
use crate::scan::{self, Search};
use crate::survivor;
use crate::wire::{LEFTOVERS, Survivor};

/// SIGKILL needs microseconds; what is there after this sits in the kernel.
const DEADLINE: Duration = Duration::from_secs(5);
const GAP: Duration = Duration::from_millis(2);
/// Looks in a row that must find nothing where there is no cgroup to ask.
const LOOKS: u32 = 5;
const SIGKILL: i32 = 9;

/// Ends them; names those that could not be ended.
pub(crate) fn end(state: StateId, driver: &Driver, keeper: u32) -> Vec<Survivor> {
    let deadline = Instant::now() + DEADLINE;
    let ancestors = ancestors(keeper);
    let mut ended: HashSet<u32> = HashSet::new();
    let mut looks = 0;
    let left = loop {
        let mut alive = in_cgroups(driver, &ancestors);
        let kill = |pid: u32, pidfd: &OwnedFd| {
            if !ancestors.contains(&pid) {
                // Gone in between is what is wanted.
                let _ = ganger_sys::pidfd::send_signal(pidfd, SIGKILL);
            }
        };
        let mark = format!("{state}:");
        // No freezing: an ancestor of this keeper may carry the mark, and must be spared.
        let search = Search { mark: &mark, whole: false, main: None, keeper, freeze: false };
        let marked = scan::members(search, kill);
        alive.extend(marked.into_iter().filter(|pid| !ancestors.contains(pid)));
        looks = if alive.is_empty() { looks + 1 } else { 0 };
        // Cgroups leave no doubt. A scan may miss a program that forks and exits in a loop: several must find nothing.
        let enough = if driver.holds_trees() { 1 } else { LOOKS };
        if looks >= enough || Instant::now() >= deadline {
            break alive;
        }
        ended.extend(alive);
        // Blocking is right here: nothing else runs yet.
        let gap = rustix::thread::Timespec::try_from(GAP).unwrap_or_default();
        let _ = rustix::thread::nanosleep(&gap);
    };
    for tree in driver.found() {
        tree.remove();
    }
    if !ended.is_empty() {
        say(&format!("ended {} processes that an earlier run left", ended.len()));
    }
    let survivors: Vec<Survivor> =
        left.into_iter().filter_map(|pid| survivor::of(pid, state)).collect();
    for one in &survivors {
        say(&format!("process {} of an earlier run can't be ended", one.pid));
    }
    survivors
}

/// How a person is told of them.
pub(crate) fn degraded(left: &[Survivor]) -> Option<Degraded> {
    let pids: Vec<u32> = left.iter().map(|one| one.pid).collect();
    (!left.is_empty()).then(|| Degraded {
        what: LEFTOVERS.into(),
        why: format!(
            "processes {pids:?} can't be ended (uninterruptible sleep, or another user's)"
        ),
        fix: "end them by hand, or restart the machine, before trusting that nothing runs twice"
            .into(),
    })
}

fn in_cgroups(driver: &Driver, spared: &HashSet<u32>) -> HashSet<u32> {
    let mut alive = HashSet::new();
    for tree in driver.found() {
        let pids = tree.pids();
        // A keeper started from inside one of its own trees must not end itself.
        if pids.iter().any(|pid| spared.contains(pid)) {
            continue;
        }
        if !pids.is_empty() {
            // Without cgroup.kill the marker finds them.
            let _ = tree.kill();
        }
        alive.extend(pids);
    }
    alive
}

/// The keeper and whoever started it.
fn ancestors(keeper: u32) -> HashSet<u32> {
    let mut all = HashSet::from([keeper]);
    let mut at = keeper;
    while let Some(parent) = scan::parent(at).filter(|parent| *parent > 1) {
        if !all.insert(parent) {
            break;
        }
        at = parent;
    }
    all
}
