//! A tree as a keeper writes it down for the program that replaces its own: other than after a keeper's death, limits and
//! counters are known, so that an end by a limit is still told as one.

use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};

use super::driver::Driver;
use super::tree::{Counters, Tree};
use crate::Limits;

/// Everything about a tree that its folders don't tell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SavedTree {
    /// Its folder's name.
    pub name: String,
    /// The limits that were set.
    #[serde(default)]
    pub limits: Limits,
    /// Kills by the out-of-memory killer before its process began.
    #[serde(default)]
    pub oom_kills: u64,
    /// Forks that the pids limit had refused before its process began.
    #[serde(default)]
    pub pids_refused: u64,
    /// CPU time of the folder before its process began, in microseconds, where it has a limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_us: Option<u64>,
    /// `cgroup.kill` was used on it.
    #[serde(default)]
    pub killed: bool,
}

impl Tree {
    /// For [`Driver::resume`].
    #[must_use]
    pub fn saved(&self) -> SavedTree {
        SavedTree {
            name: self.name.clone(),
            limits: self.limits.clone(),
            oom_kills: self.baseline.oom_kills,
            pids_refused: self.baseline.pids_refused,
            cpu_us: self.baseline.cpu_us,
            killed: self.killed.load(Ordering::Relaxed),
        }
    }
}

impl Driver {
    /// A tree that the same keeper, as another program, had in use.
    pub fn resume(&mut self, saved: SavedTree) -> Tree {
        let SavedTree { name, limits, oom_kills, pids_refused, cpu_us, killed } = saved;
        let tree = self.adopt(&name);
        let baseline = Counters { oom_kills, pids_refused, cpu_us };
        Tree { limits, baseline, killed: AtomicBool::new(killed), ..tree }
    }

    /// Names of folders that wait for the next process of their instance.
    pub fn idle(&self) -> impl Iterator<Item = &str> {
        self.idle.iter().map(String::as_str)
    }

    /// Takes folders that wait; those that are gone or in use are left out when they are asked for.
    pub fn resume_idle(&mut self, names: Vec<String>) {
        self.idle.extend(names);
    }
}
