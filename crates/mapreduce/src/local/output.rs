//! Where a job's result goes: a folder of its own, whose parts count only once the manifest names them.
//!
//! ```text
//! create ─▶ part-00000, part-00001, … ─▶ each synced ─▶ _manifest.new synced ─▶ linked as _manifest: committed
//!    └ the folder exists: refused          └ dropped before that: its own files are removed, nobody else's
//! ```

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::JobError;

/// The name that makes the parts count.
pub const MANIFEST: &str = "_manifest";

/// A result that is being written.
#[derive(Debug)]
pub struct Output {
    folder: PathBuf,
    made: Vec<PathBuf>,
    committed: bool,
}

/// A part that was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Its number, from 0.
    pub number: usize,
    /// Its length in bytes.
    pub bytes: u64,
    /// CRC-32 of its bytes.
    pub crc: u32,
}

impl Output {
    /// Makes the folder; the one that it is in is there.
    ///
    /// # Errors
    /// It exists, or can't be made.
    pub fn create(folder: &Path) -> Result<Self, JobError> {
        std::fs::create_dir(folder).map_err(|error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => {
                JobError::OutputExists { path: folder.to_path_buf() }
            }
            _ => JobError::io("create", folder)(error),
        })?;
        Ok(Self { folder: folder.to_path_buf(), made: Vec::new(), committed: false })
    }

    /// Path of a part.
    #[must_use]
    pub fn part(&self, number: usize) -> PathBuf {
        self.folder.join(format!("part-{number:05}"))
    }

    /// Makes the files of `count` parts.
    ///
    /// # Errors
    /// One can't be made.
    pub fn open_parts(&mut self, count: usize) -> Result<Vec<(usize, PathBuf, File)>, JobError> {
        let mut parts = Vec::with_capacity(count);
        for number in 0..count {
            let path = self.part(number);
            let file = File::create_new(&path).map_err(JobError::io("create", &path))?;
            self.made.push(path.clone());
            parts.push((number, path, file));
        }
        Ok(parts)
    }

    /// The result is whole: `NAME TAB BYTES TAB CRC` of each part, on disk before this returns.
    ///
    /// # Errors
    /// The manifest can't be written; the result does not count and is removed.
    pub fn commit(mut self, parts: &[Part]) -> Result<PathBuf, JobError> {
        let new = self.folder.join("_manifest.new");
        let manifest = self.folder.join(MANIFEST);
        let mut text = String::new();
        for part in parts {
            text.push_str(&format!("part-{:05}\t{}\t{:08x}\n", part.number, part.bytes, part.crc));
        }
        self.made.push(new.clone());
        let mut file = File::create_new(&new).map_err(JobError::io("create", &new))?;
        let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
        written.map_err(JobError::io("write", &new))?;
        std::fs::hard_link(&new, &manifest).map_err(JobError::io("link", &manifest))?;
        self.committed = true;
        // The manifest stands under its name: what is left of the other is of no meaning.
        let _ = std::fs::remove_file(&new);
        let folder = File::open(&self.folder).and_then(|folder| folder.sync_all());
        folder.map_err(JobError::io("sync", &self.folder))?;
        Ok(manifest)
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if self.committed {
            return;
        }
        for path in &self.made {
            // What can't be removed stays without a manifest and counts for nothing.
            let _ = std::fs::remove_file(path);
        }
        // Fails when somebody else put something there, which is theirs.
        let _ = std::fs::remove_dir(&self.folder);
    }
}
