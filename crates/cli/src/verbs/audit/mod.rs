//! `ganger audit verify|search|tail|export`: the audit log, read from its folder; needs no daemon and no key but the public one.

use std::path::PathBuf;
use std::process::ExitCode;

use ganger_audit::{Entry, Filter, ReadError, Reader, RunId};

use crate::error::{CliError, Kind};
use crate::place::Place;
use crate::text;
use crate::ui::Ui;

mod show;
mod verify;

/// The log's folder in the state folder.
const FOLDER: &str = "audit";

/// `audit`
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true, disable_help_subcommand = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: AuditVerb,
}

#[derive(Debug, clap::Subcommand)]
enum AuditVerb {
    /// Check that the log is what was written; exit 1 and the first bad place if not
    Verify(verify::Args),
    /// Find records
    Search(show::Search),
    /// Show the last records, and what comes with -f
    Tail(show::Tail),
    /// Write records out, as lines of JSON or as CSV
    Export(show::Export),
}

/// Where the log is.
#[derive(Debug, clap::Args)]
pub(super) struct Where {
    /// The log's folder [default: audit in the state folder]
    #[arg(long, value_name = "DIR")]
    log: Option<PathBuf>,
}

/// Which records.
#[derive(Debug, clap::Args)]
struct Which {
    /// Only of this principal: a name (* stands for any text) or a user id
    #[arg(long, value_name = "NAME")]
    principal: Option<String>,
    /// Only of this policy; * stands for any text
    #[arg(long, value_name = "NAME")]
    policy: Option<String>,
    /// Only of this program: its path or its name; * stands for any text
    #[arg(long, value_name = "PATH")]
    program: Option<String>,
    /// Only judged so: allowed, denied, ended, failed, limit, incident
    #[arg(long, value_name = "WORD", value_parser = clap::builder::PossibleValuesParser::new(Entry::VERDICTS), hide_possible_values = true)]
    verdict: Option<String>,
    /// Only this kind of record: intent, outcome, denied, checkpoint, …
    #[arg(long, value_name = "KIND")]
    event: Option<String>,
    /// Only of this run
    #[arg(long, value_name = "ID")]
    run: Option<RunId>,
    /// Only since a time: 10m (ago) or 2026-11-22T10:00:00Z
    #[arg(long, value_name = "TIME", value_parser = text::moment)]
    since: Option<u64>,
    /// Only until a time
    #[arg(long, value_name = "TIME", value_parser = text::moment)]
    until: Option<u64>,
}

impl Which {
    fn filter(&self, text: Option<&String>) -> Filter {
        Filter {
            principal: self.principal.clone(),
            policy: self.policy.clone(),
            program: self.program.clone(),
            verdict: self.verdict.clone(),
            event: self.event.clone(),
            run: self.run,
            since_ms: self.since,
            until_ms: self.until,
            text: text.cloned(),
        }
    }
}

impl Where {
    pub(super) fn folder(&self, ui: &Ui) -> Result<PathBuf, CliError> {
        match &self.log {
            Some(folder) => Ok(folder.clone()),
            None => Ok(Place::find(ui.globals())?.state_dir.join(FOLDER)),
        }
    }

    pub(super) fn reader(&self, ui: &Ui) -> Result<Reader, CliError> {
        Ok(Reader::open(&self.folder(ui)?)?)
    }
}

pub(crate) fn run(args: &Args, ui: &Ui) -> Result<ExitCode, CliError> {
    match &args.verb {
        AuditVerb::Verify(args) => verify::run(args, ui),
        AuditVerb::Search(args) => show::search(args, ui),
        AuditVerb::Tail(args) => show::tail(args, ui),
        AuditVerb::Export(args) => show::export(args, ui),
    }
}

fn no_log(message: String) -> CliError {
    CliError::new(Kind::NotFound, message).help(
        "a log begins with the first policy that is in force; `--log DIR` names a folder elsewhere",
    )
}

impl From<ReadError> for CliError {
    fn from(error: ReadError) -> Self {
        match &error {
            ReadError::NoLog(_) => no_log(error.to_string()),
            ReadError::File { source, .. }
                if source.kind() == std::io::ErrorKind::PermissionDenied =>
            {
                Self::new(Kind::Denied, error.to_string())
                    .help("the log belongs to the user who started ganger")
            }
            ReadError::File { .. } | ReadError::Line { .. } => {
                Self::new(Kind::Failed, error.to_string())
            }
        }
    }
}
