//! Configuration: `ganger.toml` or a Procfile becomes a [`Config`], or all that is wrong with it in one pass.
//!
//! ```text
//! file ─ toml (spans) ─ walk + raw (keys, types) ─ resolve + program (defaults, ranges) ─ checks (references) ─ Config
//!                              └──────────────── every mistake is a Diagnostic with a span ──┘
//! ```
//!
//! The file is read once, here. What `apply` sends and the store keeps is the resolved [`Config`] as JSON; the running
//! daemon never looks at the file again but to tell that it has changed.

mod checks;
mod control;
mod diagnostic;
mod env_file;
mod group;
mod interpolate;
mod limits;
mod listen;
mod model;
mod probes;
mod procfile;
mod program;
mod raw;
mod resolve;
mod restart;
mod retry;
mod schedule;
mod schema;
mod values;
mod verify;
mod walk;
mod words;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub use checks::{NotExecutable, find_executable};
pub use diagnostic::{ConfigErrors, Diagnostic, Severity};
pub use group::Group;
pub(crate) use group::specs as group_specs;
pub use listen::Listen;
pub use model::{
    Config, Control, Dead, DependsOn, History, HttpAddress, Kill, Limits, Live, LiveCheck,
    LogRules, Pings, Pool, Program, Protocol, Queue, Ready, ReadyCheck, Restart, RestartOn, Retry,
    RetryOn, Service, SourceFile, Stop, Supervision, Wants, Workers,
};
pub(crate) use resolve::REPLICAS_MAX;
pub use schedule::{Schedule, ScheduleRetry};
pub use schema::schema;
pub(crate) use verify::verify;

use walk::{FromNode, Walk};

/// Names looked for in a folder, in this order.
pub const CONFIG_NAMES: [&str; 2] = ["ganger.toml", "Procfile"];
/// A configuration is text that people write; something larger is the wrong file.
const FILE_MAX: u64 = 4 << 20;

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

/// Reads and resolves a configuration file with this process's environment: TOML, or a Procfile if its name begins so.
///
/// # Errors
/// Everything that is wrong with it, each with file, line and what to write instead.
pub fn load(path: &Path) -> Result<Loaded, ConfigErrors> {
    let env = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    load_with(path, &env.collect())
}

/// Reads and resolves a configuration file; `env` answers `${VAR}` and gives `PATH`.
///
/// # Errors
/// Everything that is wrong with it.
pub fn load_with(path: &Path, env: &BTreeMap<String, String>) -> Result<Loaded, ConfigErrors> {
    let text = read(path)?;
    let path_shown = path;
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let dir = path.parent().unwrap_or(Path::new("/")).to_owned();
    let mut walk = Walk { env, dir: &dir, found: Vec::new() };
    let mut sources = vec![SourceFile::of(&path, text.as_bytes())];
    let is_procfile = path.file_name().is_some_and(|n| n.to_string_lossy().starts_with("Procfile"));
    let mut config = if is_procfile {
        procfile::resolve(&text, &mut walk, &mut sources)
    } else {
        let file = parse(&text, &mut walk);
        resolve::resolve(&file, &mut walk, &mut sources)
    };
    config.sources = sources;
    let found = std::mem::take(&mut walk.found);
    let (errors, warnings): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|d| d.severity == Severity::Error);
    if errors.is_empty() {
        Ok(Loaded { config, warnings: ConfigErrors::new(path_shown, &text, warnings) })
    } else {
        let all = errors.into_iter().chain(warnings).collect();
        Err(ConfigErrors::new(path_shown, &text, all))
    }
}

fn read(path: &Path) -> Result<String, ConfigErrors> {
    let fail = |why: String| ConfigErrors::of_file(path, why);
    let meta = std::fs::metadata(path).map_err(|e| {
        fail(format!("can't read the configuration: {e}"))
            .help("`ganger init` writes one; `-f FILE` names another")
    })?;
    if !meta.is_file() || meta.len() > FILE_MAX {
        return Err(fail("this is not a configuration: expected a text file under 4 MiB".into()));
    }
    let bytes =
        std::fs::read(path).map_err(|e| fail(format!("can't read the configuration: {e}")))?;
    String::from_utf8(bytes).map_err(|e| {
        let at = e.utf8_error().valid_up_to();
        let line = e.as_bytes()[..at].iter().filter(|b| **b == b'\n').count() + 1;
        fail(format!("this is not UTF-8: line {line} has other bytes"))
    })
}

/// The sections as written. Syntax errors are reported, and what could be read around them is looked at too.
fn parse(text: &str, walk: &mut Walk<'_>) -> raw::File {
    let (table, errors) = toml::de::DeTable::parse_recoverable(text);
    for error in errors {
        walk.error(error.span().unwrap_or(0..0), error.message().trim());
    }
    let span = table.span();
    let node = toml::Spanned::new(span, toml::de::DeValue::Table(table.into_inner()));
    raw::File::from_node(&node, walk).unwrap_or_default()
}

#[cfg(test)]
mod tests;
