//! Names of what a plan speaks of.

use std::time::Duration;

/// A split to map, or a partition to reduce.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Task {
    /// By the split's number.
    Map(u32),
    /// By the partition's number.
    Reduce(u32),
}

/// One try at a task. Never used again, not even by a plan that was resumed: its epoch is larger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptId {
    /// Of the plan that gave it.
    pub epoch: u32,
    /// Counted from 1.
    pub number: u32,
}

impl std::fmt::Display for AttemptId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.epoch, self.number)
    }
}

impl AttemptId {
    /// The name of what the attempt writes: nobody else's.
    #[must_use]
    pub fn file_name(self, task: Task) -> String {
        match task {
            Task::Map(split) => format!("map-{split:06}.{self}"),
            Task::Reduce(partition) => format!("reduce-{partition:05}.{self}"),
        }
    }
}

/// A slot that runs one attempt at a time. A worker that died and was started again is another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkerId(pub u32);

/// An attempt that runs, or waits for its row in the manifest.
#[derive(Debug, Clone, Copy)]
pub(super) struct Running {
    pub(super) task: Task,
    pub(super) worker: WorkerId,
    pub(super) started: Duration,
    /// Of its input, 0 to 1; who does not tell is judged by time alone.
    pub(super) done: f64,
    pub(super) committing: bool,
}

impl Running {
    /// Time until it ends, if it goes on as it did. `usual`: what such a task takes.
    pub(super) fn left(&self, now: Duration, usual: Duration) -> Duration {
        let elapsed = now.saturating_sub(self.started);
        if self.done > 0.0 {
            return elapsed.mul_f64(((1.0 - self.done) / self.done).clamp(0.0, 1e6));
        }
        // Nothing is known but that it runs: as long again as it is late.
        elapsed.saturating_sub(usual)
    }
}
