//! `ganger audit search|tail|export`: records on stdout. Whatever they say, nothing but printable ASCII comes out.

use std::process::ExitCode;

use ganger_audit::{CsvRow, Entry, Found, ReadError};

use super::{Where, Which};
use crate::error::{CliError, Kind};
use crate::ui::{Out, Ui};
use crate::verbs::Json;

#[derive(Debug, clap::Args)]
pub(super) struct Search {
    /// Only with this text anywhere in the record
    text: Option<String>,
    #[command(flatten)]
    which: Which,
    /// At most so many, the first
    #[arg(short = 'n', long, value_name = "N")]
    limit: Option<u64>,
    #[command(flatten)]
    at: Where,
    #[command(flatten)]
    out: Json,
}

#[derive(Debug, clap::Args)]
pub(super) struct Tail {
    /// Go on with what comes
    #[arg(short, long)]
    follow: bool,
    /// The last N records
    #[arg(short = 'n', long = "lines", value_name = "N", default_value_t = 20)]
    lines: u32,
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    at: Where,
    #[command(flatten)]
    out: Json,
}

#[derive(Debug, clap::Args)]
pub(super) struct Export {
    /// jsonl: lines as they stand in the log; csv: a table
    #[arg(long, value_enum, value_name = "FORM", default_value_t, hide_possible_values = true)]
    format: Format,
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    at: Where,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
enum Format {
    #[default]
    Jsonl,
    Csv,
}

/// How a record is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    /// For people.
    Line,
    /// As it stands in the log.
    Raw,
    Csv,
}

impl From<Json> for Look {
    fn from(out: Json) -> Self {
        if out.json { Self::Raw } else { Self::Line }
    }
}

pub(super) fn search(args: &Search, ui: &Ui) -> Result<ExitCode, CliError> {
    let limit = args.limit.unwrap_or(u64::MAX);
    print_all(&args.at, &args.which, args.text.as_ref(), args.out.into(), limit, ui)
}

pub(super) fn export(args: &Export, ui: &Ui) -> Result<ExitCode, CliError> {
    let look = if args.format == Format::Csv { Look::Csv } else { Look::Raw };
    print_all(&args.at, &args.which, None, look, u64::MAX, ui)
}

fn print_all(
    at: &Where,
    which: &Which,
    text: Option<&String>,
    look: Look,
    limit: u64,
    ui: &Ui,
) -> Result<ExitCode, CliError> {
    let reader = at.reader(ui)?;
    let mut out = ui.out();
    if look == Look::Csv {
        out.line(&CsvRow::header())?;
    }
    let mut left = limit;
    let mut failed = Ok(());
    let mut unreadable = None;
    reader.search(&which.filter(text), |found| {
        if left == 0 {
            return false;
        }
        match found {
            Ok(found) => {
                left -= 1;
                failed = print(&found, look, &mut out);
            }
            Err(error) => {
                unreadable.get_or_insert(error);
            }
        }
        failed.is_ok() && left > 0
    })?;
    failed?;
    out.done()?;
    unreadable.map_or(Ok(ExitCode::SUCCESS), |error| Err(partly(&error)))
}

fn partly(error: &ReadError) -> CliError {
    CliError::new(Kind::Partial, format!("some lines were left out, the first: {error}"))
}

pub(super) fn tail(args: &Tail, ui: &Ui) -> Result<ExitCode, CliError> {
    let reader = args.at.reader(ui)?;
    let filter = args.which.filter(None);
    let look = args.out.into();
    let mut out = ui.out();
    // Followed from before the look at the last ones, so that nothing falls between; what both see is printed once.
    let (stop, _open) = rustix::pipe::pipe().map_err(std::io::Error::from)?;
    let follow = args.follow.then(|| reader.follow(&filter, stop)).transpose()?;
    let mut last = 0;
    for found in reader.last(usize::try_from(args.lines).unwrap_or(usize::MAX), &filter)? {
        last = found.entry.seq;
        print(&found, look, &mut out)?;
    }
    out.flush()?;
    for found in follow.into_iter().flatten() {
        match found {
            Ok(found) if found.entry.seq > last => print(&found, look, &mut out)?,
            Ok(_) => {}
            Err(error) => ui.talk(&format!("warning: {error}")),
        }
        out.flush()?;
    }
    out.done()?;
    Ok(ExitCode::SUCCESS)
}

fn print(found: &Found, look: Look, out: &mut Out) -> Result<(), CliError> {
    match look {
        Look::Line => out.line(&line(&found.entry)),
        Look::Raw => {
            out.bytes(&found.line)?;
            out.bytes(b"\n")
        }
        Look::Csv => out.line(&CsvRow::of(&found.entry).line()),
    }
}

/// `2026-11-23T08:46:07Z      7 denied   ada       deploy  git fetch: argument: …`
fn line(entry: &Entry) -> String {
    let row = CsvRow::of(entry);
    let what = entry.verdict().unwrap_or_else(|| entry.name());
    let second = entry.ts.get(..19).unwrap_or(&entry.ts);
    let mut line = format!("{second}Z {:>7} {what:<10}", entry.seq);
    for cell in [row.cell("principal"), row.cell("policy")] {
        line.push_str(&format!(" {:<10}", if cell.is_empty() { "-" } else { cell }));
    }
    let command = match row.cell("argv") {
        "" => row.cell("program"),
        argv => argv,
    };
    let detail = row.cell("detail");
    let between = if command.is_empty() || detail.is_empty() { "" } else { "  # " };
    line.push_str(&format!(" {command}{between}{detail}"));
    line
}
