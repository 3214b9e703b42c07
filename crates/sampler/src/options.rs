//! Bounds and budgets.

use std::path::PathBuf;
use std::time::Duration;

/// How a sampler works.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where `/proc` is mounted.
    pub proc: PathBuf,
    /// Descriptors that may be kept open. By default half of what this process may open, at most 20,000.
    pub descriptors: usize,
    /// Processes that are watched. By default 32,768, the largest number of a process that Linux gives by itself.
    pub processes: usize,
    /// Trees that are watched, 16,384 by default.
    pub trees: usize,
    /// Processor time that may go into proportional memory each second, 5 ms by default; zero reads none.
    pub proportional: Duration,
    /// Who takes over orphans, besides process 1: the keeper.
    pub reaper: Option<u32>,
}

/// As many as two of each of 10,000 processes.
const DESCRIPTORS: usize = 20_000;

impl Default for Options {
    fn default() -> Self {
        let own = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let half = own.map_or(DESCRIPTORS, |own| usize::try_from(own / 2).unwrap_or(DESCRIPTORS));
        Self {
            proc: PathBuf::from("/proc"),
            descriptors: half.min(DESCRIPTORS),
            processes: 32_768,
            trees: 16_384,
            proportional: crate::proportional::BUDGET,
            reaper: None,
        }
    }
}
