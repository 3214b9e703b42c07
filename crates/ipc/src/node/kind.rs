//! Which of Node's messages a frame is. Payloads are not decoded.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Refused, Serialization};
use crate::envelope::Garbage;

/// The prefix of internal messages (lib/internal/child_process.js).
const INTERNAL: &str = "NODE_";

/// What a frame is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// User code sent it.
    User,
    /// `NODE_HANDLE`: it speaks of the descriptor that came with it.
    Handle,
    /// `NODE_HANDLE_ACK`
    Ack,
    /// `NODE_HANDLE_NACK`
    Nack,
    /// `NODE_CLUSTER`
    Cluster,
    /// `NODE_SOCKET_…`
    Socket(SocketWord),
    /// `NODE_DEBUG_ENABLED`, and whatever a next Node adds.
    Internal,
}

/// What is said about the sockets that were made by one server and passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SocketWord {
    /// How many does the receiver have open?
    GetCount,
    /// So many.
    Count,
    /// The server closes: say when the last is closed.
    NotifyClose,
    /// It is.
    AllClosed,
}

/// What a passed descriptor is to Node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HandleType {
    /// A listening TCP or Unix socket, as a server.
    Server,
    /// A connected TCP or Unix socket.
    Socket,
    /// A TCP or Unix socket for Node's own code: the cluster protocol.
    Native,
    /// A UDP socket.
    Dgram,
    /// A UDP socket for Node's own code.
    DgramNative,
    /// A TCP socket that is bound and does not listen (Node 26).
    Bound,
    /// Sealed memory: ours, not Node's ([`crate::broker`]).
    Memfd,
}

impl HandleType {
    const ALL: [Self; 7] = [
        Self::Server,
        Self::Socket,
        Self::Native,
        Self::Dgram,
        Self::DgramNative,
        Self::Bound,
        Self::Memfd,
    ];

    /// Node's name of it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Server => "net.Server",
            Self::Socket => "net.Socket",
            Self::Native => "net.Native",
            Self::Dgram => "dgram.Socket",
            Self::DgramNative => "dgram.Native",
            Self::Bound => "net.BoundSocket",
            Self::Memfd => "ganger.memfd",
        }
    }

    /// The other way.
    #[must_use]
    pub fn from_node(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.as_str() == name)
    }
}

impl Kind {
    /// By the text of `cmd`. Node: a string longer than the prefix that starts with it is internal.
    fn of_cmd(cmd: &str) -> Self {
        match cmd {
            "NODE_HANDLE" => Self::Handle,
            "NODE_HANDLE_ACK" => Self::Ack,
            "NODE_HANDLE_NACK" => Self::Nack,
            "NODE_CLUSTER" => Self::Cluster,
            "NODE_SOCKET_GET_COUNT" => Self::Socket(SocketWord::GetCount),
            "NODE_SOCKET_COUNT" => Self::Socket(SocketWord::Count),
            "NODE_SOCKET_NOTIFY_CLOSE" => Self::Socket(SocketWord::NotifyClose),
            "NODE_SOCKET_ALL_CLOSED" => Self::Socket(SocketWord::AllClosed),
            _ if cmd.len() > INTERNAL.len() && cmd.starts_with(INTERNAL) => Self::Internal,
            _ => Self::User,
        }
    }

    /// Reads a frame's kind, and so whether it is a message at all.
    ///
    /// # Errors
    /// [`Refused::Broken`]: it is not of this serialization.
    pub fn of(body: &[u8], serialization: Serialization) -> Result<Self, Refused> {
        match serialization {
            Serialization::Json => of_json(body),
            Serialization::Advanced => of_advanced(body),
        }
    }
}

fn of_json(body: &[u8]) -> Result<Kind, Refused> {
    #[derive(Deserialize)]
    struct Probe<'a> {
        #[serde(borrow)]
        cmd: Option<&'a RawValue>,
    }
    let broken = |error: serde_json::Error| Refused::from(Garbage::new(body, &error.to_string()));
    // All of it is looked at: a half message inside ganger is worse than the time this takes.
    let value: &RawValue = serde_json::from_slice(body).map_err(broken)?;
    // The cheap test next: nearly no message has these bytes. An array is a message of user code.
    let text = value.get();
    if !text.starts_with('{') || memchr::memmem::find(text.as_bytes(), b"\"NODE_").is_none() {
        return Ok(Kind::User);
    }
    let probe: Probe<'_> = serde_json::from_str(text).map_err(broken)?;
    let cmd = probe.cmd.and_then(|cmd| serde_json::from_str::<Cow<'_, str>>(cmd.get()).ok());
    Ok(cmd.map_or(Kind::User, |cmd| Kind::of_cmd(&cmd)))
}

/// V8's tags (src/objects/value-serializer.cc): version, object, string of Latin-1.
const V8_VERSION: u8 = 0xFF;
const V8_OBJECT: u8 = b'o';
const V8_LATIN1: u8 = b'"';

/// Node writes `cmd` first in every message of its own, and the rest need not be understood to be passed on.
fn of_advanced(body: &[u8]) -> Result<Kind, Refused> {
    let rest = match body {
        [V8_VERSION, version, rest @ ..] if (13..0x80).contains(version) => rest,
        _ => return Err(Garbage::new(body, "it does not begin as V8's serializer does").into()),
    };
    let cmd = unpadded(rest).strip_prefix(&[V8_OBJECT]).and_then(|rest| {
        let (name, rest) = latin1(rest)?;
        let (value, _) = latin1(rest)?;
        (name == b"cmd").then(|| std::str::from_utf8(value).ok())?
    });
    Ok(cmd.map_or(Kind::User, Kind::of_cmd))
}

/// A string of less than 128 characters: its length is one byte.
fn latin1(from: &[u8]) -> Option<(&[u8], &[u8])> {
    let [V8_LATIN1, length @ 0..0x80, rest @ ..] = unpadded(from) else { return None };
    rest.split_at_checked(usize::from(*length))
}

/// V8 may put zero bytes before a tag so that what follows is aligned.
fn unpadded(from: &[u8]) -> &[u8] {
    let zeros = from.iter().take_while(|byte| **byte == 0).count();
    &from[zeros..]
}
