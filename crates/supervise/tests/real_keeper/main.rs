//! Services over a real keeper, a real logger and real processes: start, crash, the death of the daemon, the death of
//! the keeper, down.
//!
//! This binary is test harness, keeper, logger and a small daemon in one, told apart by its first argument: each needs a
//! process of its own, and nothing that is tested may come from an earlier build.
#![expect(clippy::unwrap_used, reason = "a test binary without the test harness")]

mod daemon;
mod story;

use std::path::PathBuf;
use std::process::ExitCode;

use ganger_keeper::KeeperOptions;
use ganger_sys::adopt_fd;
use ganger_testkit::roles::{helper, inherited};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    match args.get(1).map(String::as_str) {
        Some("__keeper") => keeper(&args),
        Some("role:daemon") => daemon::run(),
        Some("role:logger") => {
            ganger_logs::mover::run(inherited(ganger_keeper::wire::LOGGER_FD_ENV)).unwrap();
            ExitCode::SUCCESS
        }
        _ => ganger_testkit::cases::run(&args, &[("nothing_is_lost", story::nothing_is_lost)]),
    }
}

/// `__keeper --state-dir DIR [--adopt FD]`, as a daemon that lost its keeper calls it.
fn keeper(args: &[String]) -> ExitCode {
    let after = |word: &str| {
        let at = args.iter().position(|arg| arg == word)?;
        args.get(at + 1)
    };
    let options = KeeperOptions {
        state_dir: PathBuf::from(after("--state-dir").unwrap()),
        foreground: false,
        adopt: after("--adopt").map(|fd| adopt_fd(fd.parse().unwrap()).unwrap()),
        resume: None,
        keeper: ganger_keeper::Helper::own("__keeper"),
        logger: helper("logger"),
        daemon: helper("daemon"),
    };
    ganger_keeper::run(options).map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS)
}
