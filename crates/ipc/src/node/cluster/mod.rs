//! The primary's half of Node's cluster protocol, without I/O: which worker may listen on what, and who gets a connection.
//!
//! ```text
//!  worker                      here                         owner
//!    queryServer ───────────►  a listener by its key  ────►  Open
//!    reply (rr: no handle)  ◄─ members            ◄────────  opened(key, address or errno)
//!    newconn + connection   ◄─ waiting ──► offered  ◄──────  offer(key, connection)
//!    {ack, accepted}        ─► ├─ true ──────────────────►   Taken
//!                              ├─ false: the next worker; all refused ► Back
//!                              └─ the worker is gone: back in front of the line
//! ```
//!
//! A connection is in one place: in a listener's line, offered to one worker, or out (`Taken`, `Back`). A worker acknowledges before it
//! touches a byte, so what it did not acknowledge can be given to another.
//!
//! The choice: the worker with the fewest unanswered offers, among equals the one that got one longest ago; at most `window` unanswered ones
//! each. Node's own primary is the window of one.
//!
//! Keys are ours, workers only repeat them. As in Node from 22.23 on: the same address is the same listener, except that port 0 is one
//! for each server of a program, and a worker that listens twice on the same address gets a listener of its own, whose bind fails
//! as it would without a cluster. UDP is always shared: there is nothing to accept.

mod messages;
mod rejoin;
mod spread;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;

use serde_json::value::RawValue;

use super::{HandleType, Refused};
pub use messages::{Family, Wish};
use messages::{FromWorker, Reply};

/// `NODE_UNIQUE_ID` of a worker: one number for one process's life.
pub type WorkerId = u32;

/// Listeners of one worker. Programs have a few; each costs a descriptor.
const LISTENERS_MAX: usize = 256;

/// `data` of a listener (TLS ticket keys: 48 bytes as JSON) kept, in bytes.
const DATA_MAX: usize = 64 << 10;

/// How connections reach workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Workers get the listening socket and accept themselves (`NODE_CLUSTER_SCHED_POLICY=none`).
    pub shared: bool,
    /// Offers without an answer that one worker may have.
    pub window: usize,
    /// Connections that wait for a worker, for each listener, before [`Action::Pause`]: the kernel's backlog holds the others.
    pub waiting_max: usize,
    /// Workers that know nothing of the cluster protocol: each connection is a socket for their own code, and that its ACK came says
    /// that it was taken. What they listen on is [`Cluster::reopen`]ed, and [`Cluster::let_in`] makes them members.
    pub plain: bool,
    /// The number of our first message. Answers to lower ones are to what a former primary sent, and say nothing to this one.
    pub first_seq: u64,
}

impl Default for Settings {
    fn default() -> Self {
        let window = super::HANDLES_IN_FLIGHT;
        Self { shared: false, window, waiting_max: 128, plain: false, first_seq: 0 }
    }
}

/// What the owner has to do. `C` is a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action<C> {
    /// Send this message.
    Send {
        /// To whom.
        worker: WorkerId,
        /// One JSON value.
        body: Vec<u8>,
    },
    /// Send this message with the listening socket.
    SendListener {
        /// To whom.
        worker: WorkerId,
        /// Which socket.
        key: String,
        /// What the handle is called.
        is: HandleType,
        /// One JSON value.
        body: Vec<u8>,
    },
    /// Send this message with the connection, as [`HandleType::Native`]. If it can't be delivered, [`Cluster::lost`] takes it back.
    SendConnection {
        /// To whom.
        worker: WorkerId,
        /// By which number it will be spoken of.
        offer: u64,
        /// One JSON value.
        body: Vec<u8>,
        /// Ours too until [`Action::Taken`].
        connection: C,
    },
    /// Accept no more of it until [`Action::Resume`].
    Pause {
        /// Which.
        key: String,
    },
    /// Accept again.
    Resume {
        /// Which.
        key: String,
    },
    /// The worker has it: drop our descriptor, count it.
    Taken {
        /// Who.
        worker: WorkerId,
        /// Of which listener.
        key: String,
        /// The connection.
        connection: C,
    },
    /// Nobody takes it: every worker of the listener refused, or the listener is closed. Close it, or offer it again later.
    Back {
        /// Of which listener.
        key: String,
        /// The connection.
        connection: C,
    },
    /// Tell whoever runs the program.
    Tell(Notice),
}

/// What whoever runs the program is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// Bind this, then say so: [`Cluster::opened`].
    Open {
        /// Its name from now on.
        key: String,
        /// What the program asked for.
        wish: Wish,
    },
    /// No worker listens on it now. Keep it open (a reload) or [`Cluster::close`] it.
    Idle {
        /// Which.
        key: String,
    },
    /// Its `cluster` module runs.
    Online {
        /// Who.
        worker: WorkerId,
    },
    /// A server of it listens: it is ready. `wish.port` is the real one.
    Listening {
        /// Who.
        worker: WorkerId,
        /// On what.
        wish: Wish,
    },
    /// It disconnects by its own will: its exit is meant.
    Leaving {
        /// Who.
        worker: WorkerId,
    },
}

#[derive(Debug)]
struct Listener<C> {
    /// Listeners of the same address have the same.
    base: String,
    shared: bool,
    is: HandleType,
    state: State,
    members: BTreeSet<WorkerId>,
    /// Oldest first.
    waiting: VecDeque<Waiting<C>>,
    paused: bool,
    /// The first that a worker brought; all get it.
    data: Option<Box<RawValue>>,
    /// A message with a connection, but for its number.
    head: Vec<u8>,
}

#[derive(Debug)]
enum State {
    /// Being bound; who asked, and the number of the question.
    Opening(Vec<(WorkerId, u64)>),
    Open(Option<SocketAddr>),
}

#[derive(Debug)]
struct Waiting<C> {
    connection: C,
    refused_by: Vec<WorkerId>,
}

#[derive(Debug)]
struct Worker<C> {
    /// Told to disconnect, or about to by itself: no more for it.
    leaving: bool,
    /// Connections may be offered to it.
    serving: bool,
    /// A former primary knew what it listens on: it counts as a member of everything until it refuses.
    assumed: bool,
    offers: BTreeMap<u64, (String, Waiting<C>)>,
    /// When it got its last offer.
    last: u64,
}

/// All listeners and workers of one program. Pure: every call says what to do.
#[derive(Debug)]
pub struct Cluster<C> {
    settings: Settings,
    listeners: BTreeMap<String, Listener<C>>,
    workers: BTreeMap<WorkerId, Worker<C>>,
    /// Of our next message.
    seq: u64,
}

impl<C: Clone> Cluster<C> {
    /// One without workers.
    #[must_use]
    pub const fn new(settings: Settings) -> Self {
        let seq = settings.first_seq;
        Self { settings, listeners: BTreeMap::new(), workers: BTreeMap::new(), seq }
    }

    /// A worker is started; its number was never used before.
    pub fn join(&mut self, worker: WorkerId) {
        let fresh = Worker {
            leaving: false,
            serving: true,
            assumed: false,
            offers: BTreeMap::new(),
            last: 0,
        };
        self.workers.entry(worker).or_insert(fresh);
    }

    /// Takes a `NODE_CLUSTER` message of a worker.
    ///
    /// # Errors
    /// [`Refused`]: it fits nothing; nothing was changed.
    pub fn on_message(&mut self, worker: WorkerId, body: &[u8]) -> Result<Vec<Action<C>>, Refused> {
        if !self.workers.contains_key(&worker) {
            return Err(Refused::Cluster(format!("worker {worker} is not known")));
        }
        match FromWorker::parse(body)? {
            FromWorker::Online => Ok(vec![Action::Tell(Notice::Online { worker })]),
            FromWorker::Listening(wish) => {
                Ok(vec![Action::Tell(Notice::Listening { worker, wish })])
            }
            FromWorker::Query { seq, wish, data } => self.query(worker, seq, wish, data),
            FromWorker::Close { key } => Ok(self.leave(worker, &key)),
            FromWorker::Leaving { seq } => {
                let body = self.message(&Reply::bare(seq));
                let mut actions = self.retire(worker);
                actions.push(Action::Send { worker, body });
                actions.push(Action::Tell(Notice::Leaving { worker }));
                Ok(actions)
            }
            FromWorker::Answer { ack, accepted } => self.answered(worker, ack, accepted),
        }
    }

    /// The owner bound a listener, or could not: `Err` is an errno as the kernel counts (98), and the next that asks makes it try again. A
    /// Unix socket has no address here. Node takes another port than it asked for, unless that was 0, for a bind that failed.
    pub fn opened(&mut self, key: &str, bound: Result<Option<SocketAddr>, i32>) -> Vec<Action<C>> {
        let Some(listener) = self.listeners.get_mut(key) else { return Vec::new() };
        let State::Opening(asked) = &mut listener.state else { return Vec::new() };
        let asked = std::mem::take(asked);
        let mut actions = Vec::new();
        match bound {
            Ok(address) => {
                listener.state = State::Open(address);
                for (worker, seq) in asked {
                    self.admit(worker, seq, key, &mut actions);
                }
                self.spread(key, &mut actions);
                self.tell_if_idle(key, &mut actions);
            }
            Err(errno) => {
                actions = self.close(key);
                for (worker, seq) in asked {
                    let body = self.message(&Reply::failed(seq, key, errno));
                    actions.push(Action::Send { worker, body });
                }
            }
        }
        actions
    }

    /// A connection was accepted.
    pub fn offer(&mut self, key: &str, connection: C) -> Vec<Action<C>> {
        let Some(listener) = self.listeners.get_mut(key) else {
            return vec![Action::Back { key: key.to_owned(), connection }];
        };
        listener.waiting.push_back(Waiting { connection, refused_by: Vec::new() });
        let mut actions = Vec::new();
        self.spread(key, &mut actions);
        actions
    }

    /// Tells a worker to finish: it closes its servers, and exits when its connections have ended. It gets nothing more.
    pub fn disconnect(&mut self, worker: WorkerId) -> Vec<Action<C>> {
        let mut actions = self.retire(worker);
        if self.workers.contains_key(&worker) {
            let body = self.message(&Reply::disconnect());
            actions.insert(0, Action::Send { worker, body });
        }
        actions
    }

    /// The worker's channel has ended and was read to its end: what it did not answer goes to others.
    pub fn gone(&mut self, worker: WorkerId) -> Vec<Action<C>> {
        let mut actions = self.retire(worker);
        let Some(Worker { offers, .. }) = self.workers.remove(&worker) else { return actions };
        // The oldest comes to the front last.
        for (key, waiting) in offers.into_values().rev() {
            self.give_back(key, waiting, &mut actions);
        }
        self.spread_all(&mut actions);
        actions
    }

    /// A connection could not be delivered to the worker it was offered to.
    pub fn lost(&mut self, worker: WorkerId, offer: u64) -> Vec<Action<C>> {
        self.answered(worker, offer, false).unwrap_or_default()
    }

    /// The owner closes a listener: what waits comes back.
    pub fn close(&mut self, key: &str) -> Vec<Action<C>> {
        let waiting = self.listeners.remove(key).map(|listener| listener.waiting);
        let back = |waiting: Waiting<C>| Action::Back {
            key: key.to_owned(),
            connection: waiting.connection,
        };
        waiting.into_iter().flatten().map(back).collect()
    }

    /// True while the owner should have this listener, or is asked to open it.
    #[must_use]
    pub fn knows(&self, key: &str) -> bool {
        self.listeners.contains_key(key)
    }

    /// Connections waiting for a worker, and offered to one without an answer.
    #[must_use]
    pub fn undecided(&self) -> (usize, usize) {
        let waiting = self.listeners.values().map(|listener| listener.waiting.len()).sum();
        let offered = self.workers.values().map(|worker| worker.offers.len()).sum();
        (waiting, offered)
    }

    fn query(
        &mut self,
        worker: WorkerId,
        seq: u64,
        wish: Wish,
        data: Option<Box<RawValue>>,
    ) -> Result<Vec<Action<C>>, Refused> {
        // As Node: a worker on its way out gets no answer.
        if self.workers.get(&worker).is_none_or(|w| w.leaving) {
            return Ok(Vec::new());
        }
        // What a former primary let it listen on is not known: this is no second time then.
        let assumed = self.workers.get(&worker).is_some_and(|w| w.assumed);
        let listens = |listener: &Listener<C>| !assumed && listener.concerns(worker);
        if self.listeners.values().filter(|one| listens(one)).count() >= LISTENERS_MAX {
            let why = format!("worker {worker} listens on {LISTENERS_MAX} addresses already");
            return Err(Refused::Cluster(why));
        }
        let base = wish.base_key();
        let known = self.listeners.iter().find(|(_, one)| one.base == base && !listens(one));
        let mut actions = Vec::new();
        let key = match known {
            Some((key, _)) => key.clone(),
            None => {
                let key = self.unused_key(&base);
                let udp = matches!(wish.family, Family::Udp4 | Family::Udp6);
                let fresh = Listener::new(base, &key, udp, self.settings);
                self.listeners.insert(key.clone(), fresh);
                actions.push(Action::Tell(Notice::Open { key: key.clone(), wish }));
                key
            }
        };
        let listener = self.listeners.get_mut(&key).expect("found or made just now");
        let data = data.filter(|data| data.get().len() <= DATA_MAX);
        listener.data = listener.data.take().or(data);
        match &mut listener.state {
            State::Opening(asked) => asked.push((worker, seq)),
            State::Open(_) => {
                self.admit(worker, seq, &key, &mut actions);
                self.spread(&key, &mut actions);
            }
        }
        Ok(actions)
    }

    fn unused_key(&self, base: &str) -> String {
        let mut key = base.to_owned();
        let mut n = 1;
        while self.listeners.contains_key(&key) {
            n += 1;
            key = format!("{base}#{n}");
        }
        key
    }

    /// Answers a question about an open listener.
    fn admit(&mut self, worker: WorkerId, seq: u64, key: &str, actions: &mut Vec<Action<C>>) {
        let Some(listener) = self.listeners.get_mut(key) else { return };
        let State::Open(address) = listener.state else { return };
        listener.members.insert(worker);
        let (is, shared) = (listener.is, listener.shared);
        let sockname = address.filter(|_| !shared);
        let reply = Reply::listens(seq, key, listener.data.as_deref(), sockname);
        let body = messages::write(&reply, self.seq);
        self.seq += 1;
        actions.push(if shared {
            Action::SendListener { worker, key: key.to_owned(), is, body }
        } else {
            Action::Send { worker, body }
        });
    }

    /// A worker's server is closed.
    fn leave(&mut self, worker: WorkerId, key: &str) -> Vec<Action<C>> {
        let mut actions = Vec::new();
        if let Some(listener) = self.listeners.get_mut(key)
            && listener.members.remove(&worker)
        {
            // Who waits may have been refused by all that are left.
            self.spread(key, &mut actions);
            self.tell_if_idle(key, &mut actions);
        }
        actions
    }

    /// Nothing more for this worker, on any listener.
    fn retire(&mut self, worker: WorkerId) -> Vec<Action<C>> {
        let Some(state) = self.workers.get_mut(&worker) else { return Vec::new() };
        state.leaving = true;
        for listener in self.listeners.values_mut() {
            if let State::Opening(asked) = &mut listener.state {
                asked.retain(|(one, _)| *one != worker);
            }
        }
        let keys: Vec<String> = self.listeners.keys().cloned().collect();
        keys.iter().flat_map(|key| self.leave(worker, key)).collect()
    }

    fn tell_if_idle(&self, key: &str, actions: &mut Vec<Action<C>>) {
        let idle =
            |one: &Listener<C>| one.members.is_empty() && matches!(one.state, State::Open(_));
        if self.listeners.get(key).is_some_and(idle) {
            actions.push(Action::Tell(Notice::Idle { key: key.to_owned() }));
        }
    }

    fn message(&mut self, reply: &Reply<'_>) -> Vec<u8> {
        let body = messages::write(reply, self.seq);
        self.seq += 1;
        body
    }
}

impl<C> Listener<C> {
    fn new(base: String, key: &str, udp: bool, settings: Settings) -> Self {
        Self {
            base,
            head: messages::connection_head(key, settings.plain),
            shared: settings.shared || udp,
            is: if udp { HandleType::DgramNative } else { HandleType::Native },
            state: State::Opening(Vec::new()),
            members: BTreeSet::new(),
            waiting: VecDeque::new(),
            paused: false,
            data: None,
        }
    }

    /// The worker listens on it, or has asked to.
    fn concerns(&self, worker: WorkerId) -> bool {
        let asked = |(one, _): &(WorkerId, u64)| *one == worker;
        self.members.contains(&worker)
            || matches!(&self.state, State::Opening(all) if all.iter().any(asked))
    }
}
