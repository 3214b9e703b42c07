//! `ganger metrics`: what `/metrics` tells Prometheus, and a dashboard for it.

use std::process::ExitCode;

use crate::error::CliError;
use crate::link;
use crate::ui::Ui;

/// Its queries are tested against the names that the daemon gives.
const DASHBOARD: &str = include_str!("../../../../docs/grafana/ganger.json");

/// Flags.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print a Grafana dashboard for these metrics instead, to be imported there; needs no daemon
    #[arg(long)]
    dashboard: bool,
}

/// Prints it.
pub(crate) fn run(args: &Args, ui: &Ui) -> Result<ExitCode, CliError> {
    let text = match args.dashboard {
        true => DASHBOARD.to_owned(),
        false => link::session(ui, async |client| Ok(client.metrics().await?))?,
    };
    let mut out = ui.out();
    out.bytes(text.as_bytes())?;
    out.done()?;
    Ok(ExitCode::SUCCESS)
}
