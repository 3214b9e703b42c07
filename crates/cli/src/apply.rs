//! Sending the config to the daemon, with the environment its services inherit.

use std::collections::BTreeMap;

use ganger_api::{Applied, ApplyRequest, Client};
use ganger_daemon::config::Config;

use crate::error::{CliError, Kind};
use crate::ui::Ui;

/// How to apply.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Ask {
    /// Only say what would change.
    pub(crate) dry_run: bool,
    /// Also what runs already gets this environment.
    pub(crate) update_env: bool,
}

/// Applies the config, or only asks what would change.
pub(crate) async fn apply(
    client: &Client,
    config: &Config,
    ui: &Ui,
    ask: Ask,
) -> Result<Applied, CliError> {
    let config = serde_json::value::to_raw_value(config).map_err(|error| {
        CliError::new(Kind::Failed, format!("the config can't be written as JSON: {error}"))
    })?;
    let request = ApplyRequest {
        config,
        environment: environment(ui),
        update_environment: ask.update_env,
        dry_run: ask.dry_run,
    };
    Ok(client.apply(&request).await?)
}

fn environment(ui: &Ui) -> BTreeMap<String, String> {
    let mut kept = BTreeMap::new();
    for (name, value) in std::env::vars_os() {
        match (name.into_string(), value.into_string()) {
            (Ok(name), Ok(value)) => {
                kept.insert(name, value);
            }
            (Ok(name), Err(_)) => {
                ui.talk(&format!("warning: ${name} is not UTF-8; services start without it"));
            }
            (Err(_), _) => {}
        }
    }
    kept
}
