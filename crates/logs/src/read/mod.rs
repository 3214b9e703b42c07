//! Reading and searching logs, straight from the files.
//!
//! ```text
//! segments ─▶ Tape (offsets) ─▶ Forward / Back (lines of a stream) ─▶ Lines (all streams, in time order) ─▶ Follow
//! ```
//!
//! It needs no keeper, logger or daemon, holds nothing up, and can read while the mover writes, rotates and removes.
//! What is gone is counted (`Line::lost_before`), except what the cap removed before the oldest line that is left; of
//! that oldest line only a whole one is shown.

mod back;
mod follow;
mod forward;
mod merge;
mod tape;
#[cfg(test)]
mod tests;
mod times;
mod watch;

pub use follow::Follow;
pub use merge::Lines;

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ganger_core::Stream;
use serde::Serialize;

use crate::layout::{self, StreamKey};

/// Why logs can't be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// A file or folder can't be read.
    #[error("can't read logs at {}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// `--grep` got something that is no regular expression.
    #[error("`{pattern}` is no regular expression: {why}")]
    Pattern {
        /// As given.
        pattern: String,
        /// What is wrong with it.
        why: String,
    },
    /// The kernel gives no (more) inotify watches.
    #[error("can't watch {} for changes: {source}; raise fs.inotify.max_user_watches or max_user_instances", path.display())]
    Watch {
        /// Which.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

/// Which lines are wanted. The default is all of them.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// Services or pools by name; empty means all.
    pub names: Vec<String>,
    /// One slot only.
    pub slot: Option<u32>,
    /// One output only.
    pub stream: Option<Stream>,
    /// Not before this moment, unix milliseconds.
    pub since_ms: Option<u64>,
    /// Not after this moment, unix milliseconds.
    pub until_ms: Option<u64>,
    /// Only the last so many of the lines that match the rest.
    pub tail_n: Option<u64>,
    /// Only lines in which this is found; set it with [`Query::grep`].
    pub grep: Option<regex::bytes::Regex>,
}

impl Query {
    /// Lines of these names.
    #[must_use]
    pub fn of(names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { names: names.into_iter().map(Into::into).collect(), ..Self::default() }
    }

    /// Keeps only lines in which the regular expression is found.
    ///
    /// # Errors
    /// [`ReadError::Pattern`].
    pub fn grep(mut self, pattern: &str) -> Result<Self, ReadError> {
        self.grep =
            Some(regex::bytes::Regex::new(pattern).map_err(|e| ReadError::Pattern {
                pattern: pattern.to_owned(),
                why: e.to_string(),
            })?);
        Ok(self)
    }

    fn wants_name(&self, name: &str) -> bool {
        self.names.is_empty() || self.names.iter().any(|wanted| wanted == name)
    }

    fn wants(&self, key: &StreamKey) -> bool {
        self.wants_name(&key.name)
            && self.slot.is_none_or(|slot| slot == key.slot)
            && self.stream.is_none_or(|stream| stream == key.stream)
    }
}

/// One line of what a child said, without its line end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// When the chunk with the line's first byte arrived, unix nanoseconds. Never goes back within a stream.
    #[serde(skip)]
    pub ts_ns: u64,
    /// The service or pool.
    pub name: Arc<str>,
    /// Its slot.
    pub slot: u32,
    /// Which output.
    pub stream: Stream,
    /// The text; bytes that are no UTF-8 are shown as U+FFFD.
    pub line: String,
    /// This is not the start of a line: it goes on from a longer one, or its start is lost.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub continued: bool,
    /// Bytes of this stream that are missing right before this line (full disk, or removed before they were read).
    #[serde(skip_serializing_if = "is_zero")]
    pub lost_before: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(n: &u64) -> bool {
    *n == 0
}

impl Line {
    /// When it arrived, unix milliseconds.
    #[must_use]
    pub fn ts_ms(&self) -> u64 {
        self.ts_ns / 1_000_000
    }
}

/// The logs of one state folder.
#[derive(Debug, Clone)]
pub struct LogReader {
    dir: PathBuf,
}

impl LogReader {
    /// `dir` is `<state dir>/logs`. It need not exist yet.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// Names that have logs, sorted.
    ///
    /// # Errors
    /// [`ReadError::File`] when the folder is there but can't be listed.
    pub fn names(&self) -> Result<Vec<String>, ReadError> {
        layout::names(&self.dir).map_err(at_path(&self.dir))
    }

    /// What is there now, merged in time order over names, slots and streams. Memory is bounded.
    ///
    /// # Errors
    /// [`ReadError::File`].
    pub fn read(&self, query: &Query) -> Result<Lines, ReadError> {
        let mut keys = Vec::new();
        for name in self.names()? {
            if !query.wants_name(&name) {
                continue;
            }
            for slot in layout::slots(&self.dir, &name).map_err(at_path(&self.dir))? {
                for stream in [Stream::Stdout, Stream::Stderr] {
                    let key = StreamKey { name: name.clone(), slot, stream };
                    if query.wants(&key) {
                        keys.push(key);
                    }
                }
            }
        }
        Lines::open(&self.dir, keys, query, false)
    }

    /// The same, then every line that comes, until `stop` becomes readable or its other end closes; what was written
    /// before that is still given.
    /// Blocks its thread; survives rotation, removal and names that appear later. `until_ms` is not looked at; `tail_n`
    /// of 0 starts with what comes next. A last line without its end is held back until it has one.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn follow(&self, query: &Query, stop: OwnedFd) -> Result<Follow, ReadError> {
        Follow::open(&self.dir, &Query { until_ms: None, ..query.clone() }, stop)
    }

    /// The last `n` lines of one stream, oldest first, for "the last lines before it ended". At most 64 KiB; a line
    /// that doesn't fit is cut.
    ///
    /// # Errors
    /// [`ReadError::File`].
    pub fn tail_lines(
        &self,
        name: &str,
        slot: u32,
        stream: Stream,
        n: usize,
    ) -> Result<Vec<String>, ReadError> {
        let dir = layout::stream_dir(&self.dir, name, slot, stream);
        back::tail(dir.clone(), n).map_err(at_path(&dir))
    }
}

/// Says which path an error is about.
fn at_path(path: &Path) -> impl FnOnce(io::Error) -> ReadError {
    let path = path.to_owned();
    move |source| ReadError::File { path, source }
}
