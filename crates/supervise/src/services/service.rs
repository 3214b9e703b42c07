//! One service as the owner task holds it.

use std::collections::BTreeMap;
use std::sync::Arc;

use ganger_core::InstanceState;

use super::reload::Roll;
use crate::instance::InstanceHandle;
use crate::spec::ServiceSpec;
use crate::view::InstanceView;

#[derive(Debug)]
pub(super) struct Service {
    pub(super) spec: ServiceSpec,
    pub(super) slots: BTreeMap<u32, Slot>,
    /// It is being stopped for good; with `asked` its slots have been told.
    pub(super) leaving: Option<Leaving>,
    /// When a connection last had it started.
    pub(super) knocked: Option<tokio::time::Instant>,
    /// Its listeners are watched for the first connection.
    pub(super) watched: bool,
    /// A reload under way; `spec` is the old one until it is over.
    pub(super) roll: Option<Box<Roll>>,
    /// A reload was cut short: slots may have different specs.
    pub(super) mixed: bool,
    /// Processes of a former daemon are of another spec.
    pub(super) outdated: bool,
    /// There may be slots that linger.
    pub(super) lingering: bool,
}

#[derive(Debug)]
pub(super) struct Leaving {
    pub(super) why: &'static str,
    pub(super) asked: bool,
}

#[derive(Debug)]
pub(super) struct Slot {
    pub(super) handle: InstanceHandle,
    pub(super) view: Option<Arc<InstanceView>>,
    /// Its first start waits for dependencies.
    pub(super) waiting: bool,
    /// It is forgotten once it is stopped.
    pub(super) leaving: bool,
    /// Failures of it that its group has heard of.
    pub(super) crashes: u64,
    /// The stop of its leaving is done. Views can be old; the stop's ticket can't.
    pub(super) stopped: bool,
    /// It starts with the first connection.
    pub(super) dozing: bool,
    /// One of a reload, beyond `replicas`: nothing waits for it and its failures concern no group.
    pub(super) surge: bool,
    /// It gets no new connections, ready or not: a reload drains it, or does not trust it yet.
    pub(super) held_back: bool,
    /// It is on trial with sockets of its own, where the others share theirs.
    pub(super) apart: bool,
    /// A former daemon's reload has left it; it stays until the others serve.
    pub(super) lingers: bool,
}

impl Slot {
    pub(super) const fn new(handle: InstanceHandle, waiting: bool, leaving: bool) -> Self {
        Self {
            handle,
            view: None,
            waiting,
            leaving,
            crashes: 0,
            stopped: false,
            dozing: false,
            surge: false,
            held_back: false,
            apart: false,
            lingers: false,
        }
    }

    /// No process, and none will come by itself.
    pub(super) fn rests(&self) -> bool {
        let rests = |s: InstanceState| matches!(s, InstanceState::Stopped | InstanceState::Failed);
        self.view.as_ref().is_some_and(|view| rests(view.state))
    }

    /// No process, and none will come by itself, though one was wanted.
    pub(super) fn asleep(&self) -> bool {
        let asleep = |view: &Arc<InstanceView>| match view.state {
            InstanceState::Stopped => !view.completed,
            InstanceState::Failed => true,
            _ => false,
        };
        self.view.as_ref().is_some_and(asleep)
    }
}

impl Service {
    pub(super) const fn new(spec: ServiceSpec) -> Self {
        Self {
            spec,
            slots: BTreeMap::new(),
            leaving: None,
            knocked: None,
            watched: false,
            roll: None,
            mixed: false,
            outdated: false,
            lingering: false,
        }
    }

    /// It leaves, and every slot's stop is done.
    pub(super) fn gone(&self) -> bool {
        self.leaving.as_ref().is_some_and(|leaving| leaving.asked)
            && self.slots.values().all(|slot| slot.stopped)
    }

    /// Nothing of it runs, and the first connection has all of it started.
    pub(super) fn dozes(&self) -> bool {
        let mut slots = self.slots.values().filter(|slot| !slot.leaving).peekable();
        let there = self.leaving.is_none() && slots.peek().is_some();
        self.spec.on_demand && there && slots.all(|slot| slot.dozing)
    }

    /// Slots that can be used.
    pub(super) fn ready_slots(&self) -> Vec<u32> {
        let ready =
            |slot: &Slot| !slot.held_back && slot.view.as_ref().is_some_and(|view| view.ready);
        self.slots.iter().filter(|(_, slot)| ready(slot)).map(|(number, _)| *number).collect()
    }

    pub(super) fn waits(&self) -> bool {
        self.leaving.is_none() && self.slots.values().any(|slot| slot.waiting)
    }
}
