//! Going on with a reload that a former daemon has left in the middle.
//!
//! What a process is of stands in its note, so nothing is replaced twice:
//!
//! ```text
//! in a slot:        of the new version ──► stays          of the old one, or of neither ──► is replaced, whichever way it goes
//! beyond the slots: of the new version ──► stands in again, on trial again
//!                   else lingers ──slots are ready, or rest──► drained ──► stopped
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ganger_core::{InstanceId, InstanceState};
use ganger_process::Child;

use super::apply::Resumes;
use super::drain::drained;
use super::owner::Owner;
use super::reload::{Heard, STOOD_IN, What};
use super::rolling::{Found, Version};
use super::service::Slot;
use crate::instance::{self, Begin};
use crate::listeners::ListenMode;
use crate::policy::Restart;
use crate::spec::{InstanceSpec, ServiceSpec};

/// Slots that are not ready by then never may be: what stood in for them must not stay for ever.
const LINGER: Duration = Duration::from_secs(60);

/// Where a reload begins.
#[derive(Debug, Default)]
pub(super) struct Begun {
    /// Slots whose processes a former daemon has started.
    pub(super) found: BTreeMap<u32, Found>,
    /// Slots that a person had stopped.
    pub(super) rests: BTreeSet<u32>,
    /// Further slots that have an instance of the new version already.
    pub(super) surge: Vec<u32>,
}

/// What a former daemon has left of a service.
#[derive(Debug, Default)]
pub(super) struct Left {
    /// What its reload is to bring, if one was under way.
    coming: Option<ServiceSpec>,
    begun: Begun,
    /// Those beyond the slots.
    beyond: Vec<(InstanceId, Child)>,
}

impl Owner {
    /// Takes what a former daemon's reload has left, before the slots of a service are filled. Instances of the new version get its
    /// spec: one that dies is started as what it was.
    pub(super) fn take_left(
        &mut self,
        name: &str,
        coming: Option<ServiceSpec>,
        resumes: &Resumes,
    ) -> Left {
        let mut left = Left { coming, ..Left::default() };
        let Some(old) = self.services.get(name).map(|service| service.spec.clone()) else {
            return left;
        };
        if !old.rolls() && left.coming.is_none() || self.adopted.is_empty() {
            return left;
        }
        let new = left.coming.clone().unwrap_or_else(|| old.clone());
        let stopped = |slot: &&u32| {
            let resume = resumes.get(&InstanceId::new(name, **slot));
            resume.is_some_and(|resume| resume.state == InstanceState::Stopped)
        };
        let slots: Vec<u32> = (1..=old.replicas).collect();
        left.begun.rests = slots.iter().filter(stopped).copied().collect();
        let living = self.adopted.iter().filter(|(id, child)| {
            // Who was told to end does so; that is the slot's own matter.
            id.name == name && !instance::is_ending(child.blob())
        });
        let mut living: Vec<InstanceId> = living.map(|(id, _)| id.clone()).collect();
        living.sort();
        for id in living {
            let slot = id.slot;
            let Some(child) = self.adopted.get(&id) else { continue };
            let of = |spec: &ServiceSpec| instance::is_of(child.blob(), &spec.slot(slot));
            let is_new = of(&new);
            if slot > old.replicas {
                let free = slot > new.replicas && left.coming.is_some();
                let room = left.begun.surge.len() < new.reload_rules().surge as usize;
                if is_new && free && room {
                    left.begun.surge.push(slot);
                }
                left.beyond.extend(self.adopted.remove(&id).map(|child| (id, child)));
                continue;
            }
            let version = match is_new {
                true => Some(Version::New),
                // Without what ran before there is nothing to go back to.
                false => (left.coming.is_none() || of(&old)).then_some(Version::Old),
            };
            let ready = instance::is_ready(child.blob(), &new.slot(slot));
            left.begun.found.insert(slot, Found { version, ready });
            if is_new
                && left.coming.is_some()
                && let Some(child) = self.adopted.remove(&id)
            {
                let handle = self.start_instance(new.slot(slot), Begin::Adopted(child));
                self.place(&id, Slot::new(handle, false, false));
            }
        }
        left
    }

    /// Goes on with it, once the slots are filled.
    pub(super) async fn go_on(&mut self, name: &str, left: Left) {
        let Left { coming, begun, beyond } = left;
        let Some(service) = self.services.get_mut(name) else { return };
        let (old, outdated) = (service.spec.clone(), std::mem::take(&mut service.outdated));
        let new = coming.or_else(|| outdated.then(|| old.clone()));
        let served = begun.found.values().any(|found| found.ready);
        for (id, child) in beyond {
            match &new {
                Some(new) if begun.surge.contains(&id.slot) => {
                    let handle = self.start_instance(new.slot(id.slot), Begin::Adopted(child));
                    // Where no slot serves it did, and does.
                    let slot =
                        Slot { surge: true, held_back: served, ..Slot::new(handle, false, false) };
                    self.place(&id, slot);
                }
                _ => self.linger(&old, id, child),
            }
        }
        if let Some(new) = new {
            self.begin_roll(name, new, begun, None).await;
        }
    }

    /// An instance that is one too many stays until the others serve.
    fn linger(&mut self, spec: &ServiceSpec, id: InstanceId, child: Child) {
        // One that dies, or is dead already, has nothing to finish.
        let once = InstanceSpec { restart: Restart::Never, ..spec.slot(id.slot) };
        let handle = self.start_instance(once, Begin::Kept(child));
        self.place(&id, Slot { surge: true, lingers: true, ..Slot::new(handle, false, true) });
        if let Some(service) = self.services.get_mut(&id.name) {
            service.lingering = true;
        }
        self.rolls.spawn(async move {
            tokio::time::sleep(LINGER).await;
            Heard { name: id.name, what: What::Lingered(id.slot) }
        });
    }

    /// An instance of a service says where it is: what lingers may be one too many now.
    pub(super) async fn look_at_lingering(&mut self, name: &str) {
        let Some(service) = self.services.get_mut(name).filter(|service| service.lingering) else {
            return;
        };
        let serves = |slot: &Slot| !slot.held_back && slot.view.as_ref().is_some_and(|v| v.ready);
        let mut main = service.slots.values().filter(|slot| !slot.surge && !slot.leaving);
        if !main.all(|slot| serves(slot) || slot.rests()) {
            return;
        }
        service.lingering = false;
        let those = service.slots.iter().filter(|(_, slot)| slot.lingers);
        let those: Vec<u32> = those.map(|(number, _)| *number).collect();
        for number in those {
            self.see_off(name, number).await;
        }
    }

    /// It gets no new connections, finishes what it has, and is stopped.
    pub(super) async fn see_off(&mut self, name: &str, number: u32) {
        let Some(service) = self.services.get_mut(name) else { return };
        let Some(slot) = service.slots.get_mut(&number).filter(|slot| slot.lingers) else { return };
        (slot.lingers, slot.held_back) = (false, true);
        let pid = slot.view.as_ref().and_then(|view| view.pid);
        let limit = service.spec.reload_rules().drain;
        let mode = service.spec.instance.listen.as_ref().map(|listening| listening.mode);
        self.steer(name).await;
        if !matches!(mode, Some(ListenMode::Reuseport | ListenMode::Pass)) {
            return self.stop_slot(InstanceId::new(name, number), STOOD_IN).await;
        }
        let (listeners, name) = (self.around.listeners.clone(), name.to_owned());
        self.rolls.spawn(async move {
            drained(listeners, name.clone(), number, pid, limit).await;
            Heard { name, what: What::SeenOff(number) }
        });
    }
}
