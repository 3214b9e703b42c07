//! As much of libtest's command line as cargo test and nextest use, for test binaries that play other parts too.

use std::io::Write as _;
use std::panic::catch_unwind;
use std::process::ExitCode;
use std::time::Instant;

/// A test's name and itself; it panics to fail.
pub type Case = (&'static str, fn());

/// Lists or runs what `args` (with the program first) ask for.
#[must_use]
pub fn run(args: &[String], cases: &[Case]) -> ExitCode {
    let has = |name: &str| args.iter().any(|arg| arg == name);
    let filters: Vec<&String> =
        args.iter().skip(1).filter(|arg| !arg.starts_with('-') && *arg != "terse").collect();
    let wanted = |name: &str| {
        let meant = |filter: &&String| {
            if has("--exact") { *filter == name } else { name.contains(filter.as_str()) }
        };
        filters.is_empty() || filters.iter().any(meant)
    };
    // There are no ignored ones.
    let chosen = cases.iter().filter(|(name, _)| wanted(name) && !has("--ignored"));
    if has("--list") {
        chosen.for_each(|(name, _)| say(&format!("{name}: test")));
        return ExitCode::SUCCESS;
    }
    let mut failed = Vec::new();
    for (name, case) in chosen {
        let begun = Instant::now();
        let passed = catch_unwind(case).is_ok();
        let word = if passed { "ok" } else { "FAILED" };
        say(&format!("test {name} ... {word} ({} ms)", begun.elapsed().as_millis()));
        if !passed {
            failed.push(name);
        }
    }
    if failed.is_empty() {
        return ExitCode::SUCCESS;
    }
    say(&format!("failed: {failed:?}"));
    ExitCode::FAILURE
}

fn say(line: &str) {
    // Nobody reads any more: the exit code still tells.
    let _ = writeln!(std::io::stdout(), "{line}");
}
