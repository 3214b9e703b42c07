//! One slot's records on their way into runs.

use super::chunk::{Chunk, RECORD_MAX, put_varint};
use super::run::Writer;
use super::{Budget, Merge, Run, SortError, Spills};
use crate::table::{Fold, Sorted};

/// Runs that are merged at once: their blocks together fit the part of the budget that is kept for them, and one read of
/// a disk still brings a whole block.
const FAN_IN: usize = 128;

/// Takes records in any order and gives sorted runs.
#[derive(Debug)]
pub struct Sorter<'a> {
    budget: &'a Budget,
    spills: &'a Spills,
    chunk: Chunk,
    chunk_max: usize,
    /// In memory.
    runs: Vec<Run>,
    /// In files.
    spilled: Vec<Run>,
    /// Bytes of the budget for the chunk, and for the runs in memory.
    chunk_taken: usize,
    runs_taken: usize,
}

impl<'a> Sorter<'a> {
    /// A sorter for one slot.
    #[must_use]
    pub fn new(budget: &'a Budget, spills: &'a Spills) -> Self {
        let chunk_max = budget.chunk();
        budget.take(chunk_max);
        Self {
            budget,
            spills,
            chunk: Chunk::default(),
            chunk_max,
            runs: Vec::new(),
            spilled: Vec::new(),
            chunk_taken: chunk_max,
            runs_taken: 0,
        }
    }

    /// Takes a record.
    ///
    /// # Errors
    /// It is too long, or a run can't be written.
    #[inline]
    pub fn push(&mut self, key: &[u8], value: &[u8]) -> Result<(), SortError> {
        let bytes = key.len() + value.len();
        // 32: what the index and the lengths take.
        if self.chunk.bytes() + bytes + 32 > self.chunk_max {
            self.end_chunk()?;
            if bytes > RECORD_MAX {
                return Err(SortError::TooLong { bytes, max: RECORD_MAX });
            }
        }
        self.chunk.push(key, value);
        Ok(())
    }

    /// Takes the content of a table as a run.
    ///
    /// # Errors
    /// A run can't be written.
    pub fn push_sorted<V: Fold>(
        &mut self,
        sorted: &Sorted<V>,
        mut encode: impl FnMut(V, &mut Vec<u8>),
    ) -> Result<(), SortError> {
        let mut writer = Writer::in_memory();
        let (mut value, mut tail) = (Vec::new(), Vec::new());
        sorted.each(|key, folded| {
            value.clear();
            tail.clear();
            encode(folded, &mut value);
            put_varint(&mut tail, value.len());
            tail.extend_from_slice(&value);
            let held = writer.push(key, &tail)?;
            self.take(held)
        })?;
        self.end_run(writer)
    }

    /// The runs: those in files first. The budget's bytes stay taken until the runs are given to [`Sorter::release`].
    ///
    /// # Errors
    /// A run can't be written.
    pub fn finish(mut self) -> Result<Vec<Run>, SortError> {
        self.end_chunk()?;
        let mut runs = std::mem::take(&mut self.spilled);
        runs.append(&mut self.runs);
        self.budget.give(self.chunk_taken);
        // Those of the runs go on with them.
        (self.chunk_taken, self.runs_taken) = (0, 0);
        Ok(runs)
    }

    /// Ends runs of [`Sorter::finish`]: their memory is the budget's again, their files are removed.
    pub fn release(budget: &Budget, runs: Vec<Run>) {
        budget.give(runs.iter().map(Run::memory).sum());
        drop(runs);
    }

    fn end_chunk(&mut self) -> Result<(), SortError> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        let mut chunk = std::mem::take(&mut self.chunk);
        chunk.sort();
        let mut writer = Writer::in_memory();
        for (key, value) in chunk.records() {
            let held = writer.push(key, value)?;
            self.take(held)?;
        }
        chunk.clear(self.chunk_max);
        self.chunk = chunk;
        self.end_run(writer)
    }

    fn end_run(&mut self, writer: Writer) -> Result<(), SortError> {
        let (run, held) = writer.end()?;
        self.take(held)?;
        self.runs.push(run);
        if self.runs.len() >= FAN_IN { self.spill() } else { Ok(()) }
    }

    /// Takes bytes of the budget, for which the runs in memory go into a file if there are no others.
    fn take(&mut self, bytes: usize) -> Result<(), SortError> {
        if bytes == 0 {
            return Ok(());
        }
        if !self.budget.try_take(bytes) {
            if !self.runs.is_empty() {
                self.spill()?;
            }
            // What is left is the run that is being made, smaller than a chunk.
            if !self.budget.try_take(bytes) {
                self.budget.take(bytes);
            }
        }
        self.runs_taken += bytes;
        Ok(())
    }

    /// Merges the runs in memory into one in a file, and files into one when there are many.
    fn spill(&mut self) -> Result<(), SortError> {
        let runs = std::mem::take(&mut self.runs);
        self.spilled.push(self.merged(&runs)?);
        let freed: usize = runs.iter().map(Run::memory).sum();
        drop(runs);
        self.budget.give(freed);
        self.runs_taken -= freed;
        if self.spilled.len() >= FAN_IN {
            let spilled = std::mem::take(&mut self.spilled);
            self.spilled.push(self.merged(&spilled)?);
        }
        Ok(())
    }

    fn merged(&self, runs: &[Run]) -> Result<Run, SortError> {
        let mut writer = Writer::in_file(self.spills)?;
        let mut merge = Merge::new(runs)?;
        let mut tail = Vec::new();
        while let Some(record) = merge.read()? {
            tail.clear();
            put_varint(&mut tail, record.value.len());
            tail.extend_from_slice(record.value);
            writer.push(record.key, &tail)?;
        }
        Ok(writer.end()?.0)
    }
}

impl Drop for Sorter<'_> {
    fn drop(&mut self) {
        self.budget.give(self.chunk_taken + self.runs_taken);
    }
}
