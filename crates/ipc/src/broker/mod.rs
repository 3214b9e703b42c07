//! Talking from process to process through the daemon: requests with one answer each, topics, payloads in memory, descriptors.
//!
//! ```text
//!   asker ──request──► ┌────────┐ ──request──► responder          publisher ──publish──► ┌────────┐ ──message──► subscriber
//!         ◄─response── │ Broker │ ◄─response──                                           │ Broker │ ──gap──────► (it was slow)
//!         ──cancel───► └────────┘ ──cancel───►                                           └────────┘ ◄──took───── (with a window)
//! ```
//!
//! [`Broker`] is pure: who asked whom, what is open, what waits for whom. [`exchange`] owns it, with one task for each channel
//! (`line.rs`), which speaks [`wire`] on Node's framing ([`crate::node`]); a pool's worker is a [`Guest`], whose words come over the link of its tasks; `docs/channel.md` has the words for those who write such a process.
//!
//! # One request
//!
//! ```text
//!           ┌─► refused: nobody, busy, too_large
//!  request ─┤                      ┌─► result or error of the responder
//!           └─► open ──────────────┼─► deadline      the responder is sent `cancel`
//!               (sent when it has  ├─► cancelled     the same; the asker asked for it
//!               room for it)       ├─► gone          the responder's channel closed
//!                                  └─► (nothing)     the asker's channel closed: `cancel` to the responder
//! ```
//!
//! Each request gets exactly one of these. What comes from a responder afterwards is dropped.
//!
//! # A slow peer
//!
//! Every peer has room for a few messages on their way ([`Limits::way`]); what is not on its way waits here. Requests and answers are bounded in
//! number and bytes, then refused. A subscription's line is bounded too: **the oldest is dropped**, and the subscriber is told how many
//! it missed before it gets the next one.

mod body;
pub mod exchange;
mod guest;
mod line;
mod peer;
mod state;
#[cfg(test)]
mod tests;
mod types;
pub mod wire;

pub use body::{BodyError, seal};
pub use exchange::{Caller, Exchange, ExchangeGone, LineHandle, LineSign, Opening, start};
pub use guest::{Guest, refuse_word};
pub use state::Broker;
pub use types::{
    Answer, Attached, BODY_MAX, BodyIs, Cargo, Code, Counts, Event, Limits, PeerId, Published,
    Said, ToPeer,
};
