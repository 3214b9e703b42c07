//! Test kit (dev-dependency only): fake keeper, hostile child programs, temporary daemons, test binaries that are keeper and
//! daemon too.

pub mod cases;
pub mod daemon;
pub mod fake_keeper;
pub mod hostile;
pub mod roles;
pub mod setups;

pub use daemon::TempDaemon;
pub use fake_keeper::{Act, FakeKeeper, FakeLink, Lives, OnTerm};
