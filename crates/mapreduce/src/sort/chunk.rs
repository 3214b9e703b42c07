//! Sorting a chunk of records in place: by the next eight bytes of each key as one number, then equal ones by the eight after
//! those. Keys that begin alike (indented text, paths, dates) cost a pass over them and not a comparison byte by byte for each pair.

/// Longest record: a chunk's places are 32 bits.
pub(super) const RECORD_MAX: usize = 1 << 30;

/// Records in the order they came, and an index that is sorted.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    /// Key, length of the value as a varint, value; one record behind the other.
    data: Vec<u8>,
    index: Vec<Entry>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    /// Eight bytes of the key from the depth that is being sorted by, filled up with zeros, most significant first.
    part: u64,
    at: u32,
    key: u32,
}

/// Fewer records are sorted by comparing whole keys.
const FEW: usize = 12;

impl Chunk {
    pub(super) fn push(&mut self, key: &[u8], value: &[u8]) {
        let at = self.data.len() as u32;
        self.data.extend_from_slice(key);
        put_varint(&mut self.data, value.len());
        self.data.extend_from_slice(value);
        self.index.push(Entry { part: part(key, 0), at, key: key.len() as u32 });
    }

    /// Bytes it takes: records and index.
    pub(super) fn bytes(&self) -> usize {
        self.data.len() + self.index.len() * size_of::<Entry>()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// Empty again; a chunk that one long record made large is let go.
    pub(super) fn clear(&mut self, usual: usize) {
        self.data.clear();
        self.index.clear();
        self.data.shrink_to(usual);
        self.index.shrink_to(usual / size_of::<Entry>());
    }

    pub(super) fn sort(&mut self) {
        let data = &self.data;
        // Ranges that are equal up to a depth. A stack of them and no recursion: equal keys may be long.
        let mut open = vec![(0, self.index.len(), 0_usize)];
        while let Some((start, end, depth)) = open.pop() {
            let entries = &mut self.index[start..end];
            if entries.len() < FEW {
                entries.sort_unstable_by(|a, b| a.tail(data, depth).cmp(b.tail(data, depth)));
                continue;
            }
            if depth > 0 {
                for entry in &mut *entries {
                    entry.part = part(entry.tail(data, depth), 0);
                }
            }
            let first = entries[0].rank(depth);
            if entries.iter().any(|entry| entry.rank(depth) != first) {
                entries.sort_unstable_by_key(|entry| entry.rank(depth));
            }
            let mut from = 0;
            for group in entries.chunk_by(|a, b| a.rank(depth) == b.rank(depth)) {
                // Keys that end here and are equal are the same key.
                if group.len() > 1 && group[0].key as usize > depth + 8 {
                    open.push((start + from, start + from + group.len(), depth + 8));
                }
                from += group.len();
            }
        }
    }

    /// Each key, and what stands behind it: the value with its length.
    pub(super) fn records(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.index.iter().map(|entry| {
            let (at, key) = (entry.at as usize, entry.key as usize);
            let rest = &self.data[at + key..];
            let (value, varint) = varint(rest).unwrap_or((0, 0));
            (&self.data[at..at + key], &rest[..varint + value])
        })
    }
}

impl Entry {
    /// Keys that end within the eight bytes come before longer ones that have zeros there.
    fn rank(&self, depth: usize) -> (u64, u8) {
        (self.part, (self.key as usize - depth).min(9) as u8)
    }

    fn tail<'a>(&self, data: &'a [u8], depth: usize) -> &'a [u8] {
        let at = self.at as usize;
        &data[at + depth..at + self.key as usize]
    }
}

/// Eight bytes of a key from `at`, as a number in the order of keys.
#[inline]
pub(super) fn part(key: &[u8], at: usize) -> u64 {
    match key.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()) {
        Some(bytes) => u64::from_be_bytes(bytes),
        None => key
            .get(at..)
            .unwrap_or_default()
            .iter()
            .zip((0..8).rev())
            .fold(0, |part, (byte, place)| part | u64::from(*byte) << (place * 8)),
    }
}

/// Seven bits a byte, the lowest first.
pub(super) fn put_varint(out: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// The number at the start of `bytes`, and how many bytes it takes.
#[inline]
pub(super) fn varint(bytes: &[u8]) -> Option<(usize, usize)> {
    let first = *bytes.first()?;
    if first < 0x80 {
        return Some((usize::from(first), 1));
    }
    let mut value = 0;
    for (n, byte) in bytes.iter().take(9).enumerate() {
        value |= usize::from(byte & 0x7f) << (n * 7);
        if *byte < 0x80 {
            return Some((value, n + 1));
        }
    }
    None
}
