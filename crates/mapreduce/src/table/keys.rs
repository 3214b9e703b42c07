//! The table.

use hashbrown::HashTable;

use super::{Fold, Sorted};

/// Longest key that lies in its slot.
pub const SHORT: usize = 16;
/// Slots of a new table.
const FIRST: usize = 1 << 8;

/// A key of at most [`SHORT`] bytes, filled up with zeros. Such a key does not end in a zero, so that it is one key only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShortKey {
    lo: u64,
    hi: u64,
}

impl ShortKey {
    /// From a key's bytes, if it is short.
    #[inline]
    #[must_use]
    pub fn new(key: &[u8]) -> Option<Self> {
        if key.len() > SHORT || key.last() == Some(&0) {
            return None;
        }
        let mut bytes = [0; SHORT];
        bytes[..key.len()].copy_from_slice(key);
        Some(Self::from_bytes(bytes))
    }

    /// From the first `length` (1 to 16) of 16 bytes, if they are a short key. No branch by length: what stands behind is masked.
    #[inline]
    #[must_use]
    pub fn of_window(window: &[u8; SHORT], length: usize) -> Option<Self> {
        let bytes = u128::from_le_bytes(*window);
        let kept = bytes & (u128::MAX >> ((SHORT - length) * 8));
        let last = kept >> ((length - 1) * 8);
        let words = kept.to_le_bytes();
        (last != 0).then(|| Self::from_bytes(words))
    }

    #[inline]
    fn from_bytes(bytes: [u8; SHORT]) -> Self {
        let both = u128::from_le_bytes(bytes);
        Self { lo: both as u64, hi: (both >> 64) as u64 }
    }

    /// In the order of keys.
    #[inline]
    pub(crate) fn ordered(self) -> u128 {
        (u128::from(self.hi) << 64 | u128::from(self.lo)).swap_bytes()
    }

    /// Folded multiplication (as in wyhash and foldhash): all bits of both words reach the upper ones.
    #[inline]
    pub(crate) fn hash(self) -> u64 {
        let product = u128::from(self.lo ^ 0x2d35_8dcc_aa6c_78a5)
            * u128::from(self.hi.rotate_left(32) ^ 0x8bb8_4b93_962e_acc9);
        let folded = product as u64 ^ (product >> 64) as u64;
        folded.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Slot<V> {
    pub(super) key: ShortKey,
    pub(super) value: V,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Long<V> {
    pub(super) at: usize,
    pub(super) length: usize,
    pub(super) value: V,
}

/// Values by key.
#[derive(Debug)]
pub struct KeyTable<V> {
    /// A power of two; at most five of eight are taken.
    slots: Vec<Slot<V>>,
    taken: usize,
    /// The upper bits of a hash are its slot.
    shift: u32,
    long: HashTable<Long<V>>,
    arena: Vec<u8>,
}

impl<V: Fold> Default for KeyTable<V> {
    fn default() -> Self {
        Self {
            slots: vec![Self::EMPTY; FIRST],
            taken: 0,
            shift: 64 - FIRST.trailing_zeros(),
            long: HashTable::new(),
            arena: Vec::new(),
        }
    }
}

impl<V: Fold> KeyTable<V> {
    const EMPTY: Slot<V> = Slot { key: ShortKey { lo: 0, hi: 0 }, value: V::ABSENT };

    /// Folds `value`, which is not absent, into that of `key`.
    #[inline]
    pub fn fold(&mut self, key: &[u8], value: V) {
        match ShortKey::new(key) {
            Some(short) => self.fold_short(short, short.hash(), value),
            None => self.fold_long(key, value),
        }
    }

    /// As [`KeyTable::fold`], with what is known of a short key.
    #[inline]
    pub(crate) fn fold_short(&mut self, key: ShortKey, hash: u64, value: V) {
        debug_assert!(!value.is_absent());
        let mask = self.slots.len() - 1;
        let mut at = (hash >> self.shift) as usize;
        loop {
            let slot = &mut self.slots[at & mask];
            if slot.key == key && !slot.value.is_absent() {
                slot.value.fold(value);
                return;
            }
            if slot.value.is_absent() {
                *slot = Slot { key, value };
                self.taken += 1;
                if self.taken * 8 > self.slots.len() * 5 {
                    self.grow();
                }
                return;
            }
            at += 1;
        }
    }

    /// Reads the slot where the search for a hash begins, so that it is in the cache a moment later. What it returns is good
    /// for nothing but being used, so that the read is not left out.
    #[inline]
    pub(crate) fn touch(&self, hash: u64) -> u64 {
        self.slots[(hash >> self.shift) as usize & (self.slots.len() - 1)].key.lo
    }

    /// A key that is not short.
    #[cold]
    pub(crate) fn fold_long(&mut self, key: &[u8], value: V) {
        let arena = &mut self.arena;
        let hash = long_hash(key);
        let same = |long: &Long<V>| &arena[long.at..long.at + long.length] == key;
        if let Some(found) = self.long.find_mut(hash, same) {
            found.value.fold(value);
            return;
        }
        let at = arena.len();
        arena.extend_from_slice(key);
        let kept = &*arena;
        self.long.insert_unique(hash, Long { at, length: key.len(), value }, |long| {
            long_hash(&kept[long.at..long.at + long.length])
        });
    }

    /// Number of keys.
    #[must_use]
    pub fn len(&self) -> usize {
        self.taken + self.long.len()
    }

    /// Whether there is no key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes that it takes, and would take for a moment when it grows or is sorted next.
    #[must_use]
    pub fn memory(&self) -> usize {
        let held = self.slots.len() * size_of::<Slot<V>>()
            + self.long.capacity() * size_of::<Long<V>>()
            + self.arena.capacity();
        held * 3
    }

    /// Empties it. The memory of the slots is kept.
    pub fn take_sorted(&mut self) -> Sorted<V> {
        let sorted = Sorted::new(
            self.slots.iter().filter(|slot| !slot.value.is_absent()),
            self.long.iter(),
            std::mem::take(&mut self.arena),
            self.taken + self.long.len(),
        );
        self.slots.fill(Self::EMPTY);
        self.taken = 0;
        self.long = HashTable::new();
        sorted
    }

    #[cold]
    fn grow(&mut self) {
        let old = std::mem::take(&mut self.slots);
        self.slots = vec![Self::EMPTY; old.len() * 2];
        self.shift -= 1;
        let mask = self.slots.len() - 1;
        for slot in old.into_iter().filter(|slot| !slot.value.is_absent()) {
            let mut at = (slot.key.hash() >> self.shift) as usize;
            while !self.slots[at & mask].value.is_absent() {
                at += 1;
            }
            self.slots[at & mask] = slot;
        }
    }
}

fn long_hash(key: &[u8]) -> u64 {
    use std::hash::{BuildHasher as _, Hasher as _};
    let mut hasher = foldhash::fast::FixedState::default().build_hasher();
    hasher.write(key);
    hasher.finish()
}
