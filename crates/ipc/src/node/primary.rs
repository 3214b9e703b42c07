//! A program's cluster on tokio: the channels of its workers, its listening sockets, and [`Cluster`] between them.
//!
//! No task and no queue of its own: the owner waits in [`Primary::next`], which reads, accepts, hands over and writes meanwhile. What it tells, the
//! owner acts on; [`Notice::Open`] must be answered by [`Primary::opened`].
//!
//! ```text
//! listening sockets ──accept──► Cluster ──newconn──► channels ──► workers
//!        ▲   only while a worker has room    ▲                       │
//!        └── opened(key, socket)             └── accepted, refused ──┘
//! ```
//!
//! What is accepted is written to a worker's channel before anything else is done: a primary that is killed takes at most the one connection
//! with it that it had in its hands. All others wait in the kernel, for the next primary ([`Primary::rejoin`], [`Primary::reopen`]).

mod accept;
mod came;
mod door;
mod hands;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use rustix::io::Errno;
use tokio::time::Sleep;

pub use came::{Came, Pass};
use door::Door;
pub use hands::{Hands, Lost};

use super::channel::{Next, SharedFd};
use super::cluster::{Action, Cluster, Notice, Settings, WorkerId};
use super::{
    Event, HANDLES_IN_FLIGHT, HandleIn, HandleOut, HandleType, Kind, NodeChannel, NodeChannelError,
    Refused, SendRefused,
};

/// Messages taken from one worker before the others get their turn.
const MESSAGE_SHARE: usize = 64;

/// What the owner of a program hears.
#[derive(Debug)]
pub enum PrimaryEvent {
    /// [`Notice::Open`] is answered with [`Primary::opened`]; a listener that is idle stays open until [`Primary::close`].
    Cluster(Notice),
    /// A message of the program, or of Node and not about the cluster.
    Message {
        /// Who.
        worker: WorkerId,
        /// What it is for.
        kind: Kind,
        /// One JSON value.
        body: Vec<u8>,
        /// Acknowledged already.
        handle: Option<HandleIn<SharedFd>>,
    },
    /// A worker did what the protocol doesn't know.
    Refused {
        /// Who.
        worker: WorkerId,
        /// What.
        refused: Refused,
    },
    /// Every worker of a listener refused a connection, or the listener was closed: it was closed too.
    Dropped {
        /// Which listener.
        key: String,
    },
    /// Connections can't be accepted for now.
    AcceptFailed {
        /// Which listener.
        key: String,
        /// Why.
        error: io::Error,
    },
    /// A worker's channel ended; what it had not accepted goes to others.
    Ended {
        /// Who.
        worker: WorkerId,
        /// Why, if its channel failed.
        error: Option<NodeChannelError>,
    },
}

#[derive(Debug)]
struct Link {
    channel: NodeChannel,
    /// Tickets of handles under way, and the offers they are.
    tickets: BTreeMap<u64, u64>,
    /// Connections it accepted.
    taken: u64,
    /// ACKs that may be for what a former primary sent.
    stale: usize,
}

/// One program's cluster. Used inside a tokio runtime.
#[derive(Debug)]
pub struct Primary {
    settings: Settings,
    cluster: Cluster<SharedFd>,
    links: BTreeMap<WorkerId, Link>,
    doors: Vec<Door>,
    events: VecDeque<PrimaryEvent>,
    /// No descriptor was left: accept again then.
    retry: Option<Pin<Box<Sleep>>>,
    came: Option<Came>,
    hands: Option<Hands>,
}

impl Primary {
    /// One without workers.
    #[must_use]
    pub const fn new(settings: Settings) -> Self {
        Self {
            settings,
            cluster: Cluster::new(settings),
            links: BTreeMap::new(),
            doors: Vec::new(),
            events: VecDeque::new(),
            retry: None,
            came: None,
            hands: None,
        }
    }

    /// Counts there what it accepts.
    #[must_use]
    pub fn counting(self, came: Came) -> Self {
        Self { came: Some(came), ..self }
    }

    /// Notes there from now on what it has in its hands.
    pub fn note_in(&mut self, hands: Hands) {
        self.hands = Some(hands);
    }

    /// A worker was started with `NODE_UNIQUE_ID` = `worker`, a number never used before, and this is our end of its channel.
    ///
    /// # Errors
    /// The descriptor is no socket or can't be made non-blocking.
    pub fn join(&mut self, worker: WorkerId, channel: OwnedFd) -> Result<(), NodeChannelError> {
        let channel = NodeChannel::from_socket(channel)?;
        let link = Link { channel, tickets: BTreeMap::new(), taken: 0, stale: 0 };
        self.links.insert(worker, link);
        self.cluster.join(worker);
        Ok(())
    }

    /// The same for a worker of a former primary, which listens on `keys`; `None` if that is not known.
    ///
    /// # Errors
    /// As [`Self::join`].
    pub fn rejoin(
        &mut self,
        worker: WorkerId,
        channel: OwnedFd,
        keys: Option<&[String]>,
    ) -> Result<(), NodeChannelError> {
        self.join(worker, channel)?;
        if let Some(link) = self.links.get_mut(&worker) {
            link.stale = HANDLES_IN_FLIGHT;
        }
        match keys {
            Some(keys) => keys.iter().for_each(|key| self.let_in(worker, key)),
            None => {
                let actions = self.cluster.assume(worker);
                self.act(actions);
            }
        }
        Ok(())
    }

    /// A worker listens on this, without having asked for it.
    pub fn let_in(&mut self, worker: WorkerId, key: &str) {
        let actions = self.cluster.let_in(worker, key);
        self.act(actions);
    }

    /// Says whether a worker may get connections; one that joins may.
    pub fn serve(&mut self, worker: WorkerId, serving: bool) {
        let actions = self.cluster.serve(worker, serving);
        self.act(actions);
    }

    /// A worker's process has ended: what it said last is heard, and its channel is done with, whoever else has its other end.
    pub fn left(&mut self, worker: WorkerId) {
        let mut cx = Context::from_waker(Waker::noop());
        while let Some(link) = self.links.get_mut(&worker) {
            match link.channel.poll_next(&mut cx) {
                Poll::Ready(next) => self.hear(worker, next),
                Poll::Pending => self.ended(worker, None),
            }
        }
    }

    /// Answers [`Notice::Open`] with a listening socket (or a bound UDP one), or an errno as the kernel counts.
    ///
    /// # Errors
    /// The socket can't be waited for; the workers that asked are told `ENOTSOCK`.
    pub fn opened(&mut self, key: &str, bound: Result<OwnedFd, i32>) -> io::Result<()> {
        if !self.cluster.knows(key) {
            // Closed while it was being bound.
            return Ok(());
        }
        let registered = match bound {
            Ok(socket) => self.open_door(key, socket),
            Err(errno) => {
                let actions = self.cluster.opened(key, Err(errno));
                self.act(actions);
                return Ok(());
            }
        };
        let outcome = match &registered {
            Ok(address) => Ok(*address),
            Err(_) => Err(Errno::NOTSOCK.raw_os_error()),
        };
        let actions = self.cluster.opened(key, outcome);
        self.act(actions);
        registered.map(|_| ())
    }

    /// A listening socket that a former primary had under this key, or that workers have which ask for none ([`Self::let_in`]).
    ///
    /// # Errors
    /// It can't be waited for.
    pub fn reopen(&mut self, key: &str, socket: OwnedFd) -> io::Result<()> {
        let address = self.open_door(key, socket)?;
        let udp = self.door(key).is_some_and(Door::is_udp);
        self.cluster.reopen(key, udp, address);
        Ok(())
    }

    /// The keys of its listening sockets.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.doors.iter().map(|door| &*door.key)
    }

    /// What a worker listens on.
    pub fn keys_of(&self, worker: WorkerId) -> impl Iterator<Item = &str> {
        self.cluster.keys_of(worker)
    }

    /// See [`Cluster::is_abandoned`].
    #[must_use]
    pub fn is_abandoned(&self, key: &str) -> bool {
        self.cluster.is_abandoned(key)
    }

    /// Closes a listening socket. What waits for it is dropped and told.
    pub fn close(&mut self, key: &str) {
        self.doors.retain(|door| door.key != key);
        let actions = self.cluster.close(key);
        self.act(actions);
    }

    /// Tells a worker to finish what it has and exit. It gets nothing more from now on.
    pub fn disconnect(&mut self, worker: WorkerId) {
        let actions = self.cluster.disconnect(worker);
        self.act(actions);
    }

    /// Sends a worker a message of ours; nothing happens if it is gone.
    ///
    /// # Errors
    /// [`SendRefused`]: too much waits for it.
    pub fn send(&mut self, worker: WorkerId, body: Vec<u8>) -> Result<(), SendRefused> {
        self.links.get_mut(&worker).map_or(Ok(()), |link| link.channel.send(body))
    }

    /// Connections that each worker accepted, for those whose channel is open.
    pub fn taken(&self) -> impl Iterator<Item = (WorkerId, u64)> {
        self.links.iter().map(|(worker, link)| (*worker, link.taken))
    }

    /// Connections that a worker was offered and has not answered.
    #[must_use]
    pub fn offered(&self, worker: WorkerId) -> usize {
        self.cluster.offered(worker)
    }

    /// Connections waiting for a worker, and offered to one without an answer.
    #[must_use]
    pub fn undecided(&self) -> (usize, usize) {
        self.cluster.undecided()
    }

    /// Serves until there is something to tell. Cancel safe.
    pub async fn next(&mut self) -> PrimaryEvent {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<PrimaryEvent> {
        loop {
            // Workers first: what they give back and accept decides who is next.
            let heard = self.poll_links(cx);
            self.count_behind();
            let accepted = self.poll_doors(cx);
            if let Some(event) = self.events.pop_front() {
                return Poll::Ready(event);
            }
            if !heard && !accepted {
                return Poll::Pending;
            }
        }
    }

    fn count_behind(&self) {
        let Some(came) = &self.came else { return };
        let mut workers = self.links.keys().peekable();
        if workers.peek().is_some() && workers.all(|worker| self.cluster.offered(*worker) > 0) {
            came.behind();
        }
    }

    fn poll_links(&mut self, cx: &mut Context<'_>) -> bool {
        let mut heard: Vec<(WorkerId, Next)> = Vec::new();
        for (worker, link) in &mut self.links {
            let mut share = MESSAGE_SHARE;
            while share > 0
                && let Poll::Ready(next) = link.channel.poll_next(cx)
            {
                let ended = !matches!(next, Ok(Some(_)));
                heard.push((*worker, next));
                share = if ended { 0 } else { share - 1 };
            }
        }
        let any = !heard.is_empty();
        heard.into_iter().for_each(|(worker, next)| self.hear(worker, next));
        any
    }

    fn hear(&mut self, worker: WorkerId, next: Next) {
        let event = match next {
            Ok(Some(Ok(event))) => event,
            Ok(Some(Err(refused))) => return self.refused(worker, refused),
            Ok(None) => return self.ended(worker, None),
            Err(error) => return self.ended(worker, Some(error)),
        };
        match event {
            // A handle with a word of the cluster is nothing Node sends; it is closed here.
            Event::Message { kind: Kind::Cluster, body, .. } if !self.settings.plain => {
                match self.cluster.on_message(worker, &body) {
                    Ok(actions) => self.act(actions),
                    Err(refused) => self.tell(PrimaryEvent::Refused { worker, refused }),
                }
            }
            Event::Message { kind, body, handle } => {
                self.tell(PrimaryEvent::Message { worker, kind, body, handle });
            }
            Event::Delivered(ticket) => {
                if let Some(offer) = self.ticket(worker, ticket)
                    && self.settings.plain
                {
                    let actions = self.cluster.taken(worker, offer);
                    self.act(actions);
                }
            }
            Event::Lost(ticket) => {
                if let Some(offer) = self.ticket(worker, ticket) {
                    let actions = self.cluster.lost(worker, offer);
                    self.act(actions);
                }
            }
        }
    }

    fn ticket(&mut self, worker: WorkerId, ticket: u64) -> Option<u64> {
        self.links.get_mut(&worker)?.tickets.remove(&ticket)
    }

    fn refused(&mut self, worker: WorkerId, refused: Refused) {
        if refused == Refused::AnswerToNothing
            && let Some(link) = self.links.get_mut(&worker).filter(|link| link.stale > 0)
        {
            link.stale -= 1;
            return;
        }
        self.tell(PrimaryEvent::Refused { worker, refused });
    }

    fn ended(&mut self, worker: WorkerId, error: Option<NodeChannelError>) {
        self.links.remove(&worker);
        let actions = self.cluster.gone(worker);
        self.act(actions);
        self.tell(PrimaryEvent::Ended { worker, error });
    }

    fn tell(&mut self, event: PrimaryEvent) {
        self.events.push_back(event);
    }

    fn door(&self, key: &str) -> Option<&Door> {
        self.doors.iter().find(|door| door.key == key)
    }

    /// Registers a listening socket; `None` for a Unix one.
    fn open_door(
        &mut self,
        key: &str,
        socket: OwnedFd,
    ) -> io::Result<Option<std::net::SocketAddr>> {
        let door = Door::open(key, socket, self.settings.shared)?;
        let address = door.address();
        self.doors.retain(|door| door.key != key);
        self.doors.push(door);
        Ok(address)
    }

    fn act(&mut self, actions: Vec<Action<SharedFd>>) {
        for action in actions {
            match action {
                Action::Send { worker, body } => {
                    let _ = self.send(worker, body);
                }
                Action::SendListener { worker, key, is, body } => {
                    let fd = self.door(&key).map(Door::shared);
                    if let (Some(link), Some(fd)) = (self.links.get_mut(&worker), fd) {
                        let _ = link.channel.send_handle(&body, HandleOut::new(is, fd));
                    }
                }
                Action::SendConnection { worker, offer, body, connection } => {
                    self.hand_over(worker, offer, &body, connection);
                }
                Action::Taken { worker, .. } => {
                    if let Some(link) = self.links.get_mut(&worker) {
                        link.taken += 1;
                    }
                }
                Action::Pause { key } => self.set_closed(&key, true),
                Action::Resume { key } => self.set_closed(&key, false),
                Action::Back { key, .. } => self.tell(PrimaryEvent::Dropped { key }),
                Action::Tell(notice) => self.tell(PrimaryEvent::Cluster(notice)),
            }
        }
    }

    fn hand_over(&mut self, worker: WorkerId, offer: u64, body: &[u8], connection: SharedFd) {
        let Some(link) = self.links.get_mut(&worker) else { return };
        let is = if self.settings.plain { HandleType::Socket } else { HandleType::Native };
        match link.channel.send_handle(body, HandleOut::new(is, connection)) {
            Ok(ticket) => {
                link.tickets.insert(ticket, offer);
                // What goes wrong here, the next read of it tells.
                let _ = link.channel.flush();
            }
            // Cannot be while the cluster's window is that of the channel; another worker is right all the same.
            Err(SendRefused) => {
                let actions = self.cluster.lost(worker, offer);
                self.act(actions);
            }
        }
    }

    fn set_closed(&mut self, key: &str, closed: bool) {
        if let Some(door) = self.doors.iter_mut().find(|door| door.key == key) {
            door.closed = closed;
        }
    }
}
