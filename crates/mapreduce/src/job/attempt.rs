//! One attempt, on a thread of its own: reads a split or merges a partition, runs what is asked, and writes one file that nobody else writes.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use ganger_sys::torture::reach;

use super::child::{Line, Which, run};
use super::error::Failure;
use super::groups::{self, LineCut};
use super::journal::Row;
use super::options::{FoldBy, Job, Map, Reduce};
use super::said::CounterName;
use crate::input::{Blocks, Format, Splits};
use crate::operators::WordCount;
use crate::plan::{AttemptId, Task};
use crate::sort::{Budget, Cut, Merge, Run, RunFile, SortError, Sorter, Spills};

/// Runs that are merged at once, as in a sorter.
const FAN_IN: usize = 128;
/// Bytes written at once.
const WRITE: usize = 256 << 10;

type Counters = BTreeMap<CounterName, i64>;
type Sink<'a> = dyn FnMut(&[u8]) -> Result<(), Failure> + 'a;

/// What all attempts of a job share.
#[derive(Debug)]
pub(super) struct Shared<'a> {
    pub(super) job: &'a Job,
    pub(super) splits: &'a Splits,
    /// Where attempts write.
    pub(super) folder: PathBuf,
    pub(super) budget: Budget,
}

/// What an attempt is to do.
#[derive(Debug)]
pub(super) enum Work {
    Map(u32),
    /// And the maps whose result counts.
    Reduce(u32, Vec<(u32, AttemptId)>),
}

/// What an attempt made: a file, whole and, if it is a part of the result, on disk.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) row: Row,
}

impl Shared<'_> {
    pub(super) fn path(&self, task: Task, attempt: AttemptId) -> PathBuf {
        self.folder.join(attempt.file_name(task))
    }

    /// A task with the files of its split.
    pub(super) fn named(&self, task: Task) -> String {
        let number = match task {
            Task::Reduce(n) => return format!("reduce {n}"),
            Task::Map(n) => n,
        };
        let Some(split) = self.splits.get(u64::from(number)) else {
            return format!("map {number}");
        };
        let places = self.splits.places(split);
        let more = places.len().saturating_sub(3);
        let shown: Vec<String> = places
            .iter()
            .take(3)
            .map(|(path, start, end)| format!("{} bytes {start}-{end}", path.display()))
            .collect();
        let more = if more > 0 { format!(" and {more} more files") } else { String::new() };
        format!("map {number} ({}{more})", shown.join(", "))
    }

    /// Does it. What it wrote is removed if it fails.
    pub(super) fn attempt(&self, line: &Line, work: Work) -> Result<Made, Failure> {
        reach("mapreduce.attempt");
        let (task, made) = match work {
            Work::Map(split) => (Task::Map(split), self.map(line, split)),
            Work::Reduce(partition, maps) => {
                (Task::Reduce(partition), self.reduce(line, partition, &maps))
            }
        };
        if made.is_err() {
            // Its own path and nobody else's; it may not have come to make it.
            let _ = std::fs::remove_file(self.path(task, line.attempt));
        }
        made
    }

    fn map(&self, line: &Line, number: u32) -> Result<Made, Failure> {
        let path = self.path(Task::Map(number), line.attempt);
        if self.job.reduce.is_none() {
            let mut part = Part::create(&path)?;
            let counters = self.produce(line, number, &mut |record| part.line(record))?;
            return part.end(counters);
        }
        let spills = Spills::new(&self.folder, &format!("spill-{}", line.attempt));
        let mut sorter = Sorter::new(&self.budget, &spills);
        let mut counters = Counters::new();
        if self.counts_words() {
            self.count_words(line, number, &mut sorter)?;
        } else {
            let mut key = Vec::new();
            counters = self.produce(line, number, &mut |record| {
                groups::place(self.job, record, &mut key);
                Ok(sorter.push(&key, b"")?)
            })?;
        }
        let mut held = Held { budget: &self.budget, runs: sorter.finish()? };
        if let Some(combine) = &self.job.combine {
            let mut sorter = Sorter::new(&self.budget, &spills);
            let mut key = Vec::new();
            let merge = Merge::new(&held.runs)?;
            let more = self.step((combine, Which::Combine), line, merge, &mut |record| {
                groups::place(self.job, record, &mut key);
                Ok(sorter.push(&key, b"")?)
            })?;
            more.into_iter().for_each(|(name, n)| *counters.entry(name).or_default() += n);
            held = Held { budget: &self.budget, runs: sorter.finish()? };
        }
        reach("mapreduce.map.sorted");
        let (lines, bytes) = crate::sort::merge_into(&held.runs, &path)?;
        reach("mapreduce.map.written");
        // Not synced: a spill that is lost is found by its checksums and made again.
        Ok(Made { row: Row { bytes, lines, crc: 0, counters } })
    }

    /// The lines that a map writes.
    fn produce(&self, line: &Line, number: u32, sink: &mut Sink<'_>) -> Result<Counters, Failure> {
        let job = self.job;
        let Some(split) = self.splits.get(u64::from(number)) else { return Ok(Counters::new()) };
        let mut blocks = Blocks::of_split(self.splits, split, Vec::new());
        match &job.map {
            Map::Command(argv) => {
                let mut lines = LineCut::new(&argv[0], job.record_max);
                let lined = matches!(job.format, Format::Lines | Format::Csv);
                let ran = run(
                    line,
                    (Which::Map, &argv[0]),
                    job.idle,
                    |stdin| {
                        while let Some(block) = blocks.read()? {
                            // The last line of a file may have no newline, and another file may follow.
                            let open = lined && !block.bytes.ends_with(b"\n");
                            if !stdin.write(block.bytes)? || (open && !stdin.write(b"\n")?) {
                                break;
                            }
                        }
                        Ok(())
                    },
                    |bytes| lines.push(bytes, &mut *sink),
                )?;
                lines.end(&mut *sink)?;
                return Ok(ran.said.counters);
            }
            Map::Lines => {
                while let Some(block) = blocks.read()? {
                    block.each_record(|_, record| sink(record))?;
                }
            }
            Map::Grep(grep) => {
                while let Some(block) = blocks.read()? {
                    block.each_record(
                        |_, record| {
                            if grep.takes(record) { sink(record) } else { Ok(()) }
                        },
                    )?;
                }
            }
            Map::Words => {
                let mut out = Vec::new();
                while let Some(block) = blocks.read()? {
                    let words = block.bytes.split(|byte| crate::operators::is_space(*byte));
                    for word in words.filter(|word| !word.is_empty()) {
                        out.clear();
                        out.extend_from_slice(word);
                        out.extend_from_slice(&[job.separator, b'1']);
                        sink(&out)?;
                    }
                }
            }
        }
        Ok(Counters::new())
    }

    /// Words are counted in a table, without a line for each.
    fn counts_words(&self) -> bool {
        let sums = matches!(self.job.reduce, Some(Reduce::Fold(FoldBy::Count | FoldBy::Sum)));
        matches!(self.job.map, Map::Words) && sums && self.job.combine.is_none()
    }

    fn count_words(
        &self,
        _line: &Line,
        number: u32,
        sorter: &mut Sorter<'_>,
    ) -> Result<(), Failure> {
        let Some(split) = self.splits.get(u64::from(number)) else { return Ok(()) };
        let table_max = (self.job.memory / 2 / self.job.slots.max(1)).max(1 << 20);
        let mut blocks = Blocks::of_split(self.splits, split, Vec::new());
        let mut words = WordCount::default();
        let (mut text, mut key) = (Vec::new(), Vec::new());
        let mut flush = |words: &mut WordCount| {
            words.take_sorted().each(|word, count| {
                text.clear();
                text.extend_from_slice(word);
                text.push(self.job.separator);
                text.extend_from_slice(count.to_string().as_bytes());
                groups::place(self.job, &text, &mut key);
                sorter.push(&key, b"")
            })
        };
        while let Some(block) = blocks.read()? {
            words.feed(block.bytes);
            if words.memory() > table_max {
                flush(&mut words)?;
            }
        }
        Ok(flush(&mut words)?)
    }

    fn reduce(
        &self,
        line: &Line,
        partition: u32,
        maps: &[(u32, AttemptId)],
    ) -> Result<Made, Failure> {
        let Some(step) = &self.job.reduce else { return Err(Failure::Dropped) };
        // Partial counts of words are there already: they are added up.
        let step = if self.counts_words() {
            Cow::Owned(Reduce::Fold(FoldBy::Sum))
        } else {
            Cow::Borrowed(step)
        };
        let path = self.path(Task::Reduce(partition), line.attempt);
        let cut = |n: u32| Cut::before(&(n as u16).to_be_bytes());
        let to = if partition == u32::from(u16::MAX) { Cut::MOST } else { cut(partition + 1) };
        let range = (cut(partition), to);
        let made = self.open(line, maps, range).and_then(|(runs, _spare)| {
            let mut part = Part::create(&path)?;
            let merge = Merge::range(&runs, range.0, range.1)?;
            let counters =
                self.step((&*step, Which::Reduce), line, merge, &mut |record| part.line(record))?;
            part.end(counters)
        });
        made.map_err(|failure| self.told_lost(failure, maps))
    }

    /// The runs of all maps, at most [`FAN_IN`]: more are merged before, into files that go with what comes second.
    fn open(
        &self,
        line: &Line,
        maps: &[(u32, AttemptId)],
        (from, to): (Cut, Cut),
    ) -> Result<(Vec<Run>, Vec<Spare>), Failure> {
        let open = |(map, of): &(u32, AttemptId)| Run::open(&self.path(Task::Map(*map), *of));
        if maps.len() <= FAN_IN {
            return Ok((maps.iter().map(open).collect::<Result<_, _>>()?, Vec::new()));
        }
        let (mut runs, mut spares) = (Vec::new(), Vec::new());
        for (n, some) in maps.chunks(FAN_IN.max(maps.len().div_ceil(FAN_IN))).enumerate() {
            let some: Vec<Run> = some.iter().map(open).collect::<Result<_, _>>()?;
            let path = self.folder.join(format!("merge-{}-{n}", line.attempt));
            let mut file = RunFile::create(&path)?;
            spares.push(Spare(path.clone()));
            let mut merge = Merge::range(&some, from, to)?;
            while let Some(record) = merge.read()? {
                file.push(record.key, record.value)?;
            }
            file.end()?;
            runs.push(Run::open(&path)?);
        }
        Ok((runs, spares))
    }

    /// A map's file that is damaged or gone is that map's to make again.
    fn told_lost(&self, failure: Failure, maps: &[(u32, AttemptId)]) -> Failure {
        let Failure::Sort(SortError::Corrupt { path, .. } | SortError::Io { path, .. }) = &failure
        else {
            return failure;
        };
        let of = maps.iter().find(|(map, of)| self.path(Task::Map(*map), *of) == *path);
        match of {
            Some((map, of)) => Failure::SpillLost { map: *map, of: *of, why: failure.to_string() },
            None => failure,
        }
    }

    /// Grouped lines through a reducer or a combiner.
    fn step(
        &self,
        (step, which): (&Reduce, Which),
        line: &Line,
        mut merge: Merge<'_>,
        sink: &mut Sink<'_>,
    ) -> Result<Counters, Failure> {
        let job = self.job;
        let Reduce::Command(argv) = step else {
            groups::fold(job, step, merge, sink)?;
            return Ok(Counters::new());
        };
        let mut lines = LineCut::new(&argv[0], job.record_max);
        let ran = run(
            line,
            (which, &argv[0]),
            job.idle,
            |stdin| {
                while let Some(record) = merge.read()? {
                    if !stdin.write(&record.key[groups::PLACE..])? || !stdin.write(b"\n")? {
                        break;
                    }
                }
                Ok(())
            },
            |bytes| lines.push(bytes, &mut *sink),
        )?;
        lines.end(&mut *sink)?;
        Ok(ran.said.counters)
    }
}

/// Runs whose memory is the budget's again when they are dropped.
struct Held<'a> {
    budget: &'a Budget,
    runs: Vec<Run>,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        Sorter::release(self.budget, std::mem::take(&mut self.runs));
    }
}

/// A file that goes with this value.
struct Spare(PathBuf);

impl Drop for Spare {
    fn drop(&mut self) {
        // It is nobody else's; what can't be removed goes with the job's folder.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A part of the result.
struct Part {
    path: PathBuf,
    file: File,
    buffer: Vec<u8>,
    crc: crc32fast::Hasher,
    row: Row,
}

impl Part {
    fn create(path: &Path) -> Result<Self, Failure> {
        let file = File::create_new(path).map_err(Failure::io("create", path))?;
        reach("mapreduce.part.created");
        let buffer = Vec::with_capacity(WRITE * 2);
        Ok(Self {
            path: path.to_path_buf(),
            file,
            buffer,
            crc: crc32fast::Hasher::new(),
            row: Row::default(),
        })
    }

    fn line(&mut self, line: &[u8]) -> Result<(), Failure> {
        self.buffer.extend_from_slice(line);
        self.buffer.push(b'\n');
        self.row.lines += 1;
        if self.buffer.len() >= WRITE { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), Failure> {
        self.file.write_all(&self.buffer).map_err(Failure::io("write", &self.path))?;
        self.crc.update(&self.buffer);
        self.row.bytes += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    fn end(mut self, counters: Counters) -> Result<Made, Failure> {
        self.flush()?;
        reach("mapreduce.part.written");
        self.file.sync_data().map_err(Failure::io("sync", &self.path))?;
        reach("mapreduce.part.synced");
        self.row.crc = self.crc.finalize();
        self.row.counters = counters;
        Ok(Made { row: self.row })
    }
}

/// Whether a part that was committed before is still as it was written.
pub(super) fn is_whole(path: &Path, row: &Row) -> bool {
    let Ok(file) = File::open(path) else { return false };
    let (mut crc, mut buffer, mut at) = (crc32fast::Hasher::new(), vec![0; WRITE], 0);
    loop {
        match file.read_at(&mut buffer, at) {
            Ok(0) => break,
            Ok(read) => {
                crc.update(&buffer[..read]);
                at += read as u64;
            }
            Err(_) => return false,
        }
    }
    at == row.bytes && crc.finalize() == row.crc
}
