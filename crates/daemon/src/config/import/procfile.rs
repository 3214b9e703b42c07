//! A Procfile as it is: one shell line per process type, `.env` beside it, `PORT` counted up from 5000.

use super::super::model::SourceFile;
use super::super::program::read_env_file;
use super::super::resolve::absolute;
use super::super::walk::Walk;
use super::draft::{Draft, Runs, Service};
use super::keys::{Fate, Key, Table};

/// foreman's numbers: the first process type gets 5000, each further one 100 more.
const PORT_BASE: u32 = 5_000;
const PORT_STEP: u32 = 100;

pub(super) const KEYS: Table = Table {
    section: "a Procfile",
    keys: &[
        Key::new("NAME: LINE", Fate::Same("shell")),
        Key::new(".env", Fate::Same("env_file")),
        Key::new(
            "PORT",
            Fate::Changed(
                "port",
                "from 5000, or the `PORT` of .env or the shell; 100 more for each process type, 1 more for each instance",
            ),
        ),
        Key::new("-m, --formation", Fate::Same("ganger up --formation")),
    ],
};

/// Reads a Procfile; what is wrong is reported to `walk`.
pub(super) fn draft(text: &str, walk: &mut Walk<'_>, sources: &mut Vec<SourceFile>) -> Draft {
    let mut draft = Draft::default();
    let (dot_env, port) = dot_env(walk, sources);
    let base = port.or_else(|| walk.env.get("PORT").cloned());
    let base = base.and_then(|port| port.trim().parse::<u32>().ok()).unwrap_or(PORT_BASE);
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let span = at..at + line.trim_end().len();
        at += line.len();
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let Some((name, command)) = split_line(line) else {
            walk.error(span, "a Procfile has lines of `name: command`")
                .help("names have letters, digits, `_` and `-`".into());
            continue;
        };
        if draft.services.iter().any(|service| service.name == name) {
            walk.error(span, format!("`{name}` is here twice"));
            continue;
        }
        let index = u32::try_from(draft.services.len()).unwrap_or(u32::MAX);
        let port = base.saturating_add(PORT_STEP.saturating_mul(index));
        draft.services.push(Service {
            name: name.to_owned(),
            runs: Runs::Line(command.to_owned()),
            env_file: dot_env.iter().cloned().collect(),
            port: u16::try_from(port).ok(),
            ..Service::default()
        });
    }
    draft
}

fn split_line(line: &str) -> Option<(&str, &str)> {
    let (name, command) = line.split_once(':')?;
    let proper = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let (name, command) = (name.trim(), command.trim());
    let good = !name.is_empty() && name.chars().all(proper) && name != "ganger";
    (good && !command.is_empty()).then_some((name, command))
}

/// The `.env` beside it, and its `PORT`. A broken one is an error: half an environment is worse than none.
fn dot_env(
    walk: &mut Walk<'_>,
    sources: &mut Vec<SourceFile>,
) -> (Option<std::path::PathBuf>, Option<String>) {
    let path = absolute(walk.dir, ".").join(".env");
    if !path.exists() {
        return (None, None);
    }
    match read_env_file(&path, sources) {
        Ok(pairs) => {
            let port =
                pairs.into_iter().rev().find(|(name, _)| name == "PORT").map(|(_, port)| port);
            (Some(path), port)
        }
        Err(why) => {
            walk.file_error(format!("{}: {why}", path.display()));
            (None, None)
        }
    }
}
