//! When a worker's process has done enough: so many tasks, so long, or so much memory (leaks are the usual reason).

use std::time::{Duration, Instant};

use ganger_core::{Dur, Size};
use ganger_queue::Now;

use super::process::Process;
use super::task::Worker;
use crate::spec::Recycle;

/// Between two looks at a process's memory: /proc/PID/statm costs some microseconds.
const MEMORY_EVERY: Duration = Duration::from_secs(1);
/// Slots are spread over this part of the time they live.
const SPREAD: u32 = 10;

/// What a process has done.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Used {
    /// Tasks that it ended.
    pub tasks: u64,
    /// When its time is over.
    pub until: Option<Instant>,
    memory_at: Option<Instant>,
}

impl Used {
    /// Of a process that has lived for `age` in this slot.
    pub(super) fn new(rules: &Recycle, slot: u32, age: Duration, now: Now) -> Self {
        let until = rules.after.map(|after| {
            let late = after / SPREAD * (slot % SPREAD) / SPREAD;
            now.at + (after + late).saturating_sub(age)
        });
        Self { tasks: 0, until, memory_at: None }
    }
}

impl Worker {
    /// Looks after each wake-up whether the process is to make room for a fresh one.
    pub(super) fn recycle_if_used_up(&mut self, now: Now) {
        let rules = self.spec.recycle;
        if rules == Recycle::default() || !self.accepts() {
            return;
        }
        let Some(process) = &mut self.process else { return };
        if let Some(why) = used_up(&rules, process, now) {
            self.recycle(why, now);
        }
    }
}

fn used_up(rules: &Recycle, process: &mut Process, now: Now) -> Option<String> {
    let used = &mut process.used;
    if let Some(most) = rules.tasks.filter(|most| used.tasks >= *most) {
        return Some(format!("it has done {} tasks of {most}", used.tasks));
    }
    if used.until.is_some_and(|until| until <= now.at) {
        return Some(format!("it has run for {}", Dur(rules.after.unwrap_or_default())));
    }
    let most = rules.memory?;
    // Memory grows with work.
    if used.tasks == 0 || used.memory_at.is_some_and(|at| now.at < at + MEMORY_EVERY) {
        return None;
    }
    used.memory_at = Some(now.at);
    let resident = resident(process.pid)?;
    (resident > most)
        .then(|| format!("it has {} resident, the most is {}", Size(resident), Size(most)))
}

/// Resident bytes: the second number of /proc/PID/statm, in pages (proc_pid_statm(5)).
fn resident(pid: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let pages: u64 = text.split(' ').nth(1)?.parse().ok()?;
    Some(pages * u64::try_from(rustix::param::page_size()).ok()?)
}
