//! Which file's which part stands at an address: one process's code mappings, later ones over earlier ones.

use std::collections::BTreeMap;

/// The number of a file in [`crate::names::Modules`].
pub(crate) type Module = u32;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Mapping {
    end: u64,
    /// Of `start`, in the file.
    offset: u64,
    module: Module,
}

/// Code mappings by their start.
#[derive(Debug, Clone, Default)]
pub(crate) struct Space(BTreeMap<u64, Mapping>);

/// A process with more code mappings than this maps over and over; the lowest are forgotten.
const MOST: usize = 16_384;

impl Space {
    /// `length` bytes at `start` are now `module`'s from `offset` on; `None`: nobody's file.
    pub(crate) fn insert(&mut self, start: u64, length: u64, offset: u64, module: Option<Module>) {
        let end = start.saturating_add(length);
        let over: Vec<u64> = self
            .0
            .range(..end)
            .rev()
            // Mappings don't overlap, so the first that ends before ends the search.
            .take_while(|(_, mapping)| mapping.end > start)
            .map(|(at, _)| *at)
            .collect();
        for at in over {
            let Some(old) = self.0.remove(&at) else { continue };
            if at < start {
                self.0.insert(at, Mapping { end: start, ..old });
            }
            if old.end > end {
                self.0.insert(end, Mapping { offset: old.offset + (end - at), ..old });
            }
        }
        if let Some(module) = module.filter(|_| end > start) {
            self.0.insert(start, Mapping { end, offset, module });
            if self.0.len() > MOST {
                self.0.pop_first();
            }
        }
    }

    /// The file and the offset in it.
    pub(crate) fn find(&self, address: u64) -> Option<(Module, u64)> {
        let (start, mapping) = self.0.range(..=address).next_back()?;
        (address < mapping.end)
            .then(|| (mapping.module, mapping.offset.saturating_add(address - start)))
    }

    /// The program was replaced.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}

/// A line of `/proc/PID/maps` whose memory may be run.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Line<'a> {
    pub(crate) start: u64,
    pub(crate) length: u64,
    pub(crate) offset: u64,
    pub(crate) path: &'a str,
}

/// `start-end rwxp offset dev inode   path`; `None` for data, and for what can't be read.
pub(crate) fn line(text: &str) -> Option<Line<'_>> {
    let mut words = text.splitn(6, ' ');
    let (start, end) = words.next()?.split_once('-')?;
    let rights = words.next()?;
    let number = |text: &str| u64::from_str_radix(text, 16).ok();
    let (start, end, offset) = (number(start)?, number(end)?, number(words.next()?)?);
    let path = words.nth(2).unwrap_or("").trim();
    let length = end.checked_sub(start)?;
    rights.contains('x').then_some(Line { start, length, offset, path })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines_of_maps() {
        let text = "55d0-55d8 r-xp 00001000 fe:01 1234                       /opt/a b/prog";
        let path = "/opt/a b/prog";
        assert_eq!(line(text), Some(Line { start: 0x55d0, length: 8, offset: 0x1000, path }));
        assert_eq!(line("55d0-55d8 r--p 00001000 fe:01 1234 /x"), None);
        assert_eq!(line("10-20 rwxp 00000000 00:00 0 ").map(|line| line.path), Some(""));
        assert_eq!(line("nonsense"), None);
    }

    proptest! {
        /// Against a model that keeps what stands at every single address.
        #[test]
        fn later_mappings_win(maps in prop::collection::vec((0_u64..64, 0_u64..32, 0_u64..100, prop::option::of(0_u32..4)), 0..20)) {
            let mut model = [None; 128];
            let mut space = Space::default();
            for (start, length, offset, module) in maps {
                space.insert(start, length, offset, module);
                for at in start..start + length {
                    model[at as usize] = module.map(|module| (module, offset + at - start));
                }
            }
            for (at, want) in model.iter().enumerate() {
                prop_assert_eq!(space.find(at as u64), *want);
            }
        }
    }
}
