//! Test kit (dev-dependency only): fake keeper, hostile child programs, temporary daemons.

pub mod hostile;
pub mod daemon;

pub use daemon::TempDaemon;
