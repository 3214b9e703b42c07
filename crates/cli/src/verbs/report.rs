//! `ganger report security`: a period of the audit log on one page. Needs no daemon.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use ganger_audit::Filter;
use ganger_audit::verify::{Check, verify};
use ganger_core::Dur;
use ganger_incident::Ledger;
use ganger_report::{Around, Report, Tally, html, markdown};

use super::audit::Where;
use crate::error::{CliError, Kind};
use crate::place::Place;
use crate::text;
use crate::ui::Ui;

/// `report`
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true, disable_help_subcommand = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: ReportVerb,
}

#[derive(Debug, clap::Subcommand)]
enum ReportVerb {
    /// Runs, denials, incidents, limits, hardening, unused rules and the log's integrity
    Security(Security),
}

#[derive(Debug, clap::Args)]
struct Security {
    /// How far back
    #[arg(long, value_name = "SPAN", default_value = "7d")]
    period: Dur,
    /// Until when: 10m (ago) or 2026-11-22T10:00:00Z [default: now]
    #[arg(long, value_name = "TIME", value_parser = text::moment)]
    until: Option<u64>,
    /// html (one file), md or json [default: by the name of -o, else md]
    #[arg(long, value_enum, value_name = "FORM", hide_possible_values = true)]
    format: Option<Format>,
    /// Write to this file [default: stdout]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Where copies of the log's seals are [default: what the log says]
    #[arg(long, value_name = "DIR")]
    witness: Option<PathBuf>,
    #[command(flatten)]
    at: Where,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Html,
    Md,
    Json,
}

pub(crate) fn run(args: &Args, ui: &Ui) -> Result<ExitCode, CliError> {
    let ReportVerb::Security(args) = &args.verb;
    let report = security(args, ui)?;
    let form = args.format.unwrap_or_else(|| by_name(args.output.as_deref()));
    let mut text = match form {
        Format::Html => html(&report),
        Format::Md => markdown(&report),
        Format::Json => serde_json::to_string(&report).map_err(std::io::Error::from)?,
    };
    if form == Format::Json {
        text.push('\n');
    }
    match &args.output {
        Some(file) => {
            write(file, &text).map_err(|error| {
                CliError::new(Kind::Failed, format!("can't write {}: {error}", file.display()))
            })?;
            ui.talk(&format!("wrote {}", file.display()));
        }
        None => {
            let mut out = ui.out();
            out.bytes(text.as_bytes())?;
            out.done()?;
        }
    }
    // The page says it too, but whoever runs this from a timer reads codes.
    match report.log.ok {
        Some(false) => Err(CliError::new(
            Kind::Failed,
            "the audit log is not as it was written; the report says where",
        )
        .help("`ganger audit verify` says more")),
        _ => Ok(ExitCode::SUCCESS),
    }
}

fn security(args: &Security, ui: &Ui) -> Result<Report, CliError> {
    let folder = args.at.folder(ui)?;
    let reader = args.at.reader(ui)?;
    let now_ms = text::now_ms();
    let until = args.until.unwrap_or(now_ms);
    let period = u64::try_from(args.period.0.as_millis()).unwrap_or(u64::MAX);
    if period == 0 {
        return Err(CliError::new(Kind::Usage, "--period 0s is no period"));
    }
    // What is being written while it is read verifies too, so the order does not matter.
    let check = Check { key: None, witness: args.witness.clone() };
    let verified = verify(&folder, &check).map_err(|error| error.to_string());
    let mut tally = Tally::new(until.saturating_sub(period), until);
    let mut ledger = Ledger::default();
    let mut unreadable = 0;
    reader.search(&Filter::default(), |found| {
        match found {
            Ok(found) => {
                tally.see(&found.entry);
                ledger.see(&found.entry);
            }
            Err(_) => unreadable += 1,
        }
        true
    })?;
    let around = Around {
        now_ms,
        verified: Some(verified.as_ref().map_err(Clone::clone)),
        rules: rules(ui),
        unreadable,
    };
    Ok(tally.report(&ledger, around))
}

/// The rules of the config file's policies; none where there is no config, or none that can be read.
fn rules(ui: &Ui) -> Option<Vec<String>> {
    let place = Place::find(ui.globals()).ok()?;
    let loaded = ganger_daemon::config::load(place.config.as_deref()?).ok()?;
    let rules = loaded.config.policies.iter().flat_map(|(name, policy)| {
        policy.allow.iter().map(move |rule| match rule.id.as_str() {
            "" => name.clone(),
            id => format!("{name}/{id}"),
        })
    });
    Some(rules.collect())
}

fn by_name(file: Option<&Path>) -> Format {
    match file.and_then(Path::extension).and_then(|end| end.to_str()) {
        Some("html" | "htm") => Format::Html,
        Some("json") => Format::Json,
        _ => Format::Md,
    }
}

/// For nobody else's eyes: command lines stand in it.
fn write(file: &Path, text: &str) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(file)?;
    file.write_all(text.as_bytes())
}
