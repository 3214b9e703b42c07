//! `ganger validate`: every finding of the config file in one pass.

use std::process::ExitCode;

use ganger_daemon::config;
use serde::Serialize;

use super::Json;
use crate::error::{CliError, Kind};
use crate::place::Place;
use crate::text;
use crate::ui::Ui;

/// `validate`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    out: Json,
}

#[derive(Serialize)]
struct Findings<'a> {
    v: u8,
    file: String,
    valid: bool,
    findings: &'a [config::Diagnostic],
}

pub(crate) fn run(args: &Args, ui: &Ui) -> Result<ExitCode, CliError> {
    let place = Place::find(ui.globals())?;
    let path = place.need_config()?;
    let (findings, loaded) = match config::load(path) {
        Ok(loaded) => (loaded.warnings, Some(loaded.config)),
        Err(errors) => (errors, None),
    };
    if args.out.json {
        ui.json(&Findings {
            v: 1,
            file: path.display().to_string(),
            valid: findings.is_empty(),
            findings: &findings.list,
        })?;
    } else if !findings.is_empty() {
        ui.talk(findings.render(ui.talk_is_coloured()).trim_end());
    }
    if !findings.is_empty() {
        return if args.out.json {
            Ok(ExitCode::from(Kind::Config as u8))
        } else {
            let summary = text::count(findings.list.len(), "finding");
            Err(CliError::new(Kind::Config, format!("{}: {summary}", path.display())))
        };
    }
    if let Some(config) = loaded.filter(|_| !args.out.json) {
        let schedules = match config.schedules.len() {
            0 => String::new(),
            n => format!(", {}", text::count(n, "schedule")),
        };
        ui.talk(&format!(
            "{} is valid: {}, {}, {}{schedules}",
            path.display(),
            text::count(config.services.len(), "service"),
            text::count(config.queues.len(), "queue"),
            text::count(config.pools.len(), "pool"),
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// The config for a verb that needs one: errors end the verb, warnings are told.
pub(crate) fn load(place: &Place, ui: &Ui) -> Result<config::Config, CliError> {
    let path = place.need_config()?;
    let loaded = config::load(path).map_err(|errors| CliError::Rendered {
        kind: Kind::Config,
        text: errors.render(ui.talk_is_coloured()),
    })?;
    if !loaded.warnings.is_empty() {
        ui.talk(loaded.warnings.render(ui.talk_is_coloured()).trim_end());
    }
    Ok(loaded.config)
}
