//! Looking up times in the indexes of one stream, with one block of stamps in memory.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use crate::layout::{index_path, segment_path};
use crate::stamp::{STAMP_BYTES, Stamp, modified_ns};

/// Stamps read at once: one page.
const BLOCK: u64 = 4096 / STAMP_BYTES;

#[derive(Debug)]
pub(super) struct Times {
    dir: PathBuf,
    /// Stamps of one segment that follow each other.
    segment: Option<u64>,
    block: Vec<Stamp>,
    /// Bytes before this offset are covered by the block.
    known_to: u64,
}

impl Times {
    pub(super) fn new(dir: PathBuf) -> Self {
        Self { dir, segment: None, block: Vec::new(), known_to: 0 }
    }

    /// When the byte at `offset` of the segment came: the last stamp at or before it. A segment without stamps came when
    /// its file was last written. `end`: how far the segment was seen; as stamps are written before their bytes, all
    /// stamps of bytes before it are there.
    pub(super) fn at(&mut self, segment: u64, end: u64, offset: u64) -> io::Result<u64> {
        let first = self.block.first().map(|stamp| stamp.offset);
        let known = self.segment == Some(segment) && first.is_some_and(|first| first <= offset);
        if !known || offset >= self.known_to {
            let Some(index) = self.open(segment)? else { return self.file_time(segment) };
            let number = search(&index, |stamp| stamp.offset <= offset)?;
            let Some(number) = number.checked_sub(1) else { return self.file_time(segment) };
            let all = self.load(segment, &index, number)?;
            self.known_to = if all { end } else { self.block.last().map_or(0, |s| s.offset) };
        }
        let after = self.block.partition_point(|stamp| stamp.offset <= offset);
        match after.checked_sub(1) {
            Some(at) => Ok(self.block[at].ns),
            None => self.file_time(segment),
        }
    }

    /// Offset of the first stamp at `ns` or later.
    pub(super) fn first_since(&mut self, segment: u64, ns: u64) -> io::Result<Option<u64>> {
        let Some(index) = self.open(segment)? else { return Ok(None) };
        let number = search(&index, |stamp| stamp.ns < ns)?;
        self.load(segment, &index, number)?;
        self.known_to = 0;
        Ok(self.block.first().map(|stamp| stamp.offset))
    }

    fn open(&self, segment: u64) -> io::Result<Option<File>> {
        match File::open(index_path(&self.dir, segment)) {
            Ok(index) => Ok(Some(index)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Reads a block from stamp `number` on; true when it holds all that follow.
    fn load(&mut self, segment: u64, index: &File, number: u64) -> io::Result<bool> {
        let mut bytes = [0; (BLOCK * STAMP_BYTES) as usize];
        let n = index.read_at(&mut bytes, number * STAMP_BYTES)?;
        self.block.clear();
        self.block.extend(bytes[..n].chunks(STAMP_BYTES as usize).filter_map(Stamp::decode));
        self.segment = Some(segment);
        Ok(n < bytes.len())
    }

    fn file_time(&self, segment: u64) -> io::Result<u64> {
        match File::open(segment_path(&self.dir, segment)) {
            Ok(file) => modified_ns(&file),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(e) => Err(e),
        }
    }
}

/// How many stamps from the front fulfil `holds`, which is true up to some point and false after it.
fn search(index: &File, holds: impl Fn(&Stamp) -> bool) -> io::Result<u64> {
    let (mut low, mut high) = (0, index.metadata()?.len() / STAMP_BYTES);
    while low < high {
        let middle = low + (high - low) / 2;
        match Stamp::read(index, middle) {
            Ok(stamp) if holds(&stamp) => low = middle + 1,
            Ok(_) => high = middle,
            // Cut by a mover that mends it just now.
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => high = middle,
            Err(e) => return Err(e),
        }
    }
    Ok(low)
}
