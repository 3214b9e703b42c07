//! `ganger import`: another tool's file as a `ganger.toml`, or how that differs from what is configured now.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use ganger_daemon::config::{self, Config, Imported};
use serde_json::Value;

use super::validate::{self, Foreign};
use crate::error::{CliError, Kind};
use crate::place::Place;
use crate::text;
use crate::ui::Ui;

/// `import`
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Turn a Procfile, PM2 or supervisord file into a ganger.toml.\n\nReads a Procfile, PM2's ecosystem file (.json, \
.yaml, .config.js through node) or supervisord.conf (.conf, .ini) and prints the ganger.toml that means the same. What ganger does \
not have, or means otherwise, is listed once, with the reason. `ganger up -f` runs such a file without importing it."
)]
pub(crate) struct Args {
    /// The file to read
    #[arg(value_name = "FILE")]
    from: PathBuf,
    /// Write it there, if nothing is there yet
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace the output
    #[arg(long, requires = "output")]
    force: bool,
    /// Only show what would be different from the output, or from the config file found here
    #[arg(long)]
    diff: bool,
    #[command(flatten)]
    foreign: Foreign,
}

pub(crate) fn run(args: &Args, ui: &Ui) -> Result<ExitCode, CliError> {
    let here = std::env::current_dir()?;
    let output = args.output.as_ref().map(|path| here.join(path));
    let base = output.as_deref().and_then(Path::parent).unwrap_or(&here).to_owned();
    let choice = args.foreign.choice();
    let imported = config::import(&args.from, &base, &choice)
        .map_err(|errors| validate::refused(&errors, ui))?;
    if !imported.loaded.warnings.is_empty() {
        ui.talk(imported.loaded.warnings.render(ui.talk_is_coloured()).trim_end());
    }
    for note in &imported.loaded.notes {
        ui.talk(&format!("note: {note}"));
    }
    if args.diff {
        return diff(args, output.as_deref(), &imported, ui);
    }
    let Some(output) = output else {
        let mut out = ui.out();
        out.line(imported.toml.trim_end())?;
        out.done()?;
        return Ok(ExitCode::SUCCESS);
    };
    write(&output, &imported.toml, args.force)?;
    let count = text::count(imported.loaded.config.services.len(), "service");
    ui.talk(&format!("wrote {}: {count}", output.display()));
    Ok(ExitCode::SUCCESS)
}

fn write(path: &Path, content: &str, force: bool) -> Result<(), CliError> {
    let mut options = OpenOptions::new();
    if force {
        options.write(true).create(true).truncate(true);
    } else {
        options.write(true).create_new(true);
    }
    let wrote = options.open(path).and_then(|mut file| file.write_all(content.as_bytes()));
    wrote.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => {
            CliError::new(Kind::Conflict, format!("{} exists already", path.display()))
                .help("--diff shows what would be different; --force replaces it")
        }
        _ => CliError::new(Kind::Failed, format!("can't write {}: {error}", path.display())),
    })
}

/// Shows how the result differs from what is configured now.
fn diff(
    args: &Args,
    output: Option<&Path>,
    imported: &Imported,
    ui: &Ui,
) -> Result<ExitCode, CliError> {
    let current = match output {
        Some(path) => path.is_file().then(|| path.to_owned()),
        None => Place::find(ui.globals())?.config,
    };
    let from = std::path::absolute(&args.from)?;
    let current = current.filter(|path| *path != from);
    let before = match &current {
        Some(path) => Some(config::load(path).map_err(|errors| validate::refused(&errors, ui))?),
        None => None,
    };
    match &current {
        Some(path) => ui.talk(&format!("compared with {}:", path.display())),
        None => ui.talk("nothing is configured here yet:"),
    }
    let lines = differences(before.as_ref().map(|loaded| &loaded.config), &imported.loaded.config);
    if lines.is_empty() {
        ui.talk("they mean the same");
    }
    let mut out = ui.out();
    for line in lines {
        out.line(&line)?;
    }
    out.done()?;
    Ok(ExitCode::SUCCESS)
}

/// One line for each thing that is added, removed or changed, and below it each key.
fn differences(before: Option<&Config>, after: &Config) -> Vec<String> {
    let (before, after) = (before.map(things).unwrap_or_default(), things(after));
    let mut lines = Vec::new();
    let names = before.keys().chain(after.keys().filter(|name| !before.contains_key(*name)));
    for name in names {
        match (before.get(name), after.get(name)) {
            (None, Some(_)) => lines.push(format!("+ {name}")),
            (Some(_), None) => lines.push(format!("- {name}")),
            (Some(old), Some(new)) if old != new => {
                lines.push(format!("~ {name}"));
                let keys: std::collections::BTreeSet<_> = old.keys().chain(new.keys()).collect();
                let changed = keys.into_iter().filter(|key| old.get(*key) != new.get(*key));
                lines.extend(changed.map(|key| change(key, old.get(key), new.get(key))));
            }
            _ => {}
        }
    }
    lines
}

/// One key. Values of the environment may be secrets, and a difference is shown around.
fn change(key: &str, old: Option<&String>, new: Option<&String>) -> String {
    let hidden = key.starts_with("env.");
    let show = |value: Option<&String>| match value {
        None => "(none)".to_owned(),
        Some(_) if hidden => "(hidden)".to_owned(),
        Some(value) => value.clone(),
    };
    match (old, new) {
        (Some(_), Some(_)) if hidden => format!("    {key}: another value (hidden)"),
        _ => format!("    {key}: {} → {}", show(old), show(new)),
    }
}

type Keys = BTreeMap<String, String>;

/// Everything of a config by kind and name, its keys flat.
fn things(config: &Config) -> BTreeMap<String, Keys> {
    let value = serde_json::to_value(config).unwrap_or_default();
    let mut all = BTreeMap::new();
    for (section, kind) in [
        ("services", "service"),
        ("queues", "queue"),
        ("pools", "pool"),
        ("schedules", "schedule"),
        ("groups", "group"),
    ] {
        for (name, thing) in value[section].as_object().into_iter().flatten() {
            let mut keys = Keys::new();
            flatten("", thing, &mut keys);
            all.insert(format!("{kind} {name}"), keys);
        }
    }
    all
}

fn flatten(path: &str, value: &Value, keys: &mut Keys) {
    match value {
        Value::Object(map) => {
            for (key, inner) in map {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                flatten(&path, inner, keys);
            }
        }
        Value::Null => {}
        other => {
            keys.insert(path.to_owned(), other.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loaded(dir: &Path, name: &str, text: &str) -> Config {
        let path = dir.join(name);
        std::fs::write(&path, text).unwrap();
        config::load(&path).map_err(|e| e.render(false)).unwrap().config
    }

    #[test]
    fn differences_name_what_and_which_key() {
        let dir = tempfile::tempdir().unwrap();
        let before = loaded(
            dir.path(),
            "a.toml",
            "[service.web]\ncommand = \"true\"\nenv = { KEY = \"a\" }\n[service.old]\ncommand = \"true\"\n",
        );
        let after = loaded(
            dir.path(),
            "b.toml",
            "[service.web]\ncommand = \"true\"\nreplicas = 2\nenv = { KEY = \"b\", NEW = \"c\" }\n",
        );
        assert_eq!(
            differences(Some(&before), &after),
            [
                "- service old",
                "~ service web",
                "    env.KEY: another value (hidden)",
                "    env.NEW: (none) → (hidden)",
                "    replicas: 1 → 2"
            ]
        );
        assert_eq!(differences(None, &after), ["+ service web"]);
        assert!(differences(Some(&after), &after).is_empty());
    }

    #[test]
    fn never_overwrites_unless_forced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.toml");
        write(&path, "mine", false).unwrap();
        assert_eq!(write(&path, "x", false).unwrap_err().code(), 9);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
        write(&path, "x", true).unwrap();
        assert_eq!(std::fs::read_to_string(path).unwrap(), "x");
    }
}
