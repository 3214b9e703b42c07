//! `ganger logs`: straight from the segment files, so it works without keeper, logger or daemon.

use std::process::ExitCode;

use ganger_core::Stream;
use ganger_logs::{Line, LogReader, Query, ReadError};

use super::Json;
use crate::error::{CliError, Kind};
use crate::place::Place;
use crate::printer::{Look, Printer};
use crate::target::Target;
use crate::text;
use crate::ui::Ui;

/// `logs`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Services or pools (NAME, or one NAME#SLOT); `ganger` is the daemon's own log [default: all]
    #[arg(value_name = "NAME")]
    names: Vec<Target>,
    /// Go on with what comes
    #[arg(short, long)]
    follow: bool,
    /// Only the last N lines
    #[arg(short = 'n', long = "lines", value_name = "N")]
    lines: Option<u64>,
    /// Only since a time: 10m (ago) or 2026-11-22T10:00:00Z
    #[arg(long, value_name = "TIME", value_parser = text::moment)]
    since: Option<u64>,
    /// Only until a time
    #[arg(long, value_name = "TIME", value_parser = text::moment)]
    until: Option<u64>,
    /// Only lines in which this regular expression is found
    #[arg(short, long, value_name = "REGEX")]
    grep: Option<String>,
    /// Only stdout or stderr
    #[arg(long, value_parser = stream)]
    stream: Option<Stream>,
    /// Show the time of each line
    #[arg(short, long)]
    timestamps: bool,
    /// Only the lines, without names before them
    #[arg(long)]
    no_prefix: bool,
    #[command(flatten)]
    out: Json,
}

fn stream(text: &str) -> Result<Stream, String> {
    text.parse().map_err(|error: ganger_core::words::UnknownWord| error.to_string())
}

/// The daemon's own log.
pub(crate) const OWN_LOG: &str = "ganger";

pub(crate) fn run(args: &Args, ui: &Ui) -> Result<ExitCode, CliError> {
    let place = Place::find(ui.globals())?;
    let reader = LogReader::new(place.state_dir.join("logs"));
    let known = reader.names().map_err(read_error)?;
    check_names(args, &known, &place)?;
    let query = query(args, &known)?;
    let look = match (args.out.json, args.no_prefix) {
        (true, _) => Look::Json,
        (false, true) => Look::Bare,
        (false, false) => Look::Prefixed,
    };
    let mut printer = Printer::new(look, ui.data_is_coloured(), args.timestamps, &query.names);
    let own = args.names.iter().any(|target| target.name == OWN_LOG);
    if args.follow {
        // Ctrl-C ends this process: there is nothing to clean up, so the stop end just stays open.
        let (stop, _open) = rustix::pipe::pipe().map_err(std::io::Error::from)?;
        let lines = reader.follow(&query, stop).map_err(read_error)?;
        print_all(lines, &mut printer, ui, true, own)?;
    } else {
        print_all(reader.read(&query).map_err(read_error)?, &mut printer, ui, false, own)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn check_names(args: &Args, known: &[String], place: &Place) -> Result<(), CliError> {
    if !args.follow && !place.state_dir.exists() {
        return Err(CliError::new(
            Kind::NotFound,
            format!("no logs: state folder {} does not exist", place.state_dir.display()),
        )
        .help("run it where ganger.toml is, or name the folder with --state-dir"));
    }
    if args.names.len() > 1 && args.names.iter().any(|target| target.slot.is_some()) {
        return Err(CliError::new(Kind::Usage, "a slot can be asked for with one name only"));
    }
    let missing = args.names.iter().find(|target| !known.contains(&target.name));
    match missing {
        Some(target) if !args.follow => {
            let names = if known.is_empty() { "nothing yet".to_owned() } else { known.join(", ") };
            Err(CliError::new(Kind::NotFound, format!("no logs of `{}`", target.name))
                .help(format!("there are logs of: {names}")))
        }
        _ => Ok(()),
    }
}

/// Without names all are shown but ganger's own, which is asked for by name.
fn query(args: &Args, known: &[String]) -> Result<Query, CliError> {
    let mut query = if args.names.is_empty() && !args.follow {
        Query::of(known.iter().filter(|name| *name != OWN_LOG))
    } else {
        Query::of(args.names.iter().map(|target| target.name.clone()))
    };
    query.slot = args.names.first().and_then(|target| target.slot);
    query.stream = args.stream;
    query.since_ms = args.since;
    query.until_ms = args.until;
    query.tail_n = args.lines;
    match &args.grep {
        Some(pattern) => query.grep(pattern).map_err(read_error),
        None => Ok(query),
    }
}

fn print_all(
    lines: impl Iterator<Item = Result<Line, ReadError>>,
    printer: &mut Printer,
    ui: &Ui,
    live: bool,
    own: bool,
) -> Result<(), CliError> {
    let mut out = ui.out();
    for line in lines {
        let line = line.map_err(read_error)?;
        if own || &*line.name != OWN_LOG {
            printer.print(&line, &mut out)?;
        }
        if live {
            out.flush()?;
        }
    }
    out.done()
}

/// A reader's failure as this program tells it.
pub(crate) fn read_error(error: ReadError) -> CliError {
    match &error {
        ReadError::Pattern { .. } => CliError::new(Kind::Usage, error.to_string()),
        ReadError::File { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied => {
            CliError::new(Kind::Denied, error.to_string())
                .help("the state folder belongs to the user who started ganger")
        }
        ReadError::File { .. } | ReadError::Watch { .. } => {
            CliError::new(Kind::Failed, error.to_string())
        }
    }
}
