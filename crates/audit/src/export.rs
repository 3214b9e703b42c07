//! A record as one row of a table.

use crate::entry::{Entry, Event};
use crate::record::Record;

/// A record as a row of comma separated values (RFC 4180). What only some records have is in `detail`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CsvRow([String; 11]);

impl CsvRow {
    /// Names of the columns.
    pub const COLUMNS: [&'static str; 11] = [
        "seq",
        "ts",
        "event",
        "verdict",
        "run",
        "principal",
        "uid",
        "policy",
        "program",
        "argv",
        "detail",
    ];

    /// Of a record.
    #[must_use]
    pub fn of(entry: &Entry) -> Self {
        let who = entry.principal.as_ref();
        Self([
            entry.seq.to_string(),
            entry.ts.clone(),
            entry.name().to_owned(),
            entry.verdict().unwrap_or_default().to_owned(),
            entry.run.map(|run| run.to_string()).unwrap_or_default(),
            who.map(|who| crate::canonical::shown(&who.name)).unwrap_or_default(),
            who.map(|who| who.uid.to_string()).unwrap_or_default(),
            entry.policy().map(crate::canonical::shown).unwrap_or_default(),
            entry.program().unwrap_or_default(),
            entry.argv().join(" "),
            entry.detail(),
        ])
    }

    /// What stands in a column; empty where there is no such column.
    #[must_use]
    pub fn cell(&self, column: &str) -> &str {
        let at = Self::COLUMNS.iter().position(|name| *name == column);
        at.map_or("", |at| &self.0[at])
    }

    /// The header's line.
    #[must_use]
    pub fn header() -> String {
        Self::COLUMNS.join(",")
    }

    /// The row's line. A cell that a spreadsheet would take for a formula gets an apostrophe before it.
    #[must_use]
    pub fn line(&self) -> String {
        let cells: Vec<String> = self.0.iter().map(|cell| quoted(cell)).collect();
        cells.join(",")
    }
}

fn quoted(cell: &str) -> String {
    let formula = cell.starts_with(['=', '+', '-', '@']);
    let cell = if formula { format!("'{cell}") } else { cell.to_owned() };
    if cell.contains([',', '"']) { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell }
}

impl Entry {
    /// The command line, each argument printable; empty where there is none.
    #[must_use]
    pub fn argv(&self) -> Vec<String> {
        let argv = match &self.event {
            Event::Record(Record::Intent(intent)) => &intent.argv,
            Event::Record(Record::Denied(denied)) => &denied.argv,
            _ => return Vec::new(),
        };
        argv.iter().map(ToString::to_string).collect()
    }

    /// A sentence on what only this kind of record says; printable, empty where there is nothing to say.
    #[must_use]
    pub fn detail(&self) -> String {
        let text = match &self.event {
            Event::Record(record) => match record {
                Record::Started(s) => {
                    format!("ganger {} as process {} on {}", s.version, s.pid, s.host)
                }
                Record::Stopped(stopped) => stopped.reason.clone(),
                Record::PolicyLoaded(loaded) => format!("{} rules", loaded.rules),
                Record::Intent(intent) => {
                    format!("rule {}, profile {}", intent.rule, intent.profile)
                }
                Record::Outcome(outcome) => outcome.sentence(),
                Record::Denied(denied) => format!("{}: {}", denied.reason, denied.message),
                Record::Incident(i) => format!("{} {}: {}", i.rule, i.id, i.message),
                Record::IncidentState(changed) => {
                    let note = changed.note.as_ref().map(|note| format!(": {note}"));
                    let state = changed.state.as_str();
                    format!("{} is {state}{}", changed.id, note.unwrap_or_default())
                }
            },
            Event::Own(own) => own.sentence(),
            Event::Other { .. } => "of a newer ganger".to_owned(),
        };
        crate::canonical::shown(&text)
    }
}
