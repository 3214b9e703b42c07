//! Processes that vanish, without counting them twice: pure arithmetic.
//!
//! A child that its parent waits for moves its time into the parent's `waited`. One that nobody of its tree waits for (the parent ignores
//! SIGCHLD, or is gone and a stranger reaps) takes its time along, and what was last seen of it has to be moved out of the tree
//! into what is gone. Which of both it was, the parent's `waited` tells: it grew by what was lost from sight, or it did not.
//!
//! ```text
//! vanished ──nearest live ancestor in the tree──▶ its waited grew by as much ──▶ nothing to do
//!     │                                       └──▶ by less ──▶ the difference is gone (of all counters the same part)
//!     └──none──▶ all that was seen is gone; what wait4 told makes it exact
//! ```
//!
//! What is read of parent and child is not of one moment. A child seen alive just before its parent reaped it makes the parent's
//! `waited` grow one tick before the child is missed: so growth that nothing was missed for is good for one more tick.

use crate::counters::Counters;

/// `waited` is told in whole hundredths of a second, user and system each: two clock ticks may be missing, and as much was rounded
/// off before.
const ROUNDING_NS: u64 = 40_000_000;

/// What is remembered of a process as a parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Parent {
    /// `waited` at the end of the tick before.
    before: u64,
    /// Growth of the tick before for which nothing was missed.
    surplus: u64,
}

impl Parent {
    /// A process that is seen for the first time.
    pub(crate) const fn new(waited_ns: u64) -> Self {
        Self { before: waited_ns, surplus: 0 }
    }

    /// Ends a tick. `waited_ns` is read after the last of `lost` was missed; returned is what of `lost` nobody waited for.
    pub(crate) fn settle(&mut self, waited_ns: u64, lost: Counters) -> Counters {
        let growth = waited_ns.saturating_sub(self.before);
        let covered = growth.saturating_add(self.surplus);
        self.before = self.before.max(waited_ns);
        // What was left over covers first: it is of no use later.
        self.surplus = growth.saturating_sub(lost.cpu_ns.saturating_sub(self.surplus));
        if lost.cpu_ns <= covered.saturating_add(ROUNDING_NS) {
            return Counters::default();
        }
        lost.share(lost.cpu_ns - covered, lost.cpu_ns)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::read::TICK_NS;

    /// A child in the model: what it uses each tick, and what becomes of it.
    #[derive(Debug, Clone)]
    struct Child {
        born: usize,
        use_ms: Vec<u64>,
        reaped: Reaped,
    }

    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Reaped {
        /// By its parent; `early`: between the readings of the child and of the parent in its last tick.
        ByParent { early: bool },
        /// By nobody: SIGCHLD is ignored.
        Alone,
    }

    fn child() -> impl Strategy<Value = Child> {
        let reaped = prop_oneof![
            3 => any::<bool>().prop_map(|early| Reaped::ByParent { early }),
            2 => Just(Reaped::Alone),
        ];
        (0_usize..6, proptest::collection::vec(0_u64..400, 1..5), reaped)
            .prop_map(|(born, use_ms, reaped)| Child { born, use_ms, reaped })
    }

    /// Runs the model: what the sampler adds up at each tick's end, and what children that were ever seen had used by then.
    fn run(children: &[Child]) -> Vec<(u64, u64)> {
        let mut parent = Parent::default();
        let (mut gone, mut waited_true, mut told) = (0, 0, Vec::new());
        for tick in 0..12 {
            let (mut live, mut lost, mut truth) = (0, Counters::default(), 0);
            for child in children {
                let age = tick as i64 - child.born as i64;
                let lives = child.use_ms.len() as i64;
                let used = |ticks: i64| {
                    let spent: u64 = child.use_ms.iter().take(ticks.max(0) as usize).sum();
                    spent * 1_000_000
                };
                truth += used(age + 1);
                if (0..lives).contains(&age) {
                    live += used(age + 1);
                }
                let early = child.reaped == Reaped::ByParent { early: true };
                if child.reaped != Reaped::Alone && age == if early { lives - 1 } else { lives } {
                    waited_true += used(lives);
                }
                if age == lives {
                    lost += Counters { cpu_ns: used(lives), ..Counters::default() };
                }
            }
            let waited = waited_true / TICK_NS * TICK_NS;
            gone += parent.settle(waited, lost).cpu_ns;
            told.push((gone + live + waited, truth));
        }
        told
    }

    proptest! {
        /// One child at a time is told apart exactly, but for rounding, whatever becomes of it.
        #[test]
        fn one_by_one_nothing_is_lost_or_doubled(mut children in proptest::collection::vec(child(), 1..4)) {
            let mut at = 0;
            for child in &mut children {
                child.born = at;
                at += child.use_ms.len() + 2;
            }
            let (told, truth) = *run(&children).last().unwrap();
            let visible = children.iter().all(|child| child.born + child.use_ms.len() < 11);
            prop_assume!(visible);
            prop_assert!(told <= truth, "doubled: {told} of {truth}");
            let slack = (ROUNDING_NS + TICK_NS) * children.len() as u64;
            prop_assert!(told + slack >= truth, "lost: {told} of {truth}");
        }

        /// However they overlap, nothing is ever doubled for good but what the rounding of `waited` hides at each that nobody waits for.
        #[test]
        fn nothing_is_doubled(children in proptest::collection::vec(child(), 0..8)) {
            let (told, truth) = *run(&children).last().unwrap();
            let alone = children.iter().filter(|child| child.reaped == Reaped::Alone).count();
            prop_assert!(told <= truth + TICK_NS * alone as u64, "doubled: {told} of {truth}");
        }

        /// Where everybody is waited for nothing is ever moved out, and all is counted.
        #[test]
        fn children_that_are_waited_for_are_counted_by_it(mut children in proptest::collection::vec(child(), 0..8)) {
            for child in &mut children {
                if child.reaped == Reaped::Alone {
                    child.reaped = Reaped::ByParent { early: false };
                }
            }
            let (told, truth) = *run(&children).last().unwrap();
            prop_assert!(told <= truth && told + TICK_NS >= truth, "{told} of {truth}");
        }
    }

    #[test]
    fn all_counters_go_in_the_same_part() {
        let mut parent = Parent::new(0);
        let lost = Counters {
            cpu_ns: 1_000_000_000,
            minor_faults: 10,
            read_bytes: 100,
            ..Counters::default()
        };
        let gone = parent.settle(500_000_000, lost);
        assert_eq!((gone.cpu_ns, gone.minor_faults, gone.read_bytes), (500_000_000, 5, 50));
    }
}
