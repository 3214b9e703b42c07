//! Several runs as one.

use super::chunk::{part, varint};
use super::tree::Tree;
use super::{Cut, Run, SortError};

/// A record of a merge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its key.
    pub key: &'a [u8],
    /// Its value.
    pub value: &'a [u8],
    /// It has the key of the record before it.
    pub again: bool,
}

/// Reads runs as one run, in the order of keys; records of one key in the order of the runs, and in that of a run within it.
/// Holds one unpacked block of each.
#[derive(Debug)]
pub struct Merge<'a> {
    heads: Vec<Head<'a>>,
    tree: Tree,
    started: bool,
    /// The key that was last told.
    last: Vec<u8>,
}

#[derive(Debug)]
struct Head<'a> {
    run: &'a Run,
    /// The next block to unpack, and the first that is not read any more.
    block: usize,
    end: Cut,
    raw: Vec<u8>,
    packed: Vec<u8>,
    /// The first eight bytes of the key; the largest number when there is no more.
    part: u64,
    key: (usize, usize),
    value: (usize, usize),
    done: bool,
}

impl<'a> Merge<'a> {
    /// All records of `runs`.
    ///
    /// # Errors
    /// A run can't be read.
    pub fn new(runs: &'a [Run]) -> Result<Self, SortError> {
        Self::range(runs, Cut::LEAST, Cut::MOST)
    }

    /// The records with keys from one cut to before the other.
    ///
    /// # Errors
    /// A run can't be read.
    pub fn range(runs: &'a [Run], from: Cut, to: Cut) -> Result<Self, SortError> {
        let mut heads = Vec::with_capacity(runs.len());
        for run in runs {
            heads.push(Head::open(run, from, to)?);
        }
        let tree = Tree::new(heads.len(), |a, b| before(&heads, a, b));
        Ok(Self { heads, tree, started: false, last: Vec::new() })
    }

    /// The next record; `None` at the end.
    ///
    /// # Errors
    /// A run can't be read.
    pub fn read(&mut self) -> Result<Option<Record<'_>>, SortError> {
        let first = !self.started;
        self.started = true;
        if !first && let Some(head) = self.heads.get_mut(self.tree.winner()) {
            if head.done {
                return Ok(None);
            }
            head.advance()?;
            let heads = &self.heads;
            self.tree.replay(|a, b| before(heads, a, b));
        }
        let Some(head) = self.heads.get(self.tree.winner()).filter(|head| !head.done) else {
            return Ok(None);
        };
        let key = head.key();
        let again = !first && key == self.last;
        if !again {
            self.last.clear();
            self.last.extend_from_slice(key);
        }
        Ok(Some(Record { key, value: &head.raw[head.value.0..head.value.1], again }))
    }
}

#[inline]
fn before(heads: &[Head<'_>], a: usize, b: usize) -> bool {
    let (one, two) = (&heads[a], &heads[b]);
    if one.part != two.part {
        return one.part < two.part;
    }
    if one.done || two.done {
        return !one.done || (two.done && a < b);
    }
    one.key().cmp(two.key()).then(a.cmp(&b)).is_lt()
}

impl<'a> Head<'a> {
    /// At the first record that is not before `from`.
    fn open(run: &'a Run, from: Cut, to: Cut) -> Result<Self, SortError> {
        // The block before the first that begins behind the cut may have records behind it.
        let block = run.blocks.partition_point(|block| block.first < from).saturating_sub(1);
        let mut head = Self {
            run,
            block,
            end: to,
            raw: Vec::new(),
            packed: Vec::new(),
            part: 0,
            key: (0, 0),
            value: (0, 0),
            done: false,
        };
        head.advance()?;
        while !head.done && Cut::before(head.key()) < from {
            head.advance()?;
        }
        Ok(head)
    }

    #[inline]
    fn key(&self) -> &[u8] {
        &self.raw[self.key.0..self.key.1]
    }

    #[inline]
    fn advance(&mut self) -> Result<(), SortError> {
        if self.value.1 == self.raw.len() {
            let more = self.run.blocks.get(self.block).is_some_and(|block| block.first < self.end);
            if !more {
                self.close();
                return Ok(());
            }
            self.run.read(self.block, &mut self.packed, &mut self.raw)?;
            self.block += 1;
            self.value.1 = 0;
        }
        // The block's checksum was right, so its lengths are ours.
        let start = self.value.1;
        let (key, bytes) = varint(&self.raw[start..]).unwrap_or((0, 0));
        self.key = (start + bytes, start + bytes + key);
        let (value, bytes) = varint(&self.raw[self.key.1..]).unwrap_or((0, 0));
        self.value = (self.key.1 + bytes, self.key.1 + bytes + value);
        self.part = part(self.key(), 0);
        if self.end != Cut::MOST && Cut::before(self.key()) >= self.end {
            self.close();
        }
        Ok(())
    }

    fn close(&mut self) {
        self.done = true;
        self.part = u64::MAX;
        self.raw = Vec::new();
    }
}
