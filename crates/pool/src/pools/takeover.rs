//! Sorting what a former daemon left: children by place, claims by worker.

use std::collections::HashMap;

use ganger_core::InstanceId;
use ganger_process::Child;
use ganger_queue::How;
use ganger_store::{AttemptError, RunningRow};
use ganger_supervise::SlotResume;

use crate::attempt::{Answers, FromWorker, Report};
use crate::pace::Room;
use crate::spec::{PoolSpec, Protocol};

/// What is left for one place.
#[derive(Debug, Default)]
pub(super) struct Left {
    pub children: Vec<Child>,
    pub claimed: Vec<RunningRow>,
    pub resume: Option<SlotResume>,
}

/// Everything a former daemon left, by place.
#[derive(Debug, Default)]
pub(super) struct Leftovers(HashMap<InstanceId, Left>);

impl Leftovers {
    pub(super) fn sort(
        children: Vec<Child>,
        claims: Vec<RunningRow>,
        resumed: Vec<SlotResume>,
    ) -> Self {
        let mut places: HashMap<InstanceId, Left> = HashMap::new();
        for child in children {
            places.entry(child.instance().clone()).or_default().children.push(child);
        }
        for claim in claims {
            places.entry(place_of(&claim.worker)).or_default().claimed.push(claim);
        }
        for resume in resumed {
            let place = places.entry(resume.id.clone()).or_default();
            place.resume = Some(resume);
        }
        Self(places)
    }

    /// The highest slot of a pool with something left.
    pub(super) fn highest(&self, pool: &str) -> u32 {
        let slots = self.0.keys().filter(|id| id.name == pool).map(|id| id.slot);
        slots.max().unwrap_or(0)
    }

    /// What is left for a place of this pool. Children of the other kind stay: they have no place any more.
    pub(super) fn take(&mut self, spec: &PoolSpec, slot: u32) -> Left {
        let id = InstanceId::new(&spec.name, slot);
        let Some(mut left) = self.0.remove(&id) else { return Left::default() };
        let wants_command = spec.protocol == Protocol::Command;
        let (ours, others): (Vec<_>, Vec<_>) =
            left.children.into_iter().partition(|child| is_command(child) == wants_command);
        if !others.is_empty() {
            // Claims wait for the end of what may run them.
            let claimed = std::mem::take(&mut left.claimed);
            self.0.insert(id, Left { children: others, claimed, resume: None });
        }
        left.children = ours;
        left
    }

    /// Children without a place, and the claims nobody is left to run.
    pub(super) fn rest(self) -> (Vec<Child>, Vec<RunningRow>) {
        let mut children = Vec::new();
        let mut claims = Vec::new();
        for left in self.0.into_values() {
            children.extend(left.children);
            claims.extend(left.claimed);
        }
        (children, claims)
    }
}

/// A process of a `command` pool: its note names a task.
fn is_command(child: &Child) -> bool {
    crate::command::note_of(child).is_some()
}

/// Claims whose process is gone, and nobody knows how: started ones are lost with it, buffered ones go back without a charge.
/// `how` goes on where "worker images#2 (pid 7)" begins.
pub(super) fn gone(claims: Vec<RunningRow>, how: &str) -> FromWorker {
    let report = |row: RunningRow| {
        let how = match row.started_at_ms {
            Some(_) => {
                let (worker, pid) = (&row.worker, row.pid);
                let text = format!("worker {worker} (pid {pid}) {how}");
                How::Lost(Box::new(AttemptError::new(text)))
            }
            None => How::Released,
        };
        Report { id: row.row.id, token: row.token, began: None, pid: None, said: None, how }
    };
    FromWorker {
        key: 0,
        reports: claims.into_iter().map(report).collect(),
        began: Vec::new(),
        said: Vec::new(),
        answers: Answers::default(),
        room: Room::default(),
        lanes: 0,
        pid: 0,
    }
}

/// How a process ended that a new daemon did not find.
pub(super) const UNSEEN: &str = "was gone when a new daemon looked";

/// `images#2` as an instance. A name without a slot can't be ours; it finds no place.
pub(super) fn place_of(worker: &str) -> InstanceId {
    let (name, slot) = worker.rsplit_once('#').unwrap_or((worker, "0"));
    InstanceId::new(name, slot.parse().unwrap_or(0))
}
