//! Wire types of the HTTP API under `/api/v1`, and the client that the CLI, the bench and tests use.
//!
//! The shapes are what scripts may rely on: additive only, each with a snapshot test. Top-level objects carry `"v":1`,
//! times are RFC 3339, durations are seconds. This crate decides nothing; it only says how things are written and asked.

pub mod client;
pub mod error;
pub mod types;

pub use client::{Client, ClientOptions};
pub use error::{ApiError, ErrorKind};
pub use types::*;

/// Every route lives under this prefix.
pub const PREFIX: &str = "/api/v1";
/// Header that makes a repeated push safe: the same key on the same queue answers with the ids of the first.
pub const IDEMPOTENCY_HEADER: &str = "idempotency-key";
/// Media type of newline-delimited JSON.
pub const NDJSON: &str = "application/x-ndjson";
/// The socket's name inside the state folder.
pub const SOCKET_NAME: &str = "ganger.sock";
/// The lock's name inside the state folder; held by keeper and daemon.
pub const LOCK_NAME: &str = "lock";
