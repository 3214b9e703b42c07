//! `ganger top`: the live screen.

use std::io::{self, IsTerminal};
use std::process::ExitCode;

use ganger_top::Options;

use crate::error::{CliError, Kind};
use crate::link;
use crate::ui::Ui;

/// Flags.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "`?` shows the keys. Nothing is done without a `y`; ending it ends nothing else."
)]
pub(crate) struct Args {}

/// Shows it until a key or a signal ends it.
pub(crate) fn run(_: &Args, ui: &Ui) -> Result<ExitCode, CliError> {
    if !(io::stdin().is_terminal() && io::stdout().is_terminal()) {
        let error =
            CliError::new(Kind::Usage, "`top` needs a terminal to draw on and to read keys from");
        return Err(error
            .help("`ganger ps` lists what runs, `ganger stats` what it costs; both have --json"));
    }
    let options = Options { colour: ui.data_is_coloured() };
    let ended = link::session(ui, async |client| {
        let ended = ganger_top::run(&client, options).await;
        ended.map_err(|error| CliError::new(Kind::Failed, error.to_string()))
    })?;
    // As a shell tells of who died of a signal.
    Ok(ended.map_or(ExitCode::SUCCESS, |signal| {
        ExitCode::from(u8::try_from(signal).map_or(u8::MAX, |signal| 128 + signal))
    }))
}
