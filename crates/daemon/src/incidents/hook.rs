//! The hook: a program that is told of an incident. Started by the keeper like every child, one task each.

use std::time::Duration;

use ganger_incident::{Hook, Raised};
use ganger_keeper::wire::Plan;
use ganger_process::{Child, Processes};
use serde::Serialize;
use tokio::task::JoinSet;

use crate::program;
use crate::recorder::Events;

/// Hooks at once: what comes beyond is in the log, and somebody is being told already.
const AT_ONCE: usize = 8;
/// How long a hook may take: mail servers are slow, people wait no longer for a page.
const LIMIT: Duration = Duration::from_secs(30);

/// What a hook reads: one line of JSON.
#[derive(Debug, Serialize)]
struct Told<'a> {
    v: u8,
    change: &'static str,
    principal: Option<String>,
    #[serde(flatten)]
    incident: &'a ganger_audit::Incident,
}

/// Hooks under way.
#[derive(Debug)]
pub(super) struct Hooks {
    processes: Processes,
    events: Events,
    runs: JoinSet<()>,
    slot: u32,
}

impl Hooks {
    /// What a former daemon left is ended: nobody knows how long it ran.
    pub(super) fn new(processes: Processes, events: Events, left: Vec<Child>) -> Self {
        let mut runs = JoinSet::new();
        for child in left {
            runs.spawn(program::end(child));
        }
        Self { processes, events, runs, slot: 0 }
    }

    pub(super) fn is_busy(&self) -> bool {
        !self.runs.is_empty()
    }

    /// Waits until one is over.
    pub(super) async fn turn(&mut self) {
        if let Some(Err(error)) = self.runs.join_next().await {
            tracing::error!(%error, "a hook of incidents");
        }
    }

    /// Starts it.
    pub(super) fn call(&mut self, hook: &Hook, raised: &Raised) {
        let id = raised.incident.id.clone();
        if self.runs.len() >= AT_ONCE {
            tracing::warn!(id, "{AT_ONCE} hooks run already: nobody is told of this incident");
            return;
        }
        let told = Told {
            v: 1,
            change: if raised.change == ganger_incident::Change::Opened {
                "opened"
            } else {
                "worse"
            },
            principal: raised
                .principal
                .as_ref()
                .map(|who| ganger_incident::Who::from(who).to_string()),
            incident: &raised.incident,
        };
        let mut line = match serde_json::to_vec(&told) {
            Ok(line) => line,
            Err(error) => return tracing::error!(%error, id, "an incident as JSON"),
        };
        line.push(b'\n');
        self.slot = program::next_slot(self.slot);
        let Some(first) = hook.command.first().cloned() else { return };
        let plan = program::plan("incident", self.slot, first, hook.command.clone());
        self.runs.spawn(carry_out(self.processes.clone(), self.events.clone(), plan, line, id));
    }
}

async fn carry_out(processes: Processes, events: Events, plan: Plan, line: Vec<u8>, id: String) {
    let how = match program::run(&processes, plan, &line, LIMIT).await {
        Ok(how) => how,
        Err(why) => {
            tracing::warn!(why, id, "the hook of incidents");
            why
        }
    };
    events.tell("incident.hook", &id, how).await;
}
