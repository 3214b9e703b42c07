//! How sources are written: small files, unsafe in one crate, no unwrap in the product, no time passed by sleeping in tests.

use std::path::{Path, PathBuf};

use crate::rust::{code_only, split_tests};
use crate::{files_below, shown};

/// A file with more lines than this (test modules not counted) is two things.
const MOST_LINES: usize = 500;

struct Source {
    path: PathBuf,
    /// Code that ships, without comments and strings.
    product: String,
    /// Code of tests, without comments and strings.
    tests: String,
    /// Lines of the file without its test modules, comments counted.
    lines: usize,
}

/// Modules that are compiled for tests only, without `.rs`: `mod x;` behind a `#[cfg(test)]`.
fn test_modules(files: &[PathBuf]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for path in files {
        let code = code_only(&std::fs::read_to_string(path).unwrap());
        let (_, tests) = split_tests(&code);
        let here = path.parent().unwrap();
        let folder = match path.file_stem().and_then(|stem| stem.to_str()) {
            Some("mod" | "lib" | "main") => here.to_path_buf(),
            _ => path.with_extension(""),
        };
        let names =
            tests.lines().filter_map(|line| line.trim().strip_suffix(';')?.split_once("mod "));
        found.extend(names.map(|(_, name)| folder.join(name.trim())));
    }
    found
}

/// A file that never ships: below `tests/` or a crate's `examples/` (its benches), or (in) one of `modules`.
fn is_test_file(path: &Path, modules: &[PathBuf]) -> bool {
    let plain = path.with_extension("");
    let place = shown(path);
    place.contains("/tests/")
        || place.contains("/examples/")
        || modules.iter().any(|module| plain.starts_with(module))
}

fn rust_sources() -> Vec<Source> {
    let files = files_below("crates").into_iter().chain(files_below("xtask"));
    let files: Vec<PathBuf> =
        files.filter(|path| path.extension().is_some_and(|ext| ext == "rs")).collect();
    let modules = test_modules(&files);
    let sources: Vec<Source> = files
        .into_iter()
        .map(|path| {
            let code = code_only(&std::fs::read_to_string(&path).unwrap());
            let (product, tests) = if is_test_file(&path, &modules) {
                (String::new(), code)
            } else {
                split_tests(&code)
            };
            let lines = product.lines().count();
            Source { path, product, tests, lines }
        })
        .collect();
    assert!(sources.len() > 20, "only {} sources were read", sources.len());
    sources
}

/// `path:line` of every line that `wrong` finds.
fn places(path: &Path, code: &str, wrong: impl Fn(&str) -> bool) -> Vec<String> {
    let lines = code.lines().enumerate().filter(|(_, line)| wrong(line));
    lines
        .map(|(n, line)| format!("{} (about line {}): {}", shown(path), n + 1, line.trim()))
        .collect()
}

/// Whether `word` stands in `line` by itself.
fn has_word(line: &str, word: &str) -> bool {
    let part_of_word = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        !line[..at].ends_with(part_of_word) && !line[at + word.len()..].starts_with(part_of_word)
    })
}

#[test]
fn files_are_short() {
    let long: Vec<String> = rust_sources()
        .iter()
        .filter(|source| source.lines > MOST_LINES)
        .map(|source| format!("{}: {} lines", shown(&source.path), source.lines))
        .collect();
    let scripts = ["sdk", "examples", "bench"].into_iter().flat_map(files_below);
    let long_scripts = scripts
        .filter(|path| {
            path.extension().is_some_and(|ext| ext == "js" || ext == "py" || ext == "ts")
        })
        .filter(|path| std::fs::read_to_string(path).unwrap().lines().count() > MOST_LINES)
        .map(|path| shown(&path));
    let long: Vec<String> = long.into_iter().chain(long_scripts).collect();
    assert!(long.is_empty(), "split by concern, over {MOST_LINES} lines:\n{}", long.join("\n"));
}

#[test]
fn unsafe_stands_in_sys_only() {
    let wrong: Vec<String> = rust_sources()
        .iter()
        .filter(|source| !source.path.starts_with(crate::root().join("crates/sys")))
        .flat_map(|source| {
            let mut found = places(&source.path, &source.product, |line| has_word(line, "unsafe"));
            found.extend(places(&source.path, &source.tests, |line| has_word(line, "unsafe")));
            found
        })
        .collect();
    assert!(wrong.is_empty(), "unsafe outside crates/sys:\n{}", wrong.join("\n"));
}

#[test]
fn the_product_does_not_unwrap() {
    let wrong: Vec<String> = rust_sources()
        .iter()
        .flat_map(|source| places(&source.path, &source.product, |line| line.contains(".unwrap()")))
        .collect();
    assert!(
        wrong.is_empty(),
        "say with `expect` why it holds, or return an error:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn lints_are_expected_never_allowed() {
    let wrong: Vec<String> = rust_sources()
        .iter()
        .flat_map(|source| {
            let allowed = |line: &str| line.contains("#[allow(") || line.contains("#![allow(");
            let mut found = places(&source.path, &source.product, allowed);
            found.extend(places(&source.path, &source.tests, allowed));
            found
        })
        .collect();
    assert!(wrong.is_empty(), "use #[expect(lint, reason = …)]:\n{}", wrong.join("\n"));
}

/// Paused time is the one clock a test may pass by sleeping on it.
#[test]
fn tests_wait_for_events_not_for_time() {
    let mut wrong = Vec::new();
    for source in rust_sources() {
        let paused = source.tests.contains("start_paused") || source.tests.contains("time::pause");
        let sleeps = |line: &str| {
            let call = line.contains("sleep(") && !has_word(line, "fn");
            call && (!paused || line.contains("thread::sleep"))
        };
        wrong.extend(places(&source.path, &source.tests, sleeps));
    }
    // Programs that tests start may pass time: that is what they stand for.
    let is_test =
        |path: &PathBuf| shown(path).contains("test") && !shown(path).contains("/workers/");
    for path in files_below("sdk").into_iter().filter(is_test) {
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        wrong.extend(places(&path, &text, |line| line.contains("time.sleep(")));
    }
    assert!(wrong.is_empty(), "wait on a pidfd, a pipe's end or an event:\n{}", wrong.join("\n"));
}
