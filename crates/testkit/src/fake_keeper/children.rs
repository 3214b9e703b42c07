//! The fake's children and what is remembered of them.

use std::collections::HashMap;

use ganger_core::{End, InstanceId, SpawnId};
use tokio::time::Instant;

use super::script::Act;

/// What has been in one place.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Lives {
    /// Starts that came to a process.
    pub started: u32,
    /// Living now.
    pub now: u32,
    /// The most at one moment; more than 1 is never right.
    pub most_at_once: u32,
    /// The newest note.
    pub blob: String,
    /// The newest environment.
    pub env: ganger_keeper::wire::Env,
    /// When each start was asked for, in tokio's time.
    pub asked_at: Vec<Instant>,
}

/// One child.
#[derive(Debug)]
pub(super) struct Child {
    pub(super) instance: InstanceId,
    pub(super) pid: u32,
    pub(super) act: Act,
    pub(super) alive: bool,
    pub(super) acked: bool,
    /// Its ends of pidfd, channel and pipes: kept so that the daemon's see no end.
    pub(super) far_ends: Vec<std::os::fd::OwnedFd>,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Children {
    pub(super) by_id: HashMap<SpawnId, Child>,
    pub(super) lives: HashMap<InstanceId, Lives>,
    pids: u32,
}

impl Children {
    pub(super) fn next_pid(&mut self) -> u32 {
        self.pids += 1;
        1_000 + self.pids
    }

    pub(super) fn lives(&mut self, instance: &InstanceId) -> &mut Lives {
        self.lives.entry(instance.clone()).or_default()
    }

    pub(super) fn add(&mut self, id: SpawnId, child: Child) {
        let lives = self.lives(&child.instance);
        lives.started += 1;
        lives.now += 1;
        lives.most_at_once = lives.most_at_once.max(lives.now);
        self.by_id.insert(id, child);
    }

    /// Marks it dead; `None` if it was already.
    pub(super) fn end(&mut self, id: SpawnId) -> Option<(InstanceId, u32)> {
        let child = self.by_id.get_mut(&id).filter(|child| child.alive)?;
        child.alive = false;
        let (instance, pid) = (child.instance.clone(), child.pid);
        self.lives(&instance).now -= 1;
        Some((instance, pid))
    }

    pub(super) fn living(&self, name: &str, slot: u32) -> Option<SpawnId> {
        let is_it = |child: &Child| {
            child.alive && child.instance.name == name && child.instance.slot == slot
        };
        self.by_id.iter().find(|(_, child)| is_it(child)).map(|(id, _)| *id)
    }

    pub(super) fn unacked(&self) -> Vec<SpawnId> {
        let open = |child: &Child| !child.alive && !child.acked;
        let mut ids: Vec<_> =
            self.by_id.iter().filter(|(_, child)| open(child)).map(|(id, _)| *id).collect();
        ids.sort_unstable();
        ids
    }
}

/// A child's end and when it comes.
#[derive(Debug)]
pub(super) struct Due {
    pub(super) at: Instant,
    pub(super) id: SpawnId,
    pub(super) end: End,
}
