//! Numbered lines of a service, read back from `ganger logs`: each run of it must be there from 1 on, without gap or double.
//!
//! A line is `run=PID n=NUMBER…`; a new process of the service starts a new run. Every service keeps beside it, in a file
//! per run, the last number whose write came back.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result};

use crate::ganger::Ganger;

/// What the log says of one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) first: u64,
    pub(crate) last: u64,
}

/// What is wrong, and what was read.
#[derive(Debug, Default)]
pub(crate) struct Series {
    pub(crate) runs: BTreeMap<i32, Run>,
    pub(crate) broken: Vec<String>,
    pub(crate) lines: u64,
}

/// More breaks than this are not listed; the number alone says enough.
const MOST_BREAKS: usize = 1_000;

impl Series {
    /// Reads the whole log of `name`.
    pub(crate) fn of(ganger: &Ganger, name: &str) -> Result<Self> {
        let mut child = ganger
            .verb(&["logs", name])
            .stdout(Stdio::piped())
            .spawn()
            .context("could not start `ganger logs`")?;
        let stdout = child.stdout.take().context("stdout is a pipe")?;
        let mut series = Self::default();
        let mut reader = BufReader::with_capacity(1 << 20, stdout);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).context("could not read the log")? > 0 {
            series.line(&line);
            line.clear();
        }
        let status = child.wait().context("could not wait for `ganger logs`")?;
        if !status.success() {
            series.broken.push(format!("`ganger logs {name}` ended with {status}"));
        }
        Ok(series)
    }

    fn line(&mut self, line: &[u8]) {
        self.lines += 1;
        let text = String::from_utf8_lossy(line);
        let Some((pid, n)) = parse(&text) else {
            self.break_at(format!("not one of its lines: {}", text.trim_end()));
            return;
        };
        match self.runs.get_mut(&pid) {
            None => {
                self.runs.insert(pid, Run { first: n, last: n });
            }
            Some(run) => {
                let last = std::mem::replace(&mut run.last, n);
                if n != last + 1 {
                    let what = if n <= last { "double" } else { "gap" };
                    self.break_at(format!("{what}: {n} comes after {last} (run {pid})"));
                }
            }
        }
    }

    fn break_at(&mut self, text: String) {
        if self.broken.len() < MOST_BREAKS {
            self.broken.push(text);
        }
    }

    /// Compares every run with what the service says it wrote: `notes/NAME.PID`. Only of runs that may have been cut at
    /// the front by the log's cap (`capped`) a first number other than 1 is right.
    pub(crate) fn check_ends(&mut self, notes: &Path, name: &str, capped: bool) -> Result<()> {
        for (pid, wrote) in written(notes, name)? {
            let problem = match self.runs.get(&pid) {
                None if capped => None,
                None => Some("nothing of it is in the log".to_owned()),
                Some(run) if run.last < wrote => {
                    Some(format!("the log ends at {}, {wrote} had been written", run.last))
                }
                Some(run) if run.first != 1 && !capped => {
                    Some(format!("the log begins at {}", run.first))
                }
                Some(_) => None,
            };
            if let Some(problem) = problem {
                self.break_at(format!("run {pid}: {problem}"));
            }
        }
        if self.runs.is_empty() {
            self.break_at("the log is empty".to_owned());
        }
        Ok(())
    }
}

/// Last number written, by run.
fn written(notes: &Path, name: &str) -> Result<Vec<(i32, u64)>> {
    let mut runs = Vec::new();
    for entry in std::fs::read_dir(notes).with_context(|| format!("no {}", notes.display()))? {
        let path = entry?.path();
        let file = path.file_name().and_then(|name| name.to_str()).unwrap_or("");
        let Some(pid) = file.strip_prefix(name).and_then(|rest| rest.strip_prefix('.')) else {
            continue;
        };
        let text = std::fs::read_to_string(&path)?;
        // Killed before its first line: there is nothing to compare.
        if let (Ok(pid), Ok(n)) = (pid.parse(), text.trim().parse()) {
            runs.push((pid, n));
        }
    }
    Ok(runs)
}

/// Pid and number of `… run=PID n=NUMBER…`.
fn parse(line: &str) -> Option<(i32, u64)> {
    let rest = line.split_once("run=")?.1;
    let (pid, rest) = rest.split_once(" n=")?;
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    Some((pid.parse().ok()?, rest[..digits].parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(lines: &[&str]) -> Series {
        let mut series = Series::default();
        for line in lines {
            series.line(line.as_bytes());
        }
        series
    }

    #[test]
    fn gaps_and_doubles_are_seen() {
        assert!(
            series(&["run=7 n=1\n", "counter#1 | run=7 n=2 xx\n", "run=8 n=1\n"]).broken.is_empty()
        );
        assert!(series(&["run=7 n=1\n", "run=7 n=3\n"]).broken[0].starts_with("gap"));
        assert!(series(&["run=7 n=1\n", "run=7 n=1\n"]).broken[0].starts_with("double"));
        assert!(series(&["garbage\n"]).broken[0].starts_with("not one"));
    }

    #[test]
    fn a_lost_end_is_seen() {
        let notes = tempfile::tempdir().unwrap();
        std::fs::write(notes.path().join("counter.7"), "5").unwrap();
        let mut cut = series(&["run=7 n=1\n", "run=7 n=2\n"]);
        cut.check_ends(notes.path(), "counter", false).unwrap();
        assert_eq!(cut.broken, ["run 7: the log ends at 2, 5 had been written"]);
    }
}
