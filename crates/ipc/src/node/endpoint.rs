//! One end of a channel, without I/O: when a message may go out, who keeps a handle until when, what is answered by itself.
//!
//! ```text
//!   send ──► waiting ──► out          a message goes out at once unless something waits, or as many handles as may be are under way
//!               ▲         │ with a handle
//!               │         ▼
//!               │      in flight ──ACK──► Delivered, our descriptor is dropped
//!               │         │ NACK
//!               └── room  ├──► out again, up to four times in all
//!                         └──► Lost
//! ```
//!
//! With a window of 1 it is what Node's `_handleQueue` is. Node takes a pipeline as well (each frame is answered by itself, in
//! order), which is what the larger window of [`HANDLES_IN_FLIGHT`] uses. ACK and NACK themselves never wait: a peer that waits for ours
//! sends nothing else.

use std::collections::VecDeque;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Frame, HANDLES_IN_FLIGHT, HandleType, Kind, OutFrame, Refused};
use crate::envelope::Garbage;

/// Attempts to send one handle: the first and three more, as Node (`MAX_HANDLE_RETRANSMISSIONS`).
const ATTEMPTS: u32 = 4;

/// Messages that may wait behind handles without an ACK. A peer that far behind is stuck.
const WAITING_MAX: usize = 4096;

const ACK: &[u8] = br#"{"cmd":"NODE_HANDLE_ACK"}"#;
const NACK: &[u8] = br#"{"cmd":"NODE_HANDLE_NACK"}"#;

/// Too many messages wait for a peer that does not acknowledge its handles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{WAITING_MAX} messages wait for a process that does not acknowledge the handles it got")]
pub struct SendRefused;

/// A handle to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandleOut<D> {
    /// What it is to the receiver.
    pub is: HandleType,
    /// The descriptor.
    pub fd: D,
    /// `key`: the receiver counts the open sockets of a key (see [`super::Sockets`]). Of [`HandleType::Socket`] only.
    pub key: Option<String>,
    /// `dgramType`: `udp4` or `udp6`. Of [`HandleType::Dgram`] only.
    pub dgram: Option<String>,
}

impl<D> HandleOut<D> {
    /// One without the fields that few have.
    #[must_use]
    pub const fn new(is: HandleType, fd: D) -> Self {
        Self { is, fd, key: None, dgram: None }
    }
}

/// A handle that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandleIn<D> {
    /// What its sender says it is.
    pub is: HandleType,
    /// The descriptor.
    pub fd: D,
    /// `key`, if its sender wants to know how many of these are open.
    pub key: Option<String>,
    /// `dgramType`, of a UDP socket.
    pub dgram: Option<String>,
}

/// What a frame or an answer means to the owner.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<D> {
    /// A message, with the handle it brought. `kind` is that of `body`, never `Handle`, `Ack` or `Nack`.
    Message {
        /// What it is for.
        kind: Kind,
        /// One JSON value.
        body: Vec<u8>,
        /// Acknowledged already.
        handle: Option<HandleIn<D>>,
    },
    /// The peer has the handle that was sent as this one.
    Delivered(u64),
    /// It never got it.
    Lost(u64),
}

#[derive(Debug)]
struct InFlight<D> {
    ticket: u64,
    body: Vec<u8>,
    fd: D,
    attempts: u32,
}

#[derive(Debug)]
struct Waiting<D> {
    ticket: u64,
    body: Vec<u8>,
    fd: Option<D>,
}

/// One end of a `json` channel. `D` is a shared descriptor (`Arc<OwnedFd>`): what is under way is kept until it is acknowledged.
#[derive(Debug)]
pub struct Endpoint<D> {
    window: usize,
    next_ticket: u64,
    in_flight: VecDeque<InFlight<D>>,
    waiting: VecDeque<Waiting<D>>,
    out: VecDeque<OutFrame<D>>,
}

impl<D: Clone> Default for Endpoint<D> {
    fn default() -> Self {
        Self::new(HANDLES_IN_FLIGHT)
    }
}

impl<D: Clone> Endpoint<D> {
    /// With up to `window` handles under way (at least one).
    #[must_use]
    pub fn new(window: usize) -> Self {
        Self {
            window: window.max(1),
            next_ticket: 0,
            in_flight: VecDeque::new(),
            waiting: VecDeque::new(),
            out: VecDeque::new(),
        }
    }

    /// Sends a message.
    ///
    /// # Errors
    /// [`SendRefused`]: nothing was queued.
    pub fn send(&mut self, body: Vec<u8>) -> Result<(), SendRefused> {
        self.submit(body, None).map(|_| ())
    }

    /// Sends a message with a handle, and says by which ticket [`Event::Delivered`] will name it.
    ///
    /// # Errors
    /// [`SendRefused`]: nothing was queued.
    pub fn send_handle(&mut self, msg: &[u8], handle: HandleOut<D>) -> Result<u64, SendRefused> {
        let body = wrap(msg, &handle);
        self.submit(body, Some(handle.fd))
    }

    /// The next message for the [`super::Outbox`].
    pub fn next_out(&mut self) -> Option<OutFrame<D>> {
        self.out.pop_front()
    }

    /// True when nothing waits for an ACK: the channel may be closed without a loss.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.in_flight.is_empty() && self.waiting.is_empty()
    }

    /// Handles without their ACK, and messages that wait behind them.
    #[must_use]
    pub fn unsettled(&self) -> (usize, usize) {
        (self.in_flight.len(), self.waiting.len())
    }

    /// Takes what came. `Ok(None)` is Node's own traffic that needs nobody.
    ///
    /// # Errors
    /// [`Refused`]: told once, the channel goes on.
    pub fn on_frame(&mut self, frame: Frame<D>) -> Result<Option<Event<D>>, Refused> {
        match frame.kind {
            Kind::Ack | Kind::Nack => self.answered(frame.kind == Kind::Ack),
            Kind::Handle => self.handle_came(frame),
            kind => Ok(Some(Event::Message { kind, body: frame.body, handle: None })),
        }
    }

    fn submit(&mut self, body: Vec<u8>, fd: Option<D>) -> Result<u64, SendRefused> {
        if self.waiting.len() >= WAITING_MAX {
            return Err(SendRefused);
        }
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.waiting.push_back(Waiting { ticket, body, fd });
        self.let_out();
        Ok(ticket)
    }

    fn let_out(&mut self) {
        while self.in_flight.len() < self.window
            && let Some(Waiting { ticket, body, fd }) = self.waiting.pop_front()
        {
            if let Some(fd) = &fd {
                let (body, fd) = (body.clone(), fd.clone());
                self.in_flight.push_back(InFlight { ticket, body, fd, attempts: 1 });
            }
            self.out.push_back(OutFrame { body, handle: fd });
        }
    }

    fn answered(&mut self, received: bool) -> Result<Option<Event<D>>, Refused> {
        let Some(mut sent) = self.in_flight.pop_front() else {
            return Err(Refused::AnswerToNothing);
        };
        let event = if received {
            Event::Delivered(sent.ticket)
        } else if sent.attempts < ATTEMPTS {
            // Behind the others that are under way: their answers come first.
            sent.attempts += 1;
            self.out.push_back(OutFrame { body: sent.body.clone(), handle: Some(sent.fd.clone()) });
            self.in_flight.push_back(sent);
            return Ok(None);
        } else {
            Event::Lost(sent.ticket)
        };
        self.let_out();
        Ok(Some(event))
    }

    fn handle_came(&mut self, frame: Frame<D>) -> Result<Option<Event<D>>, Refused> {
        let Some(fd) = frame.handle else {
            self.out.push_back(OutFrame { body: NACK.to_vec(), handle: None });
            return Ok(None);
        };
        // Before anything else is looked at: until this arrives, the peer holds back all it has to say.
        self.out.push_back(OutFrame { body: ACK.to_vec(), handle: None });
        let wire: Wire<'_> = serde_json::from_slice(&frame.body)
            .map_err(|error| Garbage::new(&frame.body, &error.to_string()))?;
        let is = HandleType::from_node(wire.is)
            .ok_or_else(|| Refused::UnknownHandleType(wire.is.chars().take(40).collect()))?;
        let body = wire.msg.map_or(b"null".to_vec(), |msg| msg.get().as_bytes().to_vec());
        let kind = match Kind::of(&body, super::Serialization::Json)? {
            // Internal messages don't nest.
            Kind::Handle | Kind::Ack | Kind::Nack => Kind::Internal,
            kind => kind,
        };
        let handle = HandleIn { is, fd, key: wire.key, dgram: wire.dgram };
        Ok(Some(Event::Message { kind, body, handle: Some(handle) }))
    }
}

#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(rename = "type")]
    is: &'a str,
    #[serde(borrow, default)]
    msg: Option<&'a RawValue>,
    #[serde(default)]
    key: Option<String>,
    #[serde(default, rename = "dgramType")]
    dgram: Option<String>,
}

/// `{"cmd":"NODE_HANDLE","type":T,"msg":M,…}`
fn wrap<D>(msg: &[u8], handle: &HandleOut<D>) -> Vec<u8> {
    let mut body = Vec::with_capacity(msg.len() + 96);
    body.extend_from_slice(br#"{"cmd":"NODE_HANDLE","type":""#);
    body.extend_from_slice(handle.is.as_str().as_bytes());
    body.extend_from_slice(br#"","msg":"#);
    body.extend_from_slice(msg);
    for (name, value) in [("key", &handle.key), ("dgramType", &handle.dgram)] {
        if let Some(value) = value {
            let value = serde_json::Value::from(value.as_str()).to_string();
            body.extend_from_slice(format!(r#","{name}":{value}"#).as_bytes());
        }
    }
    body.push(b'}');
    body
}
