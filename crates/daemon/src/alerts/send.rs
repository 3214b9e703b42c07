//! Messages on their way: webhooks, and programs that the keeper starts like every child.

use std::time::Duration;

use ganger_alert::notify::outbox::{Entry, Outcome};
use ganger_alert::notify::{Channel, http};
use ganger_process::Processes;
use serde::Deserialize;
use tokio::task::JoinSet;

use crate::program;

/// At a time: one that is slow must not keep the others waiting, and nobody reads more.
pub(super) const AT_ONCE: usize = 4;
/// How long a program may take: as the hook of incidents.
const LIMIT: Duration = Duration::from_secs(30);

/// Sends.
#[derive(Debug)]
pub(super) struct Sends {
    processes: Processes,
    tasks: JoinSet<(Entry, Outcome)>,
    slot: u32,
}

impl Sends {
    pub(super) fn new(processes: Processes) -> Self {
        Self { processes, tasks: JoinSet::new(), slot: 0 }
    }

    pub(super) fn is_busy(&self) -> bool {
        !self.tasks.is_empty()
    }

    /// How many more may begin.
    pub(super) fn room(&self) -> usize {
        AT_ONCE.saturating_sub(self.tasks.len())
    }

    /// Begins. Without a channel the receiver is gone.
    pub(super) fn begin(&mut self, entry: Entry, channel: Option<Channel>, now: u64) {
        self.slot = program::next_slot(self.slot);
        let (processes, slot) = (self.processes.clone(), self.slot);
        self.tasks.spawn(async move {
            let outcome = match channel {
                None | Some(Channel::Log {}) => Outcome::Refused("the receiver is gone".to_owned()),
                Some(Channel::Webhook(webhook)) => http::send(&webhook, &entry, now).await,
                Some(Channel::Exec { command }) => start(&processes, slot, &command, &entry).await,
            };
            (entry, outcome)
        });
    }

    /// The next that is over; `None`: it broke, and is sent again by the next daemon.
    pub(super) async fn turn(&mut self) -> Option<(Entry, Outcome)> {
        match self.tasks.join_next().await? {
            Ok(done) => Some(done),
            Err(error) => {
                tracing::error!(%error, "an alert's message");
                None
            }
        }
    }
}

async fn start(processes: &Processes, slot: u32, command: &[String], entry: &Entry) -> Outcome {
    let command = argv(command, entry);
    let Some(first) = command.first().cloned() else {
        return Outcome::Refused("the receiver has no program".to_owned());
    };
    let plan = program::plan("alert", slot, first, command);
    match program::run(processes, plan, entry.body.as_bytes(), LIMIT).await {
        Ok(_) => Outcome::Taken,
        Err(why) => Outcome::Again(why, None),
    }
}

/// What of a body its receiver's arguments may name.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Said {
    status: String,
    group_key: String,
    alerts: Vec<SaidAlert>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct SaidAlert {
    annotations: SaidTexts,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct SaidTexts {
    summary: String,
}

/// The arguments, from what is sent: the notification itself may be of a former daemon.
fn argv(command: &[String], entry: &Entry) -> Vec<String> {
    let said: Said = serde_json::from_str(&entry.body).unwrap_or_default();
    let group = said.group_key.strip_prefix("{}:").unwrap_or(&said.group_key);
    let summary = said.alerts.first().map_or("", |alert| alert.annotations.summary.as_str());
    ganger_alert::notify::argv(command, &said.status, group, summary, &entry.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_filled_from_the_body_and_stay_one_argument_each() {
        let body = r#"{"status":"firing","groupKey":"{}:{alertname=\"slow\"}","alerts":[{"annotations":{"summary":"web; rm -rf /"}}]}"#;
        let entry = Entry {
            id: "7f".into(),
            receiver: "page".into(),
            body: body.into(),
            born: 0,
            failures: 0,
            next: 0,
            error: None,
        };
        let command =
            ["/bin/page", "{status}: {summary}", "--group={group}", "{id}"].map(String::from);
        let filled = argv(&command, &entry);
        let wanted = ["/bin/page", "firing: web; rm -rf /", "--group={alertname=\"slow\"}", "7f"];
        assert_eq!(filled, wanted);
    }
}
