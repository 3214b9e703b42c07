//! One process place of a service or pool: its owner task and state machine.
//!
//! ```text
//!            Start                 Spawned, Ready
//!  stopped ───────► starting ──────────────────────► running
//!     ▲  ▲             │ │ could not spawn, exited,    │ │
//!     │  │ Stop        │ │ not ready in time           │ │ exited
//!     │  │             │ ▼                             │ │
//!     │  └────────── backoff ◄─────────────────────────┘ │      restart policy says no:
//!     │               │    ▲                             │        code 0 → stopped, else failed
//!     │        time's │    │ a failure, or too many:     ▼
//!     │        up     │    │ "breaker open", 60 s      failed
//!     │               └► starting
//!     │
//!     └── stopping ◄── Stop, Restart, Yield, readiness timeout, lost health, from starting and running
//!           signal → stop_timeout → end of the tree by force (→ "stuck", said, asked again every 30 s)
//! ```
//!
//! Between the end of a `backoff` and `starting` stands a permit ([`crate::permit`]): the holder and the budget of restarts
//! may let it wait. `Yield` (its group restarts) ends in `backoff` with the permit asked for. The breaker has its own
//! drawing in `state/failing.rs`.
//!
//! `starting` without a process yet means that the keeper has the start and has not answered. There is never a second
//! start before the exit of the first is told, and the keeper tells an exit only when the tree is empty; what could not
//! be proven dead makes the instance `failed`, not started again.
//!
//! Which event wins: **Stop** over everything that was to follow (retry, restart, a start on its way is undone when it
//! is answered); a **Restart** while a Stop is under way is not done; a **Start** after a Stop is a person's later word
//! and counts. The exit of the main process ends every wait of that state. A stale deadline is ignored.
//!
//! Who may send what: the holder of an [`InstanceHandle`] sends commands; the keeper's answers come through the one
//! [`ganger_process::Child`] the task owns; nobody else touches the state. Dropping every handle ends the task and not
//! the process: that is how a daemon goes and the next one takes over.

mod blob;
mod handle;
mod outbox;
mod record;
mod start;
pub mod state;
mod task;
#[cfg(test)]
mod tests;

pub use handle::{InstanceHandle, InstanceNotice, Ticket, TicketError};
pub use start::{Begin, Surroundings, dispose, start};

pub(crate) use blob::{
    Blob, WorkerNote, is_ending, is_of, is_outdated, is_ready, same_process, version,
};
pub(crate) use record::wall_ms;

pub(crate) use crate::ready::NOTIFY_PREFIX;
