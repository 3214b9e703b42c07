//! The owner task of all services.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use ganger_core::{BreakerState, Event, InstanceId};
use ganger_process::Child;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::error::ServiceError;
use super::groups::Groups;
use super::handle::{Answer, Ask, GroupTicket};
use super::order::{Dependents, reached, waits_text};
use super::publisher::Publisher;
use super::reload::Heard;
use super::rolling::Happened;
use super::service::{Leaving, Service, Slot};
use super::watching::Watches;
use crate::instance::{Blob, InstanceHandle, InstanceNotice, Surroundings};
use crate::listeners::{Listeners, is_listener};
use crate::pass::Primaries;
use crate::permit::{Ask as PermitAsk, Permits};
use crate::spec::ServiceSpec;
use crate::view::{InstanceView, Reloads, Snapshot, Told};

/// Notices in flight; an instance keeps its own and joins superseded ones while this is full.
const NOTICES: usize = 1_024;
/// Events of groups, reloads and watches that wait for the recorder: there are a few a second at most, so this many means
/// that nobody has recorded for minutes.
const EVENTS_MAX: usize = 256;

pub(super) struct Owner {
    pub(super) around: Surroundings,
    inbox: mpsc::Receiver<Ask>,
    pub(super) notices: mpsc::Sender<(InstanceId, InstanceNotice)>,
    noticed: mpsc::Receiver<(InstanceId, InstanceNotice)>,
    pub(super) services: BTreeMap<String, Service>,
    pub(super) dependents: Dependents,
    pub(super) adopted: HashMap<InstanceId, Child>,
    pub(super) notify_sockets: HashMap<InstanceId, OwnedFd>,
    /// Instance tasks and the retirement of logs.
    pub(super) tasks: JoinSet<()>,
    /// Tickets of slots that leave; false where the stop was overruled.
    stops: JoinSet<(InstanceId, bool)>,
    pub(super) publisher: Publisher,
    pub(super) groups: Groups,
    wished: mpsc::Receiver<PermitAsk>,
    /// Wishes for a restart that wait for their turn in a group.
    pub(super) wishes: BTreeMap<InstanceId, PermitAsk>,
    /// Where wishes go on to.
    pub(super) budget: Permits,
    /// Members of groups that make room.
    pub(super) rooms: JoinSet<InstanceId>,
    /// Group events that the recorder has not taken yet.
    pub(super) telling: VecDeque<Told>,
    /// Names of services that doze and have a connection waiting.
    knocks: mpsc::Receiver<String>,
    /// Something may be held that is listened on.
    pub(super) listens: bool,
    /// Set from `shutdown` on: whom to tell when all is at rest.
    pub(super) going_down: Option<Vec<oneshot::Sender<()>>>,
    /// What reloads wait for.
    pub(super) rolls: JoinSet<Heard>,
    /// Numbers of what reloads have ordered, and of reloads.
    pub(super) orders: u64,
    /// What others see of reloads.
    pub(super) reloads: watch::Sender<Reloads>,
    /// Of services that watch files.
    pub(super) watches: Watches,
}

impl Owner {
    pub(super) fn new(
        mut around: Surroundings,
        adopted: Vec<Child>,
        held: &mut BTreeMap<String, OwnedFd>,
        inbox: mpsc::Receiver<Ask>,
    ) -> (Self, watch::Receiver<Arc<Snapshot>>) {
        let (notices, noticed) = mpsc::channel(NOTICES);
        let (publisher, snapshot) = Publisher::new();
        let (permits, wished) = Permits::channel();
        let budget = std::mem::replace(&mut around.permits, permits);
        let listens = held.keys().any(|name| is_listener(name));
        let mut tasks = JoinSet::new();
        let (listeners, listening, knocks) = Listeners::start(around.processes.clone(), held);
        around.listeners = listeners;
        tasks.spawn(listening);
        let numbers = highest_numbers(&adopted);
        let (primaries, hub) =
            Primaries::start(around.listeners.clone(), around.told.clone(), numbers);
        around.primaries = primaries;
        tasks.spawn(hub);
        let mut owner = Self {
            around,
            inbox,
            notices,
            noticed,
            services: BTreeMap::new(),
            dependents: Dependents::default(),
            adopted: HashMap::new(),
            notify_sockets: HashMap::new(),
            tasks,
            stops: JoinSet::new(),
            publisher,
            groups: Groups::default(),
            wished,
            wishes: BTreeMap::new(),
            budget,
            rooms: JoinSet::new(),
            telling: VecDeque::new(),
            knocks,
            listens,
            going_down: None,
            rolls: JoinSet::new(),
            orders: 0,
            reloads: watch::channel(Reloads::default()).0,
            watches: Watches::default(),
        };
        owner.take_adopted(adopted, held);
        (owner, snapshot)
    }

    /// Runs until every handle is dropped. Instance tasks end with it; their processes live on.
    pub(super) async fn run(mut self) {
        loop {
            let due = self.publisher.due();
            tokio::select! {
                ask = self.inbox.recv() => match ask {
                    Some(ask) => self.on_ask(ask).await,
                    None => return,
                },
                Some((id, notice)) = self.noticed.recv() => self.on_notice(id, notice).await,
                Some(ask) = self.wished.recv() => self.on_wish(ask).await,
                Some(name) = self.knocks.recv() => self.on_knock(&name).await,
                (name, saw) = self.watches.next() => self.on_saw(name, saw).await,
                Some(Ok(heard)) = self.rolls.join_next() => self.on_heard(heard).await,
                Some(Ok(id)) = self.rooms.join_next() => self.on_room(id).await,
                Ok(slot) = self.around.told.clone().reserve_owned(), if !self.telling.is_empty() => {
                    if let Some(told) = self.telling.pop_front() {
                        slot.send(told);
                    }
                }
                Some(Ok((id, true))) = self.stops.join_next() => self.on_stopped(id).await,
                Some(ended) = self.tasks.join_next() => {
                    if let Err(error) = ended && error.is_panic() {
                        tracing::error!(%error, "an instance's owner task broke");
                    }
                }
                () = at(due) => self.publish(),
            }
        }
    }

    async fn on_ask(&mut self, ask: Ask) {
        let down = self.going_down.is_some();
        match ask {
            Ask::Shutdown { reply } => self.shutdown(reply).await,
            Ask::Publish { reply } => {
                self.hear().await;
                self.publish();
                // Who no longer waits needs no answer.
                answer(reply, ());
            }
            Ask::Groups { specs, reply } => {
                self.set_groups(specs).await;
                answer(reply, ());
            }
            Ask::Move { specs, reply } => {
                let moved = self.move_listeners(&specs).await;
                answer(reply, moved);
            }
            Ask::Apply { reply, .. } if down => answer(reply, Err(ServiceError::GoingDown)),
            Ask::Apply { specs, resumed, reply } => {
                let applied = self.apply(specs, resumed).await;
                answer(reply, applied);
            }
            Ask::Plan { specs, reply } => {
                self.hear().await;
                answer(reply, Ok(specs.iter().map(|spec| self.effect(spec)).collect()));
            }
            Ask::Reload { reply, .. } if down => answer(reply, Err(ServiceError::GoingDown)),
            Ask::Reload { name, reply } => {
                let reloading = self.reload(&name).await;
                answer(reply, reloading);
            }
            Ask::Start { reply, .. } | Ask::Restart { reply, .. } | Ask::Scale { reply, .. }
                if down =>
            {
                answer(reply, Err(ServiceError::GoingDown));
            }
            Ask::Start { name, slot, reply } => {
                self.tell(&name, slot, reply, async |handle| handle.start().await).await;
            }
            Ask::Stop { name, slot, reply } => {
                self.stop_wins(&name, slot).await;
                self.tell(&name, slot, reply, async |handle| {
                    handle.stop("stopped on request").await
                })
                .await;
            }
            Ask::Restart { name, reply, .. } if self.is_rolling(&name) => {
                answer(reply, Err(ServiceError::Reloads { name }));
            }
            Ask::Restart { name, slot, reply } => {
                self.tell(&name, slot, reply, async |handle| handle.restart().await).await;
            }
            Ask::Scale { name, replicas, reply } => {
                let scaled = self.scale(&name, replicas).await;
                answer(reply, scaled);
            }
        }
    }

    /// Takes what instances have said so far; what comes meanwhile is for later.
    pub(super) async fn hear(&mut self) {
        for _ in 0..self.noticed.len() {
            let Ok((id, notice)) = self.noticed.try_recv() else { break };
            self.on_notice(id, notice).await;
        }
    }

    fn publish(&mut self) {
        if self.publisher.is_dirty() {
            let groups = self.look_at_groups();
            self.publisher.publish(groups);
        }
    }

    /// Tells a person's word to the slots it is about; none of them waits for dependencies any more.
    async fn tell(
        &mut self,
        name: &str,
        slot: Option<u32>,
        reply: Answer<GroupTicket>,
        word: impl AsyncFn(&InstanceHandle) -> crate::instance::Ticket,
    ) {
        let service = match self.find(name) {
            Ok(service) => service,
            Err(error) => return answer(reply, Err(error)),
        };
        let replicas = service.spec.replicas;
        let mut tickets = vec![];
        for (number, place) in &mut service.slots {
            if !place.leaving && slot.is_none_or(|wanted| wanted == *number) {
                (place.waiting, place.dozing) = (false, false);
                tickets.push(word(&place.handle).await);
            }
        }
        self.doze(name).await;
        answer(
            reply,
            match slot {
                Some(slot) if tickets.is_empty() => {
                    Err(ServiceError::NoSlot { name: name.to_owned(), slot, replicas })
                }
                _ => Ok(GroupTicket(tickets)),
            },
        );
    }

    pub(super) fn find(&mut self, name: &str) -> Result<&mut Service, ServiceError> {
        let there = self.services.get(name).is_some_and(|service| service.leaving.is_none());
        if !there {
            let present = |(_, service): &(&String, &Service)| service.leaving.is_none();
            let known = self.services.iter().filter(present).map(|(name, _)| name.clone());
            return Err(ServiceError::Unknown { name: name.to_owned(), known: known.collect() });
        }
        Ok(self.services.get_mut(name).expect("looked up just now"))
    }

    async fn on_notice(&mut self, id: InstanceId, notice: InstanceNotice) {
        if let InstanceNotice::State(view) = notice {
            self.on_view(id, view).await;
        }
    }

    /// An instance says where it is: dependents may start.
    async fn on_view(&mut self, id: InstanceId, view: Arc<InstanceView>) {
        let slot = self.services.get_mut(&id.name).and_then(|s| s.slots.get_mut(&id.slot));
        let Some(slot) = slot else { return };
        let before = slot.view.replace(Arc::clone(&view));
        self.on_failures(&id, view.crashes, view.breaker == BreakerState::Open);
        self.publisher.set(Arc::clone(&view));
        self.look_at_listening(&view).await;
        self.steer_handover(&id.name).await;
        self.look_at_reload(&view, before.as_deref()).await;
        self.look_at_lingering(&id.name).await;
        let names: Vec<String> = self.dependents.on(&id.name).cloned().collect();
        for name in names {
            self.start_if_met(&name).await;
        }
        if self.groups.is_busy() || !self.wishes.is_empty() {
            self.take_turns().await;
        }
    }

    /// Starts the slots of a service that wait for nothing more.
    pub(super) async fn start_if_met(&mut self, name: &str) {
        if !self.services.get(name).is_some_and(Service::waits) || self.unmet(name).is_some() {
            return;
        }
        let Some(service) = self.services.get_mut(name) else { return };
        for slot in service.slots.values_mut().filter(|slot| slot.waiting) {
            slot.waiting = false;
            slot.handle.start().await;
        }
    }

    /// A slot that leaves is stopped: it may be forgotten, and what its service depends on may stop.
    async fn on_stopped(&mut self, id: InstanceId) {
        let Some(service) = self.services.get_mut(&id.name) else { return };
        let whole = service.leaving.is_some();
        match service.slots.get_mut(&id.slot) {
            Some(slot) if whole => slot.stopped = true,
            Some(slot) if slot.leaving => {
                service.slots.remove(&id.slot);
                self.forget(id.clone());
                self.roll_on(&id.name, Happened::Gone(id.slot)).await;
            }
            _ => return,
        }
        if self.services.get(&id.name).is_some_and(Service::gone) {
            let service = &self.services[&id.name];
            let on: Vec<String> = service.spec.depends_on.iter().map(|d| d.name.clone()).collect();
            for name in on {
                self.stop_if_free(&name).await;
            }
            self.drop_if_gone(&id.name);
            self.close_listeners().await;
            self.settle_shutdown();
        }
        if self.listens {
            self.keep_listeners().await;
        }
    }

    /// Has an event recorded; the oldest that waits goes when there are too many.
    pub(super) fn tell_event(&mut self, event: Event) {
        if self.telling.len() >= EVENTS_MAX {
            self.telling.pop_front();
        }
        self.telling.push_back(Told { event, ack: None, resume: None });
    }

    /// Stops a slot for good.
    pub(super) async fn stop_slot(&mut self, id: InstanceId, why: &str) {
        let slot = self.services.get(&id.name).and_then(|service| service.slots.get(&id.slot));
        let Some(slot) = slot else { return };
        let ticket = slot.handle.stop(why).await;
        self.stops.spawn(async move { (id, ticket.done().await.is_ok()) });
    }

    /// What a service's start waits for, if anything.
    pub(super) fn unmet(&self, name: &str) -> Option<String> {
        let service = self.services.get(name)?;
        let missing = service.spec.depends_on.iter().find(|dependency| {
            !self.services.get(&dependency.name).is_some_and(|on| {
                !on.slots.is_empty()
                    && on.slots.values().filter(|slot| !slot.surge).all(|slot| {
                        // Who needs it connects, and with that it starts.
                        slot.dozing || reached(dependency.until, slot.view.as_ref())
                    })
            })
        })?;
        Some(waits_text(&missing.name, missing.until))
    }

    async fn shutdown(&mut self, reply: oneshot::Sender<()>) {
        self.going_down.get_or_insert_default().push(reply);
        let names: Vec<String> = self.services.keys().cloned().collect();
        for name in &names {
            self.leave(name, "ganger goes down");
        }
        for name in &names {
            self.stop_if_free(name).await;
        }
        self.close_listeners().await;
        self.settle_shutdown();
    }

    /// Marks a service as leaving; it is stopped when nothing that leaves depends on it.
    pub(super) fn leave(&mut self, name: &str, why: &'static str) {
        self.cut_short(name, why);
        if let Some(service) = self.services.get_mut(name) {
            service.leaving.get_or_insert(Leaving { why, asked: false });
            service.slots.values_mut().for_each(|slot| slot.waiting = false);
        }
    }

    /// Stops a leaving service unless something that leaves as well still depends on it.
    pub(super) async fn stop_if_free(&mut self, name: &str) {
        let held_up = self.dependents.on(name).any(|dependent| {
            let leaves = |service: &Service| service.leaving.is_some() && !service.gone();
            self.services.get(dependent).is_some_and(leaves)
        });
        let Some(service) = self.services.get_mut(name) else { return };
        let Some(leaving) = service.leaving.as_mut().filter(|leaving| !leaving.asked) else {
            return;
        };
        if held_up {
            return;
        }
        leaving.asked = true;
        let why = leaving.why;
        let slots: Vec<u32> = service.slots.keys().copied().collect();
        for slot in slots {
            self.stop_slot(InstanceId::new(name, slot), why).await;
        }
    }

    /// Forgets a leaving service whose slots are all stopped. While all goes down they stay to be seen.
    pub(super) fn drop_if_gone(&mut self, name: &str) {
        if self.going_down.is_some() || !self.services.get(name).is_some_and(Service::gone) {
            return;
        }
        let Some(service) = self.services.remove(name) else { return };
        self.forget_reload(name);
        for slot in service.slots.keys() {
            self.forget(InstanceId::new(name, *slot));
        }
        self.index();
    }

    /// Takes an instance out of sight and closes its log pipes; what it wrote stays readable.
    fn forget(&mut self, id: InstanceId) {
        self.publisher.remove(&id);
        let processes = self.around.processes.clone();
        self.tasks.spawn(async move {
            // Without a keeper there are no pipes to close.
            let _gone = processes.retire_log(&id).await;
        });
    }

    pub(super) fn index(&mut self) {
        let specs: Vec<&ServiceSpec> =
            self.services.values().map(|service| &service.spec).collect();
        self.dependents = Dependents::of(specs);
        self.keep_watches();
    }

    fn settle_shutdown(&mut self) {
        let done = self.services.values().all(Service::gone);
        if !done || self.going_down.is_none() {
            return;
        }
        self.publish();
        for reply in self.going_down.iter_mut().flat_map(|waiting| waiting.drain(..)) {
            answer(reply, ());
        }
    }

    pub(super) fn place(&mut self, id: &InstanceId, slot: Slot) {
        if let Some(service) = self.services.get_mut(&id.name) {
            service.slots.insert(id.slot, slot);
        }
    }
}

/// The highest `NODE_UNIQUE_ID` of each service's processes.
fn highest_numbers(adopted: &[Child]) -> BTreeMap<String, u32> {
    let mut highest = BTreeMap::<String, u32>::new();
    for child in adopted {
        if let Some(worker) = Blob::read(child.blob()).worker {
            let number = highest.entry(child.instance().name.clone()).or_default();
            *number = worker.id.max(*number);
        }
    }
    highest
}

/// Gives an answer. Who no longer waits needs none.
fn answer<T>(reply: oneshot::Sender<T>, value: T) {
    let _unheard = reply.send(value);
}

async fn at(due: Option<Instant>) {
    match due {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
