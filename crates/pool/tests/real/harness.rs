//! As much of libtest's command line as cargo test and nextest use.

use std::panic::catch_unwind;
use std::process::ExitCode;

/// A test; it panics to fail.
pub(crate) type Case = (&'static str, fn());

pub(crate) fn main(args: &[String], cases: &[Case]) -> ExitCode {
    let has = |name: &str| args.iter().any(|arg| arg == name);
    let filters: Vec<&String> =
        args.iter().skip(1).filter(|a| !a.starts_with('-') && *a != "terse").collect();
    let wanted = |name: &str| {
        filters.is_empty()
            || filters
                .iter()
                .any(|f| if has("--exact") { *f == name } else { name.contains(f.as_str()) })
    };
    // There are no ignored ones.
    let chosen = cases.iter().filter(|(name, _)| wanted(name) && !has("--ignored"));
    if has("--list") {
        chosen.for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    let mut failed = Vec::new();
    for (name, case) in chosen {
        let begun = std::time::Instant::now();
        let ok = catch_unwind(case).is_ok();
        let word = if ok { "ok" } else { "FAILED" };
        println!("test {name} ... {word} ({} ms)", begun.elapsed().as_millis());
        if !ok {
            failed.push(name);
        }
    }
    if failed.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("failed: {failed:?}");
    ExitCode::FAILURE
}
