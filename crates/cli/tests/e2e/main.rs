//! The real binary, end to end: every test has a folder, a keeper and a daemon of its own.

/// Skips a test whose server is a Python program.
macro_rules! needs_python {
    () => {
        if !std::process::Command::new("python3")
            .arg("--version")
            .output()
            .is_ok_and(|o| o.status.success())
        {
            println!("skipped: python3 is not installed");
            return;
        }
    };
}

mod channel;
mod crashes;
mod daemon;
mod dead;
mod exec;
mod exit_codes;
mod failures;
mod full_disk;
mod imports;
mod incidents;
mod listeners;
mod map;
mod mapreduce;
mod metrics;
mod others;
mod pass;
mod policy;
mod probes;
mod profile;
mod reload;
mod run;
mod services;
mod stats;
mod store;
mod survivors;
mod tasks;
mod top;
mod upgrade;
mod watch;
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

/// A named pipe in the folder: whoever opens it for writing knows that a program reads it, and ends the reading by closing it.
fn pipe(it: &TempDaemon, name: &str) -> std::path::PathBuf {
    let path = it.path().join(name);
    let made = std::process::Command::new("mkfifo").arg(&path).status();
    assert!(made.is_ok_and(|status| status.success()), "no pipe {}", path.display());
    path
}

/// The id of the task that `push` with these words makes.
fn pushed(it: &TempDaemon, words: &[&str]) -> String {
    let words = [&["push"], words, &["--json"]].concat();
    let said = it.ganger(&words).with_code(0).json();
    said["id"].as_str().expect("a pushed task has an id").to_owned()
}

/// Where a service really listens, by the place in its list.
fn address(it: &TempDaemon, name: &str, at: usize) -> String {
    let status = it.ganger(&["status", name, "--json"]).with_code(0).json();
    let address = status["listeners"][at]["address"].as_str().unwrap_or_default().to_owned();
    address.split_once("://").map(|(_, rest)| rest.to_owned()).expect("an open listener")
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
