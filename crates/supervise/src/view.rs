//! What others see of instances: published copies, never shared state.

mod reload;
mod signs;

use std::sync::Arc;

use ganger_core::{
    BreakerState, Event, FailureCause, GroupState, GroupStrategy, InstanceId, InstanceKind,
    InstanceState,
};
use ganger_process::ExitAck;
use ganger_sandbox::Degraded;
use serde::{Deserialize, Serialize};

pub use reload::{ReloadView, Reloads};
pub use signs::{Doing, ProbeKind, ProbeView, Signs, SignsReader};

/// One instance at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceView {
    /// Which.
    pub id: InstanceId,
    /// What it is for.
    pub kind: InstanceKind,
    /// Where it is in its life.
    pub state: InstanceState,
    /// Up, and ready where readiness is declared.
    pub ready: bool,
    /// Of the living process.
    pub pid: Option<u32>,
    /// Starts after the first, automatic and asked for.
    pub restarts: u32,
    /// Failures in a row.
    pub failures: u32,
    /// Failures in all that this daemon has seen and that led to a wait for a restart.
    pub crashes: u64,
    /// Why the last of them happened.
    pub cause: Option<FailureCause>,
    /// Where its circuit breaker is.
    pub breaker: BreakerState,
    /// Wall-clock milliseconds since 1970 of the living process's start.
    pub started_at_ms: Option<u64>,
    /// Why it is in this state; empty where nothing needs saying.
    pub reason: String,
    /// Wall-clock milliseconds since 1970 of the next start, in backoff.
    pub next_try_ms: Option<u64>,
    /// Its time has come and it waits for a permit: for the restart budget, or for its turn in its group.
    pub queued: bool,
    /// Stopped by itself with exit code 0.
    pub completed: bool,
    /// Processes of it that could not be proven dead, although all was done to end them.
    pub stuck: Vec<u32>,
    /// What its plan asked for and this machine doesn't give the living process.
    pub degraded: Vec<Degraded>,
    /// What its probes last found and what it says of itself: changes without a new view.
    pub signs: SignsReader,
}

impl InstanceView {
    /// What a later daemon needs to go on with an instance that has no process.
    #[must_use]
    pub fn resume(&self) -> SlotResume {
        SlotResume {
            id: self.id.clone(),
            state: self.state,
            reason: self.reason.clone(),
            next_try_ms: self.next_try_ms,
            restarts: self.restarts,
            failures: self.failures,
            breaker: Some(self.breaker),
            completed: self.completed,
        }
    }
}

/// Desired state of one slot, to be stored by the daemon and given back at its next start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotResume {
    /// Which.
    pub id: InstanceId,
    /// Where it was. `stopped`, `failed` and `backoff` are gone back to; the others mean a start.
    pub state: InstanceState,
    /// Why it was there.
    pub reason: String,
    /// Wall-clock milliseconds since 1970 of the next start.
    #[serde(default)]
    pub next_try_ms: Option<u64>,
    /// Starts after the first.
    #[serde(default)]
    pub restarts: u32,
    /// Failures in a row.
    #[serde(default)]
    pub failures: u32,
    /// Where its circuit breaker was; absent in what former versions wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub breaker: Option<BreakerState>,
    /// Stopped by itself with exit code 0.
    #[serde(default)]
    pub completed: bool,
}

impl SlotResume {
    /// There is something to go back to; else the instance is started as if nothing were known.
    #[must_use]
    pub const fn is_rest(&self) -> bool {
        use InstanceState::{Backoff, Failed, Stopped};
        matches!(self.state, Backoff | Failed | Stopped)
    }
}

/// One group at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupView {
    /// Its name.
    pub name: String,
    /// What the restart of one member means for the others.
    pub strategy: GroupStrategy,
    /// How it is.
    pub state: GroupState,
    /// Why it is not `running`; empty where nothing needs saying.
    pub reason: String,
    /// Its members, in order; true for optional ones.
    pub members: Vec<(String, bool)>,
}

/// Every instance, ordered by id, and every group, by name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Snapshot {
    /// The instances.
    pub instances: Vec<Arc<InstanceView>>,
    /// The groups.
    pub groups: Vec<GroupView>,
}

impl Snapshot {
    /// One instance.
    #[must_use]
    pub fn get(&self, id: &InstanceId) -> Option<&Arc<InstanceView>> {
        let at = self.instances.binary_search_by(|view| view.id.cmp(id)).ok()?;
        self.instances.get(at)
    }

    /// The instances of one service, by slot.
    pub fn of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Arc<InstanceView>> {
        let from = self.instances.partition_point(|view| view.id.name.as_str() < name);
        self.instances[from..].iter().take_while(move |view| view.id.name == name)
    }
}

/// Something to record: an event, and what to store and confirm with it.
#[derive(Debug)]
pub struct Told {
    /// The event; its `seq` is the store's to give.
    pub event: Event,
    /// Set on `instance.exit`: confirm it once the event is committed. Unconfirmed, the exit is told again to the next
    /// daemon.
    pub ack: Option<ExitAck>,
    /// Set when the instance came to rest by itself (failed, backoff, or stopped with exit code 0) and when it left rest
    /// (state `starting`): store it with the event. That a person stopped it is the verb's to store.
    pub resume: Option<SlotResume>,
}
