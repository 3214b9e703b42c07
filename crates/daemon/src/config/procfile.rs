//! A Procfile as it is: one shell line per process type, `.env` beside it, `PORT` counted up from 5000.

use std::collections::BTreeMap;
use std::path::Path;

use super::model::{Config, Program, Service, SourceFile};
use super::program::read_env_file;
use super::walk::Walk;

/// foreman's numbers: the first process type gets 5000, each further one 100 more.
const PORT_BASE: u32 = 5_000;
const PORT_STEP: u32 = 100;

/// Reads a Procfile; what is wrong is reported to `walk`.
pub(super) fn resolve(text: &str, walk: &mut Walk<'_>, sources: &mut Vec<SourceFile>) -> Config {
    let cwd = super::resolve::absolute(walk.dir, ".");
    let mut env = dot_env(&cwd, walk, sources);
    let base = env.remove("PORT").or_else(|| walk.env.get("PORT").cloned());
    let base = base.and_then(|port| port.trim().parse::<u32>().ok()).unwrap_or(PORT_BASE);
    let mut services = BTreeMap::new();
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
        let index = u32::try_from(services.len()).unwrap_or(u32::MAX);
        let port = base.saturating_add(PORT_STEP.saturating_mul(index));
        let service = Service {
            program: Program::of_shell_line(command, &cwd, env.clone()),
            replicas: 1,
            depends_on: BTreeMap::new(),
            ready: None,
            startup: None,
            live: None,
            priority: ganger_core::Priority::NORMAL,
            port: u16::try_from(port).ok(),
            listen: vec![],
            listen_mode: Default::default(),
            on_demand: false,
        };
        if services.insert(name.to_owned(), service).is_some() {
            walk.error(span, format!("`{name}` is here twice"));
        }
    }
    if services.is_empty() && walk.found.is_empty() {
        walk.error(0..0, "this Procfile names nothing to run");
    }
    Config {
        version: 1,
        sources: Vec::new(),
        services,
        queues: BTreeMap::new(),
        pools: BTreeMap::new(),
        schedules: BTreeMap::new(),
        groups: BTreeMap::new(),
        supervision: super::model::Supervision::default(),
    }
}

fn split_line(line: &str) -> Option<(&str, &str)> {
    let (name, command) = line.split_once(':')?;
    let proper = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let (name, command) = (name.trim(), command.trim());
    let good = !name.is_empty() && name.chars().all(proper) && name != "ganger";
    (good && !command.is_empty()).then_some((name, command))
}

/// The `.env` beside it. A broken one is an error: half an environment is worse than none.
fn dot_env(
    dir: &Path,
    walk: &mut Walk<'_>,
    sources: &mut Vec<SourceFile>,
) -> BTreeMap<String, String> {
    let path = dir.join(".env");
    if !path.exists() {
        return BTreeMap::new();
    }
    match read_env_file(&path, sources) {
        Ok(pairs) => pairs.into_iter().collect(),
        Err(why) => {
            walk.error(0..0, format!("{}: {why}", path.display()));
            BTreeMap::new()
        }
    }
}
