//! `ganger config show|schema`.

use std::process::ExitCode;

use super::{Json, validate};
use crate::error::CliError;
use crate::place::Place;
use crate::ui::Ui;

/// `config`
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true, disable_help_subcommand = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: ConfigVerb,
}

#[derive(Debug, clap::Subcommand)]
enum ConfigVerb {
    /// Show the config file with every default filled in
    Show(Json),
    /// Print the JSON Schema of ganger.toml
    Schema,
}

pub(crate) fn run(args: &Args, ui: &Ui) -> Result<ExitCode, CliError> {
    match &args.verb {
        ConfigVerb::Show(out) => {
            let config = validate::load(&Place::find(ui.globals())?, ui)?;
            if out.json {
                ui.json(&config)?;
            } else {
                let text = serde_json::to_string_pretty(&config).map_err(std::io::Error::from)?;
                let mut out = ui.out();
                out.line(&text)?;
                out.done()?;
            }
        }
        ConfigVerb::Schema => {
            let text = serde_json::to_string_pretty(&ganger_daemon::config::schema())
                .map_err(std::io::Error::from)?;
            let mut out = ui.out();
            out.line(&text)?;
            out.done()?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
