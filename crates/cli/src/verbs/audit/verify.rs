//! `ganger audit verify`.

use std::path::PathBuf;
use std::process::ExitCode;

use ganger_audit::PublicKey;
use ganger_audit::verify::{Check, Report, VerifyError, verify};
use serde::Serialize;

use super::Where;
use crate::error::{CliError, Kind};
use crate::text;
use crate::ui::Ui;
use crate::verbs::Json;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Where copies of the seals are [default: what the log says]
    #[arg(long, value_name = "DIR")]
    witness: Option<PathBuf>,
    /// The key that must have signed: 64 hexadecimal digits or a PEM file [default: audit.pub in the log's folder]
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    #[command(flatten)]
    at: Where,
    #[command(flatten)]
    out: Json,
}

/// What scripts get.
#[derive(Debug, Serialize)]
struct Told {
    v: u8,
    log: String,
    folder: String,
    ok: bool,
    segments: u64,
    records: u64,
    first: u64,
    last: u64,
    hash: String,
    key: String,
    bytes: u64,
    checkpoints: u64,
    witnessed: Option<u64>,
    unsigned: u64,
    torn_bytes: u64,
    retired_through: u64,
    closed: bool,
    took_s: f64,
    finding: Option<Bad>,
}

/// The first bad place.
#[derive(Debug, Serialize)]
struct Bad {
    kind: &'static str,
    segment: u64,
    line: u64,
    seq: Option<u64>,
    message: String,
}

pub(super) fn run(args: &Args, ui: &Ui) -> Result<ExitCode, CliError> {
    let folder = args.at.folder(ui)?;
    let key = args.key.as_deref().map(key).transpose()?;
    let check = Check { key, witness: args.witness.clone() };
    let report = verify(&folder, &check).map_err(|error| match &error {
        VerifyError::NoLog(_) => super::no_log(error.to_string()),
        VerifyError::Io { .. } => CliError::new(Kind::Failed, error.to_string()),
    })?;
    if args.out.json {
        ui.json(&told(&report, folder.display().to_string()))?;
        return Ok(ExitCode::from(u8::from(report.finding.is_some())));
    }
    if let Some(finding) = &report.finding {
        let message =
            format!("the audit log {} is not as it was written\n  {finding}", folder.display());
        return Err(CliError::new(Kind::Failed, message).help(
            "keep the folder and its witness as evidence: copy both before anything else writes there",
        ));
    }
    for line in sentences(&report) {
        ui.talk(&line);
    }
    Ok(ExitCode::SUCCESS)
}

fn key(text: &str) -> Result<PublicKey, CliError> {
    if let Ok(key) = text.parse() {
        return Ok(key);
    }
    let usage = |why: String| CliError::new(Kind::Usage, format!("--key {text}: {why}"));
    let pem = std::fs::read_to_string(text).map_err(|error| usage(error.to_string()))?;
    pem.parse().map_err(|error: ganger_audit::PublicKeyError| usage(error.to_string()))
}

fn sentences(report: &Report) -> Vec<String> {
    let number = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    let mut lines = vec![format!(
        "intact: records {} to {} in {}, {}, {}",
        report.first,
        report.last,
        text::count(number(report.segments), "segment"),
        text::bytes(report.bytes),
        text::count(number(report.checkpoints), "signed checkpoint"),
    )];
    lines.push(match report.witnessed {
        Some(seals) => format!(
            "the witness agrees: its head, and {}",
            text::count(number(seals), "checkpoint")
        ),
        None => "no witness was compared: an older copy of the whole folder would not be seen"
            .to_owned(),
    });
    if report.retired_through > 0 {
        lines.push(format!("segments up to {} were retired, as announced", report.retired_through));
    }
    if report.unsigned > 0 {
        lines.push(format!(
            "the last {} not signed: being written, or left by a crash",
            if report.unsigned == 1 {
                "record is".to_owned()
            } else {
                format!("{} records are", report.unsigned)
            }
        ));
    }
    if report.torn_bytes > 0 {
        lines.push(format!("{} of an unfinished line follow", text::bytes(report.torn_bytes)));
    }
    if let (Some(hash), Some(key)) = (report.hash, report.key) {
        lines.push(format!("head {hash}\nkey  {key}"));
    }
    lines
}

fn told(report: &Report, folder: String) -> Told {
    let shown = |text: Option<String>| text.unwrap_or_default();
    Told {
        v: 1,
        log: shown(report.log.map(|log| log.to_string())),
        folder,
        ok: report.finding.is_none(),
        segments: report.segments,
        records: report.records,
        first: report.first,
        last: report.last,
        hash: shown(report.hash.map(|hash| hash.to_string())),
        key: shown(report.key.map(|key| key.to_string())),
        bytes: report.bytes,
        checkpoints: report.checkpoints,
        witnessed: report.witnessed,
        unsigned: report.unsigned,
        torn_bytes: report.torn_bytes,
        retired_through: report.retired_through,
        closed: report.closed,
        took_s: report.took.as_secs_f64(),
        finding: report.finding.as_ref().map(|finding| Bad {
            kind: finding.fault.word(),
            segment: finding.segment,
            line: finding.line,
            seq: finding.seq,
            message: finding.to_string(),
        }),
    }
}
