//! Sorted runs: blocks of records, packed, in memory or in a file.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::SortError;
use super::chunk::put_varint;
use super::ranges::Cut;

/// Bytes of records in a block, unless one is longer: a merge of a hundred runs holds a hundred of them.
const BLOCK: usize = 32 << 10;

/// A folder for runs. Names are unique to this value, a run removes its own file only.
#[derive(Debug)]
pub struct Spills {
    folder: PathBuf,
    /// Before the number: tells attempts apart.
    prefix: String,
    next: AtomicU64,
}

impl Spills {
    /// Runs go to `folder`, which is there, as `PREFIX-NUMBER.run`.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>, prefix: &str) -> Self {
        Self { folder: folder.into(), prefix: prefix.to_owned(), next: AtomicU64::new(0) }
    }

    /// How many files have been made.
    #[must_use]
    pub fn made(&self) -> u64 {
        self.next.load(Ordering::Relaxed)
    }

    fn create(&self) -> Result<Spilled, SortError> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let path = self.folder.join(format!("{}-{number}.run", self.prefix));
        let file = File::options().read(true).write(true).create_new(true).open(&path);
        let file = file.map_err(SortError::io("create", &path))?;
        Ok(Spilled { path, file, stays: false })
    }
}

#[derive(Debug)]
struct Spilled {
    path: PathBuf,
    file: File,
    /// It is somebody else's to remove.
    stays: bool,
}

impl Drop for Spilled {
    fn drop(&mut self) {
        if self.stays {
            return;
        }
        // A file that is gone already, or a folder that can't be written any more: nothing to be done about it here.
        let _ = std::fs::remove_file(&self.path);
    }
}

#[derive(Debug)]
enum Place {
    Memory(Vec<Box<[u8]>>),
    File(Spilled),
}

/// What is known of a block without reading it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Meta {
    /// Start of its first key.
    pub(super) first: Cut,
    pub(super) offset: u64,
    pub(super) packed: u32,
    pub(super) raw: u32,
    pub(super) crc: u32,
    pub(super) records: u32,
    /// Bytes of all keys and values.
    pub(super) content: u64,
}

/// Records in the order of their keys. Its file, if it has one, is removed when it is dropped.
#[derive(Debug)]
pub struct Run {
    place: Place,
    pub(super) blocks: Vec<Meta>,
}

impl Run {
    /// How many records.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.blocks.iter().map(|block| u64::from(block.records)).sum()
    }

    /// Its file, if it is not in memory.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match &self.place {
            Place::Memory(_) => None,
            Place::File(spilled) => Some(&spilled.path),
        }
    }

    pub(super) fn of_file(path: PathBuf, file: File, blocks: Vec<Meta>) -> Self {
        Self { place: Place::File(Spilled { path, file, stays: true }), blocks }
    }

    /// Bytes of memory that its blocks take.
    pub(super) fn memory(&self) -> usize {
        match &self.place {
            Place::Memory(blocks) => blocks.iter().map(|block| block.len()).sum(),
            Place::File(_) => 0,
        }
    }

    /// Unpacks a block into `raw`; `packed` is a buffer.
    pub(super) fn read(
        &self,
        block: usize,
        packed: &mut Vec<u8>,
        raw: &mut Vec<u8>,
    ) -> Result<(), SortError> {
        let meta = self.blocks[block];
        raw.resize(meta.raw as usize, 0);
        let corrupt = |path: &Path| SortError::Corrupt {
            path: path.to_path_buf(),
            block,
            offset: meta.offset,
        };
        match &self.place {
            Place::Memory(blocks) => {
                unpack(&blocks[block], raw).ok_or_else(|| corrupt(Path::new("(in memory)")))
            }
            Place::File(Spilled { path, file, .. }) => {
                packed.resize(meta.packed as usize, 0);
                match file.read_exact_at(packed, meta.offset) {
                    Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                        return Err(corrupt(path));
                    }
                    read => read.map_err(SortError::io("read", path))?,
                }
                if crc32fast::hash(packed) != meta.crc {
                    return Err(corrupt(path));
                }
                unpack(packed, raw).ok_or_else(|| corrupt(path))
            }
        }
    }
}

/// Text that does not get smaller is kept as it is.
fn unpack(packed: &[u8], raw: &mut [u8]) -> Option<()> {
    if packed.len() == raw.len() {
        raw.copy_from_slice(packed);
        return Some(());
    }
    let bytes = lz4_flex::block::decompress_into(packed, raw).ok()?;
    (bytes == raw.len()).then_some(())
}

/// Writes records, which come in order, as a run.
pub(super) struct Writer {
    place: Place,
    blocks: Vec<Meta>,
    offset: u64,
    raw: Vec<u8>,
    packed: Vec<u8>,
    records: u32,
    content: u64,
    first: Cut,
}

impl Writer {
    pub(super) fn in_memory() -> Self {
        Self::new(Place::Memory(Vec::new()))
    }

    pub(super) fn in_file(spills: &Spills) -> Result<Self, SortError> {
        Ok(Self::new(Place::File(spills.create()?)))
    }

    /// Into a file that stays.
    pub(super) fn kept(path: PathBuf, file: File) -> Self {
        Self::new(Place::File(Spilled { path, file, stays: true }))
    }

    fn new(place: Place) -> Self {
        Self {
            place,
            blocks: Vec::new(),
            offset: 0,
            raw: Vec::with_capacity(BLOCK * 2),
            packed: Vec::new(),
            records: 0,
            content: 0,
            first: Cut::LEAST,
        }
    }

    /// A key with its value, which has its length before it. Returns the bytes of memory that this took for good.
    pub(super) fn push(&mut self, key: &[u8], value: &[u8]) -> Result<usize, SortError> {
        if self.records == 0 {
            self.first = Cut::before(key);
        }
        put_varint(&mut self.raw, key.len());
        self.raw.extend_from_slice(key);
        self.raw.extend_from_slice(value);
        self.records += 1;
        self.content += (key.len() + value.len()) as u64;
        if self.raw.len() < BLOCK { Ok(0) } else { self.end_block() }
    }

    pub(super) fn end(mut self) -> Result<(Run, usize), SortError> {
        let bytes = if self.records > 0 { self.end_block()? } else { 0 };
        Ok((Run { place: self.place, blocks: self.blocks }, bytes))
    }

    /// The blocks of a file that stays, its path, the file at its end, and how long it is.
    pub(super) fn end_kept(mut self) -> Result<(Vec<Meta>, PathBuf, File, u64), SortError> {
        if self.records > 0 {
            self.end_block()?;
        }
        let Place::File(spilled) = &self.place else { unreachable!("it was made for a file") };
        let path = spilled.path.clone();
        let file = spilled.file.try_clone().map_err(SortError::io("write", &path))?;
        Ok((self.blocks, path, file, self.offset))
    }

    fn end_block(&mut self) -> Result<usize, SortError> {
        self.packed.resize(lz4_flex::block::get_maximum_output_size(self.raw.len()), 0);
        let packed = lz4_flex::block::compress_into(&self.raw, &mut self.packed)
            .ok()
            .filter(|bytes| *bytes < self.raw.len());
        let packed = packed.map_or(&self.raw[..], |bytes| &self.packed[..bytes]);
        self.blocks.push(Meta {
            first: self.first,
            offset: self.offset,
            packed: packed.len() as u32,
            raw: self.raw.len() as u32,
            crc: crc32fast::hash(packed),
            records: self.records,
            content: self.content,
        });
        self.offset += packed.len() as u64;
        let held = match &mut self.place {
            Place::Memory(blocks) => {
                blocks.push(packed.into());
                packed.len()
            }
            Place::File(Spilled { path, file, .. }) => {
                file.write_all(packed).map_err(SortError::io("write", path.as_path()))?;
                0
            }
        };
        self.raw.clear();
        (self.records, self.content) = (0, 0);
        Ok(held)
    }
}
