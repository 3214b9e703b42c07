//! The job log, in GNU parallel's columns, and what a later run skips for it.
//!
//! A job that was done is known again by its content and not by its number: its command's words, whichever way they are quoted. So a list that
//! got new lines in between, or was sorted, runs exactly what was not run before; GNU parallel compares line numbers, and runs the wrong ones.
//! Where the command alone does not tell (a block of `--pipe`, `{#}` or `{%}` in it) a hash of the content follows it as a shell comment.
//! Of equal jobs as many are skipped as were done.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sha2::{Digest, Sha256};

/// What a job log makes a run skip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Resume {
    /// Nothing: the log is begun anew.
    #[default]
    No,
    /// What is in it (`--resume`).
    Done,
    /// What succeeded (`--resume-failed`).
    Succeeded,
}

/// A job in the log.
#[derive(Debug, Clone)]
pub struct Row {
    /// Its number.
    pub seq: u64,
    /// When it began.
    pub began: SystemTime,
    /// How long its last try took.
    pub took: Duration,
    /// Bytes it was sent (`--pipe`).
    pub sent: u64,
    /// Bytes it said on standard output, as far as they went through ganger.
    pub received: u64,
    /// Its exit code.
    pub code: i32,
    /// The signal that ended it, or 0.
    pub signal: i32,
    /// One line; see the module.
    pub command: Vec<u8>,
}

/// By what a job is known.
type Key = [u8; 16];

/// Columns of the first line.
const HEAD: &[u8] = b"Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand\n";
/// Before a content's hash.
const MARK: &[u8] = b" # ";
/// Columns before the command.
const COLUMNS: usize = 8;

/// An open log.
#[derive(Debug)]
pub struct Joblog {
    file: File,
    /// How many jobs of each content are not to be run again.
    done: HashMap<Key, u32>,
}

impl Joblog {
    /// Opens a log; reads what is to be skipped.
    ///
    /// # Errors
    /// The file can't be opened, read or written.
    pub fn open(path: &Path, resume: Resume) -> io::Result<Self> {
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(resume == Resume::No);
        let mut file = options.open(path)?;
        let (done, whole) = match resume {
            Resume::No => (HashMap::new(), 0),
            Resume::Done => read(&file, |_| true)?,
            Resume::Succeeded => read(&file, |row| row == (b"0", b"0"))?,
        };
        // The end of a line that was being written when its writer was killed.
        file.set_len(whole)?;
        file.seek(SeekFrom::Start(whole))?;
        if whole == 0 {
            file.write_all(HEAD)?;
        }
        Ok(Self { file, done })
    }

    /// True when the job was done before; each time it is asked, one of its kind is used up.
    pub fn skip(&mut self, command: &[u8]) -> bool {
        if self.done.is_empty() {
            return false;
        }
        match self.done.get_mut(&key(command)) {
            Some(left) if *left > 0 => {
                *left -= 1;
                true
            }
            _ => false,
        }
    }

    /// Writes a job down, in one write: a log of a killed run has whole lines.
    ///
    /// # Errors
    /// The file's.
    pub fn write(&mut self, row: &Row) -> io::Result<()> {
        let began = row.began.duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut line = format!(
            "{}\t:\t{:.3}\t{:10.3}\t{}\t{}\t{}\t{}\t",
            row.seq,
            began.as_secs_f64(),
            row.took.as_secs_f64(),
            row.sent,
            row.received,
            row.code,
            row.signal
        )
        .into_bytes();
        line.extend_from_slice(&row.command);
        line.push(b'\n');
        self.file.write_all(&line)
    }
}

/// A job's command as the log has it: one line, and a hash of `content` behind it where the words alone don't tell.
#[must_use]
pub(crate) fn command(text: &[u8], content: Option<&[&[u8]]>) -> Vec<u8> {
    let one_line = |byte: &u8| if *byte == b'\n' { 0 } else { *byte };
    let mut command: Vec<u8> = text.iter().map(one_line).collect();
    if let Some(content) = content {
        command.extend_from_slice(MARK);
        let hex: String = hash(content).iter().map(|byte| format!("{byte:02x}")).collect();
        command.extend(hex.into_bytes());
    }
    command
}

/// Lengths go in as well: `a` `bc` is not `ab` `c`.
fn hash(parts: &[&[u8]]) -> Key {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    let mut key = Key::default();
    key.copy_from_slice(&hash.finalize()[..16]);
    key
}

fn key(command: &[u8]) -> Key {
    let marked = command.len().checked_sub(MARK.len() + 32).map(|at| &command[at..]);
    let marked = marked.and_then(|end| end.strip_prefix(MARK));
    if let Some(hex) = marked.filter(|hex| hex.iter().all(u8::is_ascii_hexdigit)) {
        return hash(&[b"content", hex]);
    }
    match shlex::bytes::split(command) {
        Some(words) => hash(&words.iter().map(Vec::as_slice).collect::<Vec<_>>()),
        None => hash(&[command]),
    }
}

type Done = HashMap<Key, u32>;

/// Jobs of the log, and how many of its bytes are whole lines.
fn read(file: &File, wanted: impl Fn((&[u8], &[u8])) -> bool) -> io::Result<(Done, u64)> {
    let mut lines = BufReader::new(file);
    let (mut done, mut seen) = (Done::new(), HashSet::new());
    let mut whole = 0;
    let mut line = Vec::new();
    loop {
        line.clear();
        let got = lines.read_until(b'\n', &mut line)?;
        if got == 0 || line.pop() != Some(b'\n') {
            return Ok((done, whole));
        }
        whole += got as u64;
        let columns: Vec<&[u8]> = line.splitn(COLUMNS + 1, |byte| *byte == b'\t').collect();
        let [seq, _, _, _, _, _, code, signal, command] = columns[..] else { continue };
        let key = key(command);
        // A job that was tried again by a later run stands there twice under its number.
        if seq != b"Seq" && wanted((code, signal)) && seen.insert((key, seq.to_vec())) {
            *done.entry(key).or_default() += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn row(seq: u64, command: &[u8], code: i32) -> Row {
        let (began, took) = (UNIX_EPOCH + Duration::from_millis(1_500), Duration::from_millis(20));
        let command = command.to_vec();
        Row { seq, began, took, sent: 0, received: 2, code, signal: 0, command }
    }

    #[test]
    fn the_columns_are_gnu_parallels() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        Joblog::open(&path, Resume::No).unwrap().write(&row(1, b"echo 'a b'", 3)).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[1], "1\t:\t1.500\t     0.020\t0\t2\t3\t0\techo 'a b'");
        assert_eq!(lines[0].split('\t').count(), lines[1].split('\t').count());
    }

    #[test]
    fn known_by_content_whichever_way_it_is_quoted_and_through_a_torn_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        // As GNU parallel quotes.
        let theirs = "Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand\n\
            1\t:\t1.0\t     0.0\t0\t0\t0\t0\techo a\\ b\n2\t:\t1.0\t     0.0\t0\t0\t1\t0\techo c\n3\t:\t1.0\t  ";
        std::fs::write(&path, theirs).unwrap();
        let mut log = Joblog::open(&path, Resume::Succeeded).unwrap();
        assert!(!log.skip(b"echo c"), "it failed");
        assert!(log.skip(b"echo 'a b'"));
        assert!(!log.skip(b"echo 'a b'"), "only one was done");
        log.write(&row(2, b"echo c", 0)).unwrap();
        drop(log);
        assert_eq!(std::fs::read(&path).unwrap().iter().filter(|b| **b == b'\n').count(), 4);
        let mut log = Joblog::open(&path, Resume::Done).unwrap();
        assert!(log.skip(b"echo c") && !log.skip(b"echo c"), "one job, tried twice");
    }

    proptest! {
        /// Whatever order and whatever new lines: what runs is the new list less what was done.
        #[test]
        fn resuming_runs_what_is_missing(before in prop::collection::vec((0..6u8, any::<bool>()), 0..12), after in prop::collection::vec(0..6u8, 0..20), failed: bool) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("log");
            let mut log = Joblog::open(&path, Resume::No).unwrap();
            for (seq, (content, ok)) in before.iter().enumerate() {
                log.write(&row(seq as u64 + 1, format!("do 'x {content}'").as_bytes(), i32::from(!ok))).unwrap();
            }
            let resume = if failed { Resume::Succeeded } else { Resume::Done };
            let mut log = Joblog::open(&path, resume).unwrap();
            for content in 0..6u8 {
                let done = before.iter().filter(|(had, ok)| *had == content && (*ok || !failed)).count();
                let wanted = after.iter().filter(|new| **new == content).count();
                let skipped = (0..wanted).filter(|_| log.skip(format!("do x\\ {content}").as_bytes())).count();
                prop_assert_eq!(skipped, done.min(wanted));
            }
        }

        #[test]
        fn contents_are_told_apart(a in prop::collection::vec(any::<u8>(), 0..8), b in prop::collection::vec(any::<u8>(), 0..8)) {
            let one = command(b"x\ny", Some(&[&a, &b]));
            prop_assert!(!one.contains(&b'\n'));
            let other = command(b"z", Some(&[&a, &b]));
            prop_assert_eq!(key(&one), key(&other), "the content alone counts");
            let joined = [a.as_slice(), &b].concat();
            prop_assert_eq!(key(&one) == key(&command(b"x", Some(&[&joined, b""]))), b.is_empty());
        }
    }
}
