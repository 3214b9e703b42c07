//! Where seals go besides the log: the `head` of the log's folder and the witness folder.
//!
//! A head is one line in a file of [`HEAD_BYTES`] that is written over with every group commit: no fsync, so it costs
//! microseconds, and still no kill of the process can lose it. Only a power cut can put it back a little; it is never
//! ahead of the log. The witness also keeps all checkpoints, appended and synced.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::error::AuditError;
use crate::hash::LogId;
use crate::keys::Keys;
use crate::seal::Seal;

/// Name of the head in the log's folder.
pub(crate) const HEAD_FILE: &str = "head";
/// One sector: it is written whole or not at all.
const HEAD_BYTES: usize = 512;

/// A file with a head.
#[derive(Debug)]
pub(crate) struct HeadFile {
    file: File,
    path: PathBuf,
}

/// What is in a head's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum HeadFound {
    Missing,
    /// Not a seal.
    Unreadable,
    There(Box<Seal>),
}

impl HeadFile {
    pub(crate) fn open(path: PathBuf) -> Result<Self, AuditError> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(&path).map_err(AuditError::io("opening", &path))?;
        Ok(Self { file, path })
    }

    pub(crate) fn put(&self, line: &[u8]) -> Result<(), AuditError> {
        let mut sector = [b' '; HEAD_BYTES];
        let text = line.trim_ascii_end();
        sector[..text.len().min(HEAD_BYTES - 1)]
            .copy_from_slice(&text[..text.len().min(HEAD_BYTES - 1)]);
        sector[HEAD_BYTES - 1] = b'\n';
        self.file.write_all_at(&sector, 0).map_err(AuditError::io("writing", &self.path))
    }

    fn sync(&self) -> Result<(), AuditError> {
        self.file.sync_data().map_err(AuditError::io("syncing", &self.path))
    }
}

/// Reads a head.
pub(crate) fn head_at(path: &Path) -> io::Result<HeadFound> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(HeadFound::Missing),
        Err(error) => return Err(error),
    };
    let mut sector = Vec::with_capacity(HEAD_BYTES);
    file.take(HEAD_BYTES as u64 + 1).read_to_end(&mut sector)?;
    // Made, and nothing put into it yet: a crash in the very beginning.
    if sector.is_empty() {
        return Ok(HeadFound::Missing);
    }
    let whole = sector.len() == HEAD_BYTES && sector.last() == Some(&b'\n');
    let text = sector[..sector.len().saturating_sub(1)].trim_ascii_end();
    let padded = sector[text.len()..].iter().rev().skip(1).all(|byte| *byte == b' ');
    let seal = if whole && padded { Seal::read(text) } else { None };
    Ok(seal.map_or(HeadFound::Unreadable, |seal| HeadFound::There(Box::new(seal))))
}

/// Path of a log's head in a witness folder.
pub(crate) fn head_path(witness: &Path, log: LogId) -> PathBuf {
    witness.join(format!("{log}.head"))
}

/// Path of a log's checkpoints in a witness folder.
pub(crate) fn seals_path(witness: &Path, log: LogId) -> PathBuf {
    witness.join(format!("{log}.seals"))
}

/// All places that seals go to.
#[derive(Debug)]
pub(crate) struct Places {
    heads: Vec<HeadFile>,
    seals: Option<(File, PathBuf)>,
}

impl Places {
    /// Opens them, and makes the witness folder if need be.
    pub(crate) fn open(
        folder: &Path,
        witness: Option<&Path>,
        log: LogId,
        keys: &Keys,
    ) -> Result<Self, AuditError> {
        let mut heads = vec![HeadFile::open(folder.join(HEAD_FILE))?];
        let Some(witness) = witness else { return Ok(Self { heads, seals: None }) };
        std::fs::create_dir_all(witness).map_err(AuditError::io("making", witness))?;
        heads.push(HeadFile::open(head_path(witness, log))?);
        let path = seals_path(witness, log);
        cut_torn(&path)?;
        let mut options = OpenOptions::new();
        let file = options.append(true).create(true).mode(0o600).open(&path);
        let file = file.map_err(AuditError::io("opening", &path))?;
        keys.publish(&witness.join(format!("{log}.pub")))?;
        sync_folder(witness)?;
        Ok(Self { heads, seals: Some((file, path)) })
    }

    /// After each group commit.
    pub(crate) fn head(&self, seal: &Seal) -> Result<(), AuditError> {
        let line = seal.line();
        self.heads.iter().try_for_each(|head| head.put(&line))
    }

    /// Brings the heads to the disk: at the end.
    pub(crate) fn sync(&self) -> Result<(), AuditError> {
        self.heads.iter().try_for_each(HeadFile::sync)
    }

    /// After each checkpoint.
    pub(crate) fn checkpoint(&mut self, seal: &Seal) -> Result<(), AuditError> {
        let Some((file, path)) = &mut self.seals else { return Ok(()) };
        file.write_all(&seal.line()).map_err(AuditError::io("writing", &*path))?;
        file.sync_data().map_err(AuditError::io("syncing", &*path))
    }
}

/// Cuts off what a full disk left of a line: that checkpoint was never acknowledged.
fn cut_torn(path: &Path) -> Result<(), AuditError> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(AuditError::io("reading", path)(error)),
    };
    let whole = memchr::memrchr(b'\n', &bytes).map_or(0, |at| at + 1);
    if whole == bytes.len() {
        return Ok(());
    }
    let file = OpenOptions::new().write(true).open(path);
    let cut = file.and_then(|file| {
        file.set_len(whole as u64)?;
        file.sync_all()
    });
    cut.map_err(AuditError::io("cutting", path))
}

/// Makes new names in a folder durable.
pub(crate) fn sync_folder(folder: &Path) -> Result<(), AuditError> {
    let synced = File::open(folder).and_then(|file| file.sync_all());
    synced.map_err(AuditError::io("syncing", folder))
}
