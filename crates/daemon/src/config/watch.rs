//! `watch`: a service is restarted when its files change.

use std::path::Path;
use std::time::Duration;

use ganger_core::Dur;
use ganger_supervise::watch::{self, DEBOUNCE};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use toml::de::DeValue;

use super::model::{Config, Program};
use super::values::{OneOrMany, Time};
use super::walk::{At, FromNode, Key, Node, Walk, section};

/// Below this each write of one save is a restart of its own.
const DEBOUNCE_MIN: Dur = Dur(Duration::from_millis(10));
/// Who waits longer than this for a restart has forgotten the change.
const DEBOUNCE_MAX: Dur = Dur(Duration::from_secs(3_600));

section! {
    /// Which files it is restarted with.
    struct WatchTable in "`watch`" {
        /// Files, folders with all below them, and patterns as in .gitignore ("*.py" at any depth, "src/**/*.ts" where it
        /// says), relative to `cwd`. Default: all of `cwd`.
        paths: OneOrMany,
        /// What of them does not count, in the same form; without `/` at any depth. Version control, node_modules, target,
        /// caches, ganger's own state and editors' swap files never count.
        ignore: OneOrMany,
        /// Quiet time after the last change. Default: "300ms".
        debounce: Time,
    }
}

/// `watch` as it is written: true, paths, or a table.
#[derive(Debug, JsonSchema)]
#[schemars(untagged, inline)]
pub(super) enum WatchKey {
    All(bool),
    Paths(OneOrMany),
    Table(Box<WatchTable>),
}

impl FromNode for WatchKey {
    fn from_node(node: &Node<'_>, walk: &mut Walk<'_>) -> Option<Self> {
        match node.get_ref() {
            DeValue::Boolean(all) => Some(Self::All(*all)),
            DeValue::Table(_) => {
                WatchTable::from_node(node, walk).map(|t| Self::Table(Box::new(t)))
            }
            DeValue::String(_) | DeValue::Array(_) => {
                OneOrMany::from_node(node, walk).map(Self::Paths)
            }
            _ => {
                walk.mismatch(node, "true, paths, or a table of paths, ignore and debounce");
                None
            }
        }
    }
}

/// `[service.NAME.watch]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watch {
    /// Relative to the service's folder.
    pub paths: Vec<String>,
    /// What of them does not count.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignore: Vec<String>,
    /// Quiet time after the last change.
    pub debounce: Dur,
}

impl Watch {
    /// As supervision has it.
    pub(crate) fn to_spec(&self, cwd: &Path) -> watch::Watch {
        let Self { paths, ignore, debounce } = self.clone();
        watch::Watch { base: cwd.to_owned(), paths, ignore, debounce: debounce.0 }
    }

    fn fault(&self, cwd: &Path) -> Option<String> {
        if !(DEBOUNCE_MIN..=DEBOUNCE_MAX).contains(&self.debounce) {
            let time = self.debounce;
            return Some(format!("`debounce` is {DEBOUNCE_MIN} to {DEBOUNCE_MAX}, not {time}"));
        }
        watch::check(&self.to_spec(cwd)).err().map(|error| error.to_string())
    }
}

pub(super) fn resolve(
    key: &Key<WatchKey>,
    program: &Program,
    walk: &mut Walk<'_>,
) -> Option<Watch> {
    let At { span, value } = key.0.as_ref()?;
    let all = || vec![".".to_owned()];
    let list = |said: &OneOrMany| {
        said.each(span).into_iter().map(|(_, text)| text.clone()).collect::<Vec<_>>()
    };
    let (mut ignore, mut debounce) = (vec![], Dur(DEBOUNCE));
    let paths = match value {
        WatchKey::All(false) => return None,
        WatchKey::All(true) => all(),
        WatchKey::Paths(paths) => list(paths),
        WatchKey::Table(table) => {
            ignore = table.ignore.get().map(list).unwrap_or_default();
            debounce = table.debounce.get().map_or(debounce, |time| time.0);
            table.paths.get().map_or_else(all, list)
        }
    };
    if paths.is_empty() {
        walk.error(span.clone(), "nothing is watched")
            .help("watch = true, for all of `cwd`".into());
    }
    let watch = Watch { paths, ignore, debounce };
    if let Some(why) = watch.fault(&program.cwd) {
        walk.error(span.clone(), why);
    }
    Some(watch)
}

/// The same for a configuration that came ready-made.
pub(super) fn verify(config: &Config) -> Vec<String> {
    let fault = |(name, service): (&String, &super::model::Service)| {
        let why = service.watch.as_ref()?.fault(&service.program.cwd)?;
        Some(format!("service `{name}`: {why}"))
    };
    config.services.iter().filter_map(fault).collect()
}
