//! One place of a `command` pool: one process per task, one at a time.
//!
//! ```text
//!   idle ─ attempt ─► spawning ─ Spawned ─► running ─ exit, tree empty ─► report ─► idle
//!            │            │ could not start     │ time over, cancelled, stop: TERM to the tree, then its end by force
//!            ▼            ▼                     ▼
//!         the template does not fit: error   the verdict is told with the exit, never before
//!
//!   adopted (a new daemon): the note on the child says whose attempt it is; result and exit come as ever, from the keeper
//! ```
//!
//! The payload is the child's stdin as a sealed memfd, its stdout is a capped memfd that the keeper holds, its stderr is a log. The
//! exit is acknowledged to the keeper only when the outcome is committed, so that a daemon's death loses neither.

mod orders;
mod output;
mod runner;
mod running;
mod start;
mod telling;

pub(crate) use runner::{Runner, RunnerParts, template};
pub(crate) use start::note_of;
