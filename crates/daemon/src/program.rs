//! Programs of the user's that are told something: one line of JSON on their stdin, a limit of time, their end. Started by the keeper like every child.

use std::io::{Seek, Write};
use std::os::fd::OwnedFd;
use std::time::Duration;

use ganger_core::{Dur, InstanceId, InstanceKind};
use ganger_keeper::wire::{Output, Plan, Stdin};
use ganger_process::{Child, Processes};
use tokio::time::timeout;

/// In an instance's name: no service or pool may be called so.
const SUFFIX: &str = ":hook";
/// Slots go round.
const SLOTS: u32 = 1_000_000;

/// A child that was told something.
#[must_use]
pub(crate) fn is_told(child: &Child) -> bool {
    child.instance().name.ends_with(SUFFIX)
}

/// The slot after this one.
pub(crate) const fn next_slot(slot: u32) -> u32 {
    slot % SLOTS + 1
}

/// What is started: `what` names it among the keeper's children.
pub(crate) fn plan(what: &str, slot: u32, program: String, command: Vec<String>) -> Plan {
    Plan {
        env: [("PATH".to_owned(), "/usr/local/bin:/usr/bin:/bin".to_owned())].into_iter().collect(),
        cwd: "/".into(),
        stdin: Stdin::Passed,
        stdout: Output::Null,
        stderr: Output::Null,
        ..Plan::new(
            InstanceId::new(format!("{what}{SUFFIX}"), slot),
            InstanceKind::Command,
            program,
            command,
        )
    }
}

/// How it went, or why it did not. Not cancel safe: dropped, the program runs on until the next daemon ends it.
pub(crate) async fn run(
    processes: &Processes,
    plan: Plan,
    line: &[u8],
    limit: Duration,
) -> Result<String, String> {
    let stdin = file_of(line).map_err(|error| format!("it can't be told: {error}"))?;
    let mut child = processes.spawn(plan, vec![stdin]).await.map_err(|error| error.to_string())?;
    match timeout(limit, child.exit()).await {
        Ok(Ok(report)) => {
            child.ack().confirm().await;
            let how = report.end.to_string();
            if report.end.is_success() { Ok(how) } else { Err(how) }
        }
        Ok(Err(gone)) => Err(gone.to_string()),
        Err(_) => {
            end(child).await;
            Err(format!("it took longer than {} and was ended", Dur(limit)))
        }
    }
}

/// The line as a file of nobody's.
fn file_of(line: &[u8]) -> std::io::Result<OwnedFd> {
    let flags = rustix::fs::MemfdFlags::CLOEXEC;
    let mut file = std::fs::File::from(rustix::fs::memfd_create("ganger-told", flags)?);
    file.write_all(line)?;
    file.rewind()?;
    Ok(file.into())
}

/// Ends it with all that it started.
pub(crate) async fn end(mut child: Child) {
    // Without a keeper nothing can be ended; the next one does it before it starts anything.
    drop(child.end_tree().await);
    if child.exit().await.is_ok() {
        child.ack().confirm().await;
    }
}
