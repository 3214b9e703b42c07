//! `ganger doctor`: what this machine and this state folder offer, each with the way to the rest.
//!
//! A check tries the thing where it can (it starts a process, makes a cgroup, syncs a file) and believes no version number
//! alone. `fail` is something ganger can't work with, `warn` something it works around, and says so.

use std::process::ExitCode;

use serde::Serialize;

use super::Json;
use crate::error::{CliError, Kind};
use crate::place::Place;
use crate::table::{Table, Tone, left};
use crate::ui::Ui;

mod folder;
mod kernel;
mod programs;
mod trees;

/// `doctor`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    out: Json,
}

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    /// As it should be.
    Ok,
    /// Good to know.
    Info,
    /// Works with less.
    Warn,
    /// Does not work.
    Fail,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Check {
    name: &'static str,
    verdict: Verdict,
    finding: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<String>,
}

impl Check {
    fn ok(name: &'static str, finding: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Ok, finding: finding.into(), fix: None }
    }

    fn info(name: &'static str, finding: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Info, finding: finding.into(), fix: None }
    }

    fn warn(name: &'static str, finding: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Warn, finding: finding.into(), fix: Some(fix.into()) }
    }

    fn fail(name: &'static str, finding: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Fail, finding: finding.into(), fix: Some(fix.into()) }
    }
}

#[derive(Serialize)]
struct Findings {
    v: u8,
    user: u32,
    checks: Vec<Check>,
}

pub(crate) fn run(args: &Args, ui: &Ui) -> Result<ExitCode, CliError> {
    let place = Place::find(ui.globals())?;
    let mut checks = kernel::checks();
    // The tried process becomes a child of this one for a moment, so it comes before other children are started.
    checks.extend(trees::checks());
    checks.extend(folder::checks(&place));
    checks.extend(programs::checks());
    let worst = checks.iter().filter(|check| check.verdict == Verdict::Fail).count();
    if args.out.json {
        let user = rustix::process::geteuid().as_raw();
        ui.json(&Findings { v: 1, user, checks })?;
    } else {
        show(&checks, ui)?;
    }
    Ok(if worst == 0 { ExitCode::SUCCESS } else { ExitCode::from(Kind::Partial as u8) })
}

fn show(checks: &[Check], ui: &Ui) -> Result<(), CliError> {
    let mut table = Table::new(&[left("", 0), left("CHECK", 0), left("FINDING", 0)]);
    for check in checks {
        let (mark, tone) = match check.verdict {
            Verdict::Ok => ("ok", Tone::Plain),
            Verdict::Info => ("info", Tone::Dim),
            Verdict::Warn => ("warn", Tone::Warn),
            Verdict::Fail => ("FAIL", Tone::Bad),
        };
        table.row(tone, vec![mark.into(), check.name.into(), check.finding.clone()]);
    }
    let mut out = ui.out();
    out.line(&table.render(ui.width(), ui.data_is_coloured()))?;
    for check in checks {
        if let Some(fix) = &check.fix {
            out.line(&format!("fix for {}: {fix}", check.name))?;
        }
    }
    out.done()
}
