//! A real keeper with real children, driven over its wire.
//!
//! This binary is test harness, keeper, daemon, logger and hostile child in one, told apart by its first argument: a
//! keeper needs a process of its own, and nothing that is tested may come from an earlier build.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test binary without the test harness"
)]

mod bench;
mod cases;
mod roles;

fn main() -> std::process::ExitCode {
    let args: Vec<String> = std::env::args().collect();
    match args.get(1).map(String::as_str) {
        Some("role:keeper") => ganger_testkit::roles::keeper(),
        Some("role:relay") => ganger_testkit::roles::relay(),
        Some("role:logger") => roles::logger(),
        Some("role:crowded") => cases::few_pids::crowded(),
        Some("role:hostile") => {
            ganger_testkit::hostile::run(&args[2], &args[1..3], &args[3..]).unwrap()
        }
        _ => ganger_testkit::cases::run(&args, cases::ALL),
    }
}
