//! Processes that are gone: moved out of their trees, once.

use super::Sampler;

/// More generations than any tree has; a loop of stale numbers ends here.
const GENERATIONS: usize = 1_024;

impl Sampler {
    /// Takes out whatever the clocks missed.
    pub(super) fn leave(&mut self) {
        if self.vanished.is_empty() {
            return;
        }
        self.missed.clear();
        for n in 0..self.vanished.len() {
            let at = self.vanished[n];
            let process = &self.sample.processes[at];
            self.missed.push(process.pid);
            self.states[process.tree.0 as usize].stirred = true;
            if let Some(waiting) = self.waiting(at) {
                self.memories[waiting].lost += process.all();
            }
        }
        for n in 0..self.vanished.len() {
            let at = self.vanished[n];
            if self.waiting(at).is_none() {
                self.count_as_gone(at);
            }
        }
        self.missed.sort_unstable();
        self.look_at_kin();
        self.take_out();
    }

    /// Nobody of the tree waited for it. What vanished below it in the same tick it may have waited for: what `wait4` told holds that
    /// too, so the larger counts.
    fn count_as_gone(&mut self, at: usize) {
        let process = &self.sample.processes[at];
        let memory = &self.memories[at];
        let seen = process.all() + memory.lost;
        let state = &mut self.states[process.tree.0 as usize];
        let is_root = state.root == (process.pid, process.birth);
        match memory.exact {
            Some(exact) => state.gone += seen.max(exact),
            None => {
                state.gone += seen;
                if is_root {
                    state.left = Some((process.pid, seen));
                }
            }
        }
    }

    /// Who may have waited for it: the nearest ancestor in the same tree that is there, or else the topmost that vanished with it.
    /// `None`: it stood on top.
    fn waiting(&self, at: usize) -> Option<usize> {
        let mut below = at;
        for _ in 0..GENERATIONS {
            let child = &self.sample.processes[below];
            let above = self.found.place(child.parent).filter(|place| {
                // A parent is not younger: that would be a stranger with a number that was used before.
                self.sample.processes.get(*place).is_some_and(|parent| {
                    parent.pid == child.parent
                        && parent.tree == child.tree
                        && parent.birth <= child.birth
                        && *place != below
                })
            });
            match above {
                Some(place) if self.memories[place].vanished => below = place,
                Some(place) => return Some(place),
                None => break,
            }
        }
        (below != at).then_some(below)
    }

    /// Parents, after the last child was missed: only now their `waited` holds all of them. And orphans, who have another parent.
    fn look_at_kin(&mut self) {
        for at in 0..self.sample.processes.len() {
            if self.memories[at].vanished {
                continue;
            }
            let bereft = self.memories[at].lost.cpu_ns > 0;
            let orphan = self.missed.binary_search(&self.sample.processes[at].parent).is_ok();
            if bereft || orphan {
                self.memories[at].unsettled = self.look_at_stat(at).is_err();
            }
        }
    }

    fn take_out(&mut self) {
        self.vanished.sort_unstable();
        while let Some(at) = self.vanished.pop() {
            self.remove(at);
        }
    }

    /// From the table, whatever was to be counted of it.
    pub(super) fn remove(&mut self, at: usize) {
        let process = self.sample.processes.swap_remove(at);
        self.memories.swap_remove(at);
        self.cache.swap_remove(at);
        self.found.forget(process.pid);
        if let Some(moved) = self.sample.processes.get(at) {
            self.found.moved(moved.pid, u32::try_from(at).unwrap_or(u32::MAX));
        }
    }
}
