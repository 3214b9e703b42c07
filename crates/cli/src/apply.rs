//! Sending the config to the daemon, with the environment its services inherit.

use std::collections::BTreeMap;

use ganger_api::{Applied, ApplyRequest, Client};
use ganger_daemon::config::Config;

use crate::error::{CliError, Kind};
use crate::ui::Ui;

/// Variables of whoever started us: they would make a service believe that they are meant for it.
const NOT_INHERITED: [&str; 5] =
    ["NOTIFY_SOCKET", "LISTEN_", "NODE_CHANNEL_", "NODE_UNIQUE_ID", "GANGER_"];

/// Applies the config, or only asks what would change.
pub(crate) async fn apply(
    client: &Client,
    config: &Config,
    ui: &Ui,
    dry_run: bool,
) -> Result<Applied, CliError> {
    let config = serde_json::to_value(config).map_err(|error| {
        CliError::new(Kind::Failed, format!("the config can't be written as JSON: {error}"))
    })?;
    let request = ApplyRequest { config, environment: environment(ui), dry_run };
    Ok(client.apply(&request).await?)
}

fn environment(ui: &Ui) -> BTreeMap<String, String> {
    let mut kept = BTreeMap::new();
    for (name, value) in std::env::vars_os() {
        match (name.into_string(), value.into_string()) {
            (Ok(name), Ok(value)) => {
                if !NOT_INHERITED.iter().any(|prefix| name.starts_with(prefix)) {
                    kept.insert(name, value);
                }
            }
            (Ok(name), Err(_)) => {
                ui.talk(&format!("warning: ${name} is not UTF-8; services start without it"));
            }
            (Err(_), _) => {}
        }
    }
    kept
}
