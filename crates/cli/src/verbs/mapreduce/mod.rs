//! `ganger mapreduce`: a command over all records of many files, and another one over what it wrote, by key.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use ganger_core::{Dur, Size};
use ganger_mapreduce::job::{Note, Outcome, Progress, RunError};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;

use crate::error::{CliError, Kind};
use crate::text;
use crate::ui::Ui;
use crate::verbs::bounds::{Bounds, Walls};

mod job;
pub(crate) mod streaming;

/// A screen is drawn so often at most.
const PER_SECOND: u8 = 10;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Built-in steps: --map @lines, @words, @grep:PATTERN; --combine and --reduce @sort, @distinct, @count, @sum, @min, @max.\n\
Commands get records on standard input and write KEY TAB VALUE lines; they have no shell unless they are one: sh -c '…'.\n\
Hadoop streaming's words are taken as well: -input -output -mapper -combiner -reducer -numReduceTasks -cmdenv -D."
)]
pub(crate) struct Args {
    /// Files and globs; gzip and zstd are unpacked
    #[arg(long, required = true, num_args = 1.., value_name = "GLOB")]
    input: Vec<String>,
    /// The folder for the result, which must not be there
    #[arg(long, value_name = "DIR")]
    output: PathBuf,
    /// What is done with each split of the input
    #[arg(long, visible_alias = "mapper", value_name = "CMD", allow_hyphen_values = true)]
    map: String,
    /// What is done with what one map wrote, before it goes on
    #[arg(long, visible_alias = "combiner", value_name = "CMD")]
    combine: Option<String>,
    /// What is done with the lines of each key; without it what maps wrote is the result
    #[arg(long, visible_alias = "reducer", value_name = "CMD")]
    reduce: Option<String>,
    /// Partitions of the result [default: as many as jobs]
    #[arg(long, short = 'r', value_name = "N")]
    reducers: Option<u32>,
    /// Attempts at once [default: processors]
    #[arg(long, short, value_name = "N", value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..))]
    jobs: Option<usize>,
    /// Records: lines, csv, paragraphs, fixed:BYTES, delimited:TEXT
    #[arg(long, value_name = "FORM", default_value = "lines")]
    format: String,
    /// Bytes of a split [default: from the input, 4M to 64M]
    #[arg(long, value_name = "SIZE")]
    split_size: Option<Size>,
    /// The longest record, and the longest line of a command
    #[arg(long, value_name = "SIZE", default_value = "16M")]
    record_max: Size,
    /// What stands between key and value [default: a tab]
    #[arg(long, short = 't', value_name = "BYTE", value_parser = crate::verbs::map::options::byte)]
    separator: Option<u8>,
    /// Fields that are the key [default: 1]
    #[arg(long, value_name = "N")]
    key_fields: Option<usize>,
    /// Fields of the key that decide about the partition [default: all]
    #[arg(long, value_name = "N")]
    partition_fields: Option<usize>,
    /// Memory for sorting [default: 512M]
    #[arg(long, value_name = "SIZE")]
    sort_memory: Option<Size>,
    /// Failures of a task before it is given up
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..))]
    max_attempts: u8,
    /// Leave out splits that are given up, and tell them
    #[arg(long)]
    keep_going: bool,
    /// End a command that neither reads nor writes for so long [default: 10m]
    #[arg(long, value_name = "TIME")]
    task_timeout: Option<Dur>,
    /// Go on with a job that was not finished; what is done does not run again
    #[arg(long, conflicts_with = "fresh")]
    resume: bool,
    /// Throw away what an unfinished job left
    #[arg(long)]
    fresh: bool,
    /// A variable for commands
    #[arg(long, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// A property of Hadoop's
    #[arg(long, hide = true, value_name = "NAME=VALUE")]
    define: Vec<String>,
    /// Hadoop copies programs to its machines; here they are
    #[arg(long, hide = true)]
    file_here: Vec<PathBuf>,
    /// Of Hadoop's classes the two that mean something here
    #[arg(long, hide = true, value_parser = ["org.apache.hadoop.mapred.lib.KeyFieldBasedPartitioner", "org.apache.hadoop.mapred.lib.HashPartitioner"])]
    partitioner: Option<String>,
    /// Lines
    #[arg(long, hide = true, value_parser = ["org.apache.hadoop.mapred.TextInputFormat", "TextInputFormat"])]
    inputformat: Option<String>,
    /// Show the outcome as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    bounds: Bounds,
    #[command(flatten)]
    walls: Walls,
}

pub(crate) fn run(args: &Args, ui: &Ui) -> Result<ExitCode, CliError> {
    let job = job::job(args)?;
    let began = Instant::now();
    let bar = std::io::stderr().is_terminal().then(bar);
    let done = ganger_mapreduce::job::run(job, &mut |note| match note {
        Note::Progress(progress) => {
            if let Some(bar) = &bar {
                show(bar, progress);
            }
        }
        Note::Warning(text) => {
            let say = || ui.talk(&format!("warning: {text}"));
            bar.as_ref().map_or_else(say, |bar| bar.suspend(say));
        }
        _ => {}
    });
    if let Some(bar) = &bar {
        bar.finish_and_clear();
    }
    let outcome = done.map_err(|error| told(&error))?;
    if args.json {
        ui.json(&shown(&outcome, args, began.elapsed().as_secs_f64()))?;
    } else {
        ui.talk(&words(&outcome, args));
    }
    Ok(if outcome.dead.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(Kind::Partial as u8)
    })
}

fn told(error: &RunError) -> CliError {
    let kind = match error {
        RunError::Input(_) => Kind::NotFound,
        RunError::OutputExists { .. }
        | RunError::Unfinished { .. }
        | RunError::OtherJob { .. }
        | RunError::Busy { .. } => Kind::Conflict,
        RunError::TooMuch(_) => Kind::Usage,
        _ => Kind::Failed,
    };
    CliError::new(kind, error.to_string())
}

/// `3 parts, 61.2MiB in 81 lines; 12 maps, 2 reduces, 4 resumed, 1 failed attempt`
fn words(outcome: &Outcome, args: &Args) -> String {
    let count = |n: u64, noun: &str| text::count(usize::try_from(n).unwrap_or(usize::MAX), noun);
    let mut words =
        vec![count(u64::from(outcome.tasks.0), "map"), count(u64::from(outcome.tasks.1), "reduce")];
    if outcome.resumed > 0 {
        words.push(format!("{} done before", outcome.resumed));
    }
    let failed = outcome.failed.0 + outcome.failed.1;
    if failed > 0 {
        words.push(format!("{} that failed", count(failed, "attempt")));
    }
    if !outcome.dead.is_empty() {
        words.push(format!("{} given up", outcome.dead.len()));
    }
    let mut text = format!(
        "{}: {}, {}, {} ({})",
        args.output.display(),
        text::count(outcome.parts, "part"),
        text::bytes(outcome.written.0),
        count(outcome.written.1, "line"),
        words.join(", ")
    );
    for ((group, name), amount) in &outcome.counters {
        text.push_str(&format!("\n  {group} {name} = {amount}"));
    }
    text
}

fn shown(outcome: &Outcome, args: &Args, seconds: f64) -> serde_json::Value {
    let counters: Vec<_> = outcome
        .counters
        .iter()
        .map(|((group, name), value)| json!({"group": group, "name": name, "value": value}))
        .collect();
    let dead: Vec<_> =
        outcome.dead.iter().map(|(task, why)| json!({"task": task, "why": why})).collect();
    json!({
        "v": 1,
        "output": args.output,
        "parts": outcome.parts,
        "bytes": outcome.written.0,
        "lines": outcome.written.1,
        "maps": outcome.tasks.0,
        "reduces": outcome.tasks.1,
        "resumed": outcome.resumed,
        "failed_attempts": outcome.failed.0,
        "killed_attempts": outcome.failed.1,
        "speculative_attempts": outcome.speculative,
        "remade_spills": outcome.remade,
        "counters": counters,
        "dead": dead,
        "seconds": seconds,
    })
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::no_length();
    bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(PER_SECOND));
    let style = ProgressStyle::with_template("{percent:>3}% {wide_bar} {msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

fn show(bar: &ProgressBar, now: Progress) {
    bar.set_length(u64::from(now.maps.1) + u64::from(now.reduces.1));
    bar.set_position(u64::from(now.maps.0) + u64::from(now.reduces.0));
    let (maps, reduces) = (now.maps, now.reduces);
    bar.set_message(format!(
        "{}/{} maps · {}/{} reduces · {} of {} · {} running",
        maps.0,
        maps.1,
        reduces.0,
        reduces.1,
        text::bytes(now.bytes.0),
        text::bytes(now.bytes.1),
        now.running
    ));
}
