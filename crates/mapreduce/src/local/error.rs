//! What can end a job.

use std::path::{Path, PathBuf};

use crate::input::InputError;
use crate::sort::SortError;

/// A job that did not reach its result. Nothing of its output counts.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// Its input can't be read as asked.
    #[error(transparent)]
    Input(#[from] InputError),
    /// Its runs can't be written or read back.
    #[error(transparent)]
    Sort(#[from] SortError),
    /// The folder for the result is there already.
    #[error("the output folder {} exists: name another, or remove it", path.display())]
    OutputExists {
        /// Which.
        path: PathBuf,
    },
    /// A system call on the result failed.
    #[error("can't {step} {}: {why}", path.display())]
    Output {
        /// What was being done.
        step: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        why: String,
    },
}

impl JobError {
    pub(crate) fn io(step: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_path_buf();
        move |why| Self::Output { step, path, why: why.to_string() }
    }
}
