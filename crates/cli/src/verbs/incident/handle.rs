//! `ganger incident ack|close`: what people did about it, recorded in the log itself.

use std::path::Path;
use std::process::ExitCode;

use ganger_audit::{
    Append, AuditError, Entry, Event, Filter, Handling, IncidentState, Log, Options, Own,
    Principal, Reader, Record,
};

use super::{Found, no_incident};
use crate::error::{CliError, Kind};
use crate::ui::Ui;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The incidents' ids
    #[arg(required = true, value_name = "ID")]
    ids: Vec<String>,
    /// What there is to say about it; it stands in the log
    #[arg(short, long, value_name = "TEXT")]
    note: Option<String>,
    #[command(flatten)]
    found: Found,
}

pub(super) fn run(args: &Args, state: Handling, ui: &Ui) -> Result<ExitCode, CliError> {
    let ledger = args.found.ledger(ui)?;
    for id in &args.ids {
        ledger.get(id).ok_or_else(|| no_incident(id))?;
    }
    let folder = args.found.at.folder(ui)?;
    let records =
        args.ids.iter().map(|id| IncidentState { id: id.clone(), state, note: args.note.clone() });
    append(&folder, records.collect())?;
    let what = if state == Handling::Closed { "closed" } else { "acknowledged" };
    ui.talk(&format!("{what}: {}", args.ids.join(", ")));
    Ok(ExitCode::SUCCESS)
}

/// Appends to the log itself. Its lock keeps two writers apart.
fn append(folder: &Path, changes: Vec<IncidentState>) -> Result<(), CliError> {
    let mut options = Options::new(folder);
    options.witness = witness(&Reader::open(folder)?)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let log = Log::open(options).map_err(failed)?;
        for change in changes {
            let record = Record::IncidentState(Box::new(change));
            let append = Append { run: None, principal: Some(caller()), record };
            log.append(&append).await.map_err(failed)?;
        }
        log.close().await.map_err(failed)
    })
}

fn failed(error: AuditError) -> CliError {
    let kind =
        if matches!(error, AuditError::Locked { .. }) { Kind::Conflict } else { Kind::Failed };
    CliError::new(kind, error.to_string())
}

/// The witness folder that the log was last written with.
fn witness(reader: &Reader) -> Result<Option<std::path::PathBuf>, CliError> {
    let filter = Filter { event: Some("segment".into()), ..Filter::default() };
    let last = reader.last(1, &filter)?.pop();
    Ok(last
        .and_then(|found| match found.entry {
            Entry { event: Event::Own(Own::Segment(start)), .. } => start.witness,
            _ => None,
        })
        .map(|witness| {
            use std::os::unix::ffi::OsStrExt;
            std::ffi::OsStr::from_bytes(witness.as_bytes()).into()
        }))
}

/// Whoever calls, by what the kernel says.
fn caller() -> Principal {
    Principal {
        uid: rustix::process::getuid().as_raw(),
        gid: rustix::process::getgid().as_raw(),
        pid: std::process::id(),
        ..Principal::default()
    }
}
