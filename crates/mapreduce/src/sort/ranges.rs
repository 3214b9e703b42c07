//! Cutting the keys of runs into ranges of about the same size, so that every slot merges its own.

use super::Run;

/// A place in the order of keys: before all keys whose first 32 bytes are at least these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cut {
    /// [`Cut::MOST`] is behind all others.
    behind: bool,
    bytes: [u8; 32],
}

impl Cut {
    /// Before all keys.
    pub const LEAST: Self = Self { behind: false, bytes: [0; 32] };
    /// Behind all keys.
    pub const MOST: Self = Self { behind: true, bytes: [0; 32] };

    pub(super) fn bytes(&self) -> &[u8; 32] {
        &self.bytes
    }

    /// The last cut that is not behind `key`.
    #[must_use]
    pub fn before(key: &[u8]) -> Self {
        let mut bytes = [0; 32];
        let length = key.len().min(32);
        bytes[..length].copy_from_slice(&key[..length]);
        Self { behind: false, bytes }
    }
}

/// At most `count` ranges that together are all keys, in order, of about the same number of bytes: to within a block of each
/// run, as long as no key is larger than a range. A key is never divided.
#[must_use]
pub fn ranges(runs: &[Run], count: usize) -> Vec<(Cut, Cut)> {
    let mut blocks: Vec<_> =
        runs.iter().flat_map(|run| &run.blocks).map(|block| (block.first, block.content)).collect();
    blocks.sort_unstable_by_key(|block| block.0);
    let total: u64 = blocks.iter().map(|block| block.1).sum();
    let count = count.max(1) as u64;
    let mut cuts = vec![Cut::LEAST];
    let mut seen = 0;
    for (first, bytes) in blocks {
        let wanted = total * cuts.len() as u64 / count;
        if seen >= wanted && (cuts.len() as u64) < count && Some(&first) > cuts.last() {
            cuts.push(first);
        }
        seen += bytes;
    }
    cuts.push(Cut::MOST);
    cuts.windows(2).map(|pair| (pair[0], pair[1])).collect()
}
