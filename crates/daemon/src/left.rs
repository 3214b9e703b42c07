//! What an earlier run left that could not be ended, and the attempts that wait for its end.

use std::sync::Arc;

use ganger_api::{Degraded, STUCK_TASKS};
use ganger_core::TaskId;
use ganger_keeper::survivor::lives;
use ganger_keeper::wire::{LEFTOVERS, Survivor};
use ganger_pool::StuckTask;
use tokio::sync::watch;

/// Tasks named at most: the rest is a number.
const NAMED: usize = 5;

/// Processes of an earlier run, and the attempts they may run.
#[derive(Debug, Clone)]
pub(crate) struct Left {
    /// As the keeper found them.
    pub(crate) survivors: Vec<Survivor>,
    pub(crate) stuck: watch::Receiver<Arc<Vec<StuckTask>>>,
}

impl Left {
    /// The processes that may run an attempt of this task, and the place it ran in; `None` for a task that is not stuck.
    pub(crate) fn of(&self, id: TaskId) -> Option<StuckTask> {
        self.stuck.borrow().iter().find(|stuck| stuck.id == id).cloned()
    }

    /// Takes out what the keeper said of processes that have ended since, and adds the attempts that wait.
    pub(crate) fn correct(&self, degraded: &mut Vec<Degraded>) {
        if !self.survivors.iter().any(|one| lives(one.pid, one.birth)) {
            degraded.retain(|item| item.what != LEFTOVERS);
        }
        degraded.extend(told(&self.stuck.borrow()));
    }
}

fn told(stuck: &[StuckTask]) -> Option<Degraded> {
    if stuck.is_empty() {
        return None;
    }
    let mut pids: Vec<u32> = stuck.iter().flat_map(|one| one.pids.iter().copied()).collect();
    pids.sort_unstable();
    pids.dedup();
    let pids: Vec<String> = pids.iter().map(u32::to_string).collect();
    let mut names: Vec<String> = stuck.iter().take(NAMED).map(|one| one.id.to_string()).collect();
    if stuck.len() > NAMED {
        names.push(format!("{} more", stuck.len() - NAMED));
    }
    Some(Degraded {
        what: format!("{STUCK_TASKS}: {}", names.join(", ")),
        why: format!(
            "an earlier run began them, and its processes {} may still run them",
            pids.join(", ")
        ),
        fix: format!("end them: `kill -9 {}`; the tasks then go on by themselves", pids.join(" ")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_tasks_are_told_in_one_sentence() {
        let one = |n: i64, pid| StuckTask {
            id: TaskId::from_raw(n).unwrap(),
            worker: "images#1".into(),
            pids: vec![pid],
        };
        assert_eq!(told(&[]), None);
        let all: Vec<_> = (1..8).map(|n| one(n, 40 + n as u32 % 2)).collect();
        let told = told(&all).unwrap();
        assert!(told.what.ends_with("0000000000005, 2 more"), "{}", told.what);
        assert!(told.why.contains("processes 40, 41 may"), "{}", told.why);
        assert!(told.fix.contains("`kill -9 40 41`"), "{}", told.fix);
    }

    #[test]
    fn leftovers_that_have_ended_are_not_told_any_more() {
        let said = || Degraded { what: LEFTOVERS.into(), why: String::new(), fix: String::new() };
        let me = std::process::id();
        // Nothing was born with the machine's first tick but its kernel: another process had this number.
        let gone = Survivor { pid: me, birth: 0, spawn: None, instance: None };
        let (_show, stuck) = watch::channel(Arc::default());
        let mut degraded = vec![said()];
        Left { survivors: vec![gone], stuck }.correct(&mut degraded);
        assert_eq!(degraded, vec![]);
    }
}
