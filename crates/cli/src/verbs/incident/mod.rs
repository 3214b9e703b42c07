//! `ganger incident list|show|ack|close`: what the rules of detection found in the audit log. Reading needs no daemon.

mod handle;
mod show;

use std::process::ExitCode;

use ganger_audit::{Filter, Severity};
use ganger_incident::{Detector, Ledger, Settings};

use super::audit::Where;
use crate::error::{CliError, Kind};
use crate::place::Place;
use crate::text;
use crate::ui::Ui;

/// `incident`
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true, disable_help_subcommand = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: IncidentVerb,
}

#[derive(Debug, clap::Subcommand)]
enum IncidentVerb {
    /// List incidents, those that nobody dealt with and the worst first
    #[command(visible_alias = "ls")]
    List(show::List),
    /// Show one with its evidence and what to do
    Show(show::Show),
    /// Say that somebody knows of it: more of the same is counted, not told
    Ack(handle::Args),
    /// Say that it is dealt with: a lock-out by it ends, more of the same is a new incident
    Close(handle::Args),
}

/// Which incidents there are.
#[derive(Debug, clap::Args)]
struct Found {
    #[command(flatten)]
    at: Where,
    /// Run the rules over the whole log anew, with the thresholds of the config file, besides what it has of incidents
    #[arg(long)]
    replay: bool,
}

pub(crate) fn run(args: &Args, ui: &Ui) -> Result<ExitCode, CliError> {
    match &args.verb {
        IncidentVerb::List(args) => show::list(args, ui),
        IncidentVerb::Show(args) => show::show(args, ui),
        IncidentVerb::Ack(args) => handle::run(args, ganger_audit::Handling::Ack, ui),
        IncidentVerb::Close(args) => handle::run(args, ganger_audit::Handling::Closed, ui),
    }
}

impl Found {
    fn ledger(&self, ui: &Ui) -> Result<Ledger, CliError> {
        let mut detector = self.replay.then(|| Detector::new(settings(ui)).of_whole_log());
        let mut ledger = Ledger::default();
        // Without the rules, only what is about incidents need be read.
        let event = (!self.replay).then_some(["incident", "incident_state"]);
        let reader = self.at.reader(ui)?;
        let mut unreadable = None;
        for event in event.map_or_else(|| vec![None], |events| events.map(Some).to_vec()) {
            let filter = Filter { event: event.map(str::to_owned), ..Filter::default() };
            reader.search(&filter, |found| {
                match found {
                    Ok(found) => {
                        for raised in detector.iter_mut().flat_map(|d| d.see(&found.entry)) {
                            ledger.raised(&found.entry.ts, &raised);
                        }
                        ledger.see(&found.entry);
                    }
                    Err(error) => {
                        unreadable.get_or_insert(error);
                    }
                }
                true
            })?;
        }
        if let Some(error) = unreadable {
            ui.talk(&format!("warning: some lines were left out, the first: {error}"));
        }
        Ok(ledger)
    }
}

/// Those of the config file, if there is one that can be read.
fn settings(ui: &Ui) -> Settings {
    let config = Place::find(ui.globals()).ok().and_then(|place| place.config);
    let loaded = config.and_then(|file| ganger_daemon::config::load(&file).ok());
    loaded.map(|loaded| loaded.config.incident).unwrap_or_default()
}

fn no_incident(id: &str) -> CliError {
    CliError::new(Kind::NotFound, format!("there is no incident `{}`", text::printable(id)))
        .help("`ganger incident list --all` lists them; with --replay also those that the log has not recorded")
}

fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "info",
        Severity::Low => "low",
        Severity::Medium => "medium",
        Severity::High => "high",
        Severity::Critical => "critical",
    }
}

fn severity(text: &str) -> Result<Severity, String> {
    use Severity::{Critical, High, Info, Low, Medium};
    let found = [Info, Low, Medium, High, Critical].into_iter().find(|one| word(*one) == text);
    found.ok_or_else(|| "one of info, low, medium, high, critical".to_owned())
}
