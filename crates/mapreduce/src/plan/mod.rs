//! The plan of a job: which split is mapped and which partition reduced by whom, and whose result counts.
//!
//! ```text
//! task     pending ──assign──▶ running ──finished──▶ committing ──committed──▶ committed
//!            ▲  ▲                │ failed, worker lost     │ refused              │ its spill is lost
//!            │  └────────────────┘◀────────────────────────┘                      │
//!            └────────────────────────────────────────────────────────────────────┘
//!                             over its budget ─▶ dead: the job fails, or goes on and reports it
//!
//! job      mapping ─ all maps committed ─▶ reducing ─ all reduces committed ─▶ finished
//!             └───────────── no worker is left, longer than the grace ─▶ stalled (goes on when one joins)
//! ```
//!
//! Pure: time comes in, [`Action`]s come out. The rules that keep a result right whatever dies:
//!
//! - **Whoever is first in the manifest counts.** Attempts write to paths of their own; a finished one is committed by one
//!   conditional row, never by a rename. Others of the same task are told to drop *their own* path.
//! - **Attempts carry an epoch**: an answer from before a restart, or a second answer, is counted and changes nothing.
//! - **A bad worker is told from a bad task**: a task dies by failing often and on different workers, a worker that fails
//!   several tasks in a row is set aside and what it failed is not charged to them.
//! - **Speculation can't hurt**: only when nothing is pending, on another worker, for the attempt that will end last.
//!
//! A task that never ran takes a few bytes; a running attempt about a hundred, and there are as many as workers.

mod attempt;
mod said;
mod state;
mod workers;

pub use attempt::{AttemptId, Task, WorkerId};
pub use said::{Action, Assignment, Phase, Refused, Settings};
pub use state::Plan;

#[cfg(test)]
mod tests;
