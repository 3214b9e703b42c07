//! Lines as they come.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use super::merge::{Lines, Step};
use super::watch::{Watch, stopped};
use super::{Line, Query, ReadError};
use crate::layout::StreamKey;

/// Lines left out by a pattern between two looks at the stop descriptor.
const LOOK_EVERY: u32 = 4_096;

/// Lines as they come; made by [`LogReader::follow`](super::LogReader::follow). `next` blocks.
///
/// Lines that are there together come in the order of their times; a line that comes late is not held up for others.
#[derive(Debug)]
pub struct Follow {
    root: PathBuf,
    lines: Lines,
    watch: Watch,
    sources: HashMap<StreamKey, usize>,
    stop: OwnedFd,
    /// The stop was seen: what was written before it is still given.
    stopping: bool,
}

impl Follow {
    pub(super) fn open(root: &Path, query: &Query, stop: OwnedFd) -> Result<Self, ReadError> {
        let mut watch = Watch::new(root, query)?;
        let mut keys = watch.scan()?;
        keys.sort_unstable();
        let sources = keys.iter().cloned().enumerate().map(|(at, key)| (key, at)).collect();
        let lines = Lines::open(root, keys, query, true)?;
        Ok(Self { root: root.to_owned(), lines, watch, sources, stop, stopping: false })
    }

    /// Waits for news and takes note of them; false when it is time to stop.
    fn wait(&mut self) -> Result<bool, ReadError> {
        if self.stopping {
            return Ok(false);
        }
        let mut woken = self.watch.wait(&self.stop)?;
        self.stopping = woken.stop;
        if woken.folders {
            woken.streams.extend(self.watch.scan()?);
        }
        if woken.all {
            woken.streams.extend(self.sources.keys().cloned());
        }
        for key in woken.streams {
            match self.sources.get(&key) {
                Some(source) => self.lines.refresh(*source)?,
                None => {
                    let source = self.lines.add(&self.root, key.clone())?;
                    self.sources.insert(key, source);
                }
            }
        }
        Ok(true)
    }
}

impl Iterator for Follow {
    type Item = Result<Line, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut skipped = 0u32;
        loop {
            match self.lines.step() {
                Ok(Step::Line(line)) => return Some(Ok(line)),
                Ok(Step::Skipped) => {
                    skipped = skipped.wrapping_add(1);
                    if skipped.is_multiple_of(LOOK_EVERY) && stopped(&self.stop) {
                        return None;
                    }
                }
                Ok(Step::Dry) => match self.wait() {
                    Ok(true) => {}
                    Ok(false) => return None,
                    Err(error) => return Some(Err(error)),
                },
                Err(error) => return Some(Err(error)),
            }
        }
    }
}
