//! Opening the store and reading what is desired.

use std::path::Path;

use ganger_store::{
    OpenError, Readers, SqliteOptions, SqliteReader, SqliteStore, Store, StoreRead, Writer,
    WriterThread,
};
use ganger_supervise::SlotResume;

use crate::desired::{Desired, DesiredError};

/// Connections that read: lists and looks are short, and the dispatcher needs one for itself.
const READERS: usize = 3;

/// An opened store.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(super) writer: Writer,
    pub(super) thread: WriterThread,
    pub(super) readers: Readers<SqliteReader>,
    pub(super) desired: Desired,
    /// Where a former daemon left instances without a process.
    pub(super) resting: Vec<SlotResume>,
}

impl Opened {
    /// Closes it again.
    pub(super) fn close(self) {
        let Self { writer, thread, readers, .. } = self;
        drop((writer, readers));
        thread.join();
    }
}

/// Why it could not be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreFault {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Desired(#[from] DesiredError),
    #[error("the store's thread can't be started: {0}")]
    Thread(#[from] std::io::Error),
    #[cfg(feature = "torture")]
    #[error("the torture can't be armed: {0}")]
    Torture(#[source] std::io::Error),
}

/// Opens the store and reads what is desired.
pub(crate) fn open(state_dir: &Path) -> Result<Opened, StoreFault> {
    #[cfg(feature = "torture")]
    ganger_sys::torture::arm(state_dir).map_err(StoreFault::Torture)?;
    let store = SqliteStore::open(SqliteOptions::new(state_dir.join("state.db")))?;
    let mut readers = Vec::with_capacity(READERS);
    for _ in 0..READERS {
        readers.push(store.reader().map_err(DesiredError::from)?);
    }
    let rows = readers[0].desired_all("").map_err(DesiredError::from)?;
    let (desired, resting) = Desired::from_rows(rows)?;
    let (writer, thread) = Writer::start(store)?;
    Ok(Opened { writer, thread, readers: Readers::new(readers), desired, resting })
}
