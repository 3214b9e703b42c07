//! Every service, its slots and their order.
//!
//! One owner task holds all services. It applies configurations by difference, starts a service when what it depends on
//! is as far as asked, stops in the reverse order, and publishes snapshots. What a single instance does is its own owner
//! task's ([`crate::instance`]); here only their views arrive.
//!
//! ```text
//! apply: new ──► slots wait for dependencies ──► start        unchanged ──► untouched
//!        changed process ──► each slot is replaced            changed rules ──► rules only
//!        (where it listens or says `reload`: by a rolling reload, see `rolling`)
//!        gone ──► leaving: after its dependents, stop ──► logs retired, forgotten
//! ```
//!
//! Restarts after a failure pass here as wishes ([`crate::permit`]): a group that restarts together keeps them until it
//! is their turn, then they go on to the budget.
//!
//! A person's `start NAME` does not wait for dependencies: it is a later and more exact word than the file. Restarts
//! after a failure do not wait either. `shutdown` is `leaving` for all, after which every request is refused.

mod apply;
mod drain;
mod error;
mod groups;
mod handle;
mod handover;
mod listening;
mod order;
mod owner;
mod publisher;
mod reload;
mod reloads;
mod resume;
mod rolling;
mod service;
#[cfg(test)]
mod tests;
mod turns;
mod watching;

pub use error::ServiceError;
pub use groups::{GroupFault, faults as group_faults};
pub use handle::{Applied, GroupTicket, Reloading, Resumed, Services, Startup};
