//! The real binary, end to end: every test has a folder, a keeper and a daemon of its own.

mod run;

use std::time::Duration;

use ganger_testkit::TempDaemon;

/// The binary under test.
const GANGER: &str = env!("CARGO_BIN_EXE_ganger");
/// How long something that takes milliseconds may take on a busy machine.
const SOON: Duration = Duration::from_secs(20);

/// An empty folder.
fn folder() -> TempDaemon {
    TempDaemon::new(GANGER)
}
