//! What can be wrong with input: each names the file, and the place in it where there is one.

use std::path::PathBuf;

/// Input that can't be read as asked. Offsets are bytes of the file, or of what it unpacks to when it is compressed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InputError {
    /// No file has such a name.
    #[error(
        "no file matches {pattern}: look at the spelling, and quote globs so that the shell leaves them alone"
    )]
    NoMatch {
        /// As it was given.
        pattern: String,
    },
    /// The pattern itself is wrong.
    #[error("{pattern} is no pattern: {why}")]
    BadPattern {
        /// As it was given.
        pattern: String,
        /// What is wrong, and where.
        why: String,
    },
    /// A system call on a file failed.
    #[error("can't {step} {}: {why}", path.display())]
    Unreadable {
        /// What was being done.
        step: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        why: String,
    },
    /// A folder, a socket, a device.
    #[error("{} is not a regular file; for a folder's files write {}/**/*", path.display(), path.display())]
    NotAFile {
        /// Which.
        path: PathBuf,
    },
    /// The name says compressed, the first bytes say otherwise.
    #[error("{} is named like a {packing} file and is none: rename it, or make it again", path.display())]
    NotPacked {
        /// Which.
        path: PathBuf,
        /// `gzip` or `zstd`.
        packing: &'static str,
    },
    /// Compressed data that ends too early or is damaged.
    #[error("{} is cut off or damaged: unpacking failed at byte {offset} of its content: {why}", path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
        /// So many bytes came out before.
        offset: u64,
        /// What the decoder said.
        why: String,
    },
    /// A record is longer than the limit.
    #[error("the record at byte {offset} of {} is longer than {max} bytes: raise the record limit, or look whether the delimiter is right", path.display())]
    RecordTooLong {
        /// Which file.
        path: PathBuf,
        /// Where the record starts.
        offset: u64,
        /// The limit.
        max: usize,
    },
    /// The last record of a file of fixed-length records is short.
    #[error("{} ends within a record: {left} bytes stand at byte {offset}, a record has {length}", path.display())]
    Ragged {
        /// Which file.
        path: PathBuf,
        /// Where the short record starts.
        offset: u64,
        /// Bytes that are there.
        left: usize,
        /// Bytes of a record.
        length: usize,
    },
    /// A quote of a CSV file is never closed.
    #[error("{} ends within quotes: the record at byte {offset} has a quote without its pair", path.display())]
    OpenQuote {
        /// Which file.
        path: PathBuf,
        /// Where the record starts.
        offset: u64,
    },
    /// The file is shorter than when the job was planned.
    #[error("{} became shorter while it was read: byte {offset} is gone; run the job again when nobody writes it", path.display())]
    Shrunk {
        /// Which file.
        path: PathBuf,
        /// The first byte that is missing.
        offset: u64,
    },
    /// A record form that can't be.
    #[error("{0}")]
    BadFormat(String),
}

impl InputError {
    pub(crate) fn io(
        step: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |why| Self::Unreadable { step, path, why: why.to_string() }
    }
}
