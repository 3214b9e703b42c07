//! Services over a real keeper, a real logger and real processes: start, crash, the death of the daemon, the death of
//! the keeper, down.
//!
//! This binary is test harness, keeper, logger and a small daemon in one, told apart by its first argument: each needs a
//! process of its own, and nothing that is tested may come from an earlier build.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test binary without the test harness"
)]

mod daemon;
mod story;

use std::path::PathBuf;
use std::process::ExitCode;

use ganger_keeper::{Helper, KeeperOptions};
use ganger_sys::adopt_fd;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    match args.get(1).map(String::as_str) {
        Some("__keeper") => keeper(&args),
        Some("role:daemon") => daemon::run(),
        Some("role:logger") => {
            let fd = std::env::var(ganger_keeper::wire::LOGGER_FD_ENV).unwrap();
            ganger_logs::mover::run(adopt_fd(fd.parse().unwrap()).unwrap()).unwrap();
            ExitCode::SUCCESS
        }
        _ => harness(&args),
    }
}

/// `__keeper --state-dir DIR [--adopt FD]`, as a daemon that lost its keeper calls it.
fn keeper(args: &[String]) -> ExitCode {
    let after = |word: &str| {
        let at = args.iter().position(|arg| arg == word)?;
        args.get(at + 1)
    };
    let role = |role: &str| {
        let program = std::env::current_exe().unwrap().to_str().unwrap().to_owned();
        Helper { argv: vec![program.clone(), format!("role:{role}")], program }
    };
    let options = KeeperOptions {
        state_dir: PathBuf::from(after("--state-dir").unwrap()),
        foreground: false,
        adopt: after("--adopt").map(|fd| adopt_fd(fd.parse().unwrap()).unwrap()),
        logger: role("logger"),
        daemon: role("daemon"),
    };
    ganger_keeper::run(options).map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS)
}

/// As much of libtest's command line as cargo test and nextest use.
fn harness(args: &[String]) -> ExitCode {
    let has = |name: &str| args.iter().any(|arg| arg == name);
    let cases: &[(&str, fn())] = &[("nothing_is_lost", story::nothing_is_lost)];
    if has("--list") {
        if !has("--ignored") {
            cases.iter().for_each(|(name, _)| println!("{name}: test"));
        }
        return ExitCode::SUCCESS;
    }
    let mut ok = true;
    for (name, case) in cases {
        let passed = std::panic::catch_unwind(case).is_ok();
        println!("test {name} ... {}", if passed { "ok" } else { "FAILED" });
        ok &= passed;
    }
    if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
