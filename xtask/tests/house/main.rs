//! Rules of the house that no compiler checks: which crate may use which, what the map names, how sources are written.
//!
//! A failing test here prints every place that breaks its rule and what to do, so that one run is enough.
#![expect(clippy::unwrap_used, reason = "the whole program is a test")]

mod edges;
mod examples;
mod map;
mod rust;
mod sources;

use std::path::{Path, PathBuf};

/// The workspace's root.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// Every regular file below `folder` (a path from the root), build output and installed packages left out.
fn files_below(folder: &str) -> Vec<PathBuf> {
    const SKIPPED: [&str; 5] = ["target", "node_modules", ".ganger", "__pycache__", ".git"];
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for entry in entries {
            let entry = entry.unwrap();
            let path = entry.path();
            let kind = entry.file_type().unwrap();
            if kind.is_dir() && !SKIPPED.iter().any(|name| path.ends_with(name)) {
                folders.push(path);
            } else if kind.is_file() {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// The path from the workspace's root, for messages.
fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}
