//! Configuration: `ganger.toml`, or the file of another tool by way of one, becomes a [`Config`], or all that is wrong with it in one pass.
//!
//! ```text
//! file ─ toml (spans) ─ walk + raw (keys, types) ─ resolve + program (defaults, ranges) ─ checks (references) ─ Config
//!                              └──────────────── every mistake is a Diagnostic with a span ──┘
//! ```
//!
//! The file is read once, here. What `apply` sends and the store keeps is the resolved [`Config`] as JSON; the running
//! daemon never looks at the file again but to tell that it has changed.

mod alert;
mod checks;
mod control;
mod diagnostic;
mod env_file;
mod group;
mod import;
mod incident;
mod interpolate;
mod limits;
mod listen;
mod model;
mod policy;
mod policy_keys;
mod probes;
mod program;
mod raw;
mod reload;
mod resolve;
mod restart;
mod retry;
mod sandbox;
mod schedule;
mod schema;
mod server;
mod source;
mod values;
mod verify;
mod walk;
mod watch;
mod words;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub use alert::Alerting;
pub(crate) use alert::LOG;
pub use checks::{NotExecutable, find_executable};
pub use diagnostic::{ConfigErrors, Diagnostic, Severity};
pub use group::Group;
pub(crate) use group::specs as group_specs;
pub use import::{Choice, Format, Note, NoteKind, tables as import_tables};
pub use listen::Listen;
pub use model::{
    Audit, Config, Control, Dead, DependsOn, History, HttpAddress, Kill, Limits, Live, LiveCheck,
    LogRules, Pings, Pool, Program, Protocol, Queue, Ready, ReadyCheck, Restart, RestartOn, Retry,
    RetryOn, Service, SourceFile, Stop, Supervision, Wants, Workers,
};
pub use reload::Reload;
pub(crate) use resolve::REPLICAS_MAX;
pub use schedule::{Schedule, ScheduleRetry};
pub use schema::schema;
pub use server::{ExecSocket, Server};
pub(crate) use verify::verify;
pub use watch::Watch;

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
    /// What became of the keys of another tool's file that mean nothing, or something else, here.
    pub notes: Vec<Note>,
}

/// Another tool's file as a `ganger.toml`.
#[derive(Debug, Clone)]
pub struct Imported {
    /// The text of the `ganger.toml`.
    pub toml: String,
    /// What it says when it is read.
    pub loaded: Loaded,
}

/// Finds the configuration of a folder: its `ganger.toml`, else its `Procfile`.
#[must_use]
pub fn find(dir: &Path) -> Option<PathBuf> {
    CONFIG_NAMES.iter().map(|name| dir.join(name)).find(|path| path.is_file())
}

/// Reads and resolves a configuration file with this process's environment: TOML, or what its name says ([`Format::of`]).
///
/// # Errors
/// Everything that is wrong with it, each with file, line and what to write instead.
pub fn load(path: &Path) -> Result<Loaded, ConfigErrors> {
    load_chosen(path, &Choice::default())
}

/// As [`load`], with what the caller chooses of another tool's file.
///
/// # Errors
/// Everything that is wrong with it.
pub fn load_chosen(path: &Path, choice: &Choice) -> Result<Loaded, ConfigErrors> {
    load_all(path, &environment(), choice)
}

/// Reads and resolves a configuration file; `env` answers `${VAR}` and gives `PATH`.
///
/// # Errors
/// Everything that is wrong with it.
pub fn load_with(path: &Path, env: &BTreeMap<String, String>) -> Result<Loaded, ConfigErrors> {
    load_all(path, env, &Choice::default())
}

/// Reads the text of a `ganger.toml` as if it stood in the folder `dir`, which is absolute; for tests and fuzzers.
///
/// # Errors
/// Everything that is wrong with it.
pub fn load_text(
    text: &str,
    dir: &Path,
    env: &BTreeMap<String, String>,
) -> Result<Loaded, ConfigErrors> {
    resolved(&dir.join(CONFIG_NAMES[0]), text, dir, env, Vec::new(), Vec::new())
}

fn load_all(
    path: &Path,
    env: &BTreeMap<String, String>,
    choice: &Choice,
) -> Result<Loaded, ConfigErrors> {
    let text = read(path)?;
    let (absolute, dir) = place(path);
    let mut sources = vec![SourceFile::of(&absolute, text.as_bytes())];
    let Some(format) = Format::of(path) else {
        return resolved(path, &text, &dir, env, sources, Vec::new());
    };
    let foreign = foreign(format, path, &text, env, choice, &mut sources)?;
    let (shown, notes) = (foreign.shown(path), foreign.notes());
    resolved(&shown, &foreign.toml(&dir), &dir, env, sources, notes)
}

/// Turns another tool's file into a `ganger.toml` that is to stand in the folder `base`.
///
/// # Errors
/// Everything that is wrong with it; a file that is ganger's own already.
pub fn import(path: &Path, base: &Path, choice: &Choice) -> Result<Imported, ConfigErrors> {
    let format = Format::of(path).ok_or_else(|| {
        ConfigErrors::of_file(path, "this is not the name of another tool's file")
            .help("Procfile; ecosystem.config.js, .json, .yaml (PM2); supervisord.conf, .ini")
    })?;
    let (text, env) = (read(path)?, environment());
    let mut sources = Vec::new();
    let foreign = foreign(format, path, &text, &env, choice, &mut sources)?;
    let (toml, notes) = (foreign.toml(base), foreign.notes());
    let loaded = resolved(&foreign.shown(path), &toml, base, &env, Vec::new(), notes)?;
    Ok(Imported { toml, loaded })
}

fn foreign(
    format: Format,
    path: &Path,
    text: &str,
    env: &BTreeMap<String, String>,
    choice: &Choice,
    sources: &mut Vec<SourceFile>,
) -> Result<import::Foreign, ConfigErrors> {
    let (absolute, dir) = place(path);
    let mut walk = Walk { env, dir: &dir, found: Vec::new(), plain: false };
    let foreign = import::Foreign::read(format, &absolute, text, choice, &mut walk, sources);
    if walk.found.iter().any(|found| found.severity == Severity::Error) {
        return Err(ConfigErrors::new(path, text, walk.found));
    }
    Ok(foreign)
}

/// Resolves the text of a `ganger.toml` of the folder `dir`.
fn resolved(
    shown: &Path,
    text: &str,
    dir: &Path,
    env: &BTreeMap<String, String>,
    mut sources: Vec<SourceFile>,
    notes: Vec<Note>,
) -> Result<Loaded, ConfigErrors> {
    let mut walk = Walk { env, dir, found: Vec::new(), plain: false };
    let file = parse(text, &mut walk);
    let mut config = resolve::resolve(&file, &mut walk, &mut sources);
    config.sources = sources;
    let found = std::mem::take(&mut walk.found);
    let (errors, warnings): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|d| d.severity == Severity::Error);
    if errors.is_empty() {
        Ok(Loaded { config, warnings: ConfigErrors::new(shown, text, warnings), notes })
    } else {
        let all = errors.into_iter().chain(warnings).collect();
        Err(ConfigErrors::new(shown, text, all))
    }
}

/// The file's absolute path, and its folder.
fn place(path: &Path) -> (PathBuf, PathBuf) {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let dir = path.parent().unwrap_or(Path::new("/")).to_owned();
    (path, dir)
}

fn environment() -> BTreeMap<String, String> {
    let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    std::env::vars_os().filter_map(text).collect()
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
