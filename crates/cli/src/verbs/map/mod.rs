//! `ganger map`: one command over many inputs, some at a time. No daemon, no state folder.
//!
//! This process is the jobs' keeper for as long as it runs, as with `ganger run`: one thread, one way to spawn, limits and walls for each job.
//! The names of options are GNU parallel's and xargs'; those that are not supported are refused with the reason (see `refused`).

pub(crate) mod options;
mod refused;
mod show;
mod sources;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use ganger_core::{Dur, Size};
use ganger_map::{Load, Outcome, Slots};

use crate::error::{CliError, Kind};
use crate::text;
use crate::ui::Ui;
use crate::verbs::bounds::{Bounds, Walls};

pub(crate) use refused::refused;

/// `map`
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "ganger map [OPTIONS] [--] COMMAND [ARG|{}]... [::: VALUE... | :::: FILE...]",
    after_help = "In the command {} stands for a value, {.} for it without its extension, {/} its file name, {//} its folder, {/.} its file name \
without extension, {1} {2/.} one of several, {name} a column with --header, {#} the job's number, {%} its slot. No shell reads it: each word stays \
one argument; --shell asks for one. Values come from standard input, one a line, or after ::: (words), :::: (files), :::+ and ::::+ (in step with \
the source before).\n\nExit code: 0, or 8 when some jobs failed; 2 wrong options, 125 ganger itself failed, 130 after Ctrl-C: once starts no more \
jobs, twice ends those that run."
)]
pub(crate) struct Args {
    /// Jobs at once: 4, +1, -1 or 150% of the processors, 0 for as many as possible, or a file that says it [default: 100%]
    #[arg(
        short = 'j',
        long,
        visible_short_alias = 'P',
        alias = "max-procs",
        value_name = "N",
        allow_hyphen_values = true
    )]
    jobs: Option<Slots>,
    /// Values from the lines of a file; - is standard input
    #[arg(short = 'a', long, value_name = "FILE", help_heading = VALUES)]
    arg_file: Vec<PathBuf>,
    /// Values from the files that a pattern finds, in byte order
    #[arg(long, value_name = "PATTERN", help_heading = VALUES)]
    glob: Vec<String>,
    /// Values end with a NUL byte
    #[arg(short = '0', long, help_heading = VALUES)]
    null: bool,
    /// Values end with this byte: ',' or \t
    #[arg(short = 'd', long, value_name = "BYTE", conflicts_with = "null", value_parser = options::byte, help_heading = VALUES)]
    delimiter: Option<u8>,
    /// Up to N values for a job
    #[arg(short = 'n', long, visible_short_alias = 'N', alias = "max-replace-args", value_name = "N", value_parser = options::count, help_heading = VALUES)]
    max_args: Option<usize>,
    /// Up to N lines for a job; empty ones are none
    #[arg(short = 'L', long, value_name = "N", value_parser = options::count, conflicts_with = "max_args", help_heading = VALUES)]
    max_lines: Option<usize>,
    /// As many values for a job as fit: p-{}-q becomes p-a b-q
    #[arg(short = 'm', help_heading = VALUES)]
    many: bool,
    /// The same, but the whole word is repeated: p-a-q p-b-q
    #[arg(short = 'X', help_heading = VALUES)]
    context: bool,
    /// Bytes of values that -m and -X put into a job
    #[arg(short = 's', long, value_name = "N", value_parser = options::count, help_heading = VALUES)]
    max_chars: Option<usize>,
    /// What stands for a value in the command
    #[arg(short = 'I', value_name = "MARK", default_value = "{}", hide_default_value = true, help_heading = VALUES)]
    mark: OsString,
    /// Empty lines are no values
    #[arg(short = 'r', long, help_heading = VALUES)]
    no_run_if_empty: bool,
    /// A value is several columns with this regular expression between them
    #[arg(short = 'C', long, value_name = "REGEX", help_heading = VALUES)]
    colsep: Option<String>,
    /// `:` when the first line of values names the columns; with --pipe the lines that each block gets again
    #[arg(long, value_name = "N", help_heading = VALUES)]
    header: Option<String>,
    /// Go through all sources in step, instead of every combination
    #[arg(long, alias = "xapply", help_heading = VALUES)]
    link: bool,
    /// Blanks at the ends of values: n keeps, l, r or lr drops them
    #[arg(long, value_name = "ENDS", help_heading = VALUES)]
    trim: Option<String>,
    /// A shell reads the command; values are quoted for it
    #[arg(long, value_name = "SHELL", num_args = 0..=1, require_equals = true, default_missing_value = "/bin/sh")]
    shell: Option<String>,
    /// Jobs get blocks of standard input as theirs
    #[arg(long, alias = "spreadstdin", help_heading = BLOCKS)]
    pipe: bool,
    /// Jobs get blocks of the files of -a or ::::
    #[arg(long, alias = "pipe-part", conflicts_with = "pipe", help_heading = BLOCKS)]
    pipepart: bool,
    /// Bytes of a block, which ends with a whole record [default: 1M]
    #[arg(long, alias = "block-size", value_name = "SIZE", help_heading = BLOCKS)]
    block: Option<Size>,
    /// What a record begins with
    #[arg(long, value_name = "TEXT", help_heading = BLOCKS)]
    recstart: Option<OsString>,
    /// What a record ends with [default: a newline]
    #[arg(long, value_name = "TEXT", help_heading = BLOCKS)]
    recend: Option<OsString>,
    /// Show what jobs say in the order of their values
    #[arg(short = 'k', long, help_heading = OUTPUT)]
    keep_order: bool,
    /// Show what a job says when it has ended (the default)
    #[arg(long, overrides_with_all = ["ungroup", "line_buffer"], help_heading = OUTPUT)]
    group: bool,
    /// Show what jobs say as they say it
    #[arg(short = 'u', long, overrides_with = "line_buffer", help_heading = OUTPUT)]
    ungroup: bool,
    /// Show what jobs say line by line
    #[arg(long, visible_alias = "lb", help_heading = OUTPUT)]
    line_buffer: bool,
    /// Put the value and a tab before each line
    #[arg(long, help_heading = OUTPUT)]
    tag: bool,
    /// Put this and a tab before each line
    #[arg(long, value_name = "TEXT", help_heading = OUTPUT)]
    tagstring: Option<OsString>,
    /// Keep what jobs say in files below this folder
    #[arg(long, alias = "res", value_name = "DIR", help_heading = OUTPUT)]
    results: Option<PathBuf>,
    /// Where what jobs say waits [default: $TMPDIR or /tmp]
    #[arg(long, value_name = "DIR", help_heading = OUTPUT)]
    tmpdir: Option<PathBuf>,
    /// Show a bar, on a terminal
    #[arg(long, help_heading = OUTPUT)]
    bar: bool,
    /// Show how long the rest will take, on a terminal
    #[arg(long, alias = "progress", help_heading = OUTPUT)]
    eta: bool,
    /// Show what would run
    #[arg(long, alias = "dryrun", help_heading = OUTPUT)]
    dry_run: bool,
    /// Write a line about each job that ended
    #[arg(long, value_name = "FILE", help_heading = FAILURES)]
    joblog: Option<PathBuf>,
    /// Don't run again what is in the job log
    #[arg(long, requires = "joblog", help_heading = FAILURES)]
    resume: bool,
    /// Don't run again what succeeded by the job log
    #[arg(long, requires = "joblog", help_heading = FAILURES)]
    resume_failed: bool,
    /// Tries of a job in all
    #[arg(long, value_name = "N", default_value_t = 1, hide_default_value = true, value_parser = clap::value_parser!(u32).range(1..), help_heading = FAILURES)]
    retries: u32,
    /// Stop early: now,fail=1, soon,success=3, soon,fail=20%
    #[arg(long, value_name = "RULE", value_parser = options::halt, help_heading = FAILURES)]
    halt: Option<options::HaltRule>,
    /// End a job after this long: 10s, or 300% of the median
    #[arg(long, value_name = "TIME", value_parser = options::time_limit, help_heading = FAILURES)]
    timeout: Option<ganger_map::TimeLimit>,
    /// Between two starts
    #[arg(long, value_name = "TIME", value_parser = options::time)]
    delay: Option<Dur>,
    /// Start nothing while more runs on this machine: 4 or 80% of the processors
    #[arg(long, alias = "max-load", value_name = "N")]
    load: Option<Load>,
    /// Start nothing while less memory is free; below half of it the youngest job is ended and run again later
    #[arg(long, value_name = "SIZE")]
    memfree: Option<Size>,
    /// Lower the priority of jobs
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(0..20))]
    nice: Option<i32>,
    /// The folder that jobs work in
    #[arg(long, alias = "workdir", value_name = "DIR")]
    wd: Option<PathBuf>,
    /// A variable for jobs, NAME=VALUE; those of the caller are passed on anyway
    #[arg(long, value_name = "NAME")]
    env: Vec<String>,
    #[command(flatten)]
    bounds: Bounds,
    #[command(flatten)]
    walls: Walls,
    /// The command and its values
    #[arg(trailing_var_arg = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

const VALUES: &str = "Values";
const BLOCKS: &str = "Blocks of input";
const OUTPUT: &str = "Output";
const FAILURES: &str = "Failures";

pub(crate) fn run(args: &Args, ui: &Ui) -> Result<ExitCode, CliError> {
    let options = options::options(args)?;
    if let Some(nice) = args.nice {
        // Jobs inherit it; this process does little.
        rustix::process::nice(nice).map_err(|errno| {
            CliError::new(Kind::Run, format!("the priority can't be lowered: {errno}"))
        })?;
    }
    let mut show = show::Show::new(ui, args.bar, args.eta);
    let done = ganger_map::run(options, &mut |note| show.on(note));
    show.over();
    match done {
        Ok(outcome) => Ok(code(&outcome, ui)),
        Err(error) if error.is_broken_pipe() => Err(CliError::Pipe),
        Err(ganger_map::MapError::Template(error)) => {
            Err(CliError::new(Kind::Usage, error.to_string()))
        }
        Err(error) => Err(CliError::new(Kind::Run, error.to_string())),
    }
}

fn code(outcome: &Outcome, ui: &Ui) -> ExitCode {
    let all = outcome.ok + outcome.failed;
    if outcome.failed > 0 {
        let all = text::count(usize::try_from(all).unwrap_or(usize::MAX), "job");
        ui.talk(&format!("{} of {all} failed", outcome.failed));
    }
    if let Some(signal) = outcome.signal {
        return ExitCode::from(u8::try_from(128 + signal).unwrap_or(125));
    }
    match outcome.halted {
        Some(true) => ExitCode::SUCCESS,
        _ if outcome.failed > 0 => ExitCode::from(Kind::Partial as u8),
        _ => ExitCode::SUCCESS,
    }
}
