//! The words of the broker.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ganger_core::InstanceId;

use crate::node::HandleType;

/// A channel, or a caller through the API. Never used twice in one daemon.
pub type PeerId = u64;

/// The largest payload that travels beside its message, in bytes: what one process should hand to another at a time; more belongs in a file.
pub const BODY_MAX: u64 = 1 << 30;

/// What names, ids and the books about a message count for, in bytes.
const ENVELOPE: usize = 256;

/// What is bounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Messages on their way to one peer. With [`Self::way_bytes`] enough to keep a socket busy, and little that is stale when the peer comes to it.
    pub way: usize,
    /// Bytes on their way to one peer; one message more than this is always let go.
    pub way_bytes: usize,
    /// Requests of one asker that have no answer yet. More is a loop without a wait in it.
    pub asked: usize,
    /// Requests that one responder has not answered.
    pub given: usize,
    /// Bytes of requests and answers that wait for one peer.
    pub waiting_bytes: usize,
    /// Bytes of bodies that wait for one peer, and for one subscription: one of the largest, or more small ones.
    pub body_bytes: u64,
    /// Messages that wait for one subscription.
    pub queue: usize,
    /// Bytes that wait for one subscription.
    pub queue_bytes: usize,
    /// Subscriptions of one peer.
    pub topics: usize,
    /// The wait for an answer when the asker names none.
    pub timeout: Duration,
    /// The longest that it may name.
    pub timeout_max: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            way: 64,
            way_bytes: 256 << 10,
            asked: 1_024,
            given: 1_024,
            waiting_bytes: 64 << 20,
            body_bytes: BODY_MAX,
            queue: 1_024,
            queue_bytes: 16 << 20,
            topics: 256,
            timeout: Duration::from_secs(30),
            timeout_max: Duration::from_secs(86_400),
        }
    }
}

/// What a body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BodyIs {
    /// The payload's JSON text.
    Payload,
    /// Bytes beside the payload.
    Bytes,
}

/// What travels beside a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attached<D> {
    /// A socket.
    Handle {
        /// What it is to Node.
        is: HandleType,
        /// The descriptor.
        fd: D,
        /// `udp4` or `udp6`, of a UDP socket.
        dgram: Option<String>,
    },
    /// A sealed memfd.
    Body {
        /// The descriptor.
        fd: D,
        /// Its length in bytes.
        size: u64,
        /// What it is.
        is: BodyIs,
    },
}

/// What a message carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cargo<D> {
    /// JSON text; absent: `null`, or it is in the body.
    pub payload: Option<Arc<str>>,
    /// At most one.
    pub attached: Option<Attached<D>>,
}

impl<D> Cargo<D> {
    /// A payload and nothing else.
    #[must_use]
    pub fn of(payload: impl Into<Arc<str>>) -> Self {
        Self { payload: Some(payload.into()), attached: None }
    }

    /// What it counts for where bytes are bounded: what it takes in the daemon's memory and on a socket.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.payload.as_ref().map_or(0, |text| text.len()) + ENVELOPE
    }

    /// Bytes of its body: memory too, but that of whoever made it, and shared by all who are given it.
    #[must_use]
    pub fn body(&self) -> u64 {
        match self.attached {
            Some(Attached::Body { size, .. }) => size,
            _ => 0,
        }
    }
}

/// Why a request ended without an answer of the responder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Code {
    /// Nobody of that name has a channel, or none is ready.
    Nobody,
    /// A bound is reached.
    Busy,
    /// The responder can't be given what the request carries.
    TooLarge,
    /// Its time was over.
    Deadline,
    /// The asker said so.
    Cancelled,
    /// The responder is.
    Gone,
}

impl Code {
    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Nobody => "nobody",
            Self::Busy => "busy",
            Self::TooLarge => "too_large",
            Self::Deadline => "deadline",
            Self::Cancelled => "cancelled",
            Self::Gone => "gone",
        }
    }
}

/// What a peer said. Ids of its own are JSON text (a string or a number).
#[derive(Debug, Clone, PartialEq)]
pub enum Said<D> {
    /// It asks.
    Request {
        /// Its own id, which no open request of it has.
        id: Box<str>,
        /// `name` or `name#slot`.
        to: String,
        /// What is asked for.
        kind: Arc<str>,
        /// From now.
        timeout: Option<Duration>,
        /// What it gives.
        cargo: Cargo<D>,
    },
    /// It no longer wants an answer.
    Cancel {
        /// Its own id.
        id: Box<str>,
    },
    /// It answers.
    Response {
        /// The number in [`ToPeer::Request`]; none for one of another daemon.
        number: Option<u64>,
        /// What it says.
        answer: Answer<D>,
    },
    /// A request that was on its way to it can't be delivered.
    Undeliverable {
        /// The number in [`ToPeer::Request`].
        number: u64,
        /// Why.
        why: String,
    },
    /// It tells who wants to know.
    Publish {
        /// About what.
        topic: Arc<str>,
        /// What.
        cargo: Cargo<D>,
    },
    /// It wants to know.
    Subscribe {
        /// A topic, or the beginning of topics and `*`.
        topic: Box<str>,
        /// So many messages without a [`Said::Took`]; none: as many as it reads.
        window: Option<u32>,
    },
    /// No longer.
    Unsubscribe {
        /// As in [`Said::Subscribe`].
        topic: Box<str>,
    },
    /// It has done with so many messages of a subscription with a window.
    Took {
        /// As in [`Said::Subscribe`].
        topic: Box<str>,
        /// How many.
        n: u32,
    },
    /// It waits for the answers to these, it says after a change of daemons. Those that are not known are `gone`.
    Open {
        /// Its own ids.
        ids: Vec<Box<str>>,
    },
}

/// How a request ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer<D> {
    /// The responder's result.
    Result(Cargo<D>),
    /// The responder's error, as JSON text.
    Error(Arc<str>),
    /// The broker's word, for people.
    Ours(Code, String),
}

/// One published message.
#[derive(Debug, Clone, PartialEq)]
pub struct Published<D> {
    /// About what.
    pub topic: Arc<str>,
    /// Who.
    pub from: Arc<str>,
    /// What.
    pub cargo: Cargo<D>,
}

/// What goes to a peer.
#[derive(Debug, Clone, PartialEq)]
pub enum ToPeer<D> {
    /// It is asked.
    Request {
        /// To be named in the answer.
        number: u64,
        /// Who asks.
        from: Arc<str>,
        /// For what.
        kind: Arc<str>,
        /// An answer after this is of no use.
        deadline: Instant,
        /// What it is given.
        cargo: Cargo<D>,
    },
    /// Nobody wants its answer any more.
    Cancel {
        /// To what.
        number: u64,
        /// Why.
        why: Code,
    },
    /// The one answer to its request.
    Response {
        /// Its own id.
        id: Box<str>,
        /// What came of it.
        answer: Answer<D>,
    },
    /// A message of a subscription.
    Message {
        /// What was published.
        published: Arc<Published<D>>,
        /// The subscription, where it has a `*`.
        pattern: Option<Box<str>>,
    },
    /// Messages of a subscription were dropped before the next.
    Gap {
        /// The subscription.
        topic: Box<str>,
        /// How many.
        missed: u64,
    },
    /// What it said can't be done, and there is no request to answer.
    Refused {
        /// Why.
        why: String,
    },
}

impl<D> ToPeer<D> {
    /// The same with another cargo, where it has one.
    pub(super) fn with(self, whole: Cargo<D>) -> Self {
        match self {
            Self::Request { number, from, kind, deadline, .. } => {
                Self::Request { number, from, kind, deadline, cargo: whole }
            }
            Self::Response { id, answer: Answer::Result(_) } => {
                Self::Response { id, answer: Answer::Result(whole) }
            }
            Self::Message { published, pattern } => {
                let Published { topic, from, .. } = &*published;
                let (topic, from) = (Arc::clone(topic), Arc::clone(from));
                let published = Arc::new(Published { topic, from, cargo: whole });
                Self::Message { published, pattern }
            }
            other => other,
        }
    }

    /// What it carries.
    pub(super) fn cargo(&self) -> Option<&Cargo<D>> {
        match self {
            Self::Request { cargo, .. } | Self::Response { answer: Answer::Result(cargo), .. } => {
                Some(cargo)
            }
            Self::Message { published, .. } => Some(&published.cargo),
            _ => None,
        }
    }

    pub(super) fn body(&self) -> u64 {
        self.cargo().map_or(0, Cargo::body)
    }

    pub(super) fn weight(&self) -> usize {
        match (self.cargo(), self) {
            (Some(cargo), _) => cargo.weight(),
            (None, Self::Response { answer: Answer::Error(text), .. }) => text.len() + ENVELOPE,
            (None, _) => ENVELOPE,
        }
    }
}

/// What happens to the broker.
#[derive(Debug, Clone, PartialEq)]
pub enum Event<D> {
    /// A channel is open, or a caller is there.
    Join {
        /// Who.
        peer: PeerId,
        /// Its name; none for a caller, whom nobody can ask.
        name: Option<InstanceId>,
        /// It speaks this protocol for certain: it may be asked before it has said anything.
        speaks: bool,
    },
    /// A service's instance is ready, or no longer.
    Ready {
        /// Who.
        peer: PeerId,
        /// Whether.
        ready: bool,
    },
    /// How many tasks a pool's worker runs beside what it is asked here.
    Busy {
        /// Who.
        peer: PeerId,
        /// How many.
        running: u32,
    },
    /// Its channel is closed.
    Leave {
        /// Who.
        peer: PeerId,
    },
    /// It said something.
    Said {
        /// Who.
        peer: PeerId,
        /// What.
        said: Said<D>,
    },
    /// Messages that were on their way to it are written.
    Went {
        /// To whom.
        peer: PeerId,
        /// How many.
        messages: usize,
        /// How heavy, in all.
        bytes: usize,
    },
    /// A deadline may be over.
    Time,
}

/// What the broker has counted since its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Requests with an answer of their responder.
    pub answered: u64,
    /// Requests without: refused, out of time, cancelled, gone.
    pub failed: u64,
    /// Messages put into subscriptions.
    pub delivered: u64,
    /// Messages dropped for slow subscribers.
    pub dropped: u64,
    /// Channels and callers that are there.
    pub peers: u64,
}
