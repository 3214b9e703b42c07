//! What is watched: trees that come, go on and go.

use std::path::PathBuf;
use std::time::Duration;

use ganger_core::Usage;

use super::Sampler;
use crate::counters::Counters;
use crate::error::SamplerError;
use crate::read::{Gone, PidPath, StatLine};
use crate::sample::Tree;
use crate::target::{Pick, TreeId, Watch};

/// What is remembered of a tree besides what is told.
#[derive(Debug, Default)]
pub(super) struct TreeState {
    /// What processes used that are gone and that nobody of the tree waited for.
    pub(super) gone: Counters,
    /// Sums of this tick.
    pub(super) live: Counters,
    pub(super) deltas: u64,
    /// The process that was named last: number and birth.
    pub(super) root: (u32, u64),
    /// Its session, if it leads one.
    pub(super) session: Option<u32>,
    pub(super) cgroup: Option<PathBuf>,
    pub(super) mark: Option<String>,
    pub(super) descendants: bool,
    /// The last root that was missed before its exact cost was told, and what was counted of it.
    pub(super) left: Option<(u32, Counters)>,
    /// A process came in this tick that had used something before.
    pub(super) fresh: bool,
    /// Something ended: the cgroup is read anew.
    pub(super) stirred: bool,
    pub(super) group_due: Duration,
    /// It came by a pick.
    pub(super) picked: bool,
}

impl Sampler {
    /// Watches a process and, by default, all that it starts. A name and slot that is known goes on with its counters; what is left of
    /// its earlier tree stays in it.
    ///
    /// # Errors
    /// [`SamplerError::NoProcess`], [`SamplerError::Refused`], [`SamplerError::Full`]; nothing is watched then.
    pub fn watch(&mut self, watch: Watch<'_>) -> Result<TreeId, SamplerError> {
        let pid = watch.pid;
        let text = self.cache.read_once(PidPath::new(pid, "stat")).map_err(|gone| match gone {
            Gone::Process => SamplerError::NoProcess { pid },
            Gone::Refused => SamplerError::Refused { pid },
        })?;
        let line = StatLine::parse(text).ok_or(SamplerError::NoProcess { pid })?;
        // Still there after its line was read: then the line is its own.
        if let Some(pidfd) = watch.pidfd
            && ganger_sys::pidfd::send_signal(pidfd, 0).is_err_and(|e| e.raw_os_error() == Some(3))
        {
            return Err(SamplerError::NoProcess { pid });
        }
        let id = self.tree(&watch.name, watch.slot)?;
        let state = &mut self.states[id.0 as usize];
        state.root = (pid, line.birth);
        state.session = (line.session == pid).then_some(pid);
        state.cgroup = watch.cgroup;
        state.mark = watch.mark;
        state.descendants = watch.descendants;
        state.left = None;
        state.group_due = Duration::ZERO;
        self.sample.trees[id.0 as usize].root = pid;
        match self.found.place(pid).filter(|at| self.sample.processes[*at].birth == line.birth) {
            Some(at) => self.give_to(at, id),
            None => self.adopt(pid, 0, &line, id)?,
        }
        // What it has started already is among the strangers.
        self.found.forget_strangers();
        self.relist = true;
        Ok(id)
    }

    /// Watches no longer; its place may be given to another tree.
    pub fn unwatch(&mut self, id: TreeId) {
        let Some(tree) = self.sample.trees.get_mut(id.0 as usize) else { return };
        tree.watched = false;
        self.states[id.0 as usize] = TreeState::default();
        for at in (0..self.sample.processes.len()).rev() {
            if self.sample.processes[at].tree == id {
                self.remove(at);
            }
        }
        // They are strangers now, or another tree's.
        self.relist = true;
    }

    /// The tree of a name and slot.
    #[must_use]
    pub fn find(&self, name: &str, slot: u32) -> Option<TreeId> {
        let mut trees = self.sample.trees.iter();
        trees
            .find(|tree| tree.watched && tree.slot == slot && &*tree.name == name)
            .map(|tree| tree.id)
    }

    /// Which strangers are watched from now on. Trees of picks that are not in the list go.
    pub fn set_picks(&mut self, picks: Vec<Pick>) {
        let gone: Vec<TreeId> = (self.sample.trees.iter())
            .filter(|tree| tree.watched && self.states[tree.id.0 as usize].picked)
            .filter(|tree| !picks.iter().any(|pick| pick.name == *tree.name))
            .map(|tree| tree.id)
            .collect();
        gone.into_iter().for_each(|id| self.unwatch(id));
        self.picks = picks;
        self.picks_due = Duration::ZERO;
        self.found.forget_strangers();
        self.relist = true;
    }

    /// The exact cost of a tree's root, from whoever reaped it, before or after a tick has missed it.
    pub fn ended(&mut self, id: TreeId, pid: u32, usage: &Usage) {
        let exact = Counters::from(usage);
        let Some(state) = self.states.get_mut(id.0 as usize) else { return };
        if let Some((left, seen)) = state.left.filter(|(left, _)| *left == pid) {
            debug_assert_eq!(left, pid);
            state.gone += exact.minus(seen);
            state.left = None;
        } else if state.root.0 == pid
            && let Some(at) = self.found.place(pid)
            && self.sample.processes[at].birth == state.root.1
        {
            self.memories[at].exact = Some(exact);
        }
    }

    /// The tree of a name and slot, made if there is none.
    pub(super) fn tree(&mut self, name: &str, slot: u32) -> Result<TreeId, SamplerError> {
        if let Some(id) = self.find(name, slot) {
            return Ok(id);
        }
        let free = self.sample.trees.iter().position(|tree| !tree.watched);
        let place = free.unwrap_or(self.sample.trees.len());
        if place >= self.options.trees {
            return Err(SamplerError::Full { what: "trees", most: self.options.trees });
        }
        let id = TreeId(u32::try_from(place).unwrap_or(u32::MAX));
        let tree = Tree::new(id, name, slot);
        let state = TreeState { fresh: true, ..TreeState::default() };
        match free {
            Some(place) => (self.sample.trees[place], self.states[place]) = (tree, state),
            None => {
                self.sample.trees.push(tree);
                self.states.push(state);
            }
        }
        Ok(id)
    }

    /// A process of one tree becomes the root of another: so does what it has started.
    fn give_to(&mut self, at: usize, id: TreeId) {
        let from = self.sample.processes[at].tree;
        if from == id {
            return;
        }
        self.sample.processes[at].tree = id;
        self.states[id.0 as usize].fresh = true;
        let mut moved = vec![self.sample.processes[at].pid];
        while let Some(parent) = moved.pop() {
            for process in &mut self.sample.processes {
                if process.parent == parent && process.tree == from {
                    process.tree = id;
                    moved.push(process.pid);
                }
            }
        }
    }
}
