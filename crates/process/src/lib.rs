//! How the daemon holds one child: a plan becomes a [`Child`]; signals, and how it ended.
//!
//! Owns the daemon's side of the keeper's socket: [`Link`] moves frames, one routing task pairs requests with answers and
//! brings every exit to the one owner of its child, and a mirror keeps a copy of each descriptor the keeper holds, so
//! that a dead keeper can be followed by a new one ([`KeeperLost`]). It never starts a process itself (but that new
//! keeper), never decides whether a child should live, and never acknowledges an exit on its own.
//!
//! ```text
//!  owners ──Control──► routing task ──Request──► pump ══socket══► keeper
//!    ▲                    │  ▲                    │
//!    └── exit, tickets ───┘  └────── Event ───────┘        notices ──► daemon
//! ```

mod child;
mod control;
mod error;
mod inherited;
mod link;
mod mirror;
mod processes;
mod pump;
mod revive;
mod router;
pub mod survivor;
#[cfg(test)]
mod tests;

pub use child::{Child, EndedTree, Ends, ExitAck};
pub use error::{InheritError, KeeperGone, ReviveError, SpawnError, UpgradeError};
pub use inherited::Inherited;
pub use link::{Incoming, Link, Outgoing};
pub use processes::{Notice, Processes, Startup};
pub use revive::{KeeperLost, NewKeeper};
