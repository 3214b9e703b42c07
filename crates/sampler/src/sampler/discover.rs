//! Who is new, and whose it is: by its parent, its session, its cgroup, the mark in its environment, or a pick.

use std::time::Duration;

use super::{EVERY, Memory, Sampler};
use crate::counters::Counters;
use crate::error::SamplerError;
use crate::found::STRANGER;
use crate::kin::Parent;
use crate::process::Process;
use crate::read::{PidPath, StatLine};
use crate::target::{By, Looks, TreeId};

/// Rounds in which children find parents that are new themselves: as deep as a tree can grow between two ticks before the rest
/// has to wait for the next.
const ROUNDS: usize = 64;
/// The kernel's own threads are its children.
const KTHREADD: u32 = 2;
/// Slots of one pick.
const PICKED: u32 = 4_096;

/// A process that is new.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fresh {
    pid: u32,
    inode: u64,
    line: StatLine,
}

impl Sampler {
    /// Lists `/proc` and gives what is new to the trees. `all`: strangers are held against the picks again, for an exec gives a new name.
    pub(super) fn discover(&mut self, all: bool) {
        self.relist = false;
        if all {
            self.picks_due = self.sample.at + EVERY;
            self.found.forget_strangers();
        }
        // Who was new in the tick before may have been on its way to exec.
        for (pid, _) in self.young.drain(..) {
            if self.found.is_stranger(pid) {
                self.found.forget(pid);
            }
        }
        if self.found.list().is_err() {
            self.relist = true;
            return;
        }
        self.read_fresh();
        while self.give_to_parents() | self.give_by_marks() {}
        self.give_to_picks(!all);
        let mut pending = std::mem::take(&mut self.pending);
        for one in pending.drain(..) {
            self.found.know(one.pid, one.inode, STRANGER);
        }
        self.pending = pending;
    }

    /// The `stat` line of each number that is new.
    fn read_fresh(&mut self) {
        self.pending.clear();
        for n in 0..self.found.fresh.len() {
            let (pid, inode) = self.found.fresh[n];
            if let Some(at) = self.found.place(pid) {
                // Watched, and with another inode: the kernel had dropped it, or the number is another's.
                match self.look_at_stat(at) {
                    Ok(()) => self.found.know(pid, inode, u32::try_from(at).unwrap_or(STRANGER)),
                    // The next tick's clock misses it, and then the number is new again.
                    Err(_) => self.relist = true,
                }
                continue;
            }
            let text = self.cache.read_once(PidPath::new(pid, "stat"));
            let Some(line) = text.ok().and_then(StatLine::parse) else { continue };
            if pid == KTHREADD || line.parent == KTHREADD {
                self.found.know(pid, inode, STRANGER);
            } else {
                self.pending.push(Fresh { pid, inode, line });
            }
        }
    }

    /// Children go where their parents are. True: somebody went.
    fn give_to_parents(&mut self) -> bool {
        let mut any = false;
        for _ in 0..ROUNDS {
            let went = self.give(|sampler, one| {
                let parent = &sampler.sample.processes[sampler.found.place(one.line.parent)?];
                let fits = parent.birth <= one.line.birth;
                (fits && sampler.states[parent.tree.0 as usize].descendants).then_some(parent.tree)
            });
            any |= went;
            if !went {
                break;
            }
        }
        any
    }

    /// Orphans go by what they have kept.
    fn give_by_marks(&mut self) -> bool {
        self.give(|sampler, one| {
            // A session is in the line that was read anyway; the rest costs more, and only orphans need it.
            sampler.by_session(one).or_else(|| {
                let orphan =
                    one.line.parent == 1 || Some(one.line.parent) == sampler.options.reaper;
                let id = if orphan { sampler.by_cgroup(one) } else { None };
                id.or_else(|| if orphan { sampler.by_mark(one) } else { None })
            })
        })
    }

    /// Gives each pending process to the tree that `whose` names.
    fn give(&mut self, mut whose: impl FnMut(&mut Self, &Fresh) -> Option<TreeId>) -> bool {
        let mut pending = std::mem::take(&mut self.pending);
        let before = pending.len();
        pending.retain(|one| {
            let Some(tree) = whose(self, one) else { return true };
            // At the bound it is counted and left alone.
            if self.adopt(one.pid, one.inode, &one.line, tree).is_err() {
                self.found.know(one.pid, one.inode, STRANGER);
            }
            false
        });
        let went = pending.len() < before;
        self.pending = pending;
        went
    }

    fn by_session(&self, one: &Fresh) -> Option<TreeId> {
        let session = one.line.session;
        if session == one.pid || self.found.is_stranger(session) {
            return None;
        }
        let fits = |state: &super::TreeState| {
            state.descendants && state.session == Some(session) && state.root.1 <= one.line.birth
        };
        self.states.iter().position(fits).and_then(tree_id)
    }

    fn by_cgroup(&mut self, one: &Fresh) -> Option<TreeId> {
        if self.states.iter().all(|state| state.cgroup.is_none()) {
            return None;
        }
        let text = self.cache.read_once(PidPath::new(one.pid, "cgroup")).ok()?;
        // `0::/path` is the line of v2 (cgroups(7)). The folder's path ends with it where the hierarchy is mounted whole.
        let lines = text.split(|c| *c == b'\n');
        let path = lines.filter_map(|line| line.strip_prefix(b"0::/")).next()?;
        let path = std::path::Path::new(std::str::from_utf8(path).ok()?);
        let fits = |state: &super::TreeState| {
            let folder = state.cgroup.as_deref();
            state.descendants
                && !path.as_os_str().is_empty()
                && folder.is_some_and(|f| f.ends_with(path))
        };
        self.states.iter().position(fits).and_then(tree_id)
    }

    fn by_mark(&mut self, one: &Fresh) -> Option<TreeId> {
        if self.states.iter().all(|state| state.mark.is_none()) {
            return None;
        }
        let text = self.cache.read_once(PidPath::new(one.pid, "environ")).ok()?;
        let fits = |state: &super::TreeState| {
            let mark = state.mark.as_deref().map(str::as_bytes);
            state.descendants
                && mark.is_some_and(|mark| text.split(|c| *c == 0).any(|entry| entry == mark))
        };
        self.states.iter().position(fits).and_then(tree_id)
    }

    /// The rest is held against the picks; `again`: who is new is looked at once more in the next tick.
    fn give_to_picks(&mut self, again: bool) {
        if self.picks.is_empty() {
            return;
        }
        let pending = std::mem::take(&mut self.pending);
        let mut rest = Vec::with_capacity(pending.len());
        let mut any = false;
        for one in pending {
            let picked = self.picked_name(&one);
            let tree = picked.and_then(|name| self.free_slot(&name));
            match tree {
                Some(id) if self.adopt(one.pid, one.inode, &one.line, id).is_ok() => {
                    let state = &mut self.states[id.0 as usize];
                    (state.root, state.descendants, state.picked) =
                        ((one.pid, one.line.birth), true, true);
                    self.sample.trees[id.0 as usize].root = one.pid;
                    any = true;
                }
                _ => {
                    if again && self.born_lately(one.line.birth) {
                        self.young.push((one.pid, one.inode));
                    }
                    rest.push(one);
                }
            }
        }
        self.pending = rest;
        if any {
            while self.give_to_parents() {}
        }
    }

    fn picked_name(&mut self, one: &Fresh) -> Option<String> {
        let lines = self.picks.iter().any(|pick| matches!(pick.by, By::CommandLine(_)));
        let user = self.cache.user(one.pid);
        let arguments = match lines {
            true => self.cache.read_once(PidPath::new(one.pid, "cmdline")).ok(),
            false => None,
        };
        let arguments = arguments.map(|text| &text[..text.len().min(4_096)]);
        let looks = Looks { pid: one.pid, name: one.line.name.bytes(), user, arguments };
        self.picks.iter().find(|pick| pick.fits(&looks)).map(|pick| pick.name.clone())
    }

    /// The lowest slot of a pick whose tree is empty.
    fn free_slot(&mut self, name: &str) -> Option<TreeId> {
        for slot in 0..PICKED {
            let Some(id) = self.find(name, slot) else { return self.tree(name, slot).ok() };
            if !self.sample.processes.iter().any(|process| process.tree == id) {
                return Some(id);
            }
        }
        None
    }

    /// A process joins a tree, read in full.
    pub(super) fn adopt(
        &mut self,
        pid: u32,
        inode: u64,
        line: &StatLine,
        tree: TreeId,
    ) -> Result<(), SamplerError> {
        if self.sample.processes.len() >= self.options.processes {
            self.sample.cost.dropped += 1;
            return Err(SamplerError::Full { what: "processes", most: self.options.processes });
        }
        let at = self.sample.processes.len();
        self.sample.processes.push(Process::new(pid, tree, line));
        self.cache.push();
        // Spread over the ticks, so that slow figures of those that came together are not read together.
        self.spread = self.spread.wrapping_add(1);
        let spread = EVERY / 2 + EVERY / 2 * (self.spread * 37 % 101) / 101;
        self.memories.push(Memory {
            clock: 0,
            due: Duration::ZERO,
            parent: Parent::new(line.waited_ns),
            lost: Counters::default(),
            unsettled: false,
            vanished: false,
            exact: None,
            refused: false,
        });
        self.found.know(pid, inode, u32::try_from(at).unwrap_or(STRANGER));
        let clock = ganger_sys::cputime::process(pid).unwrap_or(0);
        // Gone already: the next tick misses it and counts what its line told.
        let _ = self.look(at, clock, true);
        self.memories[at].due = self.sample.at + spread;
        if !self.born_lately(line.birth) {
            self.sample.processes[at].cpu_delta_ns = 0;
            self.states[tree.0 as usize].fresh = true;
        }
        Ok(())
    }

    fn born_lately(&self, birth: u64) -> bool {
        let born = Duration::from_millis(birth.saturating_mul(10));
        born + Duration::from_millis(10) >= self.last_boot
    }
}

fn tree_id(place: usize) -> Option<TreeId> {
    u32::try_from(place).ok().map(TreeId)
}
