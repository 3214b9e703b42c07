//! Counting words: what stands between white space (space, \t, \n, \v, \f, \r, as `isspace` in the C locale).
//!
//! White space is found 16 bytes at a time as bits; the words between are taken out of windows of 16 bytes without a
//! branch by their length. Words are gathered in small batches: while a batch is hashed the slots of the one before come
//! into the cache, so that a table larger than the cache costs one wait a batch and not one a word.

use wide::u8x16;

use crate::table::{KeyTable, SHORT, ShortKey, Sorted};

/// Words gathered before the table is asked.
const BATCH: usize = 32;

/// Counts of words.
#[derive(Debug, Default)]
pub struct WordCount {
    counts: KeyTable<u64>,
    words: u64,
}

/// White space of the C locale.
#[must_use]
pub const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

struct Batch {
    words: [(ShortKey, u64); BATCH],
    filled: usize,
}

impl WordCount {
    /// Counts the words of `block`, which starts and ends at the bounds of words.
    pub fn feed(&mut self, block: &[u8]) {
        let empty = (ShortKey::new(b"").unwrap_or_else(|| unreachable!("it is short")), 0);
        let mut batch = Batch { words: [empty; BATCH], filled: 0 };
        // Where the word that goes on began.
        let mut start = 0;
        let chunks = block.chunks_exact(64);
        let rest_at = block.len() - chunks.remainder().len();
        for (chunk, at) in chunks.zip((0..).step_by(64)) {
            let mut spaces = spaces_of(chunk);
            while spaces != 0 {
                let end = at + spaces.trailing_zeros() as usize;
                spaces &= spaces - 1;
                if end > start {
                    self.word(block, start, end, &mut batch);
                }
                start = end + 1;
            }
        }
        for end in rest_at..block.len() {
            if is_space(block[end]) {
                if end > start {
                    self.word(block, start, end, &mut batch);
                }
                start = end + 1;
            }
        }
        if block.len() > start {
            self.word(block, start, block.len(), &mut batch);
        }
        self.flush(&mut batch);
    }

    /// Words counted so far, each as often as it came.
    #[must_use]
    pub fn words(&self) -> u64 {
        self.words
    }

    /// Distinct words held.
    #[must_use]
    pub fn distinct(&self) -> usize {
        self.counts.len()
    }

    /// As [`KeyTable::memory`].
    #[must_use]
    pub fn memory(&self) -> usize {
        self.counts.memory()
    }

    /// The counts so far, in the order of the words' bytes; what comes later starts anew.
    pub fn take_sorted(&mut self) -> Sorted<u64> {
        self.counts.take_sorted()
    }

    #[inline]
    fn word(&mut self, block: &[u8], start: usize, end: usize, batch: &mut Batch) {
        self.words += 1;
        let length = end - start;
        let key = match block.get(start..start + SHORT).and_then(|window| window.try_into().ok()) {
            Some(window) if length <= SHORT => ShortKey::of_window(window, length),
            _ => ShortKey::new(&block[start..end]),
        };
        let Some(key) = key else {
            self.counts.fold_long(&block[start..end], 1);
            return;
        };
        batch.words[batch.filled] = (key, key.hash());
        batch.filled += 1;
        if batch.filled == BATCH {
            self.flush(batch);
        }
    }

    #[inline]
    fn flush(&mut self, batch: &mut Batch) {
        let words = &batch.words[..batch.filled];
        let touched = words.iter().fold(0, |sum, (_, hash)| sum ^ self.counts.touch(*hash));
        std::hint::black_box(touched);
        for (key, hash) in words {
            self.counts.fold_short(*key, *hash, 1);
        }
        batch.filled = 0;
    }
}

/// One bit a byte of 64: it is white space.
#[inline]
fn spaces_of(chunk: &[u8]) -> u64 {
    let mut bits = 0;
    for (quarter, bytes) in chunk.chunks_exact(16).enumerate() {
        let mut lanes = [0; 16];
        lanes.copy_from_slice(bytes);
        let lanes = u8x16::new(lanes);
        // \t to \r are 9 to 13: less than 5 when 9 is taken away, round the clock.
        let shifted = lanes - u8x16::splat(9);
        let control = shifted.min(u8x16::splat(4)).simd_eq(shifted);
        let space = lanes.simd_eq(u8x16::splat(b' ')) | control;
        bits |= u64::from(space.to_bitmask()) << (quarter * 16);
    }
    bits
}
