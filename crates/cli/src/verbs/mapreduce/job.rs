//! From the command line to a [`Job`].

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ganger_core::{InstanceId, InstanceKind};
use ganger_keeper::wire::{Env, Plan};
use ganger_mapreduce::input::{Format, Inputs};
use ganger_mapreduce::job::{FoldBy, Job, Map, Reduce};
use ganger_mapreduce::operators::Grep;

use super::Args;
use crate::error::{CliError, Kind};
use crate::verbs::bounds;
use crate::verbs::run::find;

/// umask(2): the job's files are the caller's.
const ALL: u32 = 0o777;
/// Hadoop's mapreduce.task.timeout.
const IDLE: Duration = Duration::from_secs(600);
const MEMORY: u64 = 512 << 20;

fn usage(message: impl Into<String>) -> CliError {
    CliError::new(Kind::Usage, message)
}

pub(super) fn job(args: &Args) -> Result<Job, CliError> {
    let defined = Defined::of(&args.define)?;
    if args.input.iter().any(|input| input == "-") {
        return Err(usage("standard input can't be read again by a second attempt")
            .help("write it into a file first, or use `ganger map --pipe`"));
    }
    let slots =
        args.jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let reducers = args.reducers.or(defined.reducers).unwrap_or(u32::try_from(slots).unwrap_or(1));
    let separator = args.separator.or(defined.separator).unwrap_or(b'\t');
    let map = map(&args.map)?;
    let combine = args.combine.as_deref().map(reduce).transpose()?;
    let step = match (args.reduce.as_deref(), reducers) {
        // Hadoop's way to say that there is no second step.
        (Some("NONE"), _) | (_, 0) | (None, _) => None,
        (Some(text), _) => Some(reduce(text)?),
    };
    if matches!(
        (&combine, &step),
        (Some(Reduce::Fold(FoldBy::Count)), Some(Reduce::Fold(FoldBy::Count)))
    ) {
        return Err(usage(
            "--combine @count leaves counts, which --reduce @count would count once more",
        )
        .help("write --reduce @sum"));
    }
    if combine.is_some() && step.is_none() {
        return Err(usage("--combine needs --reduce: without it nothing comes together"));
    }
    let partition_fields = args.partition_fields.or(defined.partition_fields);
    let key_fields = args.key_fields.or(defined.key_fields).unwrap_or(1).max(1);
    let inputs = Inputs::list(&args.input)
        .map_err(|error| CliError::new(Kind::NotFound, error.to_string()))?;
    let split = args.split_size.map(|size| size.0);
    Ok(Job {
        identity: format!(
            "{map:?} {combine:?} {step:?} {reducers} {separator} {key_fields} {partition_fields:?} {split:?} {}",
            args.format
        ),
        inputs,
        format: format(&args.format)?,
        split,
        map,
        combine,
        reducers: reducers.max(1),
        reduce: step,
        separator,
        key_fields,
        partition_fields,
        output: args.output.clone(),
        slots,
        memory: usize::try_from(args.sort_memory.map_or(MEMORY, |size| size.0))
            .unwrap_or(usize::MAX),
        record_max: usize::try_from(args.record_max.0).unwrap_or(usize::MAX).clamp(1, 1 << 30),
        task_failures: args.max_attempts,
        keep_going: args.keep_going,
        idle: args.task_timeout.map_or(IDLE, |time| time.0),
        resume: args.resume,
        fresh: args.fresh,
        plan: plan(args)?,
        own: bounds::own(),
        find,
    })
}

/// `@NAME`, `@NAME:ARGUMENT`, or a command, which is split without a shell.
fn map(text: &str) -> Result<Map, CliError> {
    match text.strip_prefix('@').map(|text| text.split_once(':').unwrap_or((text, ""))) {
        None => Ok(Map::Command(words(text)?)),
        Some(("lines", "")) => Ok(Map::Lines),
        Some(("words", "")) => Ok(Map::Words),
        Some(("grep", pattern)) if !pattern.is_empty() => {
            let grep = Grep::new(pattern);
            Ok(Map::Grep(Box::new(grep.map_err(|error| usage(format!("--map {text}: {error}")))?)))
        }
        Some(_) => {
            Err(usage(format!("--map {text}: write a command, or @lines, @words or @grep:PATTERN")))
        }
    }
}

fn reduce(text: &str) -> Result<Reduce, CliError> {
    match text.strip_prefix('@') {
        None => Ok(Reduce::Command(words(text)?)),
        Some("lines" | "sort") => Ok(Reduce::Lines),
        Some("distinct") => Ok(Reduce::Distinct),
        Some("count") => Ok(Reduce::Fold(FoldBy::Count)),
        Some("sum") => Ok(Reduce::Fold(FoldBy::Sum)),
        Some("min") => Ok(Reduce::Fold(FoldBy::Min)),
        Some("max") => Ok(Reduce::Fold(FoldBy::Max)),
        Some(_) => Err(usage(format!(
            "{text}: write a command, or @sort, @distinct, @count, @sum, @min or @max"
        ))),
    }
}

/// The words of a command whose program is there.
fn words(text: &str) -> Result<Vec<String>, CliError> {
    let words = shlex::split(text).filter(|words| !words.is_empty());
    let words =
        words.ok_or_else(|| usage(format!("`{text}` is no command: look at its quotes")))?;
    match find(&words[0]) {
        Ok(_) => Ok(words),
        Err((_, why)) => {
            let error = CliError::new(Kind::NotFound, why);
            let shell = text.contains(['|', '>', '$', ';', '&']);
            Err(if shell {
                error.help(format!("there is no shell unless asked for: sh -c {}", quoted(text)))
            } else {
                error
            })
        }
    }
}

fn quoted(text: &str) -> String {
    shlex::try_quote(text).map_or_else(|_| text.to_owned(), std::borrow::Cow::into_owned)
}

fn format(text: &str) -> Result<Format, CliError> {
    let wrong =
        |error: ganger_mapreduce::input::InputError| usage(format!("--format {text}: {error}"));
    match text.split_once(':').unwrap_or((text, "")) {
        ("lines", "") => Ok(Format::Lines),
        ("csv", "") => Ok(Format::Csv),
        ("paragraphs", "") => Ok(Format::Paragraphs),
        ("fixed", bytes) => {
            let bytes = bytes.parse().map_err(|_| usage("--format fixed:BYTES needs a number"))?;
            Format::fixed(bytes).map_err(wrong)
        }
        ("delimited", by) => Format::delimited(by.as_bytes()).map_err(wrong),
        _ => Err(usage(format!(
            "--format {text}: write lines, csv, paragraphs, fixed:BYTES or delimited:TEXT"
        ))),
    }
}

/// Properties of Hadoop's that mean something here.
#[derive(Debug, Default, PartialEq, Eq)]
struct Defined {
    reducers: Option<u32>,
    separator: Option<u8>,
    key_fields: Option<usize>,
    partition_fields: Option<usize>,
}

impl Defined {
    fn of(given: &[String]) -> Result<Self, CliError> {
        let mut defined = Self::default();
        for one in given {
            let (name, value) = one
                .split_once('=')
                .ok_or_else(|| usage(format!("-D {one}: write -D NAME=VALUE")))?;
            let number = || {
                value.parse::<u32>().map_err(|_| usage(format!("-D {one}: {value} is no number")))
            };
            match name {
                "mapreduce.job.reduces" | "mapred.reduce.tasks" => defined.reducers = Some(number()?),
                "stream.num.map.output.key.fields" => defined.key_fields = Some(number()? as usize),
                "num.key.fields.for.partition" => defined.partition_fields = Some(number()? as usize),
                "stream.map.output.field.separator" | "map.output.key.field.separator"
                | "mapreduce.map.output.key.field.separator" => {
                    let [byte] = value.as_bytes() else {
                        return Err(usage(format!("-D {one}: a separator is one byte")));
                    };
                    defined.separator = Some(*byte);
                }
                "mapreduce.job.name" | "mapred.job.name" => {}
                _ => return Err(usage(format!("-D {name} is not known here")).help(
                    "known: mapreduce.job.reduces, stream.num.map.output.key.fields, num.key.fields.for.partition, stream.map.output.field.separator",
                )),
            }
        }
        Ok(defined)
    }
}

/// What all children have in common.
fn plan(args: &Args) -> Result<Plan, CliError> {
    let text = |path: PathBuf| {
        path.into_os_string()
            .into_string()
            .map_err(|_| CliError::new(Kind::Failed, "the working folder is not UTF-8"))
    };
    let here = std::env::current_dir().map_err(|error| {
        CliError::new(Kind::Failed, format!("the working folder can't be read: {error}"))
    })?;
    let all: BTreeMap<String, String> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let mut env = Env::inheriting(Arc::new(all));
    for one in &args.env {
        let (name, value) =
            one.split_once('=').ok_or_else(|| usage(format!("--env {one}: write NAME=VALUE")))?;
        env.set(name, value);
    }
    let mut profile = bounds::profile(&args.bounds, &args.walls)?;
    let umask = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    rustix::process::umask(umask);
    profile.umask = Some(umask.as_raw_mode() & ALL);
    let plan = Plan::new(
        InstanceId::new("mapreduce", 1),
        InstanceKind::Command,
        "/",
        vec!["mapreduce".into()],
    );
    Ok(Plan { env, cwd: text(here)?, profile, ..plan })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_read_or_refused() {
        assert!(matches!(map("@grep:a|b"), Ok(Map::Grep(_))));
        assert!(matches!(map("@words"), Ok(Map::Words)));
        assert!(map("@nothing").is_err() && map("@grep:(").is_err() && map("'").is_err());
        assert!(matches!(reduce("@sum"), Ok(Reduce::Fold(FoldBy::Sum))) && reduce("@x").is_err());
        assert!(matches!(map("/bin/sh -c 'a b'"), Ok(Map::Command(words)) if words[2] == "a b"));
        assert!(format("fixed:0").is_err() && format("fixed:x").is_err() && format("xml").is_err());
        assert!(matches!(format("delimited:ab"), Ok(Format::Delimited(_))));
    }

    #[test]
    fn hadoop_s_properties() {
        let of = |given: &[&str]| {
            Defined::of(&given.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>())
        };
        let defined = of(&["mapred.reduce.tasks=3", "stream.num.map.output.key.fields=2"]).unwrap();
        assert_eq!((defined.reducers, defined.key_fields), (Some(3), Some(2)));
        assert!(
            of(&["x=1"]).is_err() && of(&["mapred.reduce.tasks=x"]).is_err() && of(&["x"]).is_err()
        );
    }
}
