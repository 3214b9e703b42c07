//! The content of a table in the order of its keys, and several of them as one.

use super::Fold;
use super::keys::{Long, SHORT, Slot};

/// Keys and values in the order of the keys' bytes.
#[derive(Debug)]
pub struct Sorted<V> {
    entries: Vec<Entry<V>>,
    arena: Vec<u8>,
}

#[derive(Debug, Clone, Copy)]
struct Entry<V> {
    /// The first 16 bytes, most significant first: for a short key it is all.
    first: u128,
    /// In the arena, for a key that is not short; else its length is 0.
    at: usize,
    length: usize,
    value: V,
}

impl<V: Fold> Sorted<V> {
    pub(super) fn new<'a>(
        short: impl Iterator<Item = &'a Slot<V>>,
        long: impl Iterator<Item = &'a Long<V>>,
        arena: Vec<u8>,
        keys: usize,
    ) -> Self
    where
        V: 'a,
    {
        let mut entries = Vec::with_capacity(keys);
        entries.extend(short.map(|slot| Entry {
            first: slot.key.ordered(),
            at: 0,
            length: 0,
            value: slot.value,
        }));
        entries.extend(long.map(|long| Entry {
            first: first_of(&arena[long.at..long.at + long.length]),
            at: long.at,
            length: long.length,
            value: long.value,
        }));
        entries.sort_unstable_by(|a, b| {
            a.first.cmp(&b.first).then_with(|| {
                let (mut one, mut two) = ([0; SHORT], [0; SHORT]);
                key_of(a, &arena, &mut one).cmp(key_of(b, &arena, &mut two))
            })
        });
        Self { entries, arena }
    }

    /// Number of keys.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Hands every key and its value to `each`, in order.
    ///
    /// # Errors
    /// What `each` says.
    pub fn each<E>(&self, mut each: impl FnMut(&[u8], V) -> Result<(), E>) -> Result<(), E> {
        let mut short = [0; SHORT];
        for entry in &self.entries {
            each(key_of(entry, &self.arena, &mut short), entry.value)?;
        }
        Ok(())
    }
}

/// Hands every key of several tables' content to `each`, in order, its values folded into one.
///
/// # Errors
/// What `each` says.
pub fn merged<V: Fold, E>(
    runs: &[Sorted<V>],
    mut each: impl FnMut(&[u8], V) -> Result<(), E>,
) -> Result<(), E> {
    if let [one] = runs {
        return one.each(each);
    }
    let mut next = vec![0; runs.len()];
    let mut shorts = vec![[0; SHORT]; runs.len()];
    loop {
        // As many runs as slots, a handful: looking at each head is cheaper than a tree.
        let mut least: Option<(u128, usize)> = None;
        for (run, at) in runs
            .iter()
            .zip(&next)
            .enumerate()
            .filter_map(|(n, (run, at))| run.entries.get(*at).map(|entry| (n, entry)))
        {
            let smaller = match least {
                None => true,
                Some((first, other)) if at.first == first => {
                    let (mut one, mut two) = ([0; SHORT], [0; SHORT]);
                    let there = &runs[other];
                    key_of(at, &runs[run].arena, &mut one)
                        < key_of(&there.entries[next[other]], &there.arena, &mut two)
                }
                Some((first, _)) => at.first < first,
            };
            if smaller {
                least = Some((at.first, run));
            }
        }
        let Some((first, run)) = least else { return Ok(()) };
        let key_entry = runs[run].entries[next[run]];
        let mut value = key_entry.value;
        next[run] += 1;
        let mut short = std::mem::take(&mut shorts[run]);
        let key = key_of(&key_entry, &runs[run].arena, &mut short);
        for other in run + 1..runs.len() {
            let Some(entry) = runs[other].entries.get(next[other]) else { continue };
            let mut theirs = [0; SHORT];
            if entry.first == first && key_of(entry, &runs[other].arena, &mut theirs) == key {
                value.fold(entry.value);
                next[other] += 1;
            }
        }
        each(key, value)?;
    }
}

fn first_of(key: &[u8]) -> u128 {
    let mut bytes = [0; SHORT];
    let kept = key.len().min(SHORT);
    bytes[..kept].copy_from_slice(&key[..kept]);
    u128::from_be_bytes(bytes)
}

/// A short key ends with its last byte that is not zero.
fn key_of<'a, V>(entry: &Entry<V>, arena: &'a [u8], short: &'a mut [u8; SHORT]) -> &'a [u8] {
    if entry.length > 0 {
        return &arena[entry.at..entry.at + entry.length];
    }
    *short = entry.first.to_be_bytes();
    &short[..SHORT - entry.first.trailing_zeros() as usize / 8]
}
