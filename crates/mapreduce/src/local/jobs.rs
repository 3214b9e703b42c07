//! Whole jobs under a memory budget: read, fold or sort in every slot, merge by ranges of keys in every slot, commit.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::output::Part;
use super::{JobError, Output, at_once, each_block};
use crate::input::Splits;
use crate::operators::WordCount;
use crate::sort::{Budget, Cut, Merge, Run, Sorter, Spills, ranges};

/// Bytes of a part that are written at once.
const WRITE: usize = 256 << 10;

/// What a job may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Threads; taken for one if there is none.
    pub slots: usize,
    /// Bytes of memory for tables, chunks, runs and merges of all slots together.
    pub memory: usize,
    /// Whether parts are on disk before the manifest names them. Without it a result that is committed may be lost with the machine's power.
    pub sync: bool,
}

/// What a job did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// The parts of the result, in the order of keys.
    pub parts: Vec<Part>,
    /// Records or words that were read.
    pub read: u64,
    /// Lines of the result.
    pub written: u64,
    /// Runs that had to go into files.
    pub spilled: u64,
}

/// Sorts records by their bytes, as `LC_ALL=C sort`: each ends with a newline in the result.
///
/// # Errors
/// See [`JobError`]; nothing is left of the result then.
pub fn sort(
    splits: &Splits,
    settings: Settings,
    spills: &Spills,
    output: &Path,
) -> Result<Done, JobError> {
    let output = Output::create(output)?;
    let slots = settings.slots.max(1);
    let budget = Budget::new(settings.memory, slots);
    let sorters = (0..slots).map(|_| (Sorter::new(&budget, spills), 0_u64)).collect();
    let sorters = each_block(splits, sorters, |(sorter, read), block| {
        block.each_record(|_, record| {
            *read += 1;
            sorter.push(record, b"").map_err(JobError::from)
        })
    })?;
    let read = sorters.iter().map(|(_, read)| read).sum();
    let runs = finished(sorters.into_iter().map(|(sorter, _)| sorter).collect())?;
    let written = write_parts(output, &runs, (slots, settings.sync), |merge, part| {
        while let Some(record) = merge.read()? {
            part.line(&[record.key])?;
        }
        Ok(())
    });
    Sorter::release(&budget, runs);
    let (parts, written) = written?;
    Ok(Done { parts, read, written, spilled: spills.made() })
}

/// Counts words: `WORD TAB COUNT` in the order of the words' bytes.
///
/// # Errors
/// See [`JobError`]; nothing is left of the result then.
pub fn count_words(
    splits: &Splits,
    settings: Settings,
    spills: &Spills,
    output: &Path,
) -> Result<Done, JobError> {
    let output = Output::create(output)?;
    let slots = settings.slots.max(1);
    // Half for tables, half for the runs that full tables leave.
    let budget = Budget::new(settings.memory / 2, slots);
    let table_max = (settings.memory / 2 / slots).max(1 << 20);
    let slot = || (WordCount::default(), Sorter::new(&budget, spills));
    let counters = (0..slots).map(|_| slot()).collect();
    let counters = each_block(splits, counters, |(counter, sorter), block| {
        counter.feed(block.bytes);
        if counter.memory() > table_max { run_of(counter, sorter) } else { Ok(()) }
    })?;
    let read = counters.iter().map(|(counter, _)| counter.words()).sum();
    let runs = all(at_once(counters, |(mut counter, mut sorter)| {
        run_of(&mut counter, &mut sorter)?;
        drop(counter);
        sorter.finish().map_err(JobError::from)
    }))?;
    let written = write_parts(output, &runs, (slots, settings.sync), |merge, part| {
        let (mut word, mut count) = (Vec::new(), 0_u64);
        while let Some(record) = merge.read()? {
            if !record.again {
                part.count(&word, count)?;
                word.clear();
                word.extend_from_slice(record.key);
                count = 0;
            }
            count += count_of(record.value);
        }
        part.count(&word, count)
    });
    Sorter::release(&budget, runs);
    let (parts, written) = written?;
    Ok(Done { parts, read, written, spilled: spills.made() })
}

fn run_of(counter: &mut WordCount, sorter: &mut Sorter<'_>) -> Result<(), JobError> {
    let encode = |count: u64, out: &mut Vec<u8>| {
        let bytes = count.to_le_bytes();
        // Nearly all counts are small: zeros at the end are not written.
        out.extend_from_slice(&bytes[..8 - count.leading_zeros() as usize / 8]);
    };
    Ok(sorter.push_sorted(&counter.take_sorted(), encode)?)
}

fn count_of(value: &[u8]) -> u64 {
    value.iter().rev().fold(0, |count, byte| count << 8 | u64::from(*byte))
}

fn finished(sorters: Vec<Sorter<'_>>) -> Result<Vec<Run>, JobError> {
    all(at_once(sorters, |sorter| sorter.finish().map_err(JobError::from)))
}

/// The runs of all slots, or the first failure.
fn all(runs: Vec<Result<Vec<Run>, JobError>>) -> Result<Vec<Run>, JobError> {
    let runs: Vec<Vec<Run>> = runs.into_iter().collect::<Result<_, _>>()?;
    Ok(runs.into_iter().flatten().collect())
}

/// Merges one range of keys a slot into one part each, and commits them.
fn write_parts(
    mut output: Output,
    runs: &[Run],
    (slots, sync): (usize, bool),
    merge: impl Fn(&mut Merge<'_>, &mut PartWriter) -> Result<(), JobError> + Sync,
) -> Result<(Vec<Part>, u64), JobError> {
    let ranges = ranges(runs, slots);
    let opened = output.open_parts(ranges.len())?;
    let work: Vec<_> = opened.into_iter().zip(ranges).collect();
    let ended = at_once(work, |((number, path, file), range): (_, (Cut, Cut))| {
        let mut part = PartWriter::new(number, path, file);
        let mut runs = Merge::range(runs, range.0, range.1)?;
        merge(&mut runs, &mut part)?;
        part.end(sync)
    });
    let ended: Vec<(Part, u64)> = ended.into_iter().collect::<Result<_, JobError>>()?;
    let parts: Vec<Part> = ended.iter().map(|(part, _)| *part).collect();
    output.commit(&parts)?;
    Ok((parts, ended.iter().map(|(_, lines)| lines).sum()))
}

/// Writes lines, counts and checks them.
struct PartWriter {
    path: PathBuf,
    file: File,
    buffer: Vec<u8>,
    crc: crc32fast::Hasher,
    part: Part,
    lines: u64,
}

impl PartWriter {
    fn new(number: usize, path: PathBuf, file: File) -> Self {
        Self {
            path,
            file,
            buffer: Vec::with_capacity(WRITE * 2),
            crc: crc32fast::Hasher::new(),
            part: Part { number, bytes: 0, crc: 0 },
            lines: 0,
        }
    }

    fn line(&mut self, fields: &[&[u8]]) -> Result<(), JobError> {
        for (n, field) in fields.iter().enumerate() {
            if n > 0 {
                self.buffer.push(b'\t');
            }
            self.buffer.extend_from_slice(field);
        }
        self.buffer.push(b'\n');
        self.lines += 1;
        if self.buffer.len() >= WRITE { self.flush() } else { Ok(()) }
    }

    fn count(&mut self, word: &[u8], count: u64) -> Result<(), JobError> {
        if count == 0 {
            return Ok(());
        }
        let mut digits = [0; 20];
        let mut at = digits.len();
        let mut rest = count;
        while rest > 0 {
            at -= 1;
            digits[at] = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        self.line(&[word, &digits[at..]])
    }

    fn flush(&mut self) -> Result<(), JobError> {
        self.file.write_all(&self.buffer).map_err(JobError::io("write", &self.path))?;
        self.crc.update(&self.buffer);
        self.part.bytes += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    fn end(mut self, sync: bool) -> Result<(Part, u64), JobError> {
        self.flush()?;
        if sync {
            self.file.sync_data().map_err(JobError::io("sync", &self.path))?;
        }
        self.part.crc = self.crc.finalize();
        Ok((self.part, self.lines))
    }
}

#[cfg(test)]
mod tests;
