//! CPU time of a tree by looking at its processes: pure.
//!
//! Two sums, neither of which can be too high, and the larger of them counts:
//!
//! - of everybody who was ever seen, what it had used itself when it was last seen;
//! - of those who are there, what they and the children they have waited for have used.
//!
//! The first misses what was used after the last look at somebody, and whoever was never seen; the second, those whose end nobody waited
//! for.

use std::collections::HashMap;
use std::time::Duration;

use ganger_sys::proc::Load;

/// What a tree has used up to the last look.
#[derive(Debug, Default)]
pub(super) struct Spent {
    /// By number and birth: what each had used itself when it was seen last.
    seen: HashMap<(u32, u64), Duration>,
    /// Of those that are gone.
    gone: Duration,
    most: Duration,
}

impl Spent {
    /// Somebody with this number was there at the last look.
    pub(super) fn knows(&self, pid: u32) -> bool {
        self.seen.keys().any(|(known, _)| *known == pid)
    }

    /// Adds those who were there at the last look, were not found now, and live: the search for them is no snapshot. `load` tells what a
    /// process uses.
    pub(super) fn complete(&self, crew: &mut Vec<(u32, Load)>, load: impl Fn(u32) -> Option<Load>) {
        let found: std::collections::HashSet<u32> = crew.iter().map(|(pid, _)| *pid).collect();
        let missed = self.seen.keys().filter(|(pid, _)| !found.contains(pid));
        let missed = missed.filter_map(|(pid, birth)| {
            Some((*pid, load(*pid).filter(|load| load.birth == *birth)?))
        });
        crew.extend(missed);
    }

    /// A look at everybody who is there. What all have used up to now, never less than before.
    pub(super) fn add(&mut self, crew: &[(u32, Load)]) -> Duration {
        let seen: HashMap<_, _> =
            crew.iter().map(|(pid, load)| ((*pid, load.birth), load.own)).collect();
        let before = std::mem::replace(&mut self.seen, seen);
        for (who, own) in before {
            if !self.seen.contains_key(&who) {
                self.gone = self.gone.saturating_add(own);
            }
        }
        let sum = |of: fn(&Load) -> Duration| {
            crew.iter().fold(Duration::ZERO, |sum, (_, load)| sum.saturating_add(of(load)))
        };
        let seen = self.gone.saturating_add(sum(|load| load.own));
        let waited = sum(|load| load.own.saturating_add(load.waited));
        self.most = self.most.max(seen).max(waited);
        self.most
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        Fork(usize),
        Burn(usize, u64),
        Exit(usize, bool),
        Look,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0..8usize).prop_map(Step::Fork),
            (0..8usize, 1..50u64).prop_map(|(who, ms)| Step::Burn(who, ms)),
            (0..8usize, any::<bool>()).prop_map(|(who, waited)| Step::Exit(who, waited)),
            Just(Step::Look),
        ]
    }

    /// A tree of processes: number, parent and what each has used. The first never ends.
    #[derive(Default)]
    struct World {
        alive: BTreeMap<u32, (u32, Load)>,
        born: u32,
        burned: Duration,
    }

    impl World {
        fn pick(&self, at: usize) -> u32 {
            *self.alive.keys().nth(at % self.alive.len()).unwrap()
        }

        fn fork(&mut self, parent: u32) {
            self.born += 1;
            let load = Load { birth: u64::from(self.born), threads: 1, ..Load::default() };
            // Numbers are used again.
            let number = (1..).find(|number| !self.alive.contains_key(number)).unwrap();
            self.alive.insert(number, (parent, load));
        }

        fn exit(&mut self, who: u32, waited: bool) {
            let (parent, load) = self.alive.remove(&who).unwrap();
            for (of, _) in self.alive.values_mut().filter(|(of, _)| *of == who) {
                *of = 1;
            }
            if waited {
                self.alive.get_mut(&parent).unwrap().1.waited += load.own + load.waited;
            }
        }

        fn look(&self) -> Vec<(u32, Load)> {
            self.alive.iter().map(|(pid, (_, load))| (*pid, *load)).collect()
        }
    }

    proptest! {
        /// Whoever forks, works, ends and waits in whatever order: never more is counted than was used, never less than before, and
        /// all of it where a look follows every work.
        #[test]
        fn never_too_much_and_all_that_is_seen(steps in prop::collection::vec(step(), 0..80), keen: bool) {
            let (mut world, mut spent, mut last) = (World::default(), Spent::default(), Duration::ZERO);
            world.fork(0);
            for step in steps {
                let look = keen || matches!(step, Step::Look);
                match step {
                    Step::Fork(at) if world.alive.len() < 8 => world.fork(world.pick(at)),
                    Step::Burn(at, ms) => {
                        let (who, time) = (world.pick(at), Duration::from_millis(ms));
                        world.alive.get_mut(&who).unwrap().1.own += time;
                        world.burned += time;
                    }
                    Step::Exit(at, waited) if world.pick(at) != 1 => world.exit(world.pick(at), waited),
                    _ => {}
                }
                if look {
                    let total = spent.add(&world.look());
                    prop_assert!(total <= world.burned && total >= last);
                    prop_assert!(!keen || total == world.burned);
                    last = total;
                }
            }
        }
    }

    #[test]
    fn who_was_missed_is_not_gone() {
        let load = |birth, ms| Load { birth, own: Duration::from_millis(ms), ..Load::default() };
        let mut spent = Spent::default();
        spent.add(&[(1, load(1, 10)), (2, load(2, 20)), (3, load(3, 40))]);
        let mut crew = vec![(1, load(1, 10))];
        // 2 is still there, 3 is another by now.
        spent.complete(&mut crew, |pid| Some(if pid == 2 { load(2, 25) } else { load(9, 1) }));
        assert_eq!(crew.len(), 2);
        assert_eq!(spent.add(&crew), Duration::from_millis(75));
        assert!(spent.knows(2) && !spent.knows(3));
    }
}
