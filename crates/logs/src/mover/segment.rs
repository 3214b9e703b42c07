//! The one segment of a stream that is being written, and its index.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use crate::layout::{index_path, segment_path};
use crate::stamp::{STAMP_BYTES, Stamp, complete};

/// Within this span a stream that speaks alone gets one stamp. It keeps the index of a chatty stream small; nobody can
/// tell the order of two streams from it, since only one spoke; and no program starts and speaks in so short a time, so
/// "since its start" misses nothing.
const COALESCE_NS: u64 = 100_000;

/// A segment open for appending. Its file position is where the next byte goes.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) file: File,
    index: File,
    stamps: u64,
    last: Option<Stamp>,
    /// When its first byte came.
    pub(crate) oldest_ns: Option<u64>,
    /// Bytes in it.
    pub(crate) len: u64,
    /// The stream's offset of its first byte.
    pub(crate) start: u64,
}

impl Segment {
    /// Opens the segment that starts at `start`, or makes it; continues where its file ends.
    pub(crate) fn open(dir: &Path, start: u64) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        let open = |path: &Path| {
            // Never O_APPEND: splice refuses such a file (splice(2), EINVAL).
            let mut options = File::options();
            options.read(true).write(true).create(true).truncate(false).mode(0o600);
            options.open(path)
        };
        let mut file = open(&segment_path(dir, start))?;
        let index = open(&index_path(dir, start))?;
        let len = io::Seek::seek(&mut file, io::SeekFrom::End(0))?;
        let (stamps, last) = complete(&index, &file, start, start + len)?;
        let first = if stamps > 0 { Some(Stamp::read(&index, 0)?.ns) } else { None };
        Ok(Self { file, index, stamps, last, oldest_ns: first, len, start })
    }

    /// Says that what comes next comes at `ns`. `alone`: no other
    /// stream spoke since the last stamp.
    pub(crate) fn stamp(&mut self, ns: u64, alone: bool) -> io::Result<()> {
        let offset = self.start + self.len;
        let number = match self.last {
            Some(last) if last.offset == offset => self.stamps - 1,
            Some(last) if alone && ns < last.ns + COALESCE_NS => return Ok(()),
            _ => self.stamps,
        };
        let stamp = Stamp { offset, ns };
        stamp.write(&self.index, number)?;
        self.stamps = number + 1;
        self.last = Some(stamp);
        if number == 0 {
            self.oldest_ns = Some(ns);
        }
        Ok(())
    }

    /// Time of the newest stamp.
    pub(crate) fn newest_ns(&self) -> Option<u64> {
        self.last.map(|last| last.ns)
    }

    /// Bytes on disk, index included, once `more` bytes and their stamp are added.
    pub(crate) fn weight_with(&self, more: u64) -> u64 {
        self.len + more + (self.stamps + 1) * STAMP_BYTES
    }

    /// Bytes of its index.
    pub(crate) fn index_len(&self) -> u64 {
        self.stamps * STAMP_BYTES
    }

    /// Is the file still the one in the folder, with all its bytes? Someone may have removed or truncated it.
    pub(crate) fn is_sound(&self) -> bool {
        self.file.metadata().is_ok_and(|meta| meta.nlink() > 0 && meta.size() == self.len)
    }
}

/// Removes a segment and its index. One that is gone already is fine.
pub(crate) fn remove(dir: &Path, start: u64) -> io::Result<()> {
    let unlink = |path: &Path| match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    };
    // The segment first: an index alone is harmless, and the next segment of that start would take it over.
    unlink(&segment_path(dir, start))?;
    unlink(&index_path(dir, start))
}
