//! Existing setups: a Procfile, PM2's ecosystem files and supervisord.conf, each read by one mapper.
//!
//! ```text
//! file ─ mapper (procfile | pm2 | supervisord) ─ Draft ─ ganger.toml text ─ the ordinary way of config
//!                                                  └─ notes: what is left out or means something else, each once
//! ```
//!
//! `up -f FILE` reads the very text that `import` prints. What a mapper does with a key stands in a table ([`keys`]) that
//! docs/import.md is made from.

mod draft;
mod keys;
mod pm2;
mod procfile;
mod supervisord;
mod tables;
#[cfg(test)]
mod tests;
mod toml_text;
mod units;

use std::path::{Path, PathBuf};

pub use draft::{Note, NoteKind};
pub use tables::tables;

use super::model::SourceFile;
use super::walk::Walk;
use draft::Draft;

/// Where a draft's names come from: what can't be in a name of ganger's.
const NAME_MAX: usize = 64;

/// What the caller of an importer chooses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Choice {
    /// `--env NAME`: PM2's `env_NAME` on top of `env`.
    pub env: Option<String>,
}

/// Whose file it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// foreman, overmind, honcho, Heroku.
    Procfile,
    /// PM2's ecosystem file: JSON, YAML or JavaScript.
    Pm2,
    /// `supervisord.conf`.
    Supervisord,
}

impl Format {
    /// Whose file one of this name is; `None`: ganger's own.
    #[must_use]
    pub fn of(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_string_lossy();
        if name.starts_with("Procfile") {
            return Some(Self::Procfile);
        }
        match name.rsplit_once('.')?.1 {
            "js" | "cjs" | "mjs" | "json" | "yaml" | "yml" => Some(Self::Pm2),
            "conf" | "ini" => Some(Self::Supervisord),
            _ => None,
        }
    }
}

/// What a foreign file has become.
#[derive(Debug)]
pub(super) struct Foreign {
    draft: Draft,
    from: String,
}

impl Foreign {
    /// Reads it; what is wrong with it is reported to `walk`.
    pub(super) fn read(
        format: Format,
        path: &Path,
        text: &str,
        choice: &Choice,
        walk: &mut Walk<'_>,
        sources: &mut Vec<SourceFile>,
    ) -> Self {
        let mut draft = match format {
            Format::Procfile => procfile::draft(text, walk, sources),
            Format::Pm2 => pm2::draft(path, text, choice, walk, sources),
            Format::Supervisord => supervisord::draft(text, walk, sources),
        };
        draft.home = super::resolve::absolute(walk.dir, ".");
        if draft.services.is_empty() && walk.found.is_empty() {
            let what = if format == Format::Procfile { "Procfile" } else { "file" };
            walk.file_error(format!("this {what} names nothing to run"));
        }
        if choice.env.is_some() && format != Format::Pm2 {
            walk.file_error("`--env` chooses among the `env_NAME` of PM2's files; this is none");
        }
        let from = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Self { draft, from }
    }

    /// As a `ganger.toml` that stands in `base`.
    pub(super) fn toml(&self, base: &Path) -> String {
        self.draft.to_toml(&self.from, base)
    }

    pub(super) fn notes(&self) -> Vec<Note> {
        self.draft.notes.list()
    }

    /// What to show as the place of a finding in the text that was made of the file.
    pub(super) fn shown(&self, path: &Path) -> PathBuf {
        PathBuf::from(format!("{}, as ganger.toml", path.display()))
    }
}

/// A name of ganger's that is none of `taken`, as near to `given` as can be.
fn name_for(given: &str, taken: &dyn Fn(&str) -> bool) -> String {
    let proper = |c: char| if c.is_ascii_alphanumeric() || "_-.".contains(c) { c } else { '-' };
    let flat: String = given.chars().map(proper).take(NAME_MAX - 4).collect();
    let flat = flat.trim_matches(|c: char| !c.is_ascii_alphanumeric());
    let base = if flat.is_empty() || !super::resolve::is_name(flat) { "app" } else { flat };
    let mut name = base.to_owned();
    let mut number = 1;
    while taken(&name) {
        number += 1;
        name = format!("{base}-{number}");
    }
    name
}
