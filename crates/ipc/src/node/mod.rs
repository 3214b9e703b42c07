//! Node's own channel, spoken from our side: what `child_process.fork()` and `cluster` put on it.
//!
//! ```text
//! socket ──► wire ──► Frames ──► Endpoint ──► events        Cluster::on_message(worker, …) ──► actions
//!   ▲                               │                                                            │
//!   └────── Outbox ◄── frames ◄─────┴── send, send_handle ◄──────────────────────────────────────┘
//! ```
//!
//! [`Frames`], [`Endpoint`], [`Sockets`] and [`cluster::Cluster`] do no I/O and know no clock; [`Outbox`] and [`wire`] move what they say, one
//! system call at a time; [`NodeChannel`] is a process's end of it on tokio, [`primary::Primary`] a whole cluster.
//!
//! # Framing
//!
//! `json`: one value as `JSON.stringify` writes it and a newline. `advanced`: four bytes of length, most significant first, and a value as V8's
//! serializer writes it; we look at its first property and pass it on as it is. A handle travels as one descriptor on the first byte of
//! the frame that speaks of it, `{"cmd":"NODE_HANDLE","type":…,"msg":…}`. Its receiver says `NODE_HANDLE_ACK` at once, or `NODE_HANDLE_NACK` if it
//! came without a descriptor; a Node process sends nothing else until it hears one of them.
//!
//! Objects whose `cmd` starts with `NODE_` are internal: no user code sees them.
//!
//! A child is not trusted: what breaks these rules is a [`Refused`], by name, and the rest of its stream goes on.

pub mod channel;
pub mod cluster;
mod endpoint;
mod frames;
mod kind;
mod outbox;
pub mod primary;
mod refused;
mod sockets;
#[cfg(test)]
mod tests;
pub mod wire;

pub use channel::{NodeChannel, NodeChannelError};
pub use endpoint::{Endpoint, Event, HandleIn, HandleOut, SendRefused};
pub use frames::{Frame, Frames, Serialization};
pub use kind::{HandleType, Kind, SocketWord};
pub use outbox::{OutFrame, Outbox};
pub use refused::Refused;
pub use sockets::{SocketAnswer, Sockets};

/// The longest frame taken, in bytes without its newline or length: as for a line of a worker.
pub const FRAME_MAX: usize = crate::lines::LINE_MAX;

/// The message by which PM2 asks a program to end (`shutdown_with_message`).
pub const SHUTDOWN: &[u8] = br#""shutdown""#;

/// Handles that may be on their way to one peer without its ACK. Node takes as many as come although it sends one at a time; more than
/// this only hides that a worker is stuck.
pub const HANDLES_IN_FLIGHT: usize = 32;
