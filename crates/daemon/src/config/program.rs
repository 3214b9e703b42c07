//! The keys that services and pools share, resolved.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use ganger_core::{Dur, Size};

use super::env_file;
use super::model::{Kill, Limits, LogRules, Program, SourceFile, Stop};
use super::raw::{self, ProgramKeys};
use super::resolve::absolute;
use super::restart;
use super::values::{Command, env_map};
use super::walk::{At, Walk};

const SIGTERM: i32 = 15;
const STOP_TIMEOUT: Dur = Dur(Duration::from_secs(10));
const LOG_MAX_SIZE: Size = Size(100 << 20);
/// Two segments must fit, or rotation could only drop.
const LOG_MIN_SIZE: Size = Size(64 << 10);

pub(super) fn program(
    name: &At<String>,
    keys: &ProgramKeys<'_>,
    walk: &mut Walk<'_>,
    sources: &mut Vec<SourceFile>,
) -> Program {
    let cwd = keys.cwd.get().map_or_else(|| absolute(walk.dir, "."), |cwd| absolute(walk.dir, cwd));
    if let Some(span) = keys.cwd.span().filter(|_| !cwd.is_dir()) {
        walk.warning(span, format!("the folder {} does not exist", cwd.display()))
            .help("create it, or its instances won't start".into());
    }
    let mut env = read_env_files(keys, walk, sources);
    if let Some(named) = keys.env.get() {
        env.extend(env_map(named, walk));
    }
    let (command, span) = command(name, keys, walk);
    if let (Some(first), Some(span)) = (command.first(), span) {
        let path = env.get("PATH").or_else(|| walk.env.get("PATH")).cloned().unwrap_or_default();
        super::checks::executable(first, &cwd, &path, span, walk);
    }
    Program {
        command,
        cwd,
        env,
        user: keys.user.get().cloned(),
        limits: limits(keys.limits.get(), walk),
        restart: restart::restart(keys.restart.get(), walk),
        stop: Stop {
            signal: keys.stop_signal.get().map_or(SIGTERM, |signal| signal.0),
            timeout: keys.stop_timeout.get().map_or(STOP_TIMEOUT, |time| time.0),
            kill: keys.kill.or(Kill::Tree),
        },
        log: log(keys.log.get(), walk),
        sandbox: super::sandbox::sandbox(keys.sandbox, walk),
    }
}

/// The arguments, and where the program is written.
fn command(
    name: &At<String>,
    keys: &ProgramKeys<'_>,
    walk: &mut Walk<'_>,
) -> (Vec<String>, Option<Range<usize>>) {
    match (&keys.command.0, &keys.shell.0) {
        (None, None) => {
            if !keys.command.is_absent() || !keys.shell.is_absent() {
                return (Vec::new(), None);
            }
            walk.error(name.span.clone(), format!("`{}` has nothing to run", name.value))
                .label("needs `command`".into())
                .help(
                    "command = [\"program\", \"argument\"], or shell = \"…\" for a shell line"
                        .into(),
                );
            (Vec::new(), None)
        }
        (Some(command), Some(shell)) => {
            walk.error(shell.span.clone(), "`shell` and `command` exclude each other")
                .help("keep one of them".into());
            (Vec::new(), Some(command.span.clone()))
        }
        (None, Some(shell)) => {
            if shell.value.0.trim().is_empty() {
                walk.error(shell.span.clone(), "there is nothing to run in it");
            }
            (shell_command(&shell.value.0), None)
        }
        (Some(command), None) => (arguments(command, walk), first_argument(command)),
    }
}

/// A line for `/bin/sh`.
pub(super) fn shell_command(line: &str) -> Vec<String> {
    vec!["/bin/sh".into(), "-c".into(), line.into()]
}

pub(super) fn arguments(command: &At<Command>, walk: &mut Walk<'_>) -> Vec<String> {
    let arguments: Vec<String> = match &command.value {
        Command::List(list) => list.iter().map(|at| at.value.clone()).collect(),
        Command::Text(text) => match shlex::split(text) {
            Some(words) => {
                needs_shell(text, &words, command, walk);
                words
            }
            None => {
                walk.error(command.span.clone(), "a quote in this is never closed");
                return Vec::new();
            }
        },
    };
    if arguments.first().is_none_or(String::is_empty) {
        walk.error(command.span.clone(), "there is nothing to run in it");
    }
    arguments
}

/// A string that only a shell would understand is run without one: say so.
fn needs_shell(text: &str, words: &[String], command: &At<Command>, walk: &mut Walk<'_>) {
    let operator = words
        .iter()
        .find(|word| ["|", "||", "&&", "&", ";", ">", ">>", "<", "2>&1"].contains(&word.as_str()));
    let assignment = words.first().filter(|word| {
        word.split_once('=').is_some_and(|(name, _)| {
            !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        })
    });
    if let Some(word) = operator.or(assignment) {
        walk.warning(
            command.span.clone(),
            format!("no shell reads this: `{word}` is passed on as it is"),
        )
        .help(format!("write shell = {text:?} if a shell is meant"));
    }
}

fn first_argument(command: &At<Command>) -> Option<Range<usize>> {
    match &command.value {
        Command::List(list) => list.first().map(|at| at.span.clone()),
        Command::Text(_) => Some(command.span.clone()),
    }
}

fn read_env_files(
    keys: &ProgramKeys<'_>,
    walk: &mut Walk<'_>,
    sources: &mut Vec<SourceFile>,
) -> BTreeMap<String, String> {
    let Some(At { span, value }) = &keys.env_file.0 else { return BTreeMap::new() };
    let mut env = BTreeMap::new();
    for (span, file) in value.each(span) {
        let path = absolute(walk.dir, file);
        match read_env_file(&path, sources) {
            Ok(pairs) => env.extend(pairs),
            Err(why) => {
                walk.error(span, format!("env_file {}: {why}", path.display()));
            }
        }
    }
    env
}

/// Reads a file of variables and notes it as a source.
pub(super) fn read_env_file(
    path: &Path,
    sources: &mut Vec<SourceFile>,
) -> Result<Vec<(String, String)>, String> {
    let text = std::fs::read_to_string(path).map_err(|e| e.to_string())?;
    let pairs = env_file::parse(&text).map_err(|e| e.to_string())?;
    let source = SourceFile::of(path, text.as_bytes());
    if !sources.contains(&source) {
        sources.push(source);
    }
    Ok(pairs)
}

fn limits(keys: Option<&raw::Limits>, walk: &mut Walk<'_>) -> Limits {
    let Some(keys) = keys else { return Limits::default() };
    for (span, value, what) in [
        (keys.memory.span(), keys.memory.get().map(|bytes| bytes.0.0), "memory"),
        (keys.pids.span(), keys.pids.get().copied(), "pids"),
        (keys.files.span(), keys.files.get().copied(), "files"),
    ] {
        if let Some(span) = span.filter(|_| value == Some(0)) {
            walk.error(span, format!("with no {what} at all nothing can run"));
        }
    }
    Limits {
        memory: keys.memory.get().map(|bytes| bytes.0),
        cpu: keys.cpu.get().map(|cores| cores.0),
        pids: keys.pids.get().copied(),
        files: keys.files.get().copied(),
    }
}

fn log(keys: Option<&raw::Log>, walk: &mut Walk<'_>) -> LogRules {
    let max_size = keys.and_then(|keys| keys.max_size.get()).map_or(LOG_MAX_SIZE, |bytes| bytes.0);
    if max_size < LOG_MIN_SIZE {
        let span = keys.and_then(|keys| keys.max_size.span()).unwrap_or_default();
        walk.error(span, format!("{max_size} is too little for a log"))
            .help(format!("at least {LOG_MIN_SIZE}"));
    }
    LogRules { max_size, max_age: keys.and_then(|keys| keys.max_age.get()).map(|time| time.0) }
}
