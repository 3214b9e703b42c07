//! `ganger incident list|show`.

use std::process::ExitCode;

use ganger_audit::{CsvRow, Filter, Handling, Severity};
use ganger_incident::Standing;
use serde::Serialize;

use super::{Found, no_incident, severity, word};
use crate::error::CliError;
use crate::table::{Table, Tone, left, right};
use crate::text;
use crate::ui::Ui;
use crate::verbs::Json;

#[derive(Debug, clap::Args)]
pub(super) struct List {
    /// Closed ones too
    #[arg(short, long)]
    all: bool,
    /// Only at least this bad: info, low, medium, high, critical
    #[arg(long, value_name = "WORD", value_parser = severity)]
    severity: Option<Severity>,
    /// Only since a time: 10m (ago) or 2026-11-22T10:00:00Z
    #[arg(long, value_name = "TIME", value_parser = text::moment)]
    since: Option<u64>,
    #[command(flatten)]
    found: Found,
    #[command(flatten)]
    out: Json,
}

#[derive(Debug, clap::Args)]
pub(super) struct Show {
    /// The incident's id
    id: String,
    #[command(flatten)]
    found: Found,
    #[command(flatten)]
    out: Json,
}

#[derive(Serialize)]
struct ListTold<'a> {
    v: u8,
    incidents: Vec<&'a Standing>,
    left_out: u64,
}

#[derive(Serialize)]
struct ShowTold<'a> {
    v: u8,
    #[serde(flatten)]
    incident: &'a Standing,
}

pub(super) fn list(args: &List, ui: &Ui) -> Result<ExitCode, CliError> {
    let ledger = args.found.ledger(ui)?;
    let wanted = |one: &&Standing| {
        (args.all || one.state != Handling::Closed)
            && args.severity.is_none_or(|least| one.severity >= least)
            && args.since.is_none_or(|since| text::time(&one.last).is_ok_and(|last| last >= since))
    };
    let mut incidents: Vec<&Standing> = ledger.iter().filter(wanted).collect();
    incidents.sort_by(|a, b| (a.state, b.severity, &b.last).cmp(&(b.state, a.severity, &a.last)));
    if args.out.json {
        ui.json(&ListTold { v: 1, incidents, left_out: ledger.left_out() })?;
        return Ok(ExitCode::SUCCESS);
    }
    if incidents.is_empty() {
        ui.talk("no incidents");
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = Table::new(&[
        left("ID", 0),
        left("SEVERITY", 0),
        left("STATE", 1),
        left("WHAT", 2),
        left("PRINCIPAL", 1),
        left("PROGRAM", 4),
        right("TIMES", 3),
        left("LAST", 3),
        left("SAID", 0),
    ]);
    for one in incidents {
        let tone = match (one.state, one.severity) {
            (Handling::Closed, _) => Tone::Dim,
            (_, Severity::High | Severity::Critical) => Tone::Bad,
            (_, Severity::Medium) => Tone::Warn,
            _ => Tone::Plain,
        };
        table.row(
            tone,
            vec![
                one.id.clone(),
                word(one.severity).to_owned(),
                one.state.as_str().to_owned(),
                one.title.to_owned(),
                one.principal.clone().unwrap_or_default(),
                one.program.clone().unwrap_or_default(),
                one.count.to_string(),
                second(&one.last),
                one.message.clone(),
            ],
        );
    }
    let mut out = ui.out();
    out.line(&table.render(ui.width(), ui.data_is_coloured()))?;
    out.done()?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn show(args: &Show, ui: &Ui) -> Result<ExitCode, CliError> {
    let ledger = args.found.ledger(ui)?;
    let one = ledger.get(&args.id).ok_or_else(|| no_incident(&args.id))?;
    if args.out.json {
        ui.json(&ShowTold { v: 1, incident: one })?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut out = ui.out();
    for line in lines(one) {
        out.line(&text::printable(&line))?;
    }
    // The evidence itself, as far as it is still there.
    let (first, last) = (one.evidence.first(), one.evidence.last());
    let reader = args.found.at.reader(ui)?;
    let mut failed = Ok(());
    reader.search(&Filter::default(), |found| {
        let Ok(found) = found else { return true };
        let seq = found.entry.seq;
        if one.evidence.contains(&seq) {
            let row = CsvRow::of(&found.entry);
            let line = format!("  {seq} {} {}", second(row.cell("ts")), row.cell("detail"));
            failed = out.line(&line);
        }
        failed.is_ok() && first.is_some() && last.is_some_and(|last| seq < *last)
    })?;
    failed?;
    out.done()?;
    Ok(ExitCode::SUCCESS)
}

fn lines(one: &Standing) -> Vec<String> {
    let about =
        |name: &str, value: Option<&String>| value.map(|value| format!("{name:<10} {value}"));
    let mut lines =
        vec![format!("{} {}: {} ({})", one.id, word(one.severity), one.title, one.state.as_str())];
    lines.extend(about("principal", one.principal.as_ref()));
    lines.extend(about("program", one.program.as_ref()));
    lines.extend(about("policy", one.policy.as_ref()));
    lines.extend(about("technique", one.technique.as_ref()));
    lines.push(format!(
        "{:<10} {} from {} to {}",
        "seen",
        text::count(usize::try_from(one.count).unwrap_or(usize::MAX), "time"),
        second(&one.opened),
        second(&one.last)
    ));
    lines.push(format!("{:<10} {}", "said", one.message));
    lines.extend(about("done", one.action.as_ref()));
    lines.push(format!("{:<10} {}", "to do", one.advice));
    for note in &one.notes {
        let by = note.by.as_deref().unwrap_or("somebody");
        let said = note.note.as_ref().map(|note| format!(": {note}")).unwrap_or_default();
        lines.push(format!("{:<10} {} {by}{said}", note.state.as_str(), second(&note.ts)));
    }
    lines.push("evidence".to_owned());
    lines
}

/// `2026-11-23T08:46:07Z` of a time with nanoseconds.
fn second(ts: &str) -> String {
    ts.get(..19).map_or_else(|| ts.to_owned(), |second| format!("{second}Z"))
}
