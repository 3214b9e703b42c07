//! Where in a segment the groups of an object are. In memory for every segment: 12 bytes a group and each key once, some 9 MB
//! for 1,000 objects after a year.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use crate::frame;
use crate::group;
use crate::key::{Key, Tick};

/// A group: whose, from when, where.
#[derive(Debug, Clone, Copy)]
struct Group {
    /// Place in `keys`.
    key: u32,
    /// Seconds from the segment's base: 68 years either way.
    first: i32,
    offset: u32,
}

/// The index of a segment, as it was when it was published.
#[derive(Debug, Clone, Default)]
pub(crate) struct Index {
    pub(crate) number: u64,
    pub(crate) path: PathBuf,
    /// Bytes of the segment.
    pub(crate) bytes: u64,
    /// Sorted.
    keys: Vec<Key>,
    /// Sorted by key, then by place.
    groups: Vec<Group>,
    base: Tick,
    /// First ticks of the oldest and the newest group.
    pub(crate) span: Option<(Tick, Tick)>,
}

impl Index {
    /// Objects that have groups.
    pub(crate) fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// First tick and offset of each group of an object.
    pub(crate) fn of(&self, key: &Key) -> impl Iterator<Item = (Tick, u64)> {
        let groups = self.keys.binary_search(key).map_or(&[][..], |at| {
            let at = at as u32;
            let start = self.groups.partition_point(|group| group.key < at);
            let end = self.groups.partition_point(|group| group.key <= at);
            &self.groups[start..end]
        });
        groups.iter().map(|group| (self.base + Tick::from(group.first), u64::from(group.offset)))
    }

    /// Whether an object has a group from exactly `first` on.
    pub(crate) fn has(&self, key: &Key, first: Tick) -> bool {
        self.of(key).any(|(at, _)| at == first)
    }

    /// Bytes in memory, about.
    pub(crate) fn weight(&self) -> usize {
        self.groups.capacity() * size_of::<Group>() + self.keys.capacity() * size_of::<Key>()
    }
}

/// The index of a segment that is written.
#[derive(Debug, Default)]
pub(crate) struct Builder {
    keys: HashMap<Key, u32>,
    groups: Vec<Group>,
    base: Option<Tick>,
    span: Option<(Tick, Tick)>,
}

impl Builder {
    pub(crate) fn add(&mut self, key: Key, first: Tick, offset: u64) {
        let base = *self.base.get_or_insert(first);
        let next = self.keys.len() as u32;
        let key = *self.keys.entry(key).or_insert(next);
        let relative = (first - base).clamp(i32::MIN.into(), i32::MAX.into()) as i32;
        // Segments end at 16 MiB.
        let offset = u32::try_from(offset).unwrap_or(u32::MAX);
        self.groups.push(Group { key, first: relative, offset });
        let (oldest, newest) = self.span.unwrap_or((first, first));
        self.span = Some((oldest.min(first), newest.max(first)));
    }

    /// First ticks of the oldest and the newest group.
    pub(crate) fn span(&self) -> Option<(Tick, Tick)> {
        self.span
    }

    /// The index as it is now.
    pub(crate) fn index(&self, number: u64, path: &Path, bytes: u64) -> Index {
        let mut order: Vec<(&Key, u32)> = self.keys.iter().map(|(key, n)| (key, *n)).collect();
        order.sort_unstable();
        let mut rank = vec![0; order.len()];
        for (at, (_, n)) in order.iter().enumerate() {
            rank[*n as usize] = at as u32;
        }
        let ranked =
            self.groups.iter().map(|group| Group { key: rank[group.key as usize], ..*group });
        let mut groups: Vec<Group> = ranked.collect();
        groups.sort_unstable_by_key(|group| (group.key, group.offset));
        Index {
            number,
            path: path.to_path_buf(),
            bytes,
            keys: order.into_iter().map(|(key, _)| key.clone()).collect(),
            groups,
            base: self.base.unwrap_or(0),
            span: self.span,
        }
    }

    /// Reads a segment; `whole` checks every byte of it, else heads only.
    pub(crate) fn load(path: &Path, whole: bool) -> io::Result<(Self, frame::Scan)> {
        let mut builder = Self::default();
        let mut strange = 0;
        let file = File::open(path)?;
        let mut scan = frame::scan(&file, whole, |place, payload| match group::front(payload) {
            Some((key, first)) => builder.add(key, first, place.offset),
            None => strange += 1,
        })?;
        scan.damaged += strange;
        Ok((builder, scan))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_found_by_key() {
        let mut builder = Builder::default();
        let key = |name: &str| Key::new(name, 0).unwrap();
        for (n, name) in ["web", "db", "web", "cron", "web"].iter().enumerate() {
            builder.add(key(name), 1_000 - n as Tick, n as u64 * 10);
        }
        let index = builder.index(3, Path::new("x"), 50);
        assert_eq!(index.of(&key("web")).collect::<Vec<_>>(), [(1_000, 0), (998, 20), (996, 40)]);
        assert_eq!(index.of(&key("db")).collect::<Vec<_>>(), [(999, 10)]);
        assert_eq!(index.of(&key("x")).count(), 0);
        assert_eq!(index.span, Some((996, 1_000)));
        assert!(index.has(&key("cron"), 997) && !index.has(&key("cron"), 998));
        assert_eq!(index.keys(), [key("cron"), key("db"), key("web")]);
    }
}
