//! Pools with real processes under a real keeper and logger, across the deaths of daemons.
//!
//! This binary is test harness, keeper, logger and the daemon's stand-in in one, told apart by its first argument. A "daemon" here
//! is a runtime of the test: it dies by being dropped with everything in it, and the keeper starts the next stand-in.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test binary without the test harness"
)]

mod cases;
mod rig;
mod scripts;

use ganger_testkit::roles;

fn main() -> std::process::ExitCode {
    let args: Vec<String> = std::env::args().collect();
    match args.get(1).map(String::as_str) {
        Some("role:keeper") => roles::keeper(),
        Some("role:relay") => roles::relay(),
        Some("role:logger") => {
            let wire = roles::inherited(ganger_keeper::wire::LOGGER_FD_ENV);
            ganger_logs::mover::run(wire).unwrap();
            std::process::ExitCode::SUCCESS
        }
        _ => ganger_testkit::cases::run(&args, cases::ALL),
    }
}
