//! What can go wrong with runs.

use std::path::PathBuf;

/// A run can't be written or read back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SortError {
    /// The volume of the spill folder has no room.
    #[error("no space for a sorted run in {}: make room, choose another spill folder, or a larger memory budget", path.display())]
    Full {
        /// The run's file.
        path: PathBuf,
    },
    /// A system call failed.
    #[error("can't {step} the sorted run {}: {why}", path.display())]
    Io {
        /// What was being done.
        step: &'static str,
        /// The run's file.
        path: PathBuf,
        /// What the system said.
        why: String,
    },
    /// A block is not as it was written: the disk, the memory, or somebody who wrote there.
    #[error("the sorted run {} is damaged: block {block} at byte {offset} is not as it was written; what made it has to run again", path.display())]
    Corrupt {
        /// The run's file.
        path: PathBuf,
        /// Number of the block.
        block: usize,
        /// Its place in the file.
        offset: u64,
    },
    /// A key and its value take more than a run can hold.
    #[error("a record of {bytes} bytes is too long to be sorted: at most {max}")]
    TooLong {
        /// Its bytes.
        bytes: usize,
        /// The bound.
        max: usize,
    },
}

impl SortError {
    pub(super) fn io(
        step: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |why| match why.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                Self::Full { path }
            }
            _ => Self::Io { step, path, why: why.to_string() },
        }
    }
}
