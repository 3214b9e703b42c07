//! Who is in a tree right now, and what they use. Numbers are looked at, never signalled: ending a tree is `clear`'s.

use std::collections::HashSet;

use ganger_sandbox::cgroup;
use ganger_sys::proc::{self, Load};

use crate::scan;

/// Looks for those whose parents ended during the search: whoever goes on forking and ending is found at the next look.
const PASSES: usize = 3;
/// Processes whose memory is looked at page by page in one look, the largest first; some 50 µs each.
const EXACT_MAX: usize = 1_024;

/// Who a stray child of the keeper is: one whose parents have ended.
pub(super) struct Kin<K, O> {
    /// It is another child, or a helper of the keeper's.
    pub(super) known: K,
    /// It is of this tree.
    pub(super) ours: O,
}

/// Where a tree's processes are to be found.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tree<'a> {
    /// With membership.
    pub(super) cgroup: Option<&'a cgroup::Tree>,
    /// Its main process.
    pub(super) main: u32,
    /// That is the first of a pid namespace: everybody in there descends from it, whatever becomes of their parents.
    pub(super) first: bool,
    pub(super) keeper: u32,
    /// Enough.
    pub(super) most: u64,
}

impl Tree<'_> {
    /// Everybody who is found. Parents before their children: what somebody has waited for is read before those are who it may yet wait
    /// for, so that nobody counts twice.
    pub(super) fn crew<K, O>(&self, kin: &Kin<K, O>) -> Vec<(u32, Load)>
    where
        K: Fn(u32) -> bool,
        O: Fn(u32) -> bool,
    {
        if let Some(cgroup) = self.cgroup {
            let load = |pid| Some((pid, proc::load(pid)?));
            let most = usize::try_from(self.most).unwrap_or(usize::MAX);
            return cgroup.pids().into_iter().filter_map(load).take(most).collect();
        }
        let mut crew = Vec::new();
        let mut seen = HashSet::new();
        self.descend(self.main, &mut seen, &mut crew);
        for _ in 0..PASSES {
            let before = crew.len();
            let orphans: Vec<u32> = if self.first {
                proc::children(self.main).collect()
            } else {
                let strays = scan::strays(self.keeper, &kin.known);
                strays.into_iter().filter(|pid| (kin.ours)(*pid)).collect()
            };
            for pid in orphans {
                self.descend(pid, &mut seen, &mut crew);
            }
            if crew.len() == before {
                break;
            }
        }
        crew
    }

    /// Those below somebody whom nobody has seen yet.
    fn descend(&self, root: u32, seen: &mut HashSet<u32>, crew: &mut Vec<(u32, Load)>) {
        let mut open = vec![root];
        while let Some(pid) = open.pop() {
            if crew.len() as u64 > self.most {
                return;
            }
            if seen.insert(pid)
                && let Some(load) = proc::load(pid)
            {
                crew.push((pid, load));
                open.extend(proc::children(pid));
            }
        }
    }
}

/// Memory of all of them in bytes. Resident pages first, which costs nothing more; only where these are over the limit, page by page with
/// shared ones in parts. Who can't be looked into counts with all that is resident.
pub(super) fn memory<'a>(crew: impl Iterator<Item = &'a (u32, Load)>, limit: u64) -> u64 {
    let alive = crew.filter(|(_, load)| !load.zombie);
    let mut resident: Vec<(u64, u32)> = alive.map(|(pid, load)| (load.resident, *pid)).collect();
    let rough = resident.iter().fold(0u64, |sum, (bytes, _)| sum.saturating_add(*bytes));
    if rough <= limit {
        return rough;
    }
    resident.sort_unstable_by(|a, b| b.cmp(a));
    let largest = resident.into_iter().take(EXACT_MAX);
    let exact = largest.map(|(bytes, pid)| proc::memory(pid).unwrap_or(bytes));
    exact.fold(0u64, u64::saturating_add)
}
