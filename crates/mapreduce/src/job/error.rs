//! What can end a job, or one attempt of it.

use std::path::{Path, PathBuf};

use ganger_core::End;

use crate::input::InputError;
use crate::plan::AttemptId;
use crate::sort::SortError;

/// A job that did not reach its result: nothing of it stands in the output folder. What was committed stays in the job's own folder.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Its input can't be read as asked.
    #[error(transparent)]
    Input(#[from] InputError),
    /// The folder for the result is there already.
    #[error("the output folder {} exists: name another, or remove it", path.display())]
    OutputExists {
        /// Which.
        path: PathBuf,
    },
    /// Somebody began this job, and did not end it.
    #[error("{} holds a job that was not finished: --resume goes on with it, --fresh throws it away", path.display())]
    Unfinished {
        /// The job's own folder.
        path: PathBuf,
    },
    /// What is there was begun with other words, or its input has changed since.
    #[error("the unfinished job in {} is another: {why}; --fresh throws it away", path.display())]
    OtherJob {
        /// The job's own folder.
        path: PathBuf,
        /// What differs.
        why: String,
    },
    /// Another process works at it.
    #[error("the job in {} is being worked at by another process", path.display())]
    Busy {
        /// The job's own folder.
        path: PathBuf,
    },
    /// More splits or reducers than a plan can name.
    #[error("{0}")]
    TooMuch(String),
    /// The children can't be held.
    #[error("{0}")]
    Keeper(#[from] ganger_keeper::KeeperError),
    /// A task is given up.
    #[error("{task} failed for good: {why}")]
    Dead {
        /// `map 3` or `reduce 0`.
        task: String,
        /// Its last failure.
        why: String,
    },
    /// A signal ended it.
    #[error("interrupted; what is done is kept in {}: --resume goes on", path.display())]
    Interrupted {
        /// The signal.
        signal: i32,
        /// The job's own folder.
        path: PathBuf,
    },
    /// A system call on the job's own files, or on the result, failed.
    #[error("can't {step} {}: {why}", path.display())]
    Files {
        /// What was being done.
        step: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        why: String,
    },
}

impl RunError {
    pub(super) fn io(
        step: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |why| Self::Files { step, path, why: why.to_string() }
    }
}

/// An attempt that has no result.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Input(#[from] InputError),
    #[error(transparent)]
    Sort(#[from] SortError),
    /// What a map left can't be read any more.
    #[error("what map {map} left can't be read: {why}")]
    SpillLost { map: u32, of: AttemptId, why: String },
    #[error("{program} {}", ended(end, said))]
    Child { program: String, end: End, said: String },
    #[error("{program} neither read nor wrote anything for {secs} s and was ended")]
    Hung { program: String, secs: u64 },
    #[error("{program} wrote a line longer than {max} bytes, at byte {offset} of its output")]
    LineTooLong { program: String, offset: u64, max: usize },
    #[error("the value of the key `{key}` is no number: `{value}`")]
    NoNumber { key: String, value: String },
    #[error("can't {step} {}: {why}", path.display())]
    Io { step: &'static str, path: PathBuf, why: String },
    /// Nobody wants it any more.
    #[error("not wanted any more")]
    Dropped,
}

fn ended(end: &End, said: &str) -> String {
    let said = said.trim();
    if said.is_empty() { end.to_string() } else { format!("{end}; it said last: {said}") }
}

impl Failure {
    pub(super) fn io(
        step: &'static str,
        path: impl AsRef<Path>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.as_ref().to_path_buf();
        move |why| Self::Io { step, path, why: why.to_string() }
    }

    /// Somebody from outside ended its process: that is no failure of the task's own.
    pub(super) fn is_loss(&self) -> bool {
        const FROM_OUTSIDE: [i32; 4] = [1, 2, 9, 15];
        match self {
            Self::Child { end: End::Signalled { signal, by, .. }, .. } => {
                FROM_OUTSIDE.contains(signal) && *by != ganger_core::SignalSource::OomKiller
            }
            Self::Child { end: End::Lost, .. } | Self::Dropped => true,
            _ => false,
        }
    }
}
