//! Why a map can't go on. A job that fails is none of these.

use std::io;
use std::path::PathBuf;

/// What ended a map before its end.
#[derive(Debug, thiserror::Error)]
pub enum MapError {
    /// The command.
    #[error(transparent)]
    Template(#[from] crate::TemplateError),
    /// A source of values.
    #[error("can't read {what}: {source}")]
    Read {
        /// Which.
        what: String,
        /// Why.
        source: io::Error,
    },
    /// Several sources at once are held in memory.
    #[error("the sources hold more than {most} bytes together; give one source, which is streamed")]
    TooMany {
        /// Bytes.
        most: usize,
    },
    /// A glob.
    #[error("glob {pattern}: {why}")]
    Glob {
        /// As written.
        pattern: String,
        /// What about it.
        why: String,
    },
    /// A file of ganger's own: buffers, results, the job log.
    #[error("{what} {path}: {source}", path = path.display())]
    File {
        /// What for.
        what: &'static str,
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What jobs said can't be passed on.
    #[error("can't write the output: {0}")]
    Output(io::Error),
    /// A kernel facility.
    #[error(transparent)]
    Keeper(#[from] ganger_keeper::KeeperError),
}

impl MapError {
    /// The reader of the output went away: no failure worth a word.
    #[must_use]
    pub fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}
