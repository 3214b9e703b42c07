//! Counting by names that others choose, bounded.

use std::collections::HashMap;
use std::hash::Hash;

use crate::model::{Count, Group, Groups};

/// Names that one table counts apart; what comes beyond is counted together.
const NAMES_MAX: usize = 5_000;
/// Lines of a table. Whoever wants all has the JSON of `ganger audit export`.
pub(crate) const ROWS: usize = 20;
const OTHERS: &str = "(others)";

/// Counters by name.
#[derive(Debug, Default)]
pub(crate) struct ByName(HashMap<String, Group>);

impl ByName {
    pub(crate) fn at(&mut self, name: &str) -> &mut Group {
        let full = self.0.len() >= NAMES_MAX && !self.0.contains_key(name);
        let name = if full { OTHERS } else { name };
        self.0.entry(name.to_owned()).or_insert_with(|| Group {
            name: name.to_owned(),
            runs: 0,
            denied: 0,
            failed: 0,
            stopped: 0,
        })
    }

    pub(crate) fn ran(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(|group| group.runs > 0)
    }

    /// The busiest, those with denials first.
    pub(crate) fn table(&self) -> Groups {
        let mut rows: Vec<Group> = self.0.values().cloned().collect();
        rows.sort_by(|a, b| {
            (b.denied + b.stopped, b.runs, &a.name).cmp(&(a.denied + a.stopped, a.runs, &b.name))
        });
        let more = rows.len().saturating_sub(ROWS) as u64;
        rows.truncate(ROWS);
        Groups { rows, more }
    }
}

/// Something for each key, while there is room.
#[derive(Debug)]
pub(crate) struct Bounded<K, V>(HashMap<K, V>);

impl<K, V> Default for Bounded<K, V> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Eq + Hash, V> Bounded<K, V> {
    /// The value of a key, made if there is none; none when there is no room for another.
    pub(crate) fn at(&mut self, key: K, make: impl FnOnce() -> V) -> Option<&mut V> {
        if self.0.len() >= NAMES_MAX && !self.0.contains_key(&key) {
            return None;
        }
        Some(self.0.entry(key).or_insert_with(make))
    }

    pub(crate) fn into_values(self) -> impl Iterator<Item = V> {
        self.0.into_values()
    }
}

/// The most frequent first.
pub(crate) fn counts(names: impl Iterator<Item = String>) -> Vec<Count> {
    let mut all: HashMap<String, u64> = HashMap::new();
    names.for_each(|name| *all.entry(name).or_default() += 1);
    sorted(all.into_iter())
}

/// The most frequent first.
pub(crate) fn sorted(counts: impl Iterator<Item = (String, u64)>) -> Vec<Count> {
    let mut all: Vec<Count> = counts.map(|(name, count)| Count { name, count }).collect();
    all.sort_by(|a, b| (b.count, &a.name).cmp(&(a.count, &b.name)));
    all
}
