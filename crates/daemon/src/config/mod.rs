//! Configuration: `ganger.toml` or a Procfile becomes a [`Config`], or all that is wrong with it in one pass.
//!
//! The file is read once, here. What `apply` sends and the store keeps is the resolved [`Config`] as JSON; the running
//! daemon never looks at the file again but to tell that it has changed.

mod diagnostic;
mod model;

use std::path::{Path, PathBuf};

pub use diagnostic::{ConfigErrors, Diagnostic, Severity};
pub use model::{
    Config, DependsOn, Kill, Limits, LogRules, Pool, Program, Protocol, Queue, Ready, ReadyCheck,
    Restart, RestartOn, Retry, Service, SourceFile, Stop, Workers,
};

/// Names looked for in a folder, in this order.
pub const CONFIG_NAMES: [&str; 2] = ["ganger.toml", "Procfile"];

/// A configuration without errors, and what is doubtful about it.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The resolved configuration.
    pub config: Config,
    /// Warnings: it will run, but something named here will not. `validate` treats them as errors.
    pub warnings: ConfigErrors,
}

/// Finds the configuration of a folder: its `ganger.toml`, else its `Procfile`.
#[must_use]
pub fn find(dir: &Path) -> Option<PathBuf> {
    CONFIG_NAMES.iter().map(|name| dir.join(name)).find(|path| path.is_file())
}

/// Reads and resolves a configuration file: TOML, or a Procfile if its name begins so.
///
/// # Errors
/// Everything that is wrong with it, each with file, line and what to write instead.
pub fn load(path: &Path) -> Result<Loaded, ConfigErrors> {
    Err(ConfigErrors::of_file(path, "reading configuration files comes next"))
}
