//! The k largest of what is counted.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Keeps the `k` keys with the largest counts; of equal counts those whose bytes come first. Holds k keys, however many it sees.
#[derive(Debug)]
pub struct TopK {
    k: usize,
    /// The one to go first is at the top.
    kept: BinaryHeap<Reverse<(u64, Reverse<Vec<u8>>)>>,
}

impl TopK {
    /// An empty one.
    #[must_use]
    pub fn new(k: usize) -> Self {
        Self { k, kept: BinaryHeap::new() }
    }

    /// A key with its whole count: each key is fed once.
    pub fn feed(&mut self, key: &[u8], count: u64) {
        if self.kept.len() < self.k {
            self.kept.push(Reverse((count, Reverse(key.to_vec()))));
            return;
        }
        let Some(mut least) = self.kept.peek_mut() else { return };
        let Reverse((lowest, Reverse(last))) = &mut *least;
        if count > *lowest || (count == *lowest && key < last.as_slice()) {
            *lowest = count;
            last.clear();
            last.extend_from_slice(key);
        }
    }

    /// The largest first.
    #[must_use]
    pub fn into_sorted(self) -> Vec<(Vec<u8>, u64)> {
        let sorted = self.kept.into_sorted_vec();
        sorted.into_iter().map(|Reverse((count, Reverse(key)))| (key, count)).collect()
    }
}
