//! `ganger scale NAME=N…`.

use std::process::ExitCode;

use super::control::all_or_part;
use crate::error::CliError;
use crate::link;
use crate::target::Scale;
use crate::ui::Ui;

/// `scale`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How many processes each service or pool shall have
    #[arg(required = true, value_name = "NAME=N")]
    wanted: Vec<Scale>,
}

pub(crate) fn run(args: &Args, ui: &Ui) -> Result<ExitCode, CliError> {
    link::session(ui, async |client| {
        let mut failed = Vec::new();
        for Scale { name, count } in &args.wanted {
            match client.scale(name, *count).await {
                Ok(answer) => {
                    ui.talk(&format!("{name} has {count} now"));
                    for note in answer.notes {
                        ui.talk(&format!("warning: {note}"));
                    }
                }
                Err(error) => failed.push(CliError::from(error)),
            }
        }
        all_or_part(failed, args.wanted.len(), ui)
    })
}
