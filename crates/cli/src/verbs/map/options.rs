//! From the command line to [`ganger_map::Options`].

use std::collections::BTreeMap;
use std::fs::File;
use std::io::IsTerminal;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ganger_core::{Dur, InstanceId, InstanceKind, Size};
use ganger_keeper::wire::{Env, Plan};
use ganger_map::input::{Boundary, Columns, Cut, Pack, Shape, Source, Trim};
use ganger_map::{Halt, Input, Many, Options, Resume, Show, Slots, TimeLimit};

use super::Args;
use super::sources::{self, Words};
use crate::error::{CliError, Kind};
use crate::verbs::bounds;
use crate::verbs::run::find;

/// `TERM` first; a second later nothing of a job may be left.
const GRACE: Duration = Duration::from_millis(500);
/// Bytes of values in a packed job: what xargs and GNU parallel take as well, far below what execve(2) refuses.
const MAX_CHARS: usize = 128 * 1024;
/// GNU parallel's.
const BLOCK: usize = 1 << 20;
/// umask(2) of nobody: `ganger run` gives services' one to its command, here files are the caller's.
const ALL: u32 = 0o777;

/// A halt rule, or `never`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HaltRule(Option<Halt>);

pub(super) fn halt(text: &str) -> Result<HaltRule, String> {
    if matches!(text, "never" | "0") {
        Ok(HaltRule(None))
    } else {
        text.parse().map(|halt| HaltRule(Some(halt)))
    }
}

/// A number above 0.
pub(super) fn count(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|n| *n > 0).ok_or_else(|| "write a number above 0".to_owned())
}

/// A time with or without a unit; seconds without one.
pub(super) fn time(text: &str) -> Result<Dur, String> {
    if let Ok(seconds) = text.parse::<f64>() {
        let time = Duration::try_from_secs_f64(seconds);
        return time.map(Dur).map_err(|_| "write a time like 10s or 0.5".to_owned());
    }
    text.parse::<Dur>().map_err(|error| error.to_string())
}

pub(super) fn time_limit(text: &str) -> Result<TimeLimit, String> {
    let Some(percent) = text.strip_suffix('%') else {
        return time(text).map(|time| TimeLimit::Fixed(time.0));
    };
    let percent = percent.parse::<f64>().ok().filter(|n| n.is_finite() && *n > 0.0 && *n < 1e9);
    let share = percent.ok_or("write per cent of the median above 0, like 300%")?;
    Ok(TimeLimit::Medians(share / 100.0))
}

/// One byte, or its escape.
pub(crate) fn byte(text: &str) -> Result<u8, String> {
    let escaped = match text {
        "\\n" => Some(b'\n'),
        "\\t" => Some(b'\t'),
        "\\0" => Some(0),
        "\\\\" => Some(b'\\'),
        "\\r" => Some(b'\r'),
        _ => text.strip_prefix("\\x").and_then(|hex| u8::from_str_radix(hex, 16).ok()),
    };
    match (escaped, text.as_bytes()) {
        (Some(byte), _) | (None, &[byte]) => Ok(byte),
        _ => Err("write one byte: ',' or \\t or \\x2c".to_owned()),
    }
}

fn usage(message: impl Into<String>) -> CliError {
    CliError::new(Kind::Usage, message)
}

pub(super) fn options(args: &Args) -> Result<Options, CliError> {
    let words = sources::split(&args.command)?;
    let reads_stdin = args.pipe || words.reads_stdin(args);
    let ordered = args.keep_order;
    let show = match (args.ungroup, args.line_buffer && !ordered) {
        (true, _) => Show::Live,
        (false, true) => Show::Lines,
        (false, false) => Show::Grouped,
    };
    let tag = match (&args.tagstring, args.tag) {
        (Some(text), _) => Some(text.clone().into_vec()),
        (None, true) => Some(b"{}".to_vec()),
        (None, false) => None,
    };
    let clone = |fd: std::io::Result<std::os::fd::OwnedFd>| {
        fd.map(File::from)
            .map_err(|error| CliError::new(Kind::Run, format!("standard output: {error}")))
    };
    let resume = match (args.resume_failed, args.resume) {
        (true, _) => Resume::Succeeded,
        (false, true) => Resume::Done,
        (false, false) => Resume::No,
    };
    let slots = args.jobs.clone().unwrap_or(Slots::Percent(100.0));
    let halt = args.halt.and_then(|rule| rule.0);
    Ok(Options {
        command: words.command.clone(),
        mark: args.mark.clone().into_vec(),
        many: if args.context { Many::Context } else { Many::Words },
        shell: args.shell.clone(),
        input: input(args, words, &slots)?,
        slots,
        show,
        ordered,
        tag,
        joblog: args.joblog.clone(),
        resume,
        tries: args.retries,
        halt,
        timeout: args.timeout,
        grace: GRACE,
        delay: args.delay.map_or(Duration::ZERO, |delay| delay.0),
        load: args.load,
        memory_free: args.memfree.map(|size| size.0),
        results: args.results.clone(),
        tmp: args.tmpdir.clone().unwrap_or_else(std::env::temp_dir),
        dry_run: args.dry_run,
        count_first: (args.bar || args.eta) && !args.pipe && !args.pipepart,
        first_stdin: !reads_stdin && !std::io::stdin().is_terminal(),
        plan: plan(args)?,
        own: bounds::own(),
        find,
        out: clone(std::io::stdout().as_fd().try_clone_to_owned())?,
        err: clone(std::io::stderr().as_fd().try_clone_to_owned())?,
    })
}

fn input(args: &Args, words: Words, slots: &Slots) -> Result<Input, CliError> {
    if args.pipe {
        if !words.sources.is_empty() || !args.arg_file.is_empty() || !args.glob.is_empty() {
            return Err(usage(
                "--pipe takes its blocks from standard input; for files use --pipepart",
            ));
        }
        return Ok(Input::Pipe(cut(args)?));
    }
    let sources = words.all(args)?;
    if args.pipepart {
        let file = |(source, _)| match source {
            Source::File(path) => Ok(path),
            Source::Words(words) => {
                // From --glob.
                let path = words.into_iter().next().map(std::ffi::OsString::from_vec);
                path.map(PathBuf::from).ok_or_else(|| usage("--pipepart needs files"))
            }
            Source::Stdin => Err(usage(
                "--pipepart needs files: -a FILE, or :::: FILE; for standard input use --pipe",
            )),
        };
        let files: Result<Vec<PathBuf>, CliError> = sources.into_iter().map(file).collect();
        return Ok(Input::Parts(files?, cut(args)?));
    }
    let shape = Shape {
        delimiter: if args.null { 0 } else { args.delimiter.unwrap_or(b'\n') },
        columns: columns(args)?,
        header: match args.header.as_deref() {
            None => false,
            Some(":") => true,
            Some(other) => {
                return Err(usage(format!(
                    "--header {other}: for values it is `:`, their first line names the columns"
                )));
            }
        },
        link: args.link,
        skip_empty: args.no_run_if_empty || args.max_lines.is_some(),
    };
    let rows = args.max_args.or(args.max_lines);
    let pack = if args.many || args.context {
        let bytes = args.max_chars.unwrap_or(MAX_CHARS);
        Pack::Fill { rows: rows.unwrap_or(usize::MAX), bytes, slots: slots.count(1) }
    } else {
        Pack::Rows(rows.unwrap_or(1))
    };
    Ok(Input::Values { sources, shape, pack })
}

fn columns(args: &Args) -> Result<Columns, CliError> {
    let separator = args.colsep.as_deref().map(|text| {
        regex::bytes::Regex::new(text).map_err(|error| usage(format!("--colsep: {error}")))
    });
    let trim = match args.trim.as_deref() {
        // As GNU parallel: columns are trimmed unless one says otherwise.
        None if args.colsep.is_some() => Trim::Both,
        None | Some("n") => Trim::No,
        Some("l") => Trim::Left,
        Some("r") => Trim::Right,
        Some("lr" | "rl") => Trim::Both,
        Some(other) => return Err(usage(format!("--trim {other}: write n, l, r or lr"))),
    };
    Ok(Columns { separator: separator.transpose()?, trim })
}

fn cut(args: &Args) -> Result<Cut, CliError> {
    let text = |text: &Option<std::ffi::OsString>| {
        text.as_ref().map(|text| unescaped(&text.clone().into_vec()))
    };
    let start = text(&args.recstart);
    let default = if start.is_some() { Vec::new() } else { b"\n".to_vec() };
    let boundary =
        Boundary { end: text(&args.recend).unwrap_or(default), start: start.unwrap_or_default() };
    let header = match args.header.as_deref() {
        None => Ok(0),
        Some(":") => Ok(1),
        Some(lines) => lines.parse().map_err(|_| {
            usage(format!("--header {lines}: with --pipe it is `:` or a number of lines"))
        }),
    };
    let size = usize::try_from(args.block.unwrap_or(Size(BLOCK as u64)).0).unwrap_or(usize::MAX);
    if size == 0 || size > 1 << 30 {
        return Err(usage("--block: write 1 byte to 1G"));
    }
    Ok(Cut { size, records: args.max_args.or(args.max_lines), boundary, header: header? })
}

/// `\n`, `\t`, `\0` and `\\` as the bytes they stand for.
fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.iter();
    while let Some(byte) = rest.next() {
        let stands_for = |next: &u8| match next {
            b'n' => Some(b'\n'),
            b't' => Some(b'\t'),
            b'r' => Some(b'\r'),
            b'0' => Some(0),
            b'\\' => Some(b'\\'),
            _ => None,
        };
        let escape =
            (*byte == b'\\').then(|| rest.as_slice().first().and_then(stands_for)).flatten();
        bytes.push(escape.unwrap_or(*byte));
        if escape.is_some() {
            rest.next();
        }
    }
    bytes
}

/// What all jobs have in common.
fn plan(args: &Args) -> Result<Plan, CliError> {
    let here = std::env::current_dir().map_err(|error| {
        CliError::new(Kind::Run, format!("the working folder can't be read: {error}"))
    })?;
    let cwd = args.wd.as_ref().map_or_else(|| here.clone(), |wd| here.join(wd));
    let cwd = cwd.into_os_string().into_string();
    let cwd = cwd.map_err(|_| CliError::new(Kind::Run, "the working folder is not UTF-8"))?;
    let all: BTreeMap<String, String> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let mut env = Env::inheriting(Arc::new(all));
    for one in &args.env {
        if let Some((name, value)) = one.split_once('=') {
            env.set(name, value);
        }
    }
    let mut profile = bounds::profile(&args.bounds, &args.walls)?;
    let umask = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    rustix::process::umask(umask);
    profile.umask = Some(umask.as_raw_mode() & ALL);
    let plan = Plan::new(InstanceId::new("map", 1), InstanceKind::Command, "/", vec!["map".into()]);
    Ok(Plan { env, cwd, profile, ..plan })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_words_are_read_or_refused() {
        assert_eq!((byte("\\t"), byte(","), byte("\\x2c")), (Ok(b'\t'), Ok(b','), Ok(b',')));
        assert!(byte("ab").is_err() && byte("").is_err());
        assert_eq!(time("0.5").unwrap().0, Duration::from_millis(500));
        assert_eq!(time("2s").unwrap().0, Duration::from_secs(2));
        assert!(time("-1").is_err());
        assert_eq!(time_limit("150%"), Ok(TimeLimit::Medians(1.5)));
        assert!(time_limit("0%").is_err());
        assert!(halt("never").unwrap().0.is_none() && halt("x").is_err());
        assert_eq!(unescaped(b"a\\n\\x\\\\"), b"a\n\\x\\");
    }
}
