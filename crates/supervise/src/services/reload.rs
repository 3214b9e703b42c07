//! Rolling reloads at work: what the machine in `rolling` orders is done, and what comes of it is told to it.

use std::collections::BTreeMap;
use std::time::Duration;

use ganger_core::{InstanceId, InstanceState, ReloadState};
use tokio::sync::oneshot;

use super::apply::Resumes;
use super::drain::drained;
use super::error::ServiceError;
use super::handle::{Applied, GroupTicket, Reloading};
use super::owner::Owner;
use super::resume::Begun;
use super::rolling::{Act, Found, Happened, Rolling, Version};
use super::service::{Service, Slot};
use crate::instance::{Begin, TicketError};
use crate::listeners::ListenMode;
use crate::spec::ServiceSpec;
use crate::view::InstanceView;

/// Why a surge instance ends.
pub(super) const STOOD_IN: &str = "stood in during a reload";

/// One reload of a service.
#[derive(Debug)]
pub(super) struct Roll {
    pub(super) machine: Rolling,
    old: ServiceSpec,
    new: ServiceSpec,
    /// The newest order to each slot; answers to earlier ones are void.
    orders: BTreeMap<u32, u64>,
    waiting: Vec<oneshot::Sender<Result<(), String>>>,
    /// What was configured meanwhile.
    next: Option<ServiceSpec>,
    /// The last words of the instance that failed; `None` while they are asked for.
    words: Option<String>,
    /// It is over but for them.
    over: Option<Result<(), String>>,
}

impl Roll {
    /// It is to bring this.
    pub(super) fn is_to(&self, spec: &ServiceSpec) -> bool {
        self.new == *spec && !self.machine.goes_back()
    }

    /// From its end on there are to be so many.
    pub(super) const fn scale(&mut self, replicas: u32) {
        (self.old.replicas, self.new.replicas) = (replicas, replicas);
    }
}

/// Something that reloads wait for has come.
#[derive(Debug)]
pub(super) struct Heard {
    pub(super) name: String,
    pub(super) what: What,
}

/// What has come.
#[derive(Debug)]
pub(super) enum What {
    /// Of an order.
    Ordered(u64, Happened),
    /// The last words of a slot that has failed.
    Said(u32, Option<String>),
    /// A slot that a former daemon's reload has left has finished what it had.
    SeenOff(u32),
    /// A slot that a former daemon's reload has left has waited long enough for the others.
    Lingered(u32),
}

impl Service {
    /// Something of it is to be kept up while it changes, and both versions have the same listeners.
    pub(super) fn can_roll(&self, old: &ServiceSpec, new: &ServiceSpec) -> bool {
        let ready = |slot: &Slot| !slot.leaving && slot.view.as_ref().is_some_and(|v| v.ready);
        let same = old.instance.listen == new.instance.listen;
        new.rolls() && same && !new.stopped && self.slots.values().any(ready)
    }
}

fn is_ready(slot: &Slot) -> bool {
    slot.view.as_ref().is_some_and(|view| view.ready)
}

/// Nothing of it runs or will by itself: it gets the new spec without a start.
fn at_rest(slot: &Slot) -> bool {
    let stopped = |view: &InstanceView| view.state == InstanceState::Stopped;
    slot.waiting || slot.dozing || slot.view.as_deref().is_some_and(stopped)
}

/// The reason alone: whose it is stands beside it.
fn why(error: TicketError) -> String {
    match error {
        TicketError::NotUp { reason, .. } => reason,
        gone @ TicketError::Gone { .. } => gone.to_string(),
    }
}

impl Owner {
    pub(super) fn is_rolling(&self, name: &str) -> bool {
        self.services.get(name).is_some_and(|service| service.roll.is_some())
    }

    /// A person's word: every process is replaced, by the spec that holds.
    pub(super) async fn reload(&mut self, name: &str) -> Result<Reloading, ServiceError> {
        let service = self.find(name)?;
        let (reply, over) = oneshot::channel();
        if let Some(roll) = &mut service.roll {
            roll.waiting.push(reply);
            return Ok(Reloading::Rolls(over));
        }
        if service.slots.values().any(|slot| !slot.leaving && is_ready(slot)) {
            let spec = ServiceSpec { stopped: false, ..service.spec.clone() };
            self.begin_roll(name, spec, Begun::default(), Some(reply)).await;
            return Ok(Reloading::Rolls(over));
        }
        let mut tickets = vec![];
        for slot in service.slots.values_mut().filter(|slot| !slot.leaving) {
            (slot.waiting, slot.dozing) = (false, false);
            tickets.push(slot.handle.restart().await);
        }
        self.doze(name).await;
        Ok(Reloading::Restarts(GroupTicket(tickets)))
    }

    pub(super) async fn begin_roll(
        &mut self,
        name: &str,
        new: ServiceSpec,
        begun: Begun,
        reply: Option<oneshot::Sender<Result<(), String>>>,
    ) {
        let Some(service) = self.services.get_mut(name) else { return };
        let (old, rules) = (service.spec.clone(), new.reload_rules());
        let Begun { found, rests, mut surge } = begun;
        let goes_on = !found.is_empty();
        let main: BTreeMap<u32, Found> = service
            .slots
            .iter()
            .filter(|(number, slot)| {
                let there = **number <= old.replicas.min(new.replicas) && !rests.contains(number);
                there && !slot.leaving && !at_rest(slot)
            })
            .map(|(number, slot)| {
                let left = found.get(number).copied();
                (*number, left.unwrap_or_else(|| Found::old(is_ready(slot))))
            })
            .collect();
        let last = service.slots.keys().next_back().copied().unwrap_or(0);
        let first = last.max(old.replicas).max(new.replicas) + 1;
        let missing = (rules.surge as usize).saturating_sub(surge.len());
        let further: Vec<u32> = (first..=u32::MAX).take(missing).collect();
        surge.extend(&further);
        let apart: Vec<u32> =
            further.into_iter().filter(|slot| new.slot_apart(*slot).is_some()).collect();
        let (machine, acts) = Rolling::begin(&main, &surge, &apart, rules.unavailable);
        let orders = BTreeMap::new();
        let waiting = reply.into_iter().collect();
        self.show_new_reload(name, &old, &new);
        let Some(service) = self.services.get_mut(name) else { return };
        service.roll = Some(Box::new(Roll {
            machine,
            old,
            new,
            orders,
            waiting,
            next: None,
            words: Some(String::new()),
            over: None,
        }));
        self.show_progress(name);
        let what =
            format!("{} to replace, {} of them beside the old ones", main.len(), surge.len());
        self.tell_reload(name, None, if goes_on { "goes on" } else { "begins" }, what);
        self.perform(name, acts).await;
    }

    /// A new configuration while a reload is under way.
    pub(super) async fn change_course(&mut self, spec: ServiceSpec, applied: &mut Applied) {
        let name = spec.name.clone();
        let Some(roll) = self.services.get_mut(&name).and_then(|s| s.roll.as_mut()) else { return };
        if roll.is_to(&spec) {
            applied.unchanged.push(name);
            return;
        }
        roll.next = Some(spec);
        applied.replaced.push(name.clone());
        self.roll_on(&name, Happened::Abort("the configuration changed again".into())).await;
    }

    /// A person stops a service or a slot while it is being reloaded.
    pub(super) async fn stop_wins(&mut self, name: &str, slot: Option<u32>) {
        if let Some(slot) = slot {
            return self.roll_on(name, Happened::Off(slot)).await;
        }
        let Some(roll) = self.end_roll(name, "stopped on request") else { return };
        let Some(service) = self.services.get_mut(name) else { return };
        service.spec = roll.next.unwrap_or(roll.new);
        let spec = service.spec.clone();
        let mut surge = vec![];
        for (number, slot) in &mut service.slots {
            slot.held_back = false;
            if slot.surge {
                slot.leaving = true;
                surge.push(*number);
            } else {
                slot.handle.replace(spec.slot(*number), false).await;
            }
        }
        for number in surge {
            self.stop_slot(InstanceId::new(name, number), "stopped on request").await;
        }
        self.index();
    }

    /// The service leaves: its reload is over, and whoever takes it back replaces all.
    pub(super) fn cut_short(&mut self, name: &str, why: &str) {
        if self.end_roll(name, why).is_some()
            && let Some(service) = self.services.get_mut(name)
        {
            service.mixed = true;
            service.slots.values_mut().for_each(|slot| slot.held_back = false);
        }
    }

    fn end_roll(&mut self, name: &str, why: &str) -> Option<Roll> {
        let mut roll = *self.services.get_mut(name)?.roll.take()?;
        for reply in roll.waiting.drain(..) {
            // Who no longer waits needs no answer.
            let _unheard = reply.send(Err(format!("the reload was cut short: {why}")));
        }
        self.show_reload_over(name, ReloadState::CutShort, why);
        self.tell_reload(name, None, "cut short", why.to_owned());
        Some(roll)
    }

    /// An instance of a service that is being reloaded says where it is.
    pub(super) async fn look_at_reload(
        &mut self,
        view: &InstanceView,
        before: Option<&InstanceView>,
    ) {
        if !self.is_rolling(&view.id.name) {
            return;
        }
        let crashed = before.is_some_and(|before| before.crashes < view.crashes);
        let seen = if view.ready && !crashed { Ok(()) } else { Err(view.reason.clone()) };
        self.roll_on(&view.id.name, Happened::Seen(view.id.slot, seen)).await;
    }

    pub(super) async fn on_heard(&mut self, heard: Heard) {
        // What instances have said before they answered comes first.
        self.hear().await;
        let Heard { name, what } = heard;
        let (order, happened) = match what {
            What::Ordered(order, happened) => (order, happened),
            What::Said(slot, words) => return self.on_words(&name, slot, words).await,
            What::SeenOff(slot) => {
                let service = self.services.get(&name);
                // It may have been taken back by a larger number of replicas.
                if service.and_then(|s| s.slots.get(&slot)).is_some_and(|slot| slot.leaving) {
                    self.stop_slot(InstanceId::new(name, slot), STOOD_IN).await;
                }
                return;
            }
            What::Lingered(slot) => return self.see_off(&name, slot).await,
        };
        let (Happened::Came(slot, _) | Happened::Healthy(slot) | Happened::Drained(slot)) =
            &happened
        else {
            return;
        };
        let roll = self.services.get(&name).and_then(|service| service.roll.as_ref());
        if roll.is_some_and(|roll| roll.orders.get(slot) == Some(&order)) {
            self.roll_on(&name, happened).await;
        }
    }

    pub(super) async fn roll_on(&mut self, name: &str, happened: Happened) {
        let Some(roll) = self.services.get_mut(name).and_then(|s| s.roll.as_mut()) else { return };
        let back = roll.machine.goes_back();
        let why = match &happened {
            Happened::Came(_, Err(why)) | Happened::Seen(_, Err(why)) => why.clone(),
            Happened::Off(slot) => format!("#{slot} was stopped on request"),
            Happened::Abort(why) => why.clone(),
            _ => String::new(),
        };
        let failed = match &happened {
            Happened::Came(slot, Err(_)) | Happened::Seen(slot, Err(_)) => Some(*slot),
            _ => None,
        };
        let acts = roll.machine.on(happened);
        if !back && roll.machine.goes_back() {
            if let Some(slot) = failed {
                roll.words = None;
                self.ask_last_words(name, slot);
            }
            self.show_reload(name, |view| {
                view.state = ReloadState::GoingBack;
                view.reason.clone_from(&why);
            });
            self.tell_reload(name, None, "goes back", why);
        }
        self.show_progress(name);
        self.perform(name, acts).await;
    }

    /// What the instance that failed said last: the reason waits for it.
    async fn on_words(&mut self, name: &str, slot: u32, words: Option<String>) {
        let Some(roll) = self.services.get_mut(name).and_then(|s| s.roll.as_mut()) else { return };
        let said = words.map(|words| format!("; #{slot} said last: {words}"));
        roll.words = Some(said.unwrap_or_default());
        if let Some(result) = roll.over.take() {
            Box::pin(self.finish(name, result)).await;
        }
    }

    async fn perform(&mut self, name: &str, acts: Vec<Act>) {
        for act in acts {
            match act {
                Act::Surge(slot) => self.surge(name, slot).await,
                Act::Renew(slot, version) => self.renew(name, slot, version).await,
                Act::Drain(slot) => self.drain(name, slot).await,
                Act::Watch(slot) => {
                    let time = self.rolling_to(name).map(|new| new.reload_rules().healthy_for);
                    let time = time.unwrap_or(Duration::ZERO);
                    self.order(name, slot, async move {
                        tokio::time::sleep(time).await;
                        Happened::Healthy(slot)
                    });
                }
                Act::Serve(slot) => {
                    self.hold_back(name, slot, false).await;
                    let progress = self.services.get(name).and_then(|s| s.roll.as_ref());
                    if let Some((done, all)) = progress.map(|roll| roll.machine.progress()) {
                        let what = format!("{done} of {all} replaced");
                        self.tell_reload(name, Some(slot), "serves", what);
                    }
                }
                Act::Leave(number) => {
                    let slots = self.services.get_mut(name).map(|service| &mut service.slots);
                    if let Some(slot) = slots.and_then(|slots| slots.get_mut(&number)) {
                        slot.leaving = true;
                    }
                    self.stop_slot(InstanceId::new(name, number), STOOD_IN).await;
                }
                Act::Done(result) => return Box::pin(self.finish(name, result)).await,
            }
        }
    }

    fn rolling_to(&self, name: &str) -> Option<&ServiceSpec> {
        Some(&self.services.get(name)?.roll.as_ref()?.new)
    }

    /// Waits for what comes of an order; it voids former ones to the slot.
    fn order(
        &mut self,
        name: &str,
        slot: u32,
        wait: impl Future<Output = Happened> + Send + 'static,
    ) {
        self.orders += 1;
        let (order, service) = (self.orders, name.to_owned());
        if let Some(roll) = self.services.get_mut(name).and_then(|s| s.roll.as_mut()) {
            roll.orders.insert(slot, order);
            self.rolls.spawn(async move {
                Heard { name: service, what: What::Ordered(order, wait.await) }
            });
        }
    }

    async fn surge(&mut self, name: &str, number: u32) {
        let there = self.services.get(name).and_then(|service| service.slots.get(&number));
        let handle = match there.map(|slot| slot.handle.clone()) {
            Some(handle) => handle,
            None => {
                let Some(new) = self.rolling_to(name) else { return };
                let apart = new.slot_apart(number);
                let is_apart = apart.is_some();
                let spec = apart.unwrap_or_else(|| new.slot(number));
                let handle = self.start_instance(spec, Begin::Up);
                let slot = Slot::new(handle.clone(), false, false);
                let slot = Slot { surge: true, held_back: true, apart: is_apart, ..slot };
                self.place(&InstanceId::new(name, number), slot);
                handle
            }
        };
        self.keep_listeners().await;
        let ticket = handle.start().await;
        self.order(name, number, async move {
            Happened::Came(number, ticket.done().await.map_err(why))
        });
    }

    async fn renew(&mut self, name: &str, number: u32, version: Version) {
        self.hold_back(name, number, true).await;
        let Some(service) = self.services.get(name) else { return };
        let (Some(roll), Some(slot)) = (&service.roll, service.slots.get(&number)) else { return };
        let spec = match version {
            Version::Old => &roll.old,
            Version::New => &roll.new,
        };
        let handle = slot.handle.clone();
        handle.replace(spec.slot(number), false).await;
        let ticket = handle.restart().await;
        self.order(name, number, async move {
            Happened::Came(number, ticket.done().await.map_err(why))
        });
        let slot = self.services.get_mut(name).and_then(|service| service.slots.get_mut(&number));
        if slot.is_some_and(|slot| std::mem::take(&mut slot.apart)) {
            self.keep_listeners().await;
        }
    }

    /// New connections go elsewhere. Where all instances have the same sockets that can't be: it is asked to end as it is.
    async fn drain(&mut self, name: &str, number: u32) {
        self.hold_back(name, number, true).await;
        let Some(service) = self.services.get(name) else { return };
        let listening = service.spec.instance.listen.as_ref();
        // Workers of a Node cluster drain by themselves when they are told to end.
        let mode = listening.map(|listening| listening.mode);
        let own = matches!(mode, Some(ListenMode::Reuseport | ListenMode::Pass));
        // One that finishes its connections itself begins that at the stop signal: only its queue has to be empty.
        let looks = !service.spec.instance.node_drain;
        let slot = service.slots.get(&number).filter(|_| looks);
        let pid = slot.and_then(|slot| slot.view.as_ref()?.pid);
        let limit = service.spec.reload_rules().drain;
        let (listeners, service) = (self.around.listeners.clone(), name.to_owned());
        self.order(name, number, async move {
            if own {
                drained(listeners, service, number, pid, limit).await;
            }
            Happened::Drained(number)
        });
    }

    async fn hold_back(&mut self, name: &str, number: u32, back: bool) {
        let Some(service) = self.services.get_mut(name) else { return };
        if let Some(slot) = service.slots.get_mut(&number) {
            slot.held_back = back;
        }
        self.steer(name).await;
    }

    async fn finish(&mut self, name: &str, result: Result<(), String>) {
        let Some(service) = self.services.get_mut(name) else { return };
        if let Some(roll) = service.roll.as_mut().filter(|roll| roll.words.is_none()) {
            roll.over = Some(result);
            return;
        }
        let Some(roll) = service.roll.take() else { return };
        let Roll { machine, old, new, waiting, next, words, .. } = *roll;
        let result = result.map_err(|why| why + &words.unwrap_or_default());
        service.spec = if result.is_ok() { new } else { old };
        let spec = service.spec.clone();
        for (number, slot) in service.slots.iter_mut().filter(|(_, slot)| !slot.leaving) {
            slot.held_back = false;
            // Those that were at rest, or that a person has started meanwhile; the others have it already.
            if !machine.has(*number) {
                slot.handle.replace(spec.slot(*number), !at_rest(slot)).await;
            }
        }
        if next.is_none() {
            let state = if result.is_ok() { ReloadState::Done } else { ReloadState::TakenBack };
            self.show_reload_over(name, state, result.as_ref().err().map_or("", String::as_str));
        }
        let result = result.map_err(|why| format!("the old version runs on: {why}"));
        let (to, reason) = match &result {
            Ok(()) => ("done", "the new instances serve".to_owned()),
            Err(why) => ("rolled back", why.clone()),
        };
        self.tell_reload(name, None, to, reason);
        for reply in waiting {
            // Who no longer waits needs no answer.
            let _unheard = reply.send(result.clone());
        }
        self.index();
        self.steer(name).await;
        self.fill(name, &Resumes::new()).await;
        self.doze(name).await;
        if let Some(next) = next {
            self.change(next, &mut Applied::default()).await;
            self.index();
            if !self.is_rolling(name) {
                self.show_reload_over(
                    name,
                    ReloadState::CutShort,
                    "the configuration changed again",
                );
            }
        }
    }
}

#[cfg(test)]
mod tests;
