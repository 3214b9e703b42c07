//! When there is room for one more job: slots, load, free memory.

use std::path::{Path, PathBuf};
use std::str::FromStr;

/// How many jobs run at once (`-j`).
#[derive(Debug, Clone, PartialEq)]
pub enum Slots {
    /// So many.
    Count(usize),
    /// Processors and so many more, or fewer.
    Beside(i64),
    /// Per cent of the processors.
    Percent(f64),
    /// As many as descriptors allow.
    Most,
    /// What a file says, read again after each job.
    File(PathBuf),
}

impl FromStr for Slots {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "0" {
            return Ok(Self::Most);
        }
        if let Some(percent) = text.strip_suffix('%')
            && let Ok(percent) = percent.parse::<f64>()
            && percent.is_finite()
            && percent > 0.0
        {
            return Ok(Self::Percent(percent));
        }
        if text.starts_with(['+', '-'])
            && let Ok(more) = text.parse::<i64>()
        {
            return Ok(Self::Beside(more));
        }
        if let Ok(count) = text.parse() {
            return Ok(Self::Count(count));
        }
        if Path::new(text).is_file() {
            return Ok(Self::File(text.into()));
        }
        Err(format!(
            "{text:?} is neither 4, +1, -1, 150%, 0 (as many as possible) nor a file that says one of these"
        ))
    }
}

/// Jobs at once at most, whatever is asked: each has descriptors, and a number of slots that nobody meant ends a machine.
const MOST: usize = 4_096;
/// Descriptors of this process itself, and per job: pidfd, streams, input, watch.
const OWN_FILES: u64 = 128;
const FILES_PER_JOB: u64 = 8;

impl Slots {
    /// Jobs at once now. A file that says nothing sensible counts as what it said last, which is `before`.
    #[must_use]
    pub fn count(&self, before: usize) -> usize {
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "processors are few, and the share is above 0"
        )]
        let share = |percent: f64| (processors as f64 * percent / 100.0) as usize;
        let count = match self {
            Self::Count(count) => *count,
            Self::Most => MOST,
            Self::Percent(percent) => share(*percent),
            Self::Beside(more) => {
                let all = i64::try_from(processors).unwrap_or(i64::MAX).saturating_add(*more);
                usize::try_from(all).unwrap_or(1)
            }
            Self::File(path) => {
                let text = std::fs::read_to_string(path).unwrap_or_default();
                match text.trim().parse() {
                    Ok(Self::File(_)) | Err(_) => before,
                    Ok(inner) => inner.count(before),
                }
            }
        };
        let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let room = files.unwrap_or(u64::MAX).saturating_sub(OWN_FILES) / FILES_PER_JOB;
        count.min(MOST).min(usize::try_from(room).unwrap_or(MOST)).max(1)
    }
}

/// A bound of load above which nothing is started (`--load`).
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Load {
    /// Tasks that run or could.
    Count(f64),
    /// The same in per cent of processors.
    Percent(f64),
}

impl FromStr for Load {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| text.parse().ok().filter(|n: &f64| n.is_finite() && *n > 0.0);
        let load = match text.strip_suffix('%') {
            Some(percent) => number(percent).map(Self::Percent),
            None => number(text).map(Self::Count),
        };
        load.ok_or_else(|| format!("{text:?} is no load; write 4 or 80%"))
    }
}

impl Load {
    /// More runs on this machine now than that. What can't be read holds nothing up.
    #[must_use]
    pub fn is_over(self) -> bool {
        let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let Some(running) = running(&text) else { return false };
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        #[expect(clippy::cast_precision_loss, reason = "processors are few")]
        let most = match self {
            Self::Count(most) => most,
            Self::Percent(percent) => percent / 100.0 * processors as f64,
        };
        running >= most
    }
}

/// Tasks that run at this moment less this one: the fourth number of `/proc/loadavg` (proc(5)), as its averages are a minute late.
fn running(loadavg: &str) -> Option<f64> {
    let now = loadavg.split_whitespace().nth(3)?.split('/').next()?;
    let now: f64 = now.parse().ok()?;
    Some((now - 1.0).max(0.0))
}

/// Bytes that can be had without swapping (`MemAvailable`, proc(5)).
#[must_use]
pub(crate) fn memory_available() -> Option<u64> {
    available(&std::fs::read_to_string("/proc/meminfo").ok()?)
}

fn available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_as_gnu_parallel_writes_them() {
        let processors = std::thread::available_parallelism().unwrap().get();
        let count = |text: &str| text.parse::<Slots>().unwrap().count(1);
        assert_eq!(count("7"), 7);
        assert_eq!(count("+2"), processors + 2);
        assert_eq!(count("-100000"), 1);
        assert_eq!(count("100%"), processors);
        assert!(count("0") > processors);
        assert!("x".parse::<Slots>().is_err() && "0%".parse::<Slots>().is_err());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("jobs");
        std::fs::write(&path, "3\n").unwrap();
        let file: Slots = path.to_str().unwrap().parse().unwrap();
        assert_eq!(file.count(1), 3);
        std::fs::write(&path, "nonsense").unwrap();
        assert_eq!(file.count(5), 5);
    }

    #[test]
    fn what_the_kernel_tells() {
        assert_eq!(running("0.1 0.2 0.3 3/411 77\n"), Some(2.0));
        assert_eq!(running("x"), None);
        assert_eq!(available("MemTotal: 2 kB\nMemAvailable:   1024 kB\n"), Some(1 << 20));
        assert!(memory_available().is_some_and(|bytes| bytes > 0));
        assert!(!Load::Count(1e9).is_over() && "80%".parse::<Load>().is_ok());
        assert!("-1".parse::<Load>().is_err());
    }
}
