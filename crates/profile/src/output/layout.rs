//! Where a flame graph's boxes stand: calls above callers, widths in samples, neighbours by name so that equal frames join.

use std::collections::BTreeMap;

use crate::profile::{Frame, Profile};

/// A frame with everything it called, in samples from the left edge.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Block<'a> {
    pub(super) frame: &'a Frame,
    pub(super) depth: usize,
    pub(super) from: u64,
    pub(super) samples: u64,
}

#[derive(Default)]
struct Node<'a> {
    samples: u64,
    children: BTreeMap<&'a Frame, Node<'a>>,
}

/// Callers before what they call, left before right. Boxes narrower than `least` samples are left out with all that stands on them.
pub(super) fn blocks(profile: &Profile, least: u64) -> Vec<Block<'_>> {
    let mut root = Node::default();
    for (stack, count) in profile.stacks() {
        root.samples += count;
        let mut at = &mut root;
        for frame in stack {
            at = at.children.entry(frame).or_default();
            at.samples += count;
        }
    }
    let mut blocks = Vec::new();
    // Without recursion: a stack may be as deep as a program makes it.
    let mut open = vec![(root, 0, 0)];
    while let Some((node, depth, mut from)) = open.pop() {
        let mut above = Vec::new();
        for (frame, child) in node.children {
            let samples = child.samples;
            if samples >= least {
                blocks.push(Block { frame, depth, from, samples });
                above.push((child, depth + 1, from));
            }
            from += samples;
        }
        open.extend(above.into_iter().rev());
    }
    blocks
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::profile::FrameKind;
    use crate::profile::tests::{frame, meta, sample};

    #[test]
    fn callers_hold_what_they_call() {
        let profile = sample();
        let told: Vec<_> = blocks(&profile, 2)
            .iter()
            .map(|block| (block.frame.name.clone(), block.depth, block.from, block.samples))
            .collect();
        let want = [
            ("web", 0, 0, 10),
            ("main", 1, 1, 9),
            ("cold", 2, 1, 2),
            ("hot", 2, 3, 6),
            ("hot", 3, 1, 2),
        ];
        let mut told: Vec<_> = told.iter().map(|(n, d, f, s)| (n.as_str(), *d, *f, *s)).collect();
        told.sort_by_key(|(_, depth, from, _)| (*depth, *from));
        assert_eq!(told, want);
    }

    proptest! {
        /// On each level boxes don't overlap, each stands on one that holds it, and the lowest level holds all samples.
        #[test]
        fn boxes_fit(stacks in prop::collection::vec((prop::collection::vec(0_u8..4, 1..6), 1_u64..50), 1..30)) {
            let mut profile = Profile::new(meta());
            for (stack, count) in &stacks {
                profile.add(stack.iter().map(|n| frame(&n.to_string(), FrameKind::Native)), *count);
            }
            let all = blocks(&profile, 1);
            let total: u64 = stacks.iter().map(|(_, count)| count).sum();
            let lowest: u64 = all.iter().filter(|b| b.depth == 0).map(|b| b.samples).sum();
            prop_assert_eq!(lowest, total);
            for (at, one) in all.iter().enumerate() {
                let end = one.from + one.samples;
                let apart = |other: &Block<'_>| other.from >= end || other.from + other.samples <= one.from;
                prop_assert!(all[at + 1..].iter().filter(|other| other.depth == one.depth).all(apart));
                let holds = |other: &Block<'_>| other.depth + 1 == one.depth && other.from <= one.from && other.from + other.samples >= end;
                prop_assert!(one.depth == 0 || all.iter().any(holds));
            }
        }
    }
}
