//! The daemon's life: adopt, open the store, resume, serve, end.

use std::process::ExitCode;

/// What the hidden verb passes on. Everything else comes from the environment that the keeper set.
#[derive(Debug, Clone, Default)]
pub struct DaemonOptions {}

/// Why the daemon could not live.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// It was not started by a keeper.
    #[error("{0} is not set: only the keeper starts the daemon (`ganger up` or `ganger daemon`)")]
    NotFromKeeper(&'static str),
}

/// Runs the daemon until it is told to end or loses its keeper.
///
/// # Errors
/// [`DaemonError`], each naming what was missing.
pub fn run(_options: DaemonOptions) -> Result<ExitCode, DaemonError> {
    Err(DaemonError::NotFromKeeper("GANGER_KEEPER_FD"))
}
