//! What only shows when the whole is known: references, cycles, programs that are not there.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::model::{Config, Queue};
use super::raw;
use super::resolve::DependencySpans;
use super::walk::{At, Walk};
use super::words;

/// A pool must take from queues that exist.
pub(super) fn pool_queues(
    name: &At<String>,
    pool: &raw::Pool,
    queues: &BTreeMap<String, Queue>,
    walk: &mut Walk<'_>,
) {
    let list = pool.queues.get().map_or(&[][..], Vec::as_slice);
    if list.is_empty() && (pool.queues.is_absent() || pool.queues.get().is_some()) {
        let span = pool.queues.span().unwrap_or_else(|| name.span.clone());
        walk.error(span, format!("pool `{}` takes from no queue", name.value))
            .help("queues = [\"NAME\"], and a section [queue.NAME]".into());
    }
    let mut seen = BTreeSet::new();
    for queue in list {
        if !queues.contains_key(&queue.value) {
            let near = words::nearest(&queue.value, queues.keys().map(String::as_str));
            let diagnostic =
                walk.error(queue.span.clone(), format!("there is no queue `{}`", queue.value));
            if let Some(near) = near {
                diagnostic.label(format!("did you mean `{near}`?"));
            }
            diagnostic.help(format!("add [queue.{}]", queue.value));
        } else if !seen.insert(&queue.value) {
            walk.error(queue.span.clone(), format!("queue `{}` is listed twice", queue.value));
        }
    }
}

/// A command's arguments are templates.
pub(super) fn template(command: &[String], pool: &raw::Pool, walk: &mut Walk<'_>) {
    let span = pool.command.span().unwrap_or_default();
    if let Err(error) = ganger_pool::template::Template::parse(command) {
        walk.error(span, error);
        return;
    }
    let shells = ["sh", "bash", "dash", "zsh", "ksh"];
    let is_shell =
        command.first().is_some_and(|p| shells.iter().any(|s| p.rsplit('/').next() == Some(s)));
    let script =
        command.iter().position(|argument| argument == "-c").and_then(|at| command.get(at + 1));
    if is_shell && script.is_some_and(|script| script.contains("{payload")) {
        walk.warning(span, "what is in the payload becomes part of a shell script here")
            .help("pass it as a further argument and use \"$1\", or read it from stdin".into());
    }
}

/// Dependencies must exist and must not go round in a circle.
pub(super) fn dependencies(config: &Config, spans: &DependencySpans, walk: &mut Walk<'_>) {
    for (name, places) in spans {
        for (other, span) in places {
            if config.services.contains_key(other) {
                continue;
            }
            let names = config.services.keys().map(String::as_str).filter(|n| n != name);
            let near = words::nearest(other, names);
            let diagnostic = walk.error(span.clone(), format!("there is no service `{other}`"));
            if let Some(near) = near {
                diagnostic.label(format!("did you mean `{near}`?"));
            }
        }
    }
    let mut settled = BTreeSet::new();
    for name in config.services.keys() {
        let mut path = Vec::new();
        if let Some(circle) = find_circle(name, config, &mut path, &mut settled) {
            let next = circle.get(1).unwrap_or(&circle[0]);
            let span = spans.get(&circle[0]).and_then(|places| places.get(next)).cloned();
            walk.error(
                span.unwrap_or_default(),
                format!("services wait for each other: {}", circle.join(" → ")),
            )
            .help("none of them could ever start; remove one of these dependencies".into());
        }
    }
}

/// Depth first; what is settled has been looked at from every side.
pub(super) fn find_circle(
    name: &str,
    config: &Config,
    path: &mut Vec<String>,
    settled: &mut BTreeSet<String>,
) -> Option<Vec<String>> {
    if let Some(at) = path.iter().position(|seen| seen == name) {
        let mut circle = path[at..].to_vec();
        circle.push(name.to_owned());
        settled.extend(path.iter().cloned());
        return Some(circle);
    }
    if settled.contains(name) {
        return None;
    }
    path.push(name.to_owned());
    let others = config.services.get(name).into_iter().flat_map(|s| s.depends_on.keys());
    let found = others.into_iter().find_map(|other| find_circle(other, config, path, settled));
    path.pop();
    settled.insert(name.to_owned());
    found
}

/// Warns when a program can't be started as things are now.
pub(super) fn executable(
    program: &str,
    cwd: &Path,
    path: &str,
    span: Range<usize>,
    walk: &mut Walk<'_>,
) {
    match find_executable(program, cwd, path) {
        Ok(_) => {}
        Err(NotExecutable::Missing) if program.contains('/') => {
            walk.warning(
                span,
                format!("the program {} does not exist", cwd.join(program).display()),
            )
            .help("its instances will fail to start until it is there".into());
        }
        Err(NotExecutable::Missing) => {
            walk.warning(span, format!("no program `{program}` on PATH"))
                .help(format!("install it, or give its path; PATH is {path}"));
        }
        Err(NotExecutable::NotAFile(at)) => {
            walk.warning(span, format!("{} is not a file that could be run", at.display()));
        }
        Err(NotExecutable::NoExecBit(at)) => {
            walk.warning(span, format!("{} has no exec bit", at.display()))
                .help(format!("chmod +x {}", at.display()));
        }
    }
}

/// Why a program can't be started.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotExecutable {
    /// No such file.
    #[error("there is no such program")]
    Missing,
    /// A folder or device.
    #[error("{} is not a file that could be run", .0.display())]
    NotAFile(PathBuf),
    /// Nobody may execute it.
    #[error("{} has no exec bit: chmod +x {}", .0.display(), .0.display())]
    NoExecBit(PathBuf),
}

/// Finds a program as a shell does: as a path if it has a slash, else along `PATH`.
///
/// # Errors
/// [`NotExecutable`]; the first thing of that name that is in the way, if there is one.
pub fn find_executable(program: &str, cwd: &Path, path: &str) -> Result<PathBuf, NotExecutable> {
    if program.contains('/') {
        let at = cwd.join(program);
        let at = std::path::absolute(&at).unwrap_or(at);
        return check(&at).map(|()| at);
    }
    let mut in_the_way = NotExecutable::Missing;
    for dir in path.split(':') {
        let at = cwd.join(if dir.is_empty() { "." } else { dir }).join(program);
        match check(&at) {
            Ok(()) => return Ok(at),
            Err(NotExecutable::Missing) => {}
            Err(why) => in_the_way = why,
        }
    }
    Err(in_the_way)
}

fn check(at: &Path) -> Result<(), NotExecutable> {
    let meta = std::fs::metadata(at).map_err(|_| NotExecutable::Missing)?;
    if !meta.is_file() {
        return Err(NotExecutable::NotAFile(at.to_owned()));
    }
    if meta.permissions().mode() & 0o111 == 0 {
        return Err(NotExecutable::NoExecBit(at.to_owned()));
    }
    Ok(())
}
