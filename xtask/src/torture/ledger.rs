//! The external ledger: what workers really did, written by themselves, read after the run.
//!
//! One line per fact: `S n pid ns` when attempt of task `n` starts, `E n pid ns` when it ends. Each is one `write` on a
//! descriptor with O_APPEND, so lines of different processes never mix (write(2)). `ns` is CLOCK_MONOTONIC.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result, bail};

/// One attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Attempt {
    pub(crate) pid: i32,
    pub(crate) start_ns: u64,
    /// `None`: the worker was ended in it.
    pub(crate) end_ns: Option<u64>,
}

/// Attempts by task number, in the order they started.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) tasks: BTreeMap<u64, Vec<Attempt>>,
}

/// Appends one fact.
pub(crate) fn note(ledger: &Path, what: char, n: u64) -> Result<()> {
    let mut file = OpenOptions::new()
        .append(true)
        .create(true)
        .open(ledger)
        .with_context(|| format!("could not open the ledger {}", ledger.display()))?;
    let line = format!("{what} {n} {} {}\n", std::process::id(), now_ns());
    file.write_all(line.as_bytes()).context("could not write the ledger")
}

/// CLOCK_MONOTONIC in nanoseconds: the same clock in every process of a machine.
pub(crate) fn now_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
}

impl Ledger {
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("could not read the ledger {}", path.display()))?;
        let mut ledger = Self::default();
        for (at, line) in text.lines().enumerate() {
            ledger.line(line).with_context(|| format!("line {} of the ledger: {line}", at + 1))?;
        }
        for attempts in ledger.tasks.values_mut() {
            attempts.sort_by_key(|attempt| attempt.start_ns);
        }
        Ok(ledger)
    }

    fn line(&mut self, line: &str) -> Result<()> {
        let words: Vec<&str> = line.split(' ').collect();
        let [what, n, pid, ns] = words[..] else { bail!("it has not four words") };
        let (pid, ns) = (pid.parse::<i32>()?, ns.parse::<u64>()?);
        let attempts = self.tasks.entry(n.parse()?).or_default();
        match what {
            "S" => attempts.push(Attempt { pid, start_ns: ns, end_ns: None }),
            "E" => {
                // A worker may run the same task again: its last open attempt is the one that ended.
                let open = attempts.iter_mut().rev().find(|a| a.pid == pid && a.end_ns.is_none());
                open.context("an end without its start")?.end_ns = Some(ns);
            }
            other => bail!("`{other}` is neither S nor E"),
        }
        Ok(())
    }

    /// Pairs of attempts of one task of which the second began before the first had ended. An attempt without an end was
    /// killed in it: had it lived on, its end would be here.
    pub(crate) fn overlaps(&self) -> Vec<String> {
        let mut found = Vec::new();
        for (n, attempts) in &self.tasks {
            for pair in attempts.windows(2) {
                if pair[0].end_ns.is_some_and(|end| end > pair[1].start_ns) {
                    found.push(format!("task {n}: {:?} and {:?}", pair[0], pair[1]));
                }
            }
        }
        found
    }

    /// True if an attempt of the task came to its end.
    pub(crate) fn finished(&self, n: u64) -> bool {
        self.tasks.get(&n).is_some_and(|attempts| attempts.iter().any(|a| a.end_ns.is_some()))
    }

    /// How many attempts began in all.
    pub(crate) fn attempts(&self) -> usize {
        self.tasks.values().map(Vec::len).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(text: &str) -> Ledger {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Ledger::read(file.path()).unwrap()
    }

    #[test]
    fn overlap_is_seen_and_a_killed_attempt_is_none() {
        let l = ledger(
            "S 1 10 100\nS 1 11 150\nE 1 10 160\nE 1 11 170\nS 2 10 200\nS 2 12 300\nE 2 12 310\n",
        );
        assert_eq!(l.overlaps().len(), 1, "{:?}", l.overlaps());
        assert!(l.overlaps()[0].starts_with("task 1:"));
        assert!(l.finished(2) && !l.finished(3));
        assert_eq!(l.attempts(), 4);
    }

    #[test]
    fn a_worker_may_run_a_task_twice() {
        let l = ledger("S 1 10 100\nE 1 10 110\nS 1 10 120\nE 1 10 130\n");
        assert!(l.overlaps().is_empty());
        assert_eq!(l.tasks[&1].iter().filter(|a| a.end_ns.is_some()).count(), 2);
    }
}
