//! A disk with a cache that a power cut empties: beside each file SQLite writes lies what of it was synced.
//!
//! `state.db` and `state.db-wal` are what the running process sees, `….synced` what a power cut would leave. Writes wait in
//! memory, in order, until the file's sync; the next daemon begins with [`power_up`]. What was not synced is lost whole: the
//! cache never writes anything by itself, which is the worst a disk may do short of lying about a sync.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The files that matter, by what is added to the database's name.
const SUFFIXES: [&str; 2] = ["", "-wal"];

/// Puts the files back to what was synced, as a power cut does.
pub(super) fn power_up(state_dir: &Path) -> io::Result<()> {
    let database = state_dir.join("state.db");
    for suffix in SUFFIXES {
        let file = with(&database, suffix);
        let synced = with(&file, ".synced");
        if synced.exists() {
            std::fs::copy(&synced, &file)?;
        } else {
            remove(&file)?;
        }
    }
    // Shared memory is memory.
    remove(&with(&database, "-shm"))
}

fn with(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Something that waits for a sync.
#[derive(Debug)]
enum Pending {
    Write { at: u64, bytes: Vec<u8> },
    Truncate(u64),
}

/// One file's cache.
#[derive(Debug)]
pub(super) struct Cache {
    synced: PathBuf,
    file: Option<File>,
    pending: Vec<Pending>,
}

impl Cache {
    /// The cache of the file at `path`.
    pub(super) fn of(path: &Path) -> Self {
        Self { synced: with(path, ".synced"), file: None, pending: Vec::new() }
    }

    pub(super) fn write(&mut self, at: u64, bytes: &[u8]) {
        self.pending.push(Pending::Write { at, bytes: bytes.to_vec() });
    }

    pub(super) fn truncate(&mut self, size: u64) {
        self.pending.push(Pending::Truncate(size));
    }

    /// All that waits becomes what a power cut leaves.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        if self.file.is_none() {
            let mut options = OpenOptions::new();
            options.write(true).create(true).truncate(false).mode(0o600);
            self.file = Some(options.open(&self.synced)?);
        }
        let Some(file) = &self.file else { return Ok(()) };
        for pending in self.pending.drain(..) {
            match pending {
                Pending::Write { at, bytes } => file.write_all_at(&bytes, at)?,
                Pending::Truncate(size) => file.set_len(size)?,
            }
        }
        Ok(())
    }

    /// The file is gone, and so is what was synced of it.
    pub(super) fn delete(&mut self) -> io::Result<()> {
        self.file = None;
        self.pending.clear();
        remove(&self.synced)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_synced_is_there_after_a_power_cut() {
        let folder = tempfile::tempdir().expect("a folder");
        let database = folder.path().join("state.db");
        let mut cache = Cache::of(&database);
        cache.write(0, b"abcdef");
        cache.truncate(4);
        cache.sync().expect("a sync");
        cache.write(1, b"XX");
        std::fs::write(&database, b"aXXd").expect("the running file");
        std::fs::write(with(&database, "-wal"), b"never synced").expect("the running log");
        power_up(folder.path()).expect("power");
        assert_eq!(std::fs::read(&database).expect("the file"), b"abcd");
        assert!(!with(&database, "-wal").exists());
        cache.sync().expect("a sync");
        power_up(folder.path()).expect("power");
        assert_eq!(std::fs::read(&database).expect("the file"), b"aXXd");
        cache.delete().expect("a deletion");
        power_up(folder.path()).expect("power");
        assert!(!database.exists());
    }
}
