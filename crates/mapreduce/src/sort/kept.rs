//! Sorted runs that outlive who made them: the list of a run's blocks stands at the end of its file.
//!
//! ```text
//! block | block | … | list: 64 bytes a block | number of blocks, CRC-32 of the list, its place, magic: 24 bytes
//! ```
//!
//! A file that was not ended, or is not as it was written, is [`SortError::Corrupt`]: what made it runs again.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::chunk::put_varint;
use super::ranges::Cut;
use super::run::{Meta, Run, Writer};
use super::{Merge, SortError};

const MAGIC: [u8; 8] = *b"gngrrun1";
const ENTRY: usize = 64;
const TAIL: usize = 24;

/// Writes records, which come in order, into a file that stays. Who made the file removes it.
pub struct RunFile {
    writer: Writer,
    records: u64,
    tail: Vec<u8>,
}

impl std::fmt::Debug for RunFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RunFile").field("records", &self.records).finish_non_exhaustive()
    }
}

impl RunFile {
    /// Makes the file.
    ///
    /// # Errors
    /// It exists, or can't be made.
    pub fn create(path: &Path) -> Result<Self, SortError> {
        let file = File::options().read(true).write(true).create_new(true).open(path);
        let file = file.map_err(SortError::io("create", path))?;
        Ok(Self { writer: Writer::kept(path.to_path_buf(), file), records: 0, tail: Vec::new() })
    }

    /// A record; keys come in order.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn push(&mut self, key: &[u8], value: &[u8]) -> Result<(), SortError> {
        self.tail.clear();
        put_varint(&mut self.tail, value.len());
        self.tail.extend_from_slice(value);
        self.records += 1;
        self.writer.push(key, &self.tail).map(|_| ())
    }

    /// Ends the file. Returns its records and bytes.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn end(self) -> Result<(u64, u64), SortError> {
        let (run, path, mut file, offset) = self.writer.end_kept()?;
        let mut list = Vec::with_capacity(run.len() * ENTRY + TAIL);
        for block in &run {
            put_block(&mut list, block);
        }
        let crc = crc32fast::hash(&list);
        list.extend_from_slice(&(run.len() as u32).to_le_bytes());
        list.extend_from_slice(&crc.to_le_bytes());
        list.extend_from_slice(&offset.to_le_bytes());
        list.extend_from_slice(&MAGIC);
        file.write_all(&list).map_err(SortError::io("write", path))?;
        Ok((self.records, offset + list.len() as u64))
    }
}

impl Run {
    /// Opens what [`RunFile`] wrote. The file stays when the run is dropped.
    ///
    /// # Errors
    /// It can't be read, or is not as it was written.
    pub fn open(path: &Path) -> Result<Self, SortError> {
        let file = File::open(path).map_err(SortError::io("open", path))?;
        let length = file.metadata().map_err(SortError::io("look at", path))?.len();
        let corrupt = |offset| SortError::Corrupt { path: PathBuf::from(path), block: 0, offset };
        let read = |at: u64, bytes: usize| {
            let mut buffer = vec![0; bytes];
            let read = file.read_exact_at(&mut buffer, at);
            read.map_err(SortError::io("read", path)).map(|()| buffer)
        };
        let tail_at = length.checked_sub(TAIL as u64).ok_or_else(|| corrupt(0))?;
        let tail = read(tail_at, TAIL)?;
        let blocks = number(&tail[..4]);
        let (crc, list_at) = (number(&tail[4..8]) as u32, number(&tail[8..16]));
        let list_bytes = blocks * ENTRY as u64;
        if tail[16..] != MAGIC || list_at.checked_add(list_bytes) != Some(tail_at) {
            return Err(corrupt(tail_at));
        }
        let list = read(list_at, usize::try_from(list_bytes).map_err(|_| corrupt(list_at))?)?;
        if crc32fast::hash(&list) != crc {
            return Err(corrupt(list_at));
        }
        let blocks = list.chunks_exact(ENTRY).map(block_of).collect();
        Ok(Self::of_file(PathBuf::from(path), file, blocks))
    }
}

/// Several runs as one in a file that stays.
///
/// # Errors
/// A run can't be read, or the file can't be written.
pub fn merge_into(runs: &[Run], path: &Path) -> Result<(u64, u64), SortError> {
    let mut file = RunFile::create(path)?;
    let mut merge = Merge::new(runs)?;
    while let Some(record) = merge.read()? {
        file.push(record.key, record.value)?;
    }
    file.end()
}

fn put_block(list: &mut Vec<u8>, block: &Meta) {
    list.extend_from_slice(block.first.bytes());
    for number in [block.packed, block.raw, block.crc, block.records] {
        list.extend_from_slice(&number.to_le_bytes());
    }
    list.extend_from_slice(&block.offset.to_le_bytes());
    list.extend_from_slice(&block.content.to_le_bytes());
}

fn block_of(entry: &[u8]) -> Meta {
    let small = |at: usize| number(&entry[at..at + 4]) as u32;
    Meta {
        first: Cut::before(&entry[..32]),
        packed: small(32),
        raw: small(36),
        crc: small(40),
        records: small(44),
        offset: number(&entry[48..56]),
        content: number(&entry[56..64]),
    }
}

/// Of at most eight bytes, the lowest first.
fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}
