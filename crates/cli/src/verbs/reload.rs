//! `ganger reload`: a service's processes replaced one after the other, told step by step.

use std::process::ExitCode;
use std::time::Duration;

use ganger_api::client::{EventQuery, Sse};
use ganger_api::{Client, EventLine, Reload, VerbAnswer};
use ganger_core::ReloadState;

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

/// A service's newest reload as a person reads it.
pub(super) fn summary(reload: &Reload, now_ms: u64) -> String {
    let Reload { name, state, from, to, done, of, reason, differs, began_at, ended_at } = reload;
    let age = |at: u64| text::age(Duration::from_millis(now_ms.saturating_sub(at)));
    let versions = if from == to { format!("{from} anew") } else { format!("{from} → {to}") };
    let since = age(began_at.0);
    let ago = age(ended_at.map_or(began_at.0, |at| at.0));
    let because = text::printable(reason);
    let mut line = match state {
        ReloadState::Rolling => {
            format!("{name} is being reloaded ({versions}) for {since}: {done} of {of} replaced")
        }
        ReloadState::GoingBack => format!(
            "{name} goes back to {from} for {since}: {done} of {of} still replaced; {because}"
        ),
        ReloadState::Done => format!("{name} was reloaded {ago} ago ({versions})"),
        ReloadState::TakenBack => {
            format!("{name} stayed at {from}: {to} was taken back {ago} ago: {because}")
        }
        ReloadState::CutShort => {
            format!("{name}: a reload ({versions}) was cut short {ago} ago: {because}")
        }
    };
    if *differs {
        line.push_str("; what is configured does not run: `ganger up` tries it again");
    }
    line
}

/// One step as a person reads it.
pub(crate) fn line(event: &EventLine) -> String {
    let slot = event.slot.map(|slot| format!("#{slot}")).unwrap_or_default();
    let to = event.to.as_deref().unwrap_or_default();
    format!("{}{slot} reload {to}: {}", event.name, text::printable(&event.reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reload_in_a_line() {
        let mut reload: Reload = serde_json::from_value(serde_json::json!({
            "name": "web", "state": "rolling", "from": "3f2a91c0", "to": "88be0d12", "done": 1, "of": 2, "reason": "",
            "began_at": "1970-01-01T00:00:01.000Z",
        }))
        .unwrap();
        let line = summary(&reload, 4_000);
        assert_eq!(line, "web is being reloaded (3f2a91c0 → 88be0d12) for 3s: 1 of 2 replaced");
        reload.state = ReloadState::TakenBack;
        (reload.reason, reload.differs) = ("#3 did not stay up: exited with code 3".into(), true);
        assert_eq!(
            summary(&reload, 4_000),
            "web stayed at 3f2a91c0: 88be0d12 was taken back 3s ago: #3 did not stay up: exited with code 3; \
             what is configured does not run: `ganger up` tries it again"
        );
        reload.to.clone_from(&reload.from);
        (reload.state, reload.differs) = (ReloadState::Done, false);
        assert_eq!(summary(&reload, 4_000), "web was reloaded 3s ago (3f2a91c0 anew)");
    }
}
