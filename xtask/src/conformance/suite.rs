//! Node's tests: where they come from and which of them are about us.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{build, sh};

/// Starts of the names of files in `test/parallel` that are about `fork`, its channel or `cluster`.
const ABOUT_US: [&str; 10] = [
    "test-child-process-advanced-",
    "test-child-process-disconnect",
    "test-child-process-fork",
    "test-child-process-internal",
    "test-child-process-ipc",
    "test-child-process-recv",
    "test-child-process-send",
    "test-child-process-silent",
    "test-child-process-stdio-reuse",
    "test-cluster",
];

/// What of Node's repository the tests need.
const FOLDERS: [&str; 3] = ["test/common", "test/fixtures", "test/parallel"];

/// Fetches the tests of a version (`v20.20.2`) once, and says where they are.
pub(super) fn fetch(version: &str, from: &str) -> Result<PathBuf> {
    let place = build::cache_dir("node-tests")?.join(version);
    if place.join("test/parallel").is_dir() {
        return Ok(place);
    }
    println!("fetching the tests of Node {version} from {from}");
    let half = place.with_file_name(format!("{version}.part"));
    let _ = std::fs::remove_dir_all(&half);
    let got = clone(version, from, &half);
    if let Err(error) = got {
        let _ = std::fs::remove_dir_all(&half);
        return Err(error.context(format!(
            "Node's tests could not be fetched from {from}. Without a network, name a folder that has them (test/common, \
             test/fixtures and test/parallel of Node's repository at {version}) with --suite, or a mirror of the repository with --from"
        )));
    }
    std::fs::rename(&half, &place)?;
    Ok(place)
}

fn clone(version: &str, from: &str, to: &Path) -> Result<()> {
    let mut clone = Command::new("git");
    clone.args(["clone", "--quiet", "--depth=1", "--filter=blob:none", "--sparse"]);
    clone.args(["-c", "advice.detachedHead=false", "--branch", version, from]).arg(to);
    sh::capture(clone.env("GIT_TERMINAL_PROMPT", "0"))?;
    let mut checkout = Command::new("git");
    checkout.arg("-C").arg(to).args(["sparse-checkout", "set"]).args(FOLDERS);
    sh::capture(&mut checkout)?;
    Ok(())
}

/// The files to run, sorted; `only` narrows them by parts of their names.
pub(super) fn tests(suite: &Path, only: &[String]) -> Result<Vec<PathBuf>> {
    let folder = suite.join("test/parallel");
    let folder = std::path::absolute(folder).context("the working folder")?;
    let entries = std::fs::read_dir(&folder)
        .with_context(|| format!("{} has no test/parallel of Node", suite.display()))?;
    let mut found = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let ours = ABOUT_US.iter().any(|start| name.starts_with(start));
        let wanted = only.is_empty() || only.iter().any(|part| name.contains(part.as_str()));
        if ours && wanted && (name.ends_with(".js") || name.ends_with(".mjs")) {
            found.push(path);
        }
    }
    if found.is_empty() && only.is_empty() {
        bail!("{} has no test about fork or cluster", folder.display());
    }
    found.sort();
    Ok(found)
}
