//! A program's cluster on tokio: the channels of its workers, its listening sockets, and [`Cluster`] between them.
//!
//! No task and no queue of its own: the owner waits in [`Primary::next`], which reads, accepts, hands over and writes meanwhile. What it tells, the
//! owner acts on; [`Notice::Open`] must be answered by [`Primary::opened`].
//!
//! ```text
//! listening sockets ──accept──► Cluster ──newconn──► channels ──► workers
//!        ▲      paused when too many wait    ▲                       │
//!        └── opened(key, socket)             └── accepted, refused ──┘
//! ```

use std::collections::{BTreeMap, VecDeque};
use std::future::Future as _;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::SocketFlags;
use tokio::io::unix::AsyncFd;
use tokio::time::Sleep;

use super::channel::{Next, SharedFd};
use super::cluster::{Action, Cluster, Notice, Settings, WorkerId};
use super::{
    Event, HandleIn, HandleOut, HandleType, Kind, NodeChannel, NodeChannelError, Refused,
    SendRefused,
};

/// Connections taken from one socket before the workers get their turn.
const ACCEPT_SHARE: usize = 16;

/// Messages taken from one worker before the others get their turn.
const MESSAGE_SHARE: usize = 64;

/// How long no connection is accepted when the process has no descriptor left for one: long enough to free some, short against a client's patience.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

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
}

#[derive(Debug)]
struct Door {
    socket: AsyncFd<SharedFd>,
    /// Workers accept from it themselves, or too many wait.
    closed: bool,
}

/// One program's cluster. Used inside a tokio runtime.
#[derive(Debug)]
pub struct Primary {
    settings: Settings,
    cluster: Cluster<SharedFd>,
    links: BTreeMap<WorkerId, Link>,
    doors: BTreeMap<String, Door>,
    events: VecDeque<PrimaryEvent>,
    /// No descriptor was left: accept again then.
    retry: Option<Pin<Box<Sleep>>>,
}

impl Primary {
    /// One without workers.
    #[must_use]
    pub const fn new(settings: Settings) -> Self {
        Self {
            settings,
            cluster: Cluster::new(settings),
            links: BTreeMap::new(),
            doors: BTreeMap::new(),
            events: VecDeque::new(),
            retry: None,
        }
    }

    /// A worker was started with `NODE_UNIQUE_ID` = `worker`, a number never used before, and this is our end of its channel.
    ///
    /// # Errors
    /// The descriptor is no socket or can't be made non-blocking.
    pub fn join(&mut self, worker: WorkerId, channel: OwnedFd) -> Result<(), NodeChannelError> {
        let channel = NodeChannel::from_socket(channel)?;
        let link = Link { channel, tickets: BTreeMap::new(), taken: 0 };
        self.links.insert(worker, link);
        self.cluster.join(worker);
        Ok(())
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

    /// Closes a listening socket. What waits for it is dropped and told.
    pub fn close(&mut self, key: &str) {
        self.doors.remove(key);
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
            let accepted = self.poll_doors(cx);
            if let Some(event) = self.events.pop_front() {
                return Poll::Ready(event);
            }
            if !heard && !accepted {
                return Poll::Pending;
            }
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
            Ok(Some(Err(refused))) => return self.tell(PrimaryEvent::Refused { worker, refused }),
            Ok(None) => return self.ended(worker, None),
            Err(error) => return self.ended(worker, Some(error)),
        };
        match event {
            // A handle with a word of the cluster is nothing Node sends; it is closed here.
            Event::Message { kind: Kind::Cluster, body, .. } => {
                match self.cluster.on_message(worker, &body) {
                    Ok(actions) => self.act(actions),
                    Err(refused) => self.tell(PrimaryEvent::Refused { worker, refused }),
                }
            }
            Event::Message { kind, body, handle } => {
                self.tell(PrimaryEvent::Message { worker, kind, body, handle });
            }
            Event::Delivered(ticket) => {
                self.links.get_mut(&worker).and_then(|link| link.tickets.remove(&ticket));
            }
            Event::Lost(ticket) => {
                let offer =
                    self.links.get_mut(&worker).and_then(|link| link.tickets.remove(&ticket));
                if let Some(offer) = offer {
                    let actions = self.cluster.lost(worker, offer);
                    self.act(actions);
                }
            }
        }
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

    /// Registers a listening socket; `None` for a Unix one.
    #[expect(
        deprecated,
        reason = "its successor is unsafe for types whose descriptor may change; an OwnedFd's can't"
    )]
    fn open_door(&mut self, key: &str, socket: OwnedFd) -> io::Result<Option<SocketAddr>> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        let udp = rustix::net::sockopt::socket_type(&socket)? != rustix::net::SocketType::STREAM;
        let address = SocketAddr::try_from(rustix::net::getsockname(&socket)?).ok();
        let socket = AsyncFd::new(Arc::new(socket))?;
        let closed = self.settings.shared || udp;
        self.doors.insert(key.to_owned(), Door { socket, closed });
        Ok(address)
    }

    fn poll_doors(&mut self, cx: &mut Context<'_>) -> bool {
        if let Some(retry) = &mut self.retry {
            if retry.as_mut().poll(cx).is_pending() {
                return false;
            }
            self.retry = None;
        }
        let mut came = Vec::new();
        for (key, door) in self.doors.iter_mut().filter(|(_, door)| !door.closed) {
            let (connections, failed) = door.accept(cx);
            if !connections.is_empty() || failed.is_some() {
                came.push((key.clone(), connections, failed));
            }
        }
        let any = !came.is_empty();
        for (key, connections, failed) in came {
            for connection in connections {
                let actions = self.cluster.offer(&key, connection);
                self.act(actions);
            }
            if let Some(error) = failed {
                self.retry = Some(Box::pin(tokio::time::sleep(ACCEPT_RETRY)));
                self.tell(PrimaryEvent::AcceptFailed { key, error });
            }
        }
        any
    }

    fn act(&mut self, actions: Vec<Action<SharedFd>>) {
        for action in actions {
            match action {
                Action::Send { worker, body } => {
                    let _ = self.send(worker, body);
                }
                Action::SendListener { worker, key, is, body } => {
                    let fd = self.doors.get(&key).map(|door| Arc::clone(door.socket.get_ref()));
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
        let handle = HandleOut::new(HandleType::Native, connection);
        match link.channel.send_handle(body, handle) {
            Ok(ticket) => {
                link.tickets.insert(ticket, offer);
            }
            // Cannot be while the cluster's window is that of the channel; another worker is right all the same.
            Err(SendRefused) => {
                let actions = self.cluster.lost(worker, offer);
                self.act(actions);
            }
        }
    }

    fn set_closed(&mut self, key: &str, closed: bool) {
        if let Some(door) = self.doors.get_mut(key) {
            door.closed = closed;
        }
    }
}

impl Door {
    /// A share of what waits, and why there is no more if that is an error.
    fn accept(&mut self, cx: &mut Context<'_>) -> (Vec<SharedFd>, Option<io::Error>) {
        let mut connections = Vec::new();
        while connections.len() < ACCEPT_SHARE {
            let mut ready = match self.socket.poll_read_ready(cx) {
                Poll::Ready(Ok(ready)) => ready,
                Poll::Ready(Err(error)) => return (connections, Some(error)),
                Poll::Pending => break,
            };
            // Node takes a passed connection as it is: it must not block.
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            match rustix::net::accept_with(self.socket.get_ref(), flags) {
                Ok(connection) => connections.push(Arc::new(connection)),
                Err(Errno::AGAIN) => ready.clear_ready(),
                // The client went away meanwhile.
                Err(Errno::INTR | Errno::CONNABORTED | Errno::PROTO) => {}
                Err(errno) => return (connections, Some(errno.into())),
            }
        }
        (connections, None)
    }
}
