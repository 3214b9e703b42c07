//! Watch mode: a service is restarted when its files change.
//!
//! A service with [`Watch`] has one task and one inotify instance of its own; one without has neither. The parts:
//! `filter` says which path counts, `gate` when a change becomes a restart (both pure), `tree` keeps a watch on every
//! folder, `task` puts them together and tells the owner of the services, which restarts or reloads.
//!
//! ```text
//! quiet ──change──► settling ──`debounce` without one, or 10 s──► a restart is asked for ──its end──► quiet
//!                                                                  └─changes meanwhile─► settling, once for all of them
//! ```

mod filter;
mod gate;
mod task;
#[cfg(test)]
mod tests;
mod tree;

use std::path::{Path, PathBuf};
use std::time::Duration;

pub use filter::{PatternError, check};
pub(crate) use gate::Fire;
pub(crate) use task::{Saw, watch};

/// Quiet time after which changes count as complete: an editor's save or a compiler's output takes tens of milliseconds.
pub const DEBOUNCE: Duration = Duration::from_millis(300);

/// What a service watches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watch {
    /// Paths and patterns start here; absolute.
    pub base: PathBuf,
    /// Files, folders with all below them, and patterns as in .gitignore: without `/` names at any depth.
    pub paths: Vec<String>,
    /// What of them does not count, in the same form, on top of what never does ([`NEVER`]).
    pub ignore: Vec<String>,
    /// Quiet time after the last change.
    pub debounce: Duration,
}

impl Watch {
    /// A path as a person knows it: short below `base`.
    pub(crate) fn shown(&self, path: &Path) -> String {
        let short =
            path.strip_prefix(&self.base).ok().filter(|short| !short.as_os_str().is_empty());
        short.unwrap_or(path).display().to_string()
    }
}

/// Names below what is watched that never count: stores of version control and packages, output of builds, ganger's own
/// state, and what editors leave behind or use to replace files.
pub const NEVER: [&str; 25] = [
    ".git",
    ".hg",
    ".svn",
    ".jj",
    ".ganger",
    "node_modules",
    "target",
    "__pycache__",
    ".venv",
    ".mypy_cache",
    ".pytest_cache",
    ".ruff_cache",
    ".idea",
    ".vscode",
    ".DS_Store",
    "4913",
    "*.sw[a-p]",
    "*.swpx",
    "*~",
    ".#*",
    "#*#",
    "*.pyc",
    "*___jb_tmp___",
    "*___jb_old___",
    ".goutputstream-*",
];
