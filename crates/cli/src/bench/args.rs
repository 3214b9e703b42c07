//! What is measured, and how often.

use std::str::FromStr;

use crate::verbs::Json;

/// `bench`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What to measure [default: all]
    #[arg(value_enum, value_name = "WHAT")]
    what: Vec<What>,
    /// Runs of each figure; the median is told
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    runs: u32,
    /// Also measure dispatch to this program, which speaks ganger's channel (an SDK does)
    #[arg(long, value_name = "NAME=COMMAND")]
    worker: Vec<NamedWorker>,
    /// Leave out the figures of ganger's own workers, if --worker names others
    #[arg(long, requires = "worker")]
    only_workers: bool,
    /// Tasks that wait in `scale`
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(20_000..))]
    waiting: u64,
    #[command(flatten)]
    out: Json,
}

/// A part of the bench.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum What {
    /// Processes started and reaped a second
    Spawn,
    /// Tasks a second through each kind of worker, and latency at depth 1
    Dispatch,
    /// Tasks a second by durability, single pushes, the store alone, the start of an idle worker, fires of schedules
    Queue,
    /// What a million waiting tasks cost: memory, claims, cold start, looks; only when named
    Scale,
}

/// A worker program of the caller's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NamedWorker {
    pub(crate) name: String,
    pub(crate) command: String,
}

impl FromStr for NamedWorker {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, command) = text.split_once('=').ok_or("it must be NAME=COMMAND")?;
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if name.is_empty() || !name.chars().all(plain) {
            return Err(format!("`{name}` is no name: use a-z, 0-9 and -"));
        }
        if command.trim().is_empty() {
            return Err("the command is empty".to_owned());
        }
        Ok(Self { name: name.to_owned(), command: command.to_owned() })
    }
}

impl Args {
    pub(crate) fn json(&self) -> bool {
        self.out.json
    }

    pub(crate) fn runs(&self) -> u32 {
        self.runs
    }

    pub(crate) fn waiting(&self) -> u64 {
        self.waiting
    }

    pub(crate) fn workers(&self) -> &[NamedWorker] {
        &self.worker
    }

    pub(crate) fn own_workers(&self) -> bool {
        !self.only_workers
    }

    pub(crate) fn wants(&self, what: What) -> bool {
        self.what.contains(&what) || (self.what.is_empty() && what != What::Scale)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_are_named() {
        let worker: NamedWorker = "node=node worker.mjs --x=1".parse().unwrap();
        assert_eq!(
            (worker.name.as_str(), worker.command.as_str()),
            ("node", "node worker.mjs --x=1")
        );
        for wrong in ["node", "=x", "No=x", "node= "] {
            assert!(wrong.parse::<NamedWorker>().is_err(), "{wrong}");
        }
    }
}
