//! `ganger version`.

use std::process::ExitCode;

use serde::Serialize;

use super::Json;
use crate::error::CliError;
use crate::ui::Ui;

/// `version`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    out: Json,
}

#[derive(Serialize)]
struct Version {
    v: u8,
    version: &'static str,
    keeper_wire: u32,
    log_wire: u32,
}

pub(crate) fn run(args: &Args, ui: &Ui) -> Result<ExitCode, CliError> {
    let version = env!("CARGO_PKG_VERSION");
    if args.out.json {
        ui.json(&Version {
            v: 1,
            version,
            keeper_wire: ganger_keeper::wire::WIRE_VERSION,
            log_wire: ganger_core::logwire::LOG_WIRE_VERSION,
        })?;
    } else {
        let mut out = ui.out();
        out.line(&format!("ganger {version}"))?;
        out.done()?;
    }
    Ok(ExitCode::SUCCESS)
}
