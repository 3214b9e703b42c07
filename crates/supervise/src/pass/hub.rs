//! The task that finds the owner of a service's connections, and starts it in the [`Lane`].

use std::collections::BTreeMap;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use super::lane::Lane;
use super::owner::{Order, Owner};
use super::{Connections, Handover, Served};
use crate::listeners::Listeners;
use crate::view::Told;

/// Orders in flight to one owner: starts of its instances, and who serves.
const ORDERS: usize = 64;

pub(super) enum Ask {
    Number { service: String, reply: oneshot::Sender<u32> },
    Order { service: String, handover: Handover, order: Order },
    Steer { service: String, pids: Vec<u32> },
    Quit { service: String, reply: oneshot::Sender<()> },
    Keep(Vec<Served>),
    Look { service: Option<String>, reply: oneshot::Sender<BTreeMap<String, Vec<Connections>>> },
}

pub(super) struct Hub {
    listeners: Listeners,
    told: mpsc::Sender<Told>,
    numbers: BTreeMap<String, u32>,
    /// While a service changes its kind it has two.
    owners: BTreeMap<(String, Handover), mpsc::Sender<Order>>,
    tasks: JoinSet<()>,
    /// Where they run, from the first on.
    lane: Option<Lane>,
}

impl Hub {
    pub(super) fn new(
        listeners: Listeners,
        told: mpsc::Sender<Told>,
        numbers: BTreeMap<String, u32>,
    ) -> Self {
        let (owners, tasks) = (BTreeMap::new(), JoinSet::new());
        Self { listeners, told, numbers, owners, tasks, lane: None }
    }

    /// Runs until every handle is dropped; then owners end, and workers and sockets stay with the keeper.
    pub(super) async fn run(mut self, mut inbox: mpsc::Receiver<Ask>) {
        loop {
            tokio::select! {
                ask = inbox.recv() => match ask {
                    Some(ask) => self.on_ask(ask).await,
                    None => return,
                },
                Some(ended) = self.tasks.join_next() => {
                    if let Err(error) = ended && error.is_panic() {
                        tracing::error!(%error, "the owner of a service's connections broke");
                        self.owners.retain(|_, owner| !owner.is_closed());
                    }
                }
            }
        }
    }

    async fn on_ask(&mut self, ask: Ask) {
        match ask {
            Ask::Number { service, reply } => {
                let number = self.numbers.entry(service).or_default();
                *number = number.saturating_add(1);
                // A start that was given up needs none, and the number is spent.
                let _unheard = reply.send(*number);
            }
            Ask::Order { service, handover, order } => {
                if let Order::Join(join) = &order {
                    let number = self.numbers.entry(service.clone()).or_default();
                    *number = join.note.id.max(*number);
                }
                let owner = self.owner(service, handover);
                let _broken = owner.send(order).await;
            }
            Ask::Steer { service, pids } => {
                for ((of, _), owner) in &self.owners {
                    if *of == service {
                        let _broken = owner.send(Order::Steer(pids.clone())).await;
                    }
                }
            }
            Ask::Quit { service, reply } => {
                // Without an owner nobody accepts: dropping the reply answers too.
                if let Some(owner) = self.owners.get(&(service, Handover::Sockets)) {
                    let _broken = owner.send(Order::Quit(reply)).await;
                }
            }
            Ask::Keep(served) => self.keep(served).await,
            Ask::Look { service, reply } => {
                let looked = self.look(service.as_deref()).await;
                drop(reply.send(looked));
            }
        }
    }

    async fn keep(&mut self, served: Vec<Served>) {
        let there = |name: &str| served.iter().any(|one| one.service == name);
        // An owner whose handle is gone ends; instances of a service that is gone have ended before.
        self.owners.retain(|(service, _), _| there(service));
        for Served { service, handover, listening } in served {
            if let Some(owner) = self.owners.get(&(service, handover)) {
                let _broken = owner.send(Order::Listen(listening)).await;
            }
        }
    }

    /// Asked one after the other: each answers between two connections.
    async fn look(&self, service: Option<&str>) -> BTreeMap<String, Vec<Connections>> {
        let mut all: BTreeMap<String, Vec<Connections>> = BTreeMap::new();
        for ((name, _), owner) in &self.owners {
            if service.is_none_or(|one| one == name) {
                let (reply, answer) = oneshot::channel();
                let _broken = owner.send(Order::Look(reply)).await;
                let own = answer.await.unwrap_or_default();
                all.entry(name.clone()).or_default().extend(own);
            }
        }
        all.values_mut().for_each(|own| own.sort_by_key(|one| (one.slot, one.pid)));
        all
    }

    fn owner(&mut self, service: String, handover: Handover) -> &mpsc::Sender<Order> {
        let Self { listeners, told, owners, tasks, lane, .. } = self;
        owners.entry((service.clone(), handover)).or_insert_with(|| {
            let (orders, inbox) = mpsc::channel(ORDERS);
            let lane = lane.get_or_insert_with(Lane::start);
            let (listeners, told) = (listeners.clone(), told.clone());
            let owner = Owner::new(service, handover, listeners, told, lane.came());
            tasks.spawn_on(owner.run(inbox), lane.runtime());
            orders
        })
    }
}
