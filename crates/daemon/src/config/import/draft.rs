//! What every importer makes: services in ganger's words, and notes about what has none. Its TOML is the only way on: `up`
//! reads the very text that `import` writes, so the two can't mean different things.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::path::{Path, PathBuf};

use super::toml_text::{is_bare, line_text, quoted, quoted_list};

/// Names shown with a note; more say nothing.
const NAMES_SHOWN: usize = 3;

/// What an importer has made of a file.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) services: Vec<Service>,
    /// Name and members.
    pub(super) groups: Vec<(String, Vec<String>)>,
    pub(super) notes: Notes,
    /// The folder of the file it was made of; absolute.
    pub(super) home: PathBuf,
}

/// What runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Runs {
    Words(Vec<String>),
    Line(String),
}

impl Default for Runs {
    fn default() -> Self {
        Self::Words(Vec::new())
    }
}

/// One `[service.NAME]`; `None` and empty are ganger's defaults. Strings may hold `${VAR}` as [`super::toml_text::variable`] makes it.
#[derive(Debug, Clone, Default)]
pub(super) struct Service {
    pub(super) name: String,
    /// What it was called before.
    pub(super) comment: Option<String>,
    pub(super) runs: Runs,
    /// Absolute.
    pub(super) cwd: Option<PathBuf>,
    pub(super) env: BTreeMap<String, String>,
    /// Absolute.
    pub(super) env_file: Vec<PathBuf>,
    pub(super) replicas: Option<u32>,
    pub(super) port: Option<u16>,
    pub(super) instance_var: Option<String>,
    pub(super) user: Option<String>,
    /// "always" or "never".
    pub(super) restart_on: Option<&'static str>,
    pub(super) backoff: Option<String>,
    pub(super) restart_max: Option<u64>,
    pub(super) within: Option<String>,
    pub(super) healthy_after: Option<String>,
    pub(super) stop_signal: Option<String>,
    pub(super) stop_timeout: Option<String>,
    /// It is asked to end by a message.
    pub(super) stop_message: bool,
    /// Only the main process gets the stop signal.
    pub(super) stop_main: bool,
    /// Bytes.
    pub(super) memory: Option<u64>,
    /// It says "ready" over its channel, in this time at most if one is given.
    pub(super) ready: Option<Option<String>>,
    /// What it is restarted with; empty paths: all of its folder.
    pub(super) watch: Option<Watch>,
    /// The workers of a Node cluster.
    pub(super) node_cluster: bool,
    /// Services that are started before it.
    pub(super) after: Vec<String>,
}

/// `watch`.
#[derive(Debug, Clone, Default)]
pub(super) struct Watch {
    pub(super) paths: Vec<String>,
    pub(super) ignore: Vec<String>,
    pub(super) debounce: Option<String>,
}

impl Watch {
    fn text(&self) -> String {
        let lists = [("paths", &self.paths), ("ignore", &self.ignore)];
        let lists = lists.into_iter().filter(|(_, list)| !list.is_empty());
        let debounce = self.debounce.as_deref().map(|time| ("debounce", quoted(time)));
        let said: Vec<(&str, String)> =
            lists.map(|(key, list)| (key, quoted_list(list))).chain(debounce).collect();
        match said.as_slice() {
            [] => "true".to_owned(),
            [("paths", list)] => list.clone(),
            _ => {
                let said: Vec<String> = said.iter().map(|(k, v)| format!("{k} = {v}")).collect();
                format!("{{ {} }}", said.join(", "))
            }
        }
    }
}

impl Draft {
    /// The file as `ganger.toml`, to stand in `base`; `from` is the name of the file it was made of.
    pub(super) fn to_toml(&self, from: &str, base: &Path) -> String {
        let mut out = format!("# From {from}, by `ganger import`.\n");
        let _ = writeln!(out, "# `ganger validate` checks this file, `ganger up` starts it.");
        for note in self.notes.list() {
            let _ = writeln!(out, "# {}", note.to_string().replace(char::is_control, " "));
        }
        out.push_str("\nversion = 1\n");
        for service in &self.services {
            service.write(&self.home, base, &mut out);
        }
        for (name, members) in &self.groups {
            let _ = writeln!(out, "\n[group.{}]\nmembers = {}", key(name), quoted_list(members));
        }
        out
    }
}

impl Service {
    fn write(&self, home: &Path, base: &Path, out: &mut String) {
        let comment = self.comment.as_ref().map(|text| format!(" # {}", text.escape_debug()));
        let _ = writeln!(out, "\n[service.{}]{}", key(&self.name), comment.unwrap_or_default());
        let mut line = |name: &str, value: String| {
            let _ = writeln!(out, "{name} = {value}");
        };
        match &self.runs {
            Runs::Words(words) => line("command", quoted_list(words)),
            Runs::Line(text) => line("shell", line_text(text)),
        }
        let cwd = self.cwd.as_deref().unwrap_or(home);
        if cwd != base {
            line("cwd", quoted(&relative(cwd, base)));
        }
        if !self.env_file.is_empty() {
            let files: Vec<String> =
                self.env_file.iter().map(|file| relative(file, base)).collect();
            line("env_file", quoted_list(&files));
        }
        if let Some(replicas) = self.replicas.filter(|n| *n != 1) {
            line("replicas", replicas.to_string());
        }
        if let Some(port) = self.port {
            line("port", port.to_string());
        }
        for (name, text) in [("instance_var", &self.instance_var), ("user", &self.user)] {
            if let Some(text) = text {
                line(name, quoted(text));
            }
        }
        if let Some(rules) = self.restart() {
            line("restart", rules);
        }
        for (name, text) in
            [("stop_signal", &self.stop_signal), ("stop_timeout", &self.stop_timeout)]
        {
            if let Some(text) = text {
                line(name, quoted(text));
            }
        }
        if self.stop_message {
            line("stop_message", "true".to_owned());
        }
        if self.stop_main {
            line("kill", quoted("main"));
        }
        if let Some(bytes) = self.memory {
            line(
                "limits",
                format!("{{ memory = {} }}", quoted(&ganger_core::Size(bytes).to_string())),
            );
        }
        if let Some(timeout) = &self.ready {
            let timeout = timeout.as_ref().map(|time| format!(", timeout = {}", quoted(time)));
            line("ready", format!("{{ channel = true{} }}", timeout.unwrap_or_default()));
        }
        if self.node_cluster {
            line("node_cluster", "true".to_owned());
        }
        if let Some(watch) = &self.watch {
            line("watch", watch.text());
        }
        if !self.after.is_empty() {
            let all = self.after.iter().map(|name| format!("{} = \"started\"", key(name)));
            line("depends_on", format!("{{ {} }}", all.collect::<Vec<_>>().join(", ")));
        }
        if !self.env.is_empty() {
            let _ = writeln!(out, "[service.{}.env]", key(&self.name));
            for (name, value) in &self.env {
                let _ = writeln!(out, "{} = {}", key(name), quoted(value));
            }
        }
    }

    fn restart(&self) -> Option<String> {
        let texts = [
            ("on", self.restart_on.map(quoted)),
            ("backoff", self.backoff.as_deref().map(quoted)),
            ("max", self.restart_max.map(|max| max.to_string())),
            ("within", self.within.as_deref().map(quoted)),
            ("healthy_after", self.healthy_after.as_deref().map(quoted)),
        ];
        let said: Vec<String> = texts
            .into_iter()
            .filter_map(|(name, value)| Some(format!("{name} = {}", value?)))
            .collect();
        match (said.as_slice(), self.restart_on) {
            ([], _) => None,
            ([_], Some(on)) => Some(quoted(on)),
            _ => Some(format!("{{ {} }}", said.join(", "))),
        }
    }
}

/// A name as a TOML key.
fn key(name: &str) -> String {
    if is_bare(name) { name.to_owned() } else { toml::Value::String(name.to_owned()).to_string() }
}

/// A path as it is written in a file of `base`: short if it is below it.
fn relative(path: &Path, base: &Path) -> String {
    let short = path.strip_prefix(base).unwrap_or(path);
    short.to_string_lossy().into_owned()
}

/// What becomes of something the other file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NoteKind {
    /// It is not taken over.
    Left,
    /// It is taken over, and means something a little different.
    Changed,
}

/// What becomes of some keys of the other file.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Note {
    /// Left out or changed.
    pub kind: NoteKind,
    /// The other tool's keys, or sections.
    pub keys: Vec<String>,
    /// Why, and what to use instead.
    pub why: String,
    /// Who has it; empty for the file as a whole.
    pub of: Vec<String>,
}

impl Note {
    pub(super) fn new(kind: NoteKind, key: impl Into<String>, why: impl Into<String>) -> Self {
        Self { kind, keys: vec![key.into()], why: why.into(), of: Vec::new() }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            NoteKind::Left => "not taken over",
            NoteKind::Changed => "changed",
        };
        let keys: Vec<String> = self.keys.iter().map(|key| format!("`{key}`")).collect();
        write!(f, "{what}: {}", keys.join(", "))?;
        if !self.of.is_empty() {
            let shown: Vec<&str> = self.of.iter().take(NAMES_SHOWN).map(String::as_str).collect();
            write!(f, " ({}", shown.join(", "))?;
            match self.of.len().saturating_sub(NAMES_SHOWN) {
                0 => f.write_str(")")?,
                more => write!(f, " and {more} more)")?,
            }
        }
        write!(f, ": {}", self.why)
    }
}

/// Notes, each key once, and each reason once.
#[derive(Debug, Default)]
pub(super) struct Notes(Vec<Note>);

impl Notes {
    /// Adds one about `of` (empty: the file as a whole) to that with the same reason, if there is one.
    pub(super) fn add(&mut self, note: Note, of: &str) {
        let same = |other: &&mut Note| other.kind == note.kind && other.why == note.why;
        let at = match self.0.iter_mut().find(same) {
            Some(at) => {
                at.keys.extend(
                    note.keys.into_iter().filter(|key| !at.keys.contains(key)).collect::<Vec<_>>(),
                );
                at
            }
            None => {
                self.0.push(note);
                self.0.last_mut().expect("one was just pushed")
            }
        };
        if !of.is_empty() && !at.of.iter().any(|name| name == of) {
            at.of.push(of.to_owned());
        }
    }

    pub(super) fn left(&mut self, key: &str, why: impl Into<String>, of: &str) {
        self.add(Note::new(NoteKind::Left, key, why), of);
    }

    /// What is left out first.
    pub(super) fn list(&self) -> Vec<Note> {
        let mut list = self.0.clone();
        list.sort_by_key(|note| note.kind);
        list
    }
}
