//! `ganger reload`: a service's processes replaced one after the other, told step by step.

use std::process::ExitCode;
use std::time::Duration;

use ganger_api::client::{EventQuery, Sse};
use ganger_api::{Client, EventLine, VerbAnswer};

use super::control::all_or_part;
use crate::error::CliError;
use crate::link;
use crate::target::Target;
use crate::text;
use crate::ui::Ui;

/// `reload`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Services. The config file is not read again: `ganger up` does that, and reloads what has changed
    #[arg(required = true, value_name = "NAME")]
    names: Vec<Target>,
}

/// The last steps may come a little after the answer: what recording an event takes, many times over.
const LAST_STEPS: Duration = Duration::from_millis(500);

pub(crate) fn run(args: &Args, ui: &Ui) -> Result<ExitCode, CliError> {
    link::session(ui, async |client| {
        let mut failed = Vec::new();
        for target in &args.names {
            let name = target.to_string();
            match one(&client, &name, ui).await {
                Ok(answer) => {
                    ui.talk(&format!("reloaded {name}"));
                    for note in answer.notes {
                        ui.talk(&format!("warning: {note}"));
                    }
                }
                Err(error) => failed.push(error),
            }
        }
        all_or_part(failed, args.names.len(), ui)
    })
}

/// One service, with a line for each step.
async fn one(client: &Client, name: &str, ui: &Ui) -> Result<VerbAnswer, CliError> {
    let follow = EventQuery { follow: true, after: None, limit: Some(0) };
    let mut events = client.events(&follow).await?;
    let reload = client.reload(name);
    tokio::pin!(reload);
    let answer = loop {
        tokio::select! {
            answer = &mut reload => break answer,
            over = step(&mut events, name, ui) => if over {
                // No more steps will be told; the answer still comes.
                break reload.await;
            },
        }
    };
    if answer.is_ok() {
        // Without its last step a reload is told all the same.
        let rest = async { while !step(&mut events, name, ui).await {} };
        drop(tokio::time::timeout(LAST_STEPS, rest).await);
    }
    Ok(answer?)
}

/// Tells the next event if it is a step of this reload; true when there are no more.
async fn step(events: &mut Sse<EventLine>, name: &str, ui: &Ui) -> bool {
    let Ok(Some(event)) = events.next().await else { return true };
    if event.kind != "service.reload" || event.name != name {
        return false;
    }
    ui.talk(&line(&event));
    event.slot.is_none()
        && matches!(event.to.as_deref(), Some("done" | "rolled back" | "cut short"))
}

/// One step as a person reads it.
pub(crate) fn line(event: &EventLine) -> String {
    let slot = event.slot.map(|slot| format!("#{slot}")).unwrap_or_default();
    let to = event.to.as_deref().unwrap_or_default();
    format!("{}{slot} reload {to}: {}", event.name, text::printable(&event.reason))
}
