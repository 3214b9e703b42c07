//! Which cores the load has, and which who serves.

use anyhow::{Context, Result};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The cores of this process. A new thread or process begins with those of the thread that starts it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cores {
    load: CpuSet,
    serving: CpuSet,
}

impl Cores {
    /// The last core for the load and the others for who serves. All for both where `together` or where there is one.
    pub(super) fn split(together: bool) -> Result<Self> {
        let all = sched_getaffinity(None).context("can't see the cores")?;
        let last = (0..CpuSet::MAX_CPU).rev().find(|core| all.is_set(*core));
        let Some(last) = last.filter(|_| !together && all.count() > 1) else {
            return Ok(Self { load: all, serving: all });
        };
        let (mut load, mut serving) = (CpuSet::new(), all);
        load.set(last);
        serving.unset(last);
        Ok(Self { load, serving })
    }

    /// From here on this thread, and what it starts, is load.
    pub(super) fn load(&self) -> Result<()> {
        sched_setaffinity(None, &self.load).context("can't choose the load's cores")
    }

    /// From here on this thread, and what it starts, serves.
    pub(super) fn serve(&self) -> Result<()> {
        sched_setaffinity(None, &self.serving).context("can't choose the cores that serve")
    }
}

impl std::fmt::Display for Cores {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.load == self.serving {
            true => write!(f, "{} cores for load and workers together", self.load.count()),
            false => write!(
                f,
                "{} core for who accepts and its workers, another for the load",
                self.serving.count()
            ),
        }
    }
}
