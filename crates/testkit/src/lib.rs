//! Test kit (dev-dependency only): fake keeper, hostile child programs, temporary daemons.

pub mod daemon;
pub mod fake_keeper;
pub mod hostile;

pub use daemon::TempDaemon;
pub use fake_keeper::{Act, FakeKeeper, FakeLink, Lives, OnTerm};
