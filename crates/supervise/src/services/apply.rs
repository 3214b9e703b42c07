//! Making the services those of a configuration, by difference.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::os::fd::OwnedFd;

use ganger_core::{Effect, InstanceId, InstanceKind};
use ganger_keeper::wire::Plan;
use ganger_process::Child;

use super::error::ServiceError;
use super::handle::{Applied, GroupTicket, Resumed};
use super::listening::DOZES;
use super::order::check;
use super::owner::Owner;
use super::resume::Begun;
use super::service::{Service, Slot};
use crate::instance::{self, Begin, InstanceHandle};
use crate::spec::{InstanceSpec, ServiceSpec};
use crate::view::SlotResume;

/// Why an adopted child of a service that is no longer configured ends.
const NOT_CONFIGURED: &str = "not in the configuration any more";

pub(super) type Resumes = HashMap<InstanceId, SlotResume>;

impl Owner {
    /// Sorts the children of a former daemon by place. Of two in one place the older is ended: it was being replaced.
    pub(super) fn take_adopted(
        &mut self,
        mut adopted: Vec<Child>,
        held: &mut BTreeMap<String, OwnedFd>,
    ) {
        adopted.sort_by_key(Child::id);
        for child in adopted {
            if let Some(older) = self.adopted.insert(child.instance().clone(), child) {
                let told = self.around.told.clone();
                self.tasks.spawn(instance::dispose(older, told));
            }
        }
        for (name, fd) in held.extract_if(.., |name, _| name.starts_with(instance::NOTIFY_PREFIX)) {
            if let Some(id) = instance_of(&name[instance::NOTIFY_PREFIX.len()..]) {
                self.notify_sockets.insert(id, fd);
            }
        }
    }

    pub(super) async fn apply(
        &mut self,
        specs: Vec<ServiceSpec>,
        resumed: Resumed,
    ) -> Result<Applied, ServiceError> {
        check(&specs)?;
        let Resumed { slots, coming } = resumed;
        let resumes: Resumes = slots.into_iter().map(|r| (r.id.clone(), r)).collect();
        let (specs, mut coming) = self.versions(specs, coming);
        let wanted: BTreeSet<String> = specs.iter().map(|spec| spec.name.clone()).collect();
        let mut applied = Applied::default();
        let deaf = self.open_listeners(&specs).await;
        self.let_go(&wanted, &mut applied).await;
        // All specs first: whether a slot waits is asked of its dependencies' slots, so those come in order.
        let mut fresh = vec![];
        for spec in specs {
            match self.services.get(&spec.name) {
                None => {
                    applied.added.push(spec.name.clone());
                    fresh.push(spec.name.clone());
                    self.services.insert(spec.name.clone(), Service::new(spec));
                }
                Some(_) => {
                    let name = spec.name.clone();
                    self.change(spec, &mut applied).await;
                    self.forget_taken_back(&name);
                }
            }
        }
        self.index();
        for name in fresh {
            let left = self.take_left(&name, coming.remove(&name), &resumes);
            self.fill(&name, &resumes).await;
            self.go_on(&name, left).await;
        }
        self.end_strangers().await;
        let waiting = self.services.iter().filter(|(_, service)| service.waits());
        let waiting: Vec<String> = waiting.map(|(name, _)| name.clone()).collect();
        for name in waiting {
            self.start_if_met(&name).await;
        }
        self.keep_listeners().await;
        for name in wanted {
            self.doze(&name).await;
        }
        self.wake_deaf(deaf).await;
        Ok(applied)
    }

    async fn let_go(&mut self, wanted: &BTreeSet<String>, applied: &mut Applied) {
        let missing = |(name, service): &(&String, &Service)| {
            !wanted.contains(*name) && service.leaving.is_none()
        };
        let names: Vec<String> =
            self.services.iter().filter(missing).map(|(name, _)| name.clone()).collect();
        for name in &names {
            self.leave(name, "removed from the configuration");
        }
        for name in &names {
            self.stop_if_free(name).await;
            self.drop_if_gone(name);
        }
        applied.removed = names;
    }

    /// A service that is there gets a new spec.
    pub(super) async fn change(&mut self, spec: ServiceSpec, applied: &mut Applied) {
        let name = spec.name.clone();
        if self.is_rolling(&name) {
            return self.change_course(spec, applied).await;
        }
        let Some(service) = self.services.get_mut(&name) else { return };
        if service.effect(&spec) == Effect::Roll {
            applied.replaced.push(name.clone());
            self.begin_roll(&name, spec, Begun::default(), None).await;
            return;
        }
        let back = service.leaving.take().is_some();
        let old = std::mem::replace(&mut service.spec, spec);
        let new = service.spec.clone();
        let mixed = std::mem::take(&mut service.mixed);
        let process = mixed || old != new && !instance::same_process(&old.slot(1), &new.slot(1));
        let rules = old.instance != new.instance;
        if process || rules {
            for (slot, place) in &service.slots {
                place.handle.replace(new.slot(*slot), process).await;
            }
        }
        match () {
            () if process || back => applied.replaced.push(name.clone()),
            () if old != new => applied.adjusted.push(name.clone()),
            () => applied.unchanged.push(name.clone()),
        }
        if !new.stopped {
            self.wake(&name, back).await;
        }
        self.fill(&name, &Resumes::new()).await;
    }

    /// Starts slots that a person had stopped or that had given up; `all`: also those that were leaving.
    async fn wake(&mut self, name: &str, all: bool) {
        let Some(service) = self.services.get_mut(name) else { return };
        let on_demand = service.spec.on_demand && !all;
        for slot in service.slots.values_mut().filter(|slot| !slot.leaving && !slot.waiting) {
            slot.stopped = false;
            if on_demand && slot.rests() {
                slot.dozing = true;
                continue;
            }
            if all || slot.asleep() {
                slot.handle.start().await;
            }
        }
    }

    /// Makes the slots those of the spec: missing ones begin, surplus ones leave. Gives those that start.
    pub(super) async fn fill(&mut self, name: &str, resumes: &Resumes) -> Vec<InstanceHandle> {
        let Some(service) = self.services.get_mut(name) else { return vec![] };
        let spec = service.spec.clone();
        let (mut started, mut surplus) = (vec![], vec![]);
        for (number, slot) in &mut service.slots {
            if *number > spec.replicas && !slot.leaving {
                (slot.leaving, slot.waiting) = (true, false);
                surplus.push(*number);
            } else if *number <= spec.replicas && slot.leaving {
                (slot.leaving, slot.held_back, slot.lingers) = (false, false, false);
                if std::mem::take(&mut slot.surge) {
                    // It had stood in by rules of its own.
                    slot.handle.replace(spec.slot(*number), true).await;
                }
                slot.handle.start().await;
                started.push(slot.handle.clone());
            }
        }
        // A former daemon may have left more than there are to be now.
        let adopted = self.adopted.keys().filter(|id| id.name == name).map(|id| id.slot);
        surplus.extend(adopted.filter(|slot| *slot > spec.replicas));
        let missing: Vec<u32> = (1..=spec.replicas)
            .chain(surplus.iter().copied())
            .filter(|number| !self.services[name].slots.contains_key(number))
            .collect();
        for number in missing {
            let id = InstanceId::new(name, number);
            started.extend(self.begin(&id, &spec, resumes.get(&id)));
        }
        for number in surplus {
            self.stop_slot(InstanceId::new(name, number), "scaled down").await;
        }
        started
    }

    /// Gives a slot its instance; returned is the handle of one that starts.
    fn begin(
        &mut self,
        id: &InstanceId,
        spec: &ServiceSpec,
        resume: Option<&SlotResume>,
    ) -> Option<InstanceHandle> {
        let surplus = id.slot > spec.replicas;
        let resume = resume.filter(|resume| resume.is_rest()).cloned();
        let unmet = self.unmet(&id.name);
        let others =
            self.services.get(&id.name).is_some_and(|s| s.slots.values().any(|s| !s.dozing));
        let dozes = spec.on_demand && !others;
        let (mut dozing, mut outdated) = (false, false);
        // Without further slots the version that is to come can't be tried while this one serves.
        let rolls = spec.rolls() && !spec.stopped && spec.reload_rules().surge > 0;
        let (begin, waiting, up) = match (self.adopted.remove(id), resume, unmet) {
            (Some(child), _, _) if surplus => {
                (Begin::Unwanted(child, "scaled down".into()), false, false)
            }
            (Some(child), _, _)
                if rolls && instance::is_outdated(child.blob(), &spec.slot(id.slot)) =>
            {
                outdated = true;
                (Begin::Kept(child), false, false)
            }
            (Some(child), _, _) => (Begin::Adopted(child), false, false),
            _ if spec.stopped => (Begin::AtRest("stopped on request".into()), false, false),
            (None, Some(resume), _) => (Begin::Resumed(resume), false, false),
            (None, None, _) if dozes => {
                dozing = true;
                (Begin::AtRest(DOZES.into()), false, false)
            }
            (None, None, Some(why)) => (Begin::AtRest(why), true, false),
            (None, None, None) => (Begin::Up, false, true),
        };
        let handle = self.start_instance(spec.slot(id.slot), begin);
        let slot = Slot { dozing, ..Slot::new(handle.clone(), waiting, surplus) };
        self.place(id, slot);
        if let Some(service) = self.services.get_mut(&id.name) {
            service.outdated |= outdated;
        }
        up.then_some(handle)
    }

    pub(super) fn start_instance(&mut self, spec: InstanceSpec, begin: Begin) -> InstanceHandle {
        let notify = self.notify_sockets.remove(spec.id());
        let (around, notices) = (self.around.clone(), self.notices.clone());
        instance::start(spec, begin, notify, around, notices, &mut self.tasks)
    }

    /// Adopted children that no spec names end as services that leave, so that they are seen and a later configuration
    /// may take them back.
    async fn end_strangers(&mut self) {
        let strangers: Vec<(InstanceId, Child)> = self.adopted.drain().collect();
        let names: BTreeSet<String> = strangers.iter().map(|(id, _)| id.name.clone()).collect();
        for (id, child) in strangers {
            let spec = InstanceSpec::new(unknown_plan(&id));
            let service = ServiceSpec { replicas: 0, ..ServiceSpec::new(&id.name, spec.clone()) };
            self.services.entry(id.name.clone()).or_insert_with(|| Service::new(service));
            let handle = self.start_instance(spec, Begin::Unwanted(child, NOT_CONFIGURED.into()));
            self.place(&id, Slot::new(handle, false, false));
        }
        for name in names {
            self.leave(&name, NOT_CONFIGURED);
            self.stop_if_free(&name).await;
        }
    }

    pub(super) async fn scale(
        &mut self,
        name: &str,
        replicas: u32,
    ) -> Result<GroupTicket, ServiceError> {
        let service = self.find(name)?;
        if let Some(roll) = &mut service.roll {
            // Slots come and go when it is over.
            roll.scale(replicas);
            return Ok(GroupTicket(vec![]));
        }
        service.spec.replicas = replicas;
        let mut tickets = vec![];
        for slot in self.fill(name, &Resumes::new()).await {
            tickets.push(slot.start().await);
        }
        let leaving = self.find(name)?.slots.values().filter(|slot| slot.leaving);
        let leaving: Vec<InstanceHandle> = leaving.map(|slot| slot.handle.clone()).collect();
        for slot in leaving {
            tickets.push(slot.stop("scaled down").await);
        }
        Ok(GroupTicket(tickets))
    }
}

/// The plan of a child whose configuration is gone: it is only ever ended, never started.
fn unknown_plan(id: &InstanceId) -> Plan {
    Plan::new(id.clone(), InstanceKind::Service, String::new(), vec![])
}

/// `web#1` read back.
fn instance_of(text: &str) -> Option<InstanceId> {
    let (name, slot) = text.rsplit_once('#')?;
    Some(InstanceId::new(name, slot.parse().ok()?))
}
