//! `ganger call NAME`: asks a service over its channel and prints the answer.

use std::process::ExitCode;

use ganger_api::CallRequest;
use ganger_api::client::ClientOptions;
use ganger_core::Dur;
use serde_json::value::RawValue;

use super::Json;
use super::wait::GRACE;
use crate::error::{CliError, Kind};
use crate::link;
use crate::ui::Ui;

/// `call`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A service (any ready instance), or NAME#SLOT
    name: String,
    /// What is asked for
    #[arg(short, long, default_value = "", hide_default_value = true)]
    kind: String,
    /// Any JSON [default: null]
    #[arg(short, long, value_name = "JSON")]
    payload: Option<String>,
    /// Give up after this long, with exit code 7; the service is told
    #[arg(long, value_name = "TIME", default_value = "30s")]
    timeout: Dur,
    #[command(flatten)]
    out: Json,
}

pub(crate) fn run(args: &Args, ui: &Ui) -> Result<ExitCode, CliError> {
    let request = CallRequest {
        to: args.name.clone(),
        kind: args.kind.clone(),
        payload: args.payload.as_deref().map(json).transpose()?,
        timeout_s: Some(args.timeout.0.into()),
    };
    let patience = args.timeout.0 + GRACE;
    let answer = link::session(ui, async |client| {
        let options = ClientOptions { verb_timeout: patience, ..ClientOptions::default() };
        Ok(client.with_options(options).call_service(&request).await?)
    })?;
    if args.out.json {
        ui.json(&answer)?;
    } else {
        let mut out = ui.out();
        out.line(answer.result.get())?;
        out.done()?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A payload, as it was typed.
pub(super) fn json(text: &str) -> Result<Box<RawValue>, CliError> {
    serde_json::from_str(text).map_err(|error| {
        CliError::new(Kind::Usage, format!("--payload is not JSON: {error}"))
            .help("a text needs its own quotes: --payload '\"hello\"'")
    })
}
