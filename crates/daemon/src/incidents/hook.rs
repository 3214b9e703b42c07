//! The hook: a program that is told of an incident. Started by the keeper like every child, one task each.

use std::io::{Seek, Write};
use std::os::fd::OwnedFd;
use std::time::Duration;

use ganger_core::{Dur, InstanceId, InstanceKind};
use ganger_incident::{Hook, Raised};
use ganger_keeper::wire::{Output, Plan, Stdin};
use ganger_process::{Child, Processes};
use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::recorder::Events;

/// Hooks at once: what comes beyond is in the log, and somebody is being told already.
const AT_ONCE: usize = 8;
/// How long a hook may take: mail servers are slow, people wait no longer for a page.
const LIMIT: Duration = Duration::from_secs(30);
/// In an instance's name: no service or pool may be called so.
const SUFFIX: &str = ":hook";

/// What a hook reads: one line of JSON.
#[derive(Debug, Serialize)]
struct Told<'a> {
    v: u8,
    change: &'static str,
    principal: Option<String>,
    #[serde(flatten)]
    incident: &'a ganger_audit::Incident,
}

/// A child that is a hook.
#[must_use]
pub(crate) fn is_hook(child: &Child) -> bool {
    child.instance().name.ends_with(SUFFIX)
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
            runs.spawn(end(child));
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
        self.slot = self.slot % 1_000_000 + 1;
        let Some(program) = hook.command.first().cloned() else { return };
        let plan = Plan {
            env: [("PATH".to_owned(), "/usr/local/bin:/usr/bin:/bin".to_owned())]
                .into_iter()
                .collect(),
            cwd: "/".into(),
            stdin: Stdin::Passed,
            stdout: Output::Null,
            stderr: Output::Null,
            ..Plan::new(
                InstanceId::new(format!("incident{SUFFIX}"), self.slot),
                InstanceKind::Command,
                program,
                hook.command.clone(),
            )
        };
        self.runs.spawn(carry_out(self.processes.clone(), self.events.clone(), plan, line, id));
    }
}

async fn carry_out(processes: Processes, events: Events, plan: Plan, line: Vec<u8>, id: String) {
    let how = match run(&processes, plan, &line).await {
        Ok(how) => how,
        Err(why) => {
            tracing::warn!(why, id, "the hook of incidents");
            why
        }
    };
    events.tell("incident.hook", &id, how).await;
}

/// How it went, or why it did not.
async fn run(processes: &Processes, plan: Plan, line: &[u8]) -> Result<String, String> {
    let stdin = file_of(line).map_err(|error| format!("it can't be told: {error}"))?;
    let mut child = processes.spawn(plan, vec![stdin]).await.map_err(|error| error.to_string())?;
    match timeout(LIMIT, child.exit()).await {
        Ok(Ok(report)) => {
            child.ack().confirm().await;
            let how = report.end.to_string();
            if report.end.is_success() { Ok(how) } else { Err(how) }
        }
        Ok(Err(gone)) => Err(gone.to_string()),
        Err(_) => {
            end(child).await;
            Err(format!("it took longer than {} and was ended", Dur(LIMIT)))
        }
    }
}

/// The line as a file of nobody's.
fn file_of(line: &[u8]) -> std::io::Result<OwnedFd> {
    let flags = rustix::fs::MemfdFlags::CLOEXEC;
    let mut file = std::fs::File::from(rustix::fs::memfd_create("ganger-incident", flags)?);
    file.write_all(line)?;
    file.rewind()?;
    Ok(file.into())
}

async fn end(mut child: Child) {
    // Without a keeper nothing can be ended; the next one does it before it starts anything.
    drop(child.end_tree().await);
    if child.exit().await.is_ok() {
        child.ack().confirm().await;
    }
}
