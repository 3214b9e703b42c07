//! `ganger incident ack|close`: what people did about it, recorded in the log itself.

use std::process::ExitCode;

use ganger_api::{IncidentChange, IncidentWord};
use ganger_audit::{
    Append, AuditError, Entry, Event, Filter, Handling, IncidentState, Log, Options, Own,
    Principal, Reader, Record,
};

use super::{Found, no_incident};
use crate::error::{CliError, Kind};
use crate::link;
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
    let records: Vec<IncidentState> = records.collect();
    let mut options = Options::new(&folder);
    options.witness = witness(&Reader::open(&folder)?)?;
    // Whoever holds the log's lock writes it: a daemon, or this call.
    match append(options, &records) {
        Ok(()) => {}
        Err(AuditError::Locked { .. }) => ask(&records, ui)?,
        Err(error) => return Err(failed(&error)),
    }
    let what = if state == Handling::Closed { "closed" } else { "acknowledged" };
    ui.talk(&format!("{what}: {}", args.ids.join(", ")));
    Ok(ExitCode::SUCCESS)
}

/// Appends to the log itself. Its lock keeps two writers apart.
fn append(options: Options, changes: &[IncidentState]) -> Result<(), AuditError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| AuditError::Form(error.to_string()))?;
    runtime.block_on(async {
        let log = Log::open(options)?;
        for change in changes {
            let record = Record::IncidentState(Box::new(change.clone()));
            let append = Append { run: None, principal: Some(caller()), record };
            log.append(&append).await?;
        }
        log.close().await
    })
}

/// The daemon writes it.
fn ask(changes: &[IncidentState], ui: &Ui) -> Result<(), CliError> {
    link::session(ui, async |client| {
        for IncidentState { id, state, note } in changes {
            let state = match state {
                Handling::Open => IncidentWord::Open,
                Handling::Ack => IncidentWord::Ack,
                Handling::Closed => IncidentWord::Closed,
            };
            let change = IncidentChange { state, note: note.clone() };
            client.change_incident(id, &change).await?;
        }
        Ok(())
    })
}

fn failed(error: &AuditError) -> CliError {
    CliError::new(Kind::Failed, error.to_string())
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
