//! Test kit (dev-dependency only): fake keeper, hostile child programs, temporary daemons.

pub mod daemon;
pub mod hostile;

pub use daemon::TempDaemon;
