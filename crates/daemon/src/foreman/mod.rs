//! The foreman: the one owner of the desired state. Every verb that changes something goes through it, in order.
//!
//! ```text
//! HTTP ── Order ──► foreman ── commit desired state ──► services, pools, queues ── ticket ──► HTTP waits for it
//! ```
//!
//! A verb is committed before it is done, so that a daemon that dies in between does it again when it resumes. The
//! foreman never waits for processes: callers do, on the tickets it gives out.

mod apply;
mod crew;
mod differ;
mod down;
mod handle;
mod task;

pub(crate) use crew::{Crew, Specs, pool_error};
pub(crate) use down::api_only;
pub(crate) use handle::{Caller, Foreman, Target, Verb};
pub(crate) use task::{Parts, spawn};
