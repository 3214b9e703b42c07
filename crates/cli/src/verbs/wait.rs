//! `ganger wait COND…`: exit 0 when all hold, 7 when time is over.

use std::process::ExitCode;
use std::time::Duration;

use ganger_api::client::ClientOptions;
use ganger_api::{WaitCondition, WaitRequest};
use ganger_core::Dur;

use super::Json;
use crate::error::CliError;
use crate::link;
use crate::ui::Ui;

/// `wait`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// queue:NAME=empty, service:NAME=ready, service:NAME=reloaded or task:ID=done; all must hold
    #[arg(required = true, value_name = "COND")]
    conditions: Vec<WaitCondition>,
    /// Give up after this long, with exit code 7 [default: never]
    #[arg(long, value_name = "TIME")]
    timeout: Option<Dur>,
    #[command(flatten)]
    out: Json,
}

/// A wait without end: longer than any daemon lives.
pub(super) const FOREVER: Duration = Duration::from_secs(100 * 366 * 86_400);
/// The daemon answers at the deadline; the client gives it this much more before it gives up by itself.
pub(super) const GRACE: Duration = Duration::from_secs(5);

pub(crate) fn run(args: &Args, ui: &Ui) -> Result<ExitCode, CliError> {
    let request = WaitRequest {
        conditions: args.conditions.clone(),
        timeout_s: args.timeout.map(|timeout| timeout.0.into()),
    };
    let patience = args.timeout.map_or(FOREVER, |timeout| timeout.0 + GRACE);
    let waited = link::session(ui, async |client| {
        let options = ClientOptions { verb_timeout: patience, ..ClientOptions::default() };
        Ok(client.with_options(options).wait(&request).await?)
    })?;
    if args.out.json {
        ui.json(&waited)?;
    }
    Ok(ExitCode::SUCCESS)
}
