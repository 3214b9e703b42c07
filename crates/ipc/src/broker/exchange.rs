//! The owner task of the broker, and what others hold of it.

use std::collections::{BTreeMap, VecDeque};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ganger_core::InstanceId;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::line::{self, Fd, Line, Shown};
use super::types::{Answer, Cargo, Counts, Event, Limits, PeerId, Said, ToPeer};
use super::wire::Bodies;
use super::{Broker, Guest};

/// Words of all peers on their way to the broker; who says more waits, and is not read meanwhile.
const ASKS: usize = 1_024;

/// Signs of one line on their way to its holder.
const SIGNS: usize = 16;

/// The exchange is not there (the daemon goes down).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this daemon is going; ask the next one in a moment")]
pub struct ExchangeGone;

#[derive(Debug)]
pub(super) enum Ask {
    Event(Event<Fd>),
    Open(Box<Opening>, mpsc::Sender<LineSign>, watch::Receiver<Shown>),
    Visit { peer: PeerId, instance: InstanceId, out: mpsc::Sender<ToPeer<Fd>> },
    Call { peer: PeerId, out: mpsc::Sender<ToPeer<Fd>>, said: Vec<Said<Fd>> },
    Publish { topic: Arc<str>, payload: Arc<str>, reply: oneshot::Sender<u64> },
    Counts(oneshot::Sender<Counts>),
}

/// A service's channel to be opened.
#[derive(Debug)]
pub struct Opening {
    /// Whose.
    pub instance: InstanceId,
    /// Its process.
    pub pid: u32,
    /// Our end.
    pub fd: OwnedFd,
    /// It speaks the protocol for certain (`channel = true`).
    pub speaks: bool,
    /// A former daemon had it: it is asked what it waits for.
    pub adopted: bool,
}

/// What a line tells its holder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LineSign {
    /// It said `"ready"`.
    Ready,
    /// What it said was refused, and why.
    Refused(String),
    /// The channel can't be used.
    Broke(String),
}

/// Hold it while the process lives. Dropped, the channel is let go of and not closed: another daemon may have it.
#[derive(Debug)]
pub struct LineHandle {
    signs: mpsc::Receiver<LineSign>,
    show: watch::Sender<Shown>,
}

impl LineHandle {
    /// The next sign; `None` when the channel's end has come. Cancel safe.
    pub async fn next(&mut self) -> Option<LineSign> {
        self.signs.recv().await
    }

    /// Whether the instance is ready: others are asked by its service's name.
    pub fn show(&self, ready: bool) {
        self.show.send_if_modified(|shown| {
            let new = Shown::Ready(ready);
            let changes = *shown != new && *shown != Shown::Ending;
            if changes {
                *shown = new;
            }
            changes
        });
    }

    /// Asks it to end by the message `"shutdown"`, as PM2 does; whoever asks for its service by name gets another from now on.
    pub fn ask_to_end(&self) {
        self.show.send_replace(Shown::Ending);
    }

    /// The process has ended: what it said last still counts. Its line ends by itself, within a second.
    pub fn over(self) {
        self.show.send_replace(Shown::Over);
    }
}

/// Handle to the exchange; cheap to clone. The default one leads nowhere.
#[derive(Debug, Clone)]
pub struct Exchange {
    asks: mpsc::Sender<Ask>,
    next: Arc<AtomicU64>,
    session: u64,
}

impl Default for Exchange {
    fn default() -> Self {
        Self { asks: mpsc::channel(1).0, next: Arc::default(), session: 0 }
    }
}

/// Starts the exchange: a handle, and the owner task, which ends when all handles are dropped. `session` is a number that no former
/// daemon had.
pub fn start(session: u64) -> (Exchange, impl Future<Output = ()> + Send + use<>) {
    let (asks, inbox) = mpsc::channel(ASKS);
    // The first is the API's own, which publishes.
    let exchange = Exchange { asks: asks.clone(), next: Arc::new(AtomicU64::new(1)), session };
    let owner = Owner {
        session,
        next: Arc::clone(&exchange.next),
        tell: asks.downgrade(),
        inbox,
        broker: Broker::new(Limits::default()),
        peers: BTreeMap::new(),
        lines: JoinSet::new(),
    };
    (exchange, owner.run())
}

impl Exchange {
    /// Opens a service's channel.
    pub async fn open(&self, opening: Opening) -> Result<LineHandle, ExchangeGone> {
        let (sign, signs) = mpsc::channel(SIGNS);
        let (show, shown) = watch::channel(Shown::Ready(false));
        self.send(Ask::Open(Box::new(opening), sign, shown)).await?;
        Ok(LineHandle { signs, show })
    }

    /// A pool's worker, whose words its pool reads and writes. `adopted`: a former daemon's, which is asked what it waits for and has no other
    /// `$sync`.
    #[must_use]
    pub fn guest(&self, instance: InstanceId, adopted: bool) -> Guest {
        Guest::new(self, instance, adopted)
    }

    pub(super) fn number(&self) -> PeerId {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) const fn session(&self) -> u64 {
        self.session
    }

    pub(super) const fn asks(&self) -> &mpsc::Sender<Ask> {
        &self.asks
    }

    /// Asks somebody; the answer is never late by more than the time it takes to tell it.
    ///
    /// # Errors
    /// The exchange is gone.
    pub async fn call(
        &self,
        to: String,
        kind: &str,
        payload: Arc<str>,
        timeout: Option<Duration>,
    ) -> Result<Answer<Fd>, ExchangeGone> {
        let (kind, cargo) = (kind.into(), Cargo::of(payload));
        let request = Said::Request { id: "1".into(), to, kind, timeout, cargo };
        let mut caller = self.join(vec![request]).await?;
        match caller.next().await {
            Some(ToPeer::Response { answer, .. }) => Ok(answer),
            _ => Err(ExchangeGone),
        }
    }

    /// Publishes; says how many subscriptions it reached.
    ///
    /// # Errors
    /// The exchange is gone.
    pub async fn publish(&self, topic: &str, payload: Arc<str>) -> Result<u64, ExchangeGone> {
        let (reply, reached) = oneshot::channel();
        self.send(Ask::Publish { topic: topic.into(), payload, reply }).await?;
        reached.await.map_err(|_| ExchangeGone)
    }

    /// Subscribes, until the caller is dropped.
    ///
    /// # Errors
    /// The exchange is gone.
    pub async fn subscribe(&self, topics: Vec<Box<str>>) -> Result<Caller, ExchangeGone> {
        let said = |topic| Said::Subscribe { topic, window: None };
        self.join(topics.into_iter().map(said).collect()).await
    }

    /// What was counted.
    ///
    /// # Errors
    /// The exchange is gone.
    pub async fn counts(&self) -> Result<Counts, ExchangeGone> {
        let (reply, counts) = oneshot::channel();
        self.send(Ask::Counts(reply)).await?;
        counts.await.map_err(|_| ExchangeGone)
    }

    async fn join(&self, said: Vec<Said<Fd>>) -> Result<Caller, ExchangeGone> {
        let peer = self.number();
        let (out, heard) = mpsc::channel(way());
        self.send(Ask::Call { peer, out, said }).await?;
        Ok(Caller { peer, heard, tell: self.asks.clone() })
    }

    async fn send(&self, ask: Ask) -> Result<(), ExchangeGone> {
        self.asks.send(ask).await.map_err(|_| ExchangeGone)
    }
}

/// Somebody at the API. Dropped, its requests are cancelled and its subscriptions ended.
#[derive(Debug)]
pub struct Caller {
    peer: PeerId,
    heard: mpsc::Receiver<ToPeer<Fd>>,
    tell: mpsc::Sender<Ask>,
}

impl Caller {
    /// The next message; `None` when the exchange is gone. Cancel safe.
    pub async fn next(&mut self) -> Option<ToPeer<Fd>> {
        let message = self.heard.recv().await?;
        let went = Event::Went { peer: self.peer, messages: 1, bytes: message.weight() };
        // Full: then this waits in line; a caller that is cancelled here keeps its room for one message less.
        drop(self.tell.send(Ask::Event(went)).await);
        Some(message)
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        // Full: the next message to it finds nobody, and ends it.
        drop(self.tell.try_send(Ask::Event(Event::Leave { peer: self.peer })));
    }
}

/// Room for all that the broker lets go on its way.
pub(super) fn way() -> usize {
    Limits::default().way
}

/// The API's own peer.
const API: PeerId = 0;

struct Owner {
    session: u64,
    next: Arc<AtomicU64>,
    tell: mpsc::WeakSender<Ask>,
    inbox: mpsc::Receiver<Ask>,
    broker: Broker<Fd>,
    peers: BTreeMap<PeerId, mpsc::Sender<ToPeer<Fd>>>,
    lines: JoinSet<()>,
}

impl Owner {
    async fn run(mut self) {
        self.step(Event::Join { peer: API, name: None, speaks: true });
        loop {
            let due = self.broker.deadline().map(Instant::from_std);
            tokio::select! {
                ask = self.inbox.recv() => match ask {
                    Some(ask) => self.on_ask(ask),
                    None => return,
                },
                Some(ended) = self.lines.join_next() => {
                    if let Err(error) = ended && error.is_panic() {
                        tracing::error!(%error, "a channel's task broke");
                    }
                }
                () = at(due) => self.step(Event::Time),
            }
        }
    }

    fn on_ask(&mut self, ask: Ask) {
        match ask {
            Ask::Event(event) => self.step(event),
            Ask::Open(opening, signs, shown) => self.open(*opening, signs, shown),
            Ask::Visit { peer, instance, out } => {
                self.peers.insert(peer, out);
                self.step(Event::Join { peer, name: Some(instance), speaks: true });
            }
            Ask::Call { peer, out, said } => {
                self.peers.insert(peer, out);
                self.step(Event::Join { peer, name: None, speaks: true });
                for said in said {
                    self.step(Event::Said { peer, said });
                }
            }
            Ask::Publish { topic, payload, reply } => {
                let reached = self.broker.publish(API, topic, Cargo::of(payload));
                // Who no longer waits needs no number.
                let _unheard = reply.send(reached);
                self.flush();
            }
            // The API's own is nobody.
            Ask::Counts(reply) => {
                let counts = self.broker.counts();
                let peers = counts.peers.saturating_sub(1);
                let _unheard = reply.send(Counts { peers, ..counts });
            }
        }
    }

    fn open(
        &mut self,
        opening: Opening,
        signs: mpsc::Sender<LineSign>,
        shown: watch::Receiver<Shown>,
    ) {
        let Opening { instance, pid, fd, speaks, adopted } = opening;
        let Some(tell) = self.tell.upgrade() else { return };
        let mut channel = match line::open(fd) {
            Ok(channel) => channel,
            Err(error) => return drop(signs.try_send(LineSign::Broke(error.to_string()))),
        };
        if adopted && speaks {
            let mut sync = Vec::new();
            crate::envelope::put_sync(&mut sync, self.session);
            sync.pop();
            // The first message of a channel always fits.
            let _ = channel.send(sync);
        }
        let peer = self.next.fetch_add(1, Ordering::Relaxed);
        let (send, out) = mpsc::channel(way());
        self.peers.insert(peer, send);
        self.step(Event::Join { peer, name: Some(instance), speaks });
        let session = self.session;
        let (lent, tickets) = (VecDeque::new(), VecDeque::new());
        let bodies = Bodies::default();
        let over = None;
        let line = Line {
            peer,
            session,
            pid,
            channel,
            tell,
            out,
            signs,
            shown,
            over,
            bodies,
            lent,
            tickets,
        };
        self.lines.spawn(line.run());
    }

    fn step(&mut self, event: Event<Fd>) {
        if let Event::Leave { peer } = &event {
            self.peers.remove(peer);
        }
        self.broker.step(event, Instant::now().into_std());
        self.flush();
    }

    /// Hands out what is to be said. Who can't be told is gone.
    fn flush(&mut self) {
        loop {
            let out = self.broker.take_out();
            if out.is_empty() {
                return;
            }
            for (peer, message) in out {
                let told = self.peers.get(&peer).map(|to| to.try_send(message).is_ok());
                if told != Some(true) && peer != API {
                    self.peers.remove(&peer);
                    self.broker.step(Event::Leave { peer }, Instant::now().into_std());
                }
            }
        }
    }
}

async fn at(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}
