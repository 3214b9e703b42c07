//! What becomes of another tool's keys, as data: the mapper asks it, `import` tells it, and docs/import.md is made of it.

use std::collections::BTreeSet;

use super::draft::{Note, NoteKind, Notes};
use crate::config::words;

/// What becomes of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// Taken over under this name, with the same meaning.
    Same(&'static str),
    /// Taken over under this name; what is different.
    Changed(&'static str, &'static str),
    /// Left out: why, and what to use instead.
    Left(&'static str),
}

/// One key of another tool.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key {
    /// As the other tool's manual writes it.
    pub(super) name: &'static str,
    /// Other spellings it accepts.
    pub(super) aliases: &'static [&'static str],
    pub(super) fate: Fate,
}

impl Key {
    pub(super) const fn new(name: &'static str, fate: Fate) -> Self {
        Self { name, aliases: &[], fate }
    }

    pub(super) const fn or(
        name: &'static str,
        aliases: &'static [&'static str],
        fate: Fate,
    ) -> Self {
        Self { name, aliases, fate }
    }
}

/// The keys of one kind of section.
#[derive(Debug)]
pub(super) struct Table {
    /// The section's name in docs and notes.
    pub(super) section: &'static str,
    pub(super) keys: &'static [Key],
}

impl Table {
    pub(super) fn find(&self, given: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == given || key.aliases.contains(&given))
    }

    /// Notes what becomes of the keys that are written, each once, however often it is there.
    pub(super) fn note<'k>(
        &self,
        written: impl Iterator<Item = &'k str>,
        of: &str,
        notes: &mut Notes,
    ) {
        let mut seen = BTreeSet::new();
        for given in written {
            let note = match self.find(given) {
                Some(key) if !seen.insert(key.name) => continue,
                Some(Key { fate: Fate::Same(_), .. }) => continue,
                Some(Key { name, fate: Fate::Changed(ours, how), .. }) => {
                    Note::new(NoteKind::Changed, *name, format!("becomes `{ours}`: {how}"))
                }
                Some(Key { name, fate: Fate::Left(why), .. }) => {
                    Note::new(NoteKind::Left, *name, (*why).to_owned())
                }
                None => self.unknown(given),
            };
            notes.add(note, of);
        }
    }

    fn unknown(&self, given: &str) -> Note {
        let known = self.keys.iter().flat_map(|key| key.aliases.iter().copied().chain([key.name]));
        let section = self.section;
        let why = match words::nearest(given, known) {
            Some(near) => format!("no key of {section}; did you mean `{near}`?"),
            None => format!("no key of {section}"),
        };
        Note::new(NoteKind::Left, given, why)
    }
}
