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
    #[command(flatten)]
    foreign: Foreign,
}

/// What is chosen of another tool's file.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Foreign {
    /// Of a PM2 file: `env_NAME` of each app on top of its `env`
    #[arg(long, value_name = "NAME")]
    env: Option<String>,
}

impl Foreign {
    pub(crate) fn choice(&self) -> config::Choice {
        config::Choice { env: self.env.clone() }
    }
}

#[derive(Serialize)]
struct Findings<'a> {
    v: u8,
    file: String,
    valid: bool,
    findings: &'a [config::Diagnostic],
    /// What became of the keys of another tool's file.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    notes: &'a [config::Note],
}

pub(crate) fn run(args: &Args, ui: &Ui) -> Result<ExitCode, CliError> {
    let place = Place::find(ui.globals())?;
    let path = place.need_config()?;
    let (findings, loaded, notes) = match config::load_chosen(path, &args.foreign.choice()) {
        Ok(loaded) => (loaded.warnings, Some(loaded.config), loaded.notes),
        Err(errors) => (errors, None, Vec::new()),
    };
    if args.out.json {
        ui.json(&Findings {
            v: 1,
            file: path.display().to_string(),
            valid: findings.is_empty(),
            findings: &findings.list,
            notes: &notes,
        })?;
    } else if !findings.is_empty() {
        ui.talk(findings.render(ui.talk_is_coloured()).trim_end());
    }
    if !args.out.json {
        tell(&notes, ui);
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
    load_chosen(place, &Foreign::default(), ui).map(|loaded| loaded.config)
}

/// As [`load`], with what is chosen of another tool's file. Its notes are the caller's to tell.
pub(crate) fn load_chosen(
    place: &Place,
    foreign: &Foreign,
    ui: &Ui,
) -> Result<config::Loaded, CliError> {
    let path = place.need_config()?;
    let loaded =
        config::load_chosen(path, &foreign.choice()).map_err(|errors| refused(&errors, ui))?;
    if !loaded.warnings.is_empty() {
        ui.talk(loaded.warnings.render(ui.talk_is_coloured()).trim_end());
    }
    Ok(loaded)
}

/// What is wrong with a config file, as the end of a verb.
pub(crate) fn refused(errors: &config::ConfigErrors, ui: &Ui) -> CliError {
    CliError::Rendered { kind: Kind::Config, text: errors.render(ui.talk_is_coloured()) }
}

/// Tells which of another tool's keys are not taken over, each once; what only means something else, `import` tells.
pub(crate) fn tell(notes: &[config::Note], ui: &Ui) {
    for note in notes.iter().filter(|note| note.kind == config::NoteKind::Left) {
        ui.talk(&format!("note: {note}"));
    }
}
