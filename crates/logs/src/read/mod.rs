//! Reading and searching logs, straight from the files.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use ganger_core::Stream;
use serde::Serialize;

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
    grep: Option<regex::bytes::Regex>,
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
        let _ = &self.dir;
        Ok(Vec::new())
    }

    /// What is there now, merged in time order over names, slots and streams. Memory is bounded.
    ///
    /// # Errors
    /// [`ReadError::File`].
    pub fn read(&self, query: &Query) -> Result<Lines, ReadError> {
        let _ = query;
        Ok(Lines {})
    }

    /// The same, then every line that comes, until `stop` becomes readable (or its other end closes).
    /// Blocks its thread; survives rotation, removal and names that appear later.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn follow(&self, query: &Query, stop: OwnedFd) -> Result<Follow, ReadError> {
        let _ = (query, stop);
        Ok(Follow {})
    }

    /// The last `n` lines of one stream, oldest first, for "the last lines before it ended". At most 64 KiB.
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
        let _ = (name, slot, stream, n);
        Ok(Vec::new())
    }
}

/// Lines that are there; made by [`LogReader::read`].
#[derive(Debug)]
pub struct Lines {}

impl Iterator for Lines {
    type Item = Result<Line, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        None
    }
}

/// Lines as they come; made by [`LogReader::follow`]. `next` blocks.
#[derive(Debug)]
pub struct Follow {}

impl Iterator for Follow {
    type Item = Result<Line, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        None
    }
}
