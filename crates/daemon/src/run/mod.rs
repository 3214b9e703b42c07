//! The daemon's life: take over, open the store, go on with what is desired, serve, end.
//!
//! ```text
//! keeper's table ─► store opens? ── no ──► API only: answers, tells why, ends things by force; tries the store again
//!                      │ yes
//!                      ▼
//!            recorder, services, pools ─► foreman resumes ─► HTTP ─► "ready" to the keeper
//!                      │
//!      ┌───────────────┼──────────────────────────┐
//!      ▼ down          ▼ keeper is gone           ▼ killed: nobody notices, the next daemon goes on
//!  all stopped,    let go of everything,          ▼ upgraded: let go of everything, end; the keeper, which
//!  keeper told     start a new keeper, wait         runs another binary by now, starts that one's daemon
//! ```

mod alone;
mod full;
mod notices;
mod open;
mod start;
#[cfg(test)]
mod tests;

use std::process::ExitCode;

use ganger_process::{InheritError, ReviveError};

/// What the hidden verb passes on. Everything else comes from the environment that the keeper set.
#[derive(Debug, Clone, Default)]
pub struct DaemonOptions {}

/// Why the daemon could not live.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// It was not started by a keeper.
    #[error(transparent)]
    Inherit(#[from] InheritError),
    /// The kernel refused something it can't do without.
    #[error("{what}: {source}")]
    System {
        /// What.
        what: &'static str,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The store could be opened but not read.
    #[error("the store can't be read: {0}")]
    Store(#[source] ganger_store::StoreError),
    /// What is desired can't be gone on with.
    #[error("can't go on with what is desired: {0}")]
    Resume(#[source] ganger_api::ApiError),
    /// It is the first of its version, and can't do its work.
    #[error("this version can't open the store, so the one before it is to come back: {0}")]
    OnTrial(#[source] ganger_api::ApiError),
    /// Its keeper died, and no new one could be started.
    #[error("the keeper died, and its children could not be handed on: {0}")]
    Revive(#[from] ReviveError),
}

/// Runs the daemon until it is told to end or loses its keeper. Must be called before the process has other threads.
///
/// # Errors
/// [`DaemonError`], each naming what was missing.
pub fn run(_options: DaemonOptions) -> Result<ExitCode, DaemonError> {
    start::log_to_stderr();
    start::run()
}
