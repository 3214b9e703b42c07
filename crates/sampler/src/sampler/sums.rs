//! Sums of trees.

use super::{EVERY, Sampler};
use crate::counters::Counters;
use crate::group::Group;
use crate::process::State;

impl Sampler {
    pub(super) fn sum(&mut self) {
        let now = self.sample.at;
        for (tree, state) in self.sample.trees.iter_mut().zip(&mut self.states) {
            tree.clear();
            state.live = Counters::default();
            state.deltas = 0;
        }
        let mut refused = 0;
        for (process, memory) in self.sample.processes.iter().zip(&mut self.memories) {
            let place = process.tree.0 as usize;
            let state = &mut self.states[place];
            if !memory.unsettled {
                state.gone += memory.parent.settle(process.waited.cpu_ns, memory.lost);
                memory.lost = Counters::default();
            }
            memory.unsettled = false;
            state.live += process.all();
            state.deltas += process.cpu_delta_ns;
            let tree = &mut self.sample.trees[place];
            tree.add(process, now);
            tree.alive |=
                state.root == (process.pid, process.birth) && process.state != State::Zombie;
            refused += u32::from(!process.io_told);
        }
        self.sample.cost.io_refused = refused;
        for (tree, state) in self.sample.trees.iter_mut().zip(&mut self.states) {
            let total = tree.total.max(state.gone + state.live);
            let grown = total.cpu_ns - tree.total.cpu_ns;
            // What a process used before it was watched was not used since the last tick.
            tree.cpu_delta_ns = if state.fresh { state.deltas } else { grown };
            tree.total = total;
            state.fresh = false;
            if state.stirred || now >= state.group_due {
                tree.group = state.cgroup.as_deref().and_then(Group::read);
                state.group_due = now + EVERY;
                state.stirred = false;
            }
        }
    }
}
