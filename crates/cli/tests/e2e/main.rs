//! The real binary, end to end: every test has a folder, a keeper and a daemon of its own.

mod crashes;
mod daemon;
mod dead;
mod exit_codes;
mod failures;
mod full_disk;
mod run;
mod services;
mod store;
mod survivors;
mod tasks;
mod why;
mod words;

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

/// A folder with this config, up and ready.
fn up(config: &str) -> TempDaemon {
    TempDaemon::with_config(GANGER, config)
}

/// Two services: one that counts aloud, one that only lives.
const TWO: &str = r#"
version = 1
[service.counter]
shell = "i=0; while :; do i=$((i+1)); echo count $i; sleep 0.05; done"
stop_timeout = "2s"
[service.idle]
command = ["sleep", "1000"]
stop_timeout = "2s"
"#;
