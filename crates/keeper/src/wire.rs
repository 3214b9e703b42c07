//! What keeper and daemon say to each other: JSON bodies in `ganger_sys::frame` frames.
//!
//! Additive changes keep [`WIRE_VERSION`]: a reader ignores fields it doesn't know and every new field has a default.
//! Versions N and N-1 understand each other; golden fixtures under `tests/fixtures` hold the shapes.

mod env;
mod event;

mod plan;
mod request;
mod table;
mod upgrade;

pub use env::Env;
pub use event::{Event, ExitReport, Held};
pub use plan::{ChannelPlan, Output, Pin, Plan, Stdin};
pub use request::{Request, Scope};
pub use table::{ChildRow, Crash, HeldRow, LEFTOVERS, Survivor, Table};
pub use upgrade::{Offer, Upgrade, UpgradeNews};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Version of requests, events and the table.
pub const WIRE_VERSION: u32 = 1;
/// Longest `blob` of a child in bytes: a note to the next daemon, not a store.
pub const MAX_BLOB: usize = 4096;
/// The daemon's descriptor of its socket to the keeper stands in this variable.
pub const KEEPER_FD_ENV: &str = "GANGER_KEEPER_FD";
/// The daemon's descriptor of the sealed table stands in this variable.
pub const TABLE_FD_ENV: &str = "GANGER_TABLE_FD";
/// The logger's descriptor of its control socket stands in this variable.
pub const LOGGER_FD_ENV: &str = "GANGER_LOGGER_FD";
/// `<state id hex>:<spawn id>` in every child's environment: how descendants and leftovers are found.
pub const SPAWN_MARK_ENV: &str = "GANGER_SPAWN";
/// `name#slot` in every child's environment.
pub const INSTANCE_ENV: &str = "GANGER_INSTANCE";

/// A body that is not what the wire says.
#[derive(Debug, thiserror::Error)]
#[error(
    "keeper wire: {what} is not valid: {source}; keeper and daemon are of versions too far apart, restart both"
)]
pub struct WireError {
    what: &'static str,
    source: serde_json::Error,
}

/// A request, event or table as the body of a frame.
#[must_use]
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).expect("wire types have string keys and no failing serializer")
}

/// The other way. `what` names the thing in the error.
///
/// # Errors
/// The bytes are not JSON of this type.
pub fn decode<T: DeserializeOwned>(what: &'static str, body: &[u8]) -> Result<T, WireError> {
    serde_json::from_slice(body).map_err(|source| WireError { what, source })
}
