//! The manifest of a job while it runs: rows that are only ever appended, each with its checksum, on disk before they count.
//!
//! ```text
//! CRC TAB job TAB fingerprint TAB maps TAB reduces
//! CRC TAB epoch TAB n                                     one for each process that worked at it
//! CRC TAB map|reduce TAB number TAB epoch-attempt TAB bytes TAB lines TAB crc TAB counters
//! CRC TAB revoke TAB map|reduce TAB number TAB epoch-attempt    its file was damaged or is gone
//! CRC TAB dead TAB map|reduce TAB number TAB why
//! ```
//!
//! A last line that was not written whole never counted: it is cut off. A wrong line before others is damage, and the job says so.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use ganger_sys::torture::reach;
use rustix::fs::{FlockOperation, flock};

use super::RunError;
use super::said::{CounterName, counters_of, counters_text};
use crate::plan::{AttemptId, Task};

/// What counts of a task.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) bytes: u64,
    pub(super) lines: u64,
    pub(super) crc: u32,
    pub(super) counters: BTreeMap<CounterName, i64>,
}

/// What a journal says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    pub(super) fingerprint: Option<(String, u32, u32)>,
    pub(super) epoch: u32,
    pub(super) done: BTreeMap<Task, (AttemptId, Row)>,
    pub(super) dead: BTreeMap<Task, String>,
}

/// The open journal; nobody else has it open.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: File,
    unsynced: bool,
}

impl Journal {
    /// Opens it, or makes it.
    pub(super) fn open(path: &Path) -> Result<(Self, State), RunError> {
        let io = |step| RunError::io(step, path);
        let file = File::options().read(true).append(true).create(true).open(path);
        let mut file = file.map_err(io("open"))?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            let folder = path.parent().unwrap_or(path).to_path_buf();
            return Err(RunError::Busy { path: folder });
        }
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut file, &mut bytes).map_err(io("read"))?;
        let whole = memchr::memrchr(b'\n', &bytes).map_or(0, |at| at + 1);
        if whole < bytes.len() {
            file.set_len(whole as u64).map_err(io("cut"))?;
        }
        let mut state = State::default();
        for (n, line) in bytes[..whole].split_inclusive(|byte| *byte == b'\n').enumerate() {
            let text = std::str::from_utf8(line).ok().and_then(checked);
            if text.and_then(|text| state.apply(text)).is_none() {
                let why = format!("line {} is damaged; start over with --fresh", n + 1);
                return Err(RunError::Files { step: "use", path: path.to_path_buf(), why });
            }
        }
        Ok((Self { path: path.to_path_buf(), file, unsynced: false }, state))
    }

    pub(super) fn begin(&mut self, fingerprint: &str, tasks: (u32, u32)) -> Result<(), RunError> {
        self.append(&format!("job\t{fingerprint}\t{}\t{}", tasks.0, tasks.1))?;
        reach("mapreduce.job.written");
        self.sync()
    }

    pub(super) fn epoch(&mut self, epoch: u32) -> Result<(), RunError> {
        self.append(&format!("epoch\t{epoch}"))?;
        reach("mapreduce.epoch.written");
        self.sync()?;
        reach("mapreduce.epoch.synced");
        Ok(())
    }

    /// Counts only after [`Journal::sync`].
    pub(super) fn done(
        &mut self,
        task: Task,
        attempt: AttemptId,
        row: &Row,
    ) -> Result<(), RunError> {
        let (kind, number) = named(task);
        let counters = counters_text(&row.counters);
        let Row { bytes, lines, crc, .. } = row;
        self.append(&format!(
            "{kind}\t{number}\t{attempt}\t{bytes}\t{lines}\t{crc:08x}\t{counters}"
        ))?;
        reach(if kind == "map" { "mapreduce.map.row" } else { "mapreduce.reduce.row" });
        Ok(())
    }

    pub(super) fn revoke(&mut self, task: Task, attempt: AttemptId) -> Result<(), RunError> {
        let (kind, number) = named(task);
        self.append(&format!("revoke\t{kind}\t{number}\t{attempt}"))?;
        self.sync()?;
        reach("mapreduce.revoked");
        Ok(())
    }

    pub(super) fn dead(&mut self, task: Task, why: &str) -> Result<(), RunError> {
        let (kind, number) = named(task);
        let why: String = why.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        self.append(&format!("dead\t{kind}\t{number}\t{why}"))?;
        self.sync()
    }

    /// What was appended is on disk.
    pub(super) fn sync(&mut self) -> Result<(), RunError> {
        if self.unsynced {
            self.file.sync_data().map_err(RunError::io("sync", &self.path))?;
            self.unsynced = false;
        }
        Ok(())
    }

    fn append(&mut self, text: &str) -> Result<(), RunError> {
        let line = format!("{:08x}\t{text}\n", crc32fast::hash(text.as_bytes()));
        self.unsynced = true;
        self.file.write_all(line.as_bytes()).map_err(RunError::io("write", &self.path))
    }
}

/// The words of a line whose checksum is right.
fn checked(line: &str) -> Option<&str> {
    let (crc, text) = line.strip_suffix('\n')?.split_once('\t')?;
    (u32::from_str_radix(crc, 16).ok()? == crc32fast::hash(text.as_bytes())).then_some(text)
}

fn named(task: Task) -> (&'static str, u32) {
    match task {
        Task::Map(n) => ("map", n),
        Task::Reduce(n) => ("reduce", n),
    }
}

fn task_of(kind: &str, number: &str) -> Option<Task> {
    let number = number.parse().ok()?;
    match kind {
        "map" => Some(Task::Map(number)),
        "reduce" => Some(Task::Reduce(number)),
        _ => None,
    }
}

fn attempt_of(text: &str) -> Option<AttemptId> {
    let (epoch, number) = text.split_once('-')?;
    Some(AttemptId { epoch: epoch.parse().ok()?, number: number.parse().ok()? })
}

impl State {
    fn apply(&mut self, text: &str) -> Option<()> {
        let fields: Vec<&str> = text.split('\t').collect();
        match fields.as_slice() {
            ["job", fingerprint, maps, reduces] => {
                let job = ((*fingerprint).to_owned(), maps.parse().ok()?, reduces.parse().ok()?);
                self.fingerprint = Some(job);
            }
            ["epoch", epoch] => {
                self.epoch = epoch.parse().ok()?;
                // Each process tries them anew.
                self.dead.clear();
            }
            [kind, number, attempt, bytes, lines, crc, counters] => {
                let row = Row {
                    bytes: bytes.parse().ok()?,
                    lines: lines.parse().ok()?,
                    crc: u32::from_str_radix(crc, 16).ok()?,
                    counters: counters_of(counters),
                };
                // Whoever is first counts.
                let task = task_of(kind, number)?;
                self.done.entry(task).or_insert((attempt_of(attempt)?, row));
            }
            ["revoke", kind, number, attempt] => {
                let (task, attempt) = (task_of(kind, number)?, attempt_of(attempt)?);
                if self.done.get(&task).is_some_and(|(winner, _)| *winner == attempt) {
                    self.done.remove(&task);
                }
            }
            ["dead", kind, number, why] => {
                self.dead.insert(task_of(kind, number)?, (*why).to_owned());
            }
            _ => return None,
        }
        Some(())
    }
}

#[cfg(test)]
mod tests;
