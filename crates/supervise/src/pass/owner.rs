//! The owner task of one service's connections: its primary, and what that asks for.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use ganger_ipc::node::cluster::{Notice, Settings, Wish, WorkerId};
use ganger_ipc::node::primary::{Came, Hands, Lost, Primary, PrimaryEvent};
use ganger_ipc::node::{Kind, SHUTDOWN};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::tell::{Teller, What};
use super::{Connections, Handover, Heard, Join, wish};
use crate::instance::wall_ms;
use crate::listeners::{Claim, Listeners, Listening, Unclaimed};
use crate::view::Told;

/// Numbers of messages that a daemon has for each millisecond of its life: a later one begins above all that it used.
const SEQ_PER_MS: u64 = 1_000;
/// How long nobody may listen on an address, though all that could are up, before it is closed: a program that starts listens on one
/// after the other.
const ABANDONED: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(super) enum Order {
    Join(Box<Join>),
    Left(WorkerId),
    Drain(WorkerId),
    /// By a message.
    AskToEnd(WorkerId),
    /// Pids that may get connections.
    Steer(Vec<u32>),
    /// What the service listens on now, of [`Handover::Sockets`].
    Listen(Option<Arc<Listening>>),
    /// Accept nothing more until the next `Listen`.
    Quit(oneshot::Sender<()>),
    Look(oneshot::Sender<Vec<Connections>>),
}

struct Worker {
    slot: u32,
    pid: u32,
    heard: watch::Sender<Heard>,
}

type Claimed = (String, Result<OwnedFd, Unclaimed>);

pub(super) struct Owner {
    service: String,
    handover: Handover,
    listeners: Listeners,
    primary: Primary,
    workers: BTreeMap<WorkerId, Worker>,
    /// Who may get connections, as it was said last.
    serving: Vec<u32>,
    listening: Option<Arc<Listening>>,
    /// Listeners being opened.
    claims: JoinSet<Claimed>,
    /// When to look whether a listener is still abandoned.
    abandoned: Option<Instant>,
    teller: Teller,
}

impl Owner {
    pub(super) fn new(
        service: String,
        handover: Handover,
        listeners: Listeners,
        told: mpsc::Sender<Told>,
        came: Came,
    ) -> Self {
        let settings = Settings {
            shared: handover == Handover::NodeCluster { shared: true },
            plain: handover == Handover::Sockets,
            first_seq: wall_ms().saturating_mul(SEQ_PER_MS),
            ..Settings::default()
        };
        Self {
            teller: Teller::new(service.clone(), told),
            service,
            handover,
            listeners,
            primary: Primary::new(settings).counting(came),
            workers: BTreeMap::new(),
            serving: vec![],
            listening: None,
            claims: JoinSet::new(),
            abandoned: None,
        }
    }

    /// Runs until the service is gone or the daemon goes. Channels and sockets stay with the keeper.
    pub(super) async fn run(mut self, mut inbox: mpsc::Receiver<Order>) {
        self.note_hands().await;
        if let Handover::NodeCluster { .. } = self.handover {
            for (key, socket) in self.listeners.claimed(&self.service).await {
                self.reopen(&key, socket);
            }
        }
        loop {
            tokio::select! {
                order = inbox.recv() => match order {
                    Some(order) => self.on_order(order).await,
                    None => return,
                },
                event = self.primary.next() => self.on_event(event).await,
                Some(Ok((key, claimed))) = self.claims.join_next() => self.on_claimed(&key, claimed),
                () = at(self.abandoned) => self.close_abandoned().await,
            }
        }
    }

    /// From here on a connection that dies with this daemon is known to the next; the last one's is told.
    async fn note_hands(&mut self) {
        let kind = match self.handover {
            Handover::Sockets => "pass",
            Handover::NodeCluster { .. } => "cluster",
        };
        let Some(memory) = self.listeners.hands(&self.service, kind).await else { return };
        match Hands::open(memory) {
            Ok(hands) => {
                if let Some(Lost { from }) = hands.take() {
                    let from = from.map_or_else(String::new, |from| format!(" from {from}"));
                    let why = format!(
                        "a connection{from} was being handed over when the daemon was killed: most likely it is lost"
                    );
                    self.teller.tell(What::Lost, None, why);
                }
                self.primary.note_in(hands);
            }
            Err(error) => {
                let service = &self.service;
                tracing::warn!(%error, service, "connections are handed over without a note");
            }
        }
    }

    async fn on_order(&mut self, order: Order) {
        match order {
            Order::Join(join) => self.join(*join).await,
            Order::Left(id) => {
                self.primary.left(id);
                if let Some(worker) = self.workers.remove(&id) {
                    self.teller.forget(worker.slot);
                }
            }
            Order::AskToEnd(id) => {
                // Full, it has not read for long, and its deadline ends it.
                let _unread = self.primary.send(id, SHUTDOWN.to_vec());
            }
            Order::Drain(id) => self.primary.disconnect(id),
            Order::Steer(pids) => {
                self.serving = pids;
                for (id, worker) in &self.workers {
                    self.primary.serve(*id, self.serving.contains(&worker.pid));
                }
                self.look_for_abandoned();
            }
            Order::Listen(listening) => self.listen(listening).await,
            Order::Quit(reply) => {
                self.close_doors();
                self.listening = None;
                let _unheard = reply.send(());
            }
            Order::Look(reply) => {
                let taken: BTreeMap<WorkerId, u64> = self.primary.taken().collect();
                let of = |(id, worker): (&WorkerId, &Worker)| Connections {
                    slot: worker.slot,
                    pid: worker.pid,
                    taken: taken.get(id).copied().unwrap_or(0),
                    in_flight: self.primary.offered(*id) as u64,
                };
                // Who no longer waits needs no answer.
                let _unheard = reply.send(self.workers.iter().map(of).collect());
            }
        }
    }

    async fn join(&mut self, join: Join) {
        let Join { slot, pid, channel, note, adopted, listening, heard } = join;
        let id = note.id;
        let joined = match (adopted, self.handover) {
            (true, Handover::Sockets) => self.primary.rejoin(id, channel, Some(&[])),
            (true, _) => self.primary.rejoin(id, channel, note.keys.as_deref()),
            (false, _) => self.primary.join(id, channel),
        };
        if let Err(error) = joined {
            return self.teller.tell(What::Refused, Some(slot), error.to_string());
        }
        self.primary.serve(id, self.serving.contains(&pid));
        self.workers.insert(id, Worker { slot, pid, heard });
        if self.handover == Handover::Sockets {
            self.listen(listening).await;
            let keys: Vec<String> = self.primary.keys().map(str::to_owned).collect();
            keys.iter().for_each(|key| self.primary.let_in(id, key));
        }
    }

    /// Takes connections from the sockets that the service has now.
    async fn listen(&mut self, listening: Option<Arc<Listening>>) {
        let Some(listening) = listening.filter(|_| self.handover == Handover::Sockets) else {
            return;
        };
        let same = self.listening.as_ref() == Some(&listening);
        if same && self.primary.keys().count() == listening.sockets.len() {
            return;
        }
        self.close_doors();
        for (key, socket) in self.listeners.lend(&self.service, Arc::clone(&listening)).await {
            self.reopen(&key, socket);
            let ids: Vec<WorkerId> = self.workers.keys().copied().collect();
            ids.into_iter().for_each(|id| self.primary.let_in(id, &key));
        }
        self.listening = Some(listening);
    }

    fn close_doors(&mut self) {
        let keys: Vec<String> = self.primary.keys().map(str::to_owned).collect();
        keys.iter().for_each(|key| self.primary.close(key));
    }

    fn reopen(&mut self, key: &str, socket: OwnedFd) {
        if let Err(error) = self.primary.reopen(key, socket) {
            self.teller.tell(What::Failed, None, format!("{key} can't be waited for: {error}"));
        }
    }

    async fn on_event(&mut self, event: PrimaryEvent) {
        match event {
            PrimaryEvent::Cluster(notice) => self.on_notice(notice).await,
            PrimaryEvent::Message { worker, kind: Kind::User, body, handle: None } => {
                if body.trim_ascii() == br#""ready""# {
                    self.hear(worker, |heard| heard.ready = true);
                }
            }
            PrimaryEvent::Message { worker, handle: Some(_), .. } => {
                let why = "a handle that nobody asked for; it was closed".to_owned();
                self.refuse(worker, why);
            }
            // Node's own words, of which none is for a primary that keeps no count of open sockets.
            PrimaryEvent::Message { .. } => {}
            PrimaryEvent::Refused { worker, refused } => self.refuse(worker, refused.to_string()),
            PrimaryEvent::Dropped { key } => {
                let why = format!("{key}: no instance took it, or nobody listens there any more");
                self.teller.tell(What::Dropped, None, why);
            }
            PrimaryEvent::AcceptFailed { key, error } => {
                let why = format!("{key}: no connection can be accepted: {error}");
                self.teller.tell(What::Failed, None, why);
            }
            PrimaryEvent::Ended { worker, error } => {
                // Its process may live on: then it only gets nothing more.
                if let Some(error) = error {
                    self.refuse(worker, error.to_string());
                }
            }
        }
    }

    async fn on_notice(&mut self, notice: Notice) {
        match notice {
            Notice::Open { key, wish } => self.open(key, &wish),
            Notice::Listening { worker, .. } => {
                let keys: Vec<String> = self.primary.keys_of(worker).map(str::to_owned).collect();
                self.hear(worker, |heard| {
                    heard.listening = true;
                    heard.keys = Some(keys);
                });
            }
            Notice::Idle { .. } => self.look_for_abandoned(),
            // Its exit says the rest.
            Notice::Online { .. } | Notice::Leaving { .. } => {}
        }
    }

    fn open(&mut self, key: String, wish: &Wish) {
        let listeners = self.listeners.clone();
        match wish::address(wish) {
            Ok((address, mode)) => {
                let service = self.service.clone();
                self.claims.spawn(async move {
                    let claim = Claim { service, key: key.clone(), address, mode };
                    (key, listeners.claim(claim).await)
                });
            }
            Err(errno) => {
                let opened = self.primary.opened(&key, Err(errno));
                debug_assert!(opened.is_ok(), "nothing was to be waited for");
            }
        }
    }

    fn on_claimed(&mut self, key: &str, claimed: Result<OwnedFd, Unclaimed>) {
        let bound = claimed.map_err(|Unclaimed { errno, error }| {
            self.teller.tell(What::Failed, None, error.to_string());
            errno
        });
        if let Err(error) = self.primary.opened(key, bound) {
            self.teller.tell(What::Failed, None, format!("{key} can't be waited for: {error}"));
        }
    }

    fn abandoned(&self) -> Vec<String> {
        let abandoned = |key: &&str| self.primary.is_abandoned(key);
        self.primary.keys().filter(abandoned).map(str::to_owned).collect()
    }

    fn look_for_abandoned(&mut self) {
        if self.handover != Handover::Sockets && !self.abandoned().is_empty() {
            self.abandoned.get_or_insert_with(|| Instant::now() + ABANDONED);
        }
    }

    /// A new version listens elsewhere: where nobody will take connections any more, none are to be made.
    async fn close_abandoned(&mut self) {
        self.abandoned = None;
        for key in self.abandoned() {
            self.primary.close(&key);
            self.listeners.unclaim(&self.service, &key).await;
        }
    }

    fn hear(&self, worker: WorkerId, news: impl FnOnce(&mut Heard)) {
        if let Some(worker) = self.workers.get(&worker) {
            worker.heard.send_modify(news);
        }
    }

    fn refuse(&mut self, worker: WorkerId, why: String) {
        if let Some(slot) = self.workers.get(&worker).map(|worker| worker.slot) {
            self.teller.tell(What::Refused, Some(slot), why);
        }
    }
}

async fn at(time: Option<Instant>) {
    match time {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}
