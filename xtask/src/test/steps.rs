//! The steps of `cargo xtask test`, one function each. A step that runs no test runner counts as one.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use super::counts;
use super::needs::Machine;
use crate::tally::Tally;
use crate::{build, kernel, sh};

/// Kills and seed of the short torture run: enough to meet daemon, keeper and logger once or twice each.
const SHORT_TORTURE: crate::torture::Wish = crate::torture::Wish::short(1);

pub(crate) fn format(_: &Machine) -> Result<Tally> {
    whole(build::cargo()?.args(["fmt", "--all", "--check"]), "cargo fmt --check")
}

pub(crate) fn lints(_: &Machine) -> Result<Tally> {
    let mut clippy = build::cargo()?;
    clippy.args(["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"]);
    whole(&mut clippy, "cargo clippy")
}

pub(crate) fn documentation(_: &Machine) -> Result<Tally> {
    let mut doc = build::cargo()?;
    doc.args(["doc", "--quiet", "--workspace", "--no-deps", "--document-private-items"]);
    whole(doc.env("RUSTDOCFLAGS", "-D warnings"), "cargo doc")
}

pub(crate) fn tests(machine: &Machine) -> Result<Tally> {
    let mut tests = build::cargo()?;
    if machine.nextest {
        tests.args(["nextest", "run", "--workspace", "--no-fail-fast"]);
        tests.args(["--success-output", "immediate", "--failure-output", "final"]);
    } else {
        tests.args(["test", "--workspace", "--lib", "--bins", "--tests", "--no-fail-fast"]);
        tests.args(["--", "--show-output"]);
    }
    let mut tally = counted(&mut tests, "tests")?;
    let mut doc = build::cargo()?;
    tally.add(counted(doc.args(["test", "--workspace", "--doc", "--no-fail-fast"]), "doc-tests")?);
    Ok(tally)
}

pub(crate) fn sdk_node(machine: &Machine) -> Result<Tally> {
    let folder = build::root()?.join("sdk/node");
    if !machine.node {
        return Ok(skipped("sdk/node: all its tests: Node (>= 20) is missing"));
    }
    counted(
        Command::new("node").args(["--test", "--test-reporter=tap"]).current_dir(folder),
        "sdk-node",
    )
}

pub(crate) fn sdk_python(machine: &Machine) -> Result<Tally> {
    let folder = build::root()?.join("sdk/python");
    if !machine.python {
        return Ok(skipped("sdk/python: all its tests: python3 is missing"));
    }
    let mut unittest = Command::new("python3");
    unittest.args(["-B", "-m", "unittest", "discover"]);
    if folder.join("tests").is_dir() {
        unittest.args(["-s", "tests", "-t", "."]);
    }
    counted(unittest.current_dir(folder), "sdk-python")
}

pub(crate) fn kernel(_: &Machine) -> Result<Tally> {
    kernel::test_kernel(&[])
}

pub(crate) fn quickstart(_: &Machine) -> Result<Tally> {
    let good = crate::quickstart::quickstart(None, true, Some(tested()?))?;
    Ok(one(good, "quickstart --exit"))
}

/// Every example's `run` but the quick start's, which is a step of its own.
pub(crate) fn examples(_: &Machine) -> Result<Tally> {
    /// How a `run` says that an interpreter is missing.
    const SKIPPED: i32 = 77;
    let binary = tested()?;
    let folder = build::root()?.join("examples");
    let mut runs: Vec<PathBuf> = std::fs::read_dir(&folder)
        .with_context(|| format!("could not list {}", folder.display()))?
        .filter_map(|entry| Some(entry.ok()?.path().join("run")))
        .filter(|run| run.is_file() && !run.parent().is_some_and(|f| f.ends_with("quickstart")))
        .collect();
    runs.sort();
    let mut tally = Tally::default();
    for run in runs {
        let name = run.strip_prefix(&folder).unwrap_or(&run).display().to_string();
        let out = sh::output(Command::new(&run).env(build::BINARY_ENV, &binary))?;
        let said = String::from_utf8_lossy(&out.stdout);
        match out.status.code() {
            Some(0) => tally.passed += 1,
            Some(SKIPPED) => tally.skip(format!("examples/{name}: {}", said.trim())),
            _ => {
                println!("{said}{}", String::from_utf8_lossy(&out.stderr));
                tally.fail(format!("examples/{name}"));
            }
        }
    }
    Ok(tally)
}

pub(crate) fn torture(machine: &Machine) -> Result<Tally> {
    let mut tally = crate::torture::torture(&SHORT_TORTURE, Some(tested()?))?;
    for (there, what) in [(machine.node, "Node"), (machine.python, "Python")] {
        if !there {
            tally.skip(format!("torture of {what} workers: {what} is missing"));
        }
    }
    Ok(tally)
}

/// The binary that the tests were built with, or the one that is named: a release build of its own would take a third of the whole
/// time and show nothing that the tests' own binary doesn't.
fn tested() -> Result<PathBuf> {
    match std::env::var_os(build::BINARY_ENV) {
        Some(_) => build::ganger(true),
        None => Ok(build::tests()?.ganger),
    }
}

fn one(passed: bool, name: &str) -> Tally {
    let mut tally = Tally { passed: u64::from(passed), ..Tally::default() };
    if !passed {
        tally.fail(name);
    }
    tally
}

fn skipped(what: &str) -> Tally {
    let mut tally = Tally::default();
    tally.skip(what);
    tally
}

/// A command that passes or fails as a whole.
fn whole(command: &mut Command, name: &str) -> Result<Tally> {
    let text = sh::shown(command);
    let status = command.status().with_context(|| format!("could not start `{text}`"))?;
    Ok(one(status.success(), name))
}

/// A test runner: what it prints goes to a file, what matters of it to the terminal, its numbers into the tally.
fn counted(command: &mut Command, name: &str) -> Result<Tally> {
    let text = sh::shown(command);
    let log_path = build::cache_dir("test")?.join(format!("{name}.log"));
    let output = tee(command, &log_path).with_context(|| format!("could not run `{text}`"))?;
    let mut tally = Tally::default();
    counts::read(&output.said, &mut tally);
    if !output.success {
        if tally.failed.is_empty() {
            tally.fail(format!("`{text}`"));
        }
        println!("{}\nall of it: {}", sh::last_lines(&output.said, 80), log_path.display());
    }
    Ok(tally)
}

struct Said {
    said: String,
    success: bool,
}

/// Runs with stdout and stderr in one pipe, into `log_path` and into memory.
fn tee(command: &mut Command, log_path: &Path) -> Result<Said> {
    let mut log = std::fs::File::create(log_path)?;
    let (read, write) = std::io::pipe()?;
    let mut child =
        command.stdin(Stdio::null()).stdout(write.try_clone()?).stderr(write).spawn()?;
    // The command keeps its copies of the pipe's write end; without this the pipe would never end.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut said = String::new();
    let mut lines = BufReader::new(read);
    let mut line = Vec::new();
    while lines.read_until(b'\n', &mut line)? > 0 {
        log.write_all(&line)?;
        said.push_str(&String::from_utf8_lossy(&line));
        line.clear();
    }
    Ok(Said { said, success: child.wait()?.success() })
}
