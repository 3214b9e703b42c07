//! Opening a folder: what a writer before left, killed or not, is found and gone on with.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FlockOperation, flock};

use super::keep::Marks;
use super::writer::Writer;
use super::{Disk, Journal, journal_path, window_of};
use crate::body::WINDOW;
use crate::counts::Counters;
use crate::key::Tick;
use crate::options::Options;
use crate::segment::{Stream, Tail};
use crate::view::{DAY, HOUR, Published, View};

/// Whoever writes the folder holds this file's lock.
const LOCK_FILE: &str = "lock";
/// Seconds after which a segment of a tier ends: a sixth of what fine samples are kept, a day of minutes, a month of hours.
const REACH: [Tick; 3] = [HOUR - WINDOW, DAY - HOUR, 30 * DAY];

/// The series of a folder could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process, or this one, writes them.
    #[error("another process writes the series in {}: end it first", .0.display())]
    Locked(PathBuf),
    /// A file could not be made, read or written.
    #[error("the series in {} could not be opened: {error}; look at space and rights of the folder (`df`, `ls -ld`)", path.display())]
    Io {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The writing thread could not be started.
    #[error("the thread that writes series could not be started: {0}")]
    Thread(io::Error),
}

impl Disk {
    /// Reads what is there. Blocks.
    pub(crate) fn open(
        options: Options,
        now: Tick,
        counters: Arc<Counters>,
    ) -> Result<(Self, Arc<Published>), OpenError> {
        let path = options.folder.clone();
        let io = |error| OpenError::Io { path: path.clone(), error };
        DirBuilder::new().recursive(true).mode(0o700).create(&path).map_err(io)?;
        let lock = lock(&path)?;
        let (view, [fine, minute, hour], journals) = View::load(&path).map_err(io)?;
        let window = window_of(now);
        let writer = |stream, n: usize, max, found| {
            Writer::open(&path, stream, max, REACH[n], found).map_err(io)
        };
        let journal = journals.into_iter().find(|(number, _)| Ok(*number) == u64::try_from(window));
        let journal = journal.map(|(_, end)| {
            let tail = Tail::open(&journal_path(&path, window), end).map_err(io)?;
            Ok(Journal { window, tail })
        });
        Counters::add(&counters.damaged, view.damaged);
        let published = Arc::new(Published::default());
        let mut disk = Self {
            fine: writer(Stream::Fine, 0, options.fine.max_bytes, fine)?,
            minute: writer(Stream::Minute, 1, options.minute.max_bytes, minute)?,
            hour: writer(Stream::Hour, 2, options.hour.max_bytes, hour)?,
            marks: Marks::open(&options).map_err(io)?,
            journal: journal.transpose()?,
            options,
            view,
            published: Arc::clone(&published),
            counters,
            work: None,
            due: Vec::new(),
            rolls_rest: false,
            now,
            _lock: lock,
        };
        disk.end_windows_before(window);
        disk.publish();
        Ok((disk, published))
    }
}

fn lock(folder: &Path) -> Result<File, OpenError> {
    let io = |error: io::Error| OpenError::Io { path: folder.to_path_buf(), error };
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(folder.join(LOCK_FILE))
        .map_err(io)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(OpenError::Locked(folder.to_path_buf())),
        Err(error) => Err(io(error.into())),
    }
}
