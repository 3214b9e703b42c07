//! The files of a folder, and how urgent each is.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// Folders that hold what tools made, not what people wrote.
const SKIPPED: [&str; 4] = [".git", "target", "node_modules", ".ganger"];
/// A folder with more files than this is cut, and said so: this is a first look, not a benchmark.
const MOST_FILES: usize = 20_000;

/// One file.
#[derive(Debug, Clone)]
pub(crate) struct Work {
    pub(crate) path: PathBuf,
    pub(crate) bytes: u64,
}

/// Regular files below `folder`, smallest first.
pub(crate) fn list(folder: &Path) -> Result<Vec<Work>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        let entries =
            std::fs::read_dir(&next).with_context(|| format!("could not list {}", next.display()));
        // A folder of the tree that may not be read is left out; the one asked for is not.
        let entries = match entries {
            Err(error) if next == folder => return Err(error),
            Err(_) => continue,
            Ok(entries) => entries,
        };
        for entry in entries.flatten() {
            let Ok(kind) = entry.file_type() else { continue };
            let path = entry.path();
            if kind.is_dir() && !SKIPPED.iter().any(|name| path.ends_with(name)) {
                folders.push(path);
            } else if kind.is_file() && path.to_str().is_some() {
                let bytes = entry.metadata().map_or(0, |meta| meta.len());
                found.push(Work { path, bytes });
            }
        }
    }
    if found.is_empty() {
        bail!("there is no file below {}", folder.display());
    }
    if found.len() > MOST_FILES {
        println!("{} files; taking the first {MOST_FILES}", found.len());
        found.truncate(MOST_FILES);
    }
    found.sort_by(|a, b| a.bytes.cmp(&b.bytes).then_with(|| a.path.cmp(&b.path)));
    Ok(found)
}

/// Priorities by size: the smaller half first, the largest tenth last.
pub(crate) fn lanes(work: &[Work]) -> [(&'static str, &[Work]); 3] {
    let (small, rest) = work.split_at(work.len() / 2);
    let (middle, large) = rest.split_at(rest.len() - work.len() / 10);
    [("high", small), ("normal", middle), ("low", large)]
}
