//! The workers of a job: who is free, and who fails whatever it is given.

use std::collections::BTreeMap;

use super::{Task, WorkerId};

#[derive(Debug, Default)]
pub(super) struct Workers {
    known: BTreeMap<WorkerId, Worker>,
    pub(super) lost: u32,
}

#[derive(Debug, Default)]
struct Worker {
    /// Different tasks that failed here since the last that did not.
    row: Vec<Task>,
    aside: bool,
}

impl Workers {
    pub(super) fn join(&mut self, worker: WorkerId) {
        self.known.entry(worker).or_default();
    }

    /// Whether it was there.
    pub(super) fn lose(&mut self, worker: WorkerId) -> bool {
        let was = self.known.remove(&worker).is_some();
        self.lost += u32::from(was);
        was
    }

    /// May be given work.
    pub(super) fn good(&self, worker: WorkerId) -> bool {
        self.known.get(&worker).is_some_and(|worker| !worker.aside)
    }

    /// How many may be given work.
    pub(super) fn good_count(&self) -> usize {
        self.known.values().filter(|worker| !worker.aside).count()
    }

    pub(super) fn aside_count(&self) -> usize {
        self.known.len() - self.good_count()
    }

    pub(super) fn succeeded(&mut self, worker: WorkerId) {
        if let Some(worker) = self.known.get_mut(&worker) {
            worker.row.clear();
        }
    }

    /// A task failed there. Returns the tasks that failed in a row when that sets the worker aside. The last good worker
    /// stays: with nobody to compare it with, the tasks are as likely to blame.
    pub(super) fn failed(
        &mut self,
        worker: WorkerId,
        task: Task,
        most: usize,
    ) -> Option<Vec<Task>> {
        let alone = self.good_count() <= 1;
        let known = self.known.get_mut(&worker)?;
        if !known.row.contains(&task) && known.row.len() < most {
            known.row.push(task);
        }
        if known.aside || alone || known.row.len() < most {
            return None;
        }
        known.aside = true;
        Some(std::mem::take(&mut known.row))
    }
}
